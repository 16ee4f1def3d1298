//! What a pickle holds: a picture's pixels, with their position and order, or a JPEG.

use bytes::Bytes;

use super::bytes::Stored;
use crate::{Codec, wire::tutorial::Picture};

/// A picture found in a pickle. Its bytes are still inside the pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pickled {
    /// Pixels.
    Array(Array),
    /// A JPEG, as bytes or as an array of one row or column.
    Jpeg(Jpeg),
}

/// The pixels of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub(super) width: u16,
    pub(super) height: u16,
    /// Exactly as many bytes as the picture needs.
    pub(super) pixels: Stored,
    /// Distance in bytes from one row, column and colour to the next (NumPy's strides).
    pub(super) strides: [usize; 3],
}

/// The bytes of a JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jpeg(pub(super) Stored);

impl Pickled {
    /// Returns the picture. `pickle` is the pickle that it was found in. Shares its memory if the bytes are written there as they
    /// are, and in row order.
    pub fn picture(&self, pickle: &Bytes) -> Picture {
        match self {
            Self::Array(array) => array.picture(pickle),
            Self::Jpeg(Jpeg(stored)) => Picture::jpeg(stored.bytes(pickle)),
        }
    }
}

impl Array {
    fn picture(&self, pickle: &Bytes) -> Picture {
        let data = self.pixels.bytes(pickle);
        let row = 3 * usize::from(self.width);
        let data = if self.strides == [row, 3, 1] { data } else { self.rows(&data) };
        Picture { codec: Codec::Bgr24, size: Some((self.width, self.height)), sent: None, data }
    }

    /// Copies the pixels into row order.
    fn rows(&self, data: &[u8]) -> Bytes {
        let [row, column, colour] = self.strides;
        let mut rows = Vec::with_capacity(data.len());
        for y in 0..usize::from(self.height) {
            for x in 0..usize::from(self.width) {
                let pixel = y * row + x * column;
                rows.extend([data[pixel], data[pixel + colour], data[pixel + 2 * colour]]);
            }
        }
        rows.into()
    }
}

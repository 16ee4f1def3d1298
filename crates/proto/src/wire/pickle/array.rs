//! A picture in a pickle: the position and order of its pixels.

use std::ops::Range;

use bytes::Bytes;

use crate::{Codec, wire::tutorial::Picture};

/// A picture found in a pickle. Its pixels are still inside the pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) pixels: Pixels,
    /// Distance in bytes from one row, column and colour to the next (NumPy's strides).
    pub(super) strides: [usize; 3],
}

/// The position of a picture's bytes in the pickle. There are exactly as many as the picture needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pixels {
    /// Raw bytes.
    Plain(Range<usize>),
    /// UTF-8 text, in which each byte is a character of Latin-1.
    Latin1(Range<usize>),
}

impl Array {
    /// Returns the picture. `pickle` is the pickle that it was found in. Shares its memory if the pixels are already in row
    /// order.
    pub fn picture(&self, pickle: &Bytes) -> Picture {
        let data = match &self.pixels {
            Pixels::Plain(place) => pickle.slice(place.clone()),
            Pixels::Latin1(place) => latin1(&pickle[place.clone()]),
        };
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

/// Converts Latin-1 text in UTF-8 back to bytes. The reader has checked the text.
fn latin1(text: &[u8]) -> Bytes {
    std::str::from_utf8(text).unwrap_or_default().chars().map(|character| character as u8).collect()
}

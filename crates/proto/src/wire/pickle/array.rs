//! A picture in a pickle: where its pixels lie, and in which order.

use std::ops::Range;

use bytes::Bytes;

use crate::{Codec, wire::tutorial::Picture};

/// A picture that was read in a pickle. Its pixels are still in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) pixels: Pixels,
    /// Bytes from a row, a column and a colour to the next.
    pub(super) steps: [usize; 3],
}

/// Where a picture's bytes lie in its pickle: exactly as many as it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pixels {
    /// As they are.
    Plain(Range<usize>),
    /// As text in UTF-8, each a character of Latin-1.
    Latin1(Range<usize>),
}

impl Array {
    /// The picture out of the pickle that it was read in, which it shares where its rows lie there one after another.
    pub fn picture(&self, pickle: &Bytes) -> Picture {
        let data = match &self.pixels {
            Pixels::Plain(place) => pickle.slice(place.clone()),
            Pixels::Latin1(place) => latin1(&pickle[place.clone()]),
        };
        let row = 3 * usize::from(self.width);
        let data = if self.steps == [row, 3, 1] { data } else { self.rows(&data) };
        Picture { codec: Codec::Bgr24, size: Some((self.width, self.height)), sent: None, data }
    }

    /// The pixels row after row.
    fn rows(&self, data: &[u8]) -> Bytes {
        let [row, column, colour] = self.steps;
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

/// The bytes that this text stands for. The reader has seen that it is one, and that it has no other characters.
fn latin1(text: &[u8]) -> Bytes {
    std::str::from_utf8(text).unwrap_or_default().chars().map(|character| character as u8).collect()
}

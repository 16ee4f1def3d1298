//! Bytes and texts inside a pickle, in each way that Python has of writing them.

use std::ops::Range;

use bytes::Bytes;

/// Bytes or a text in a pickle: where they are, and how they are written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) place: Range<usize>,
    pub(super) coding: Coding,
    /// How many bytes it stands for; `None` for a text with characters that are no bytes.
    pub(super) length: Option<usize>,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As they are.
    Plain,
    /// As a text in UTF-8, in which each byte is a character of Latin-1: protocols 1 and 2 have no bytes.
    Utf8,
    /// The same as a line of protocol 0: some of the bytes are written like `\u000a`.
    RawUnicode,
    /// As Python 2 prints them between quotation marks: a line of its protocol 0.
    Quoted,
}

impl Stored {
    /// The bytes at this place of a pickle, written like this.
    pub(super) fn new(pickle: &[u8], place: Range<usize>, coding: Coding) -> Self {
        let written = &pickle[place.clone()];
        let length = match coding {
            Coding::Plain => Some(written.len()),
            _ => Decoded { rest: written, coding }.try_fold(0, |length, byte| byte.map(|_| length + 1)),
        };
        Self { place, coding, length }
    }

    /// The bytes. Shares the pickle's memory where they are written as they are.
    pub(super) fn bytes(&self, pickle: &Bytes) -> Bytes {
        match self.coding {
            Coding::Plain => pickle.slice(self.place.clone()),
            coding => Decoded { rest: &pickle[self.place.clone()], coding }.flatten().collect(),
        }
    }

    /// Whether the bytes begin like this.
    pub(super) fn begins(&self, pickle: &[u8], magic: &[u8]) -> bool {
        let decoded = Decoded { rest: &pickle[self.place.clone()], coding: self.coding };
        decoded.take(magic.len()).eq(magic.iter().map(|byte| Some(*byte)))
    }
}

/// The bytes that a text stands for; `None` for what is none.
struct Decoded<'a> {
    rest: &'a [u8],
    coding: Coding,
}

impl Iterator for Decoded<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        let (byte, length) = match (self.coding, self.rest) {
            (_, []) => return None,
            (Coding::Utf8, [lead @ (0xC2 | 0xC3), trail, ..]) => (Some(lead << 6 | (trail & 0x3F)), 2),
            (Coding::RawUnicode, [b'\\', b'u', b'0', b'0', high, low, ..]) => (hex(*high, *low), 6),
            (Coding::Quoted, [b'\\', b'x', high, low, ..]) => (hex(*high, *low), 4),
            (Coding::Quoted, [b'\\', escaped, ..]) => (unescape(*escaped), 2),
            (Coding::Utf8, [0x80..=0xFF, ..]) | (Coding::RawUnicode | Coding::Quoted, [b'\\', ..]) => (None, 1),
            (_, [byte, ..]) => (Some(*byte), 1),
        };
        self.rest = &self.rest[length..];
        Some(byte)
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// What stands behind a backslash where Python 2 prints a string.
fn unescape(escaped: u8) -> Option<u8> {
    match escaped {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'\\' | b'\'' | b'"' => Some(escaped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as they are written, and what they stand for.
    type Case = (Coding, &'static [u8], Option<&'static [u8]>);

    #[test]
    fn each_way_of_writing_bytes_is_read() {
        let cases: [Case; 9] = [
            (Coding::Plain, b"\\x\xff", Some(b"\\x\xff")),
            (Coding::Utf8, "\u{ff}\u{d8}a\0".as_bytes(), Some(b"\xff\xd8a\0")),
            (Coding::Utf8, "\u{100}".as_bytes(), None),
            (Coding::RawUnicode, b"\xff\xd8\\u000a\\u005cx", Some(b"\xff\xd8\n\\x")),
            (Coding::RawUnicode, b"\\u0100", None),
            (Coding::RawUnicode, b"\\x", None),
            (Coding::Quoted, b"\\xff\\n\\'\\\\a", Some(b"\xff\n'\\a")),
            (Coding::Quoted, b"\\q", None),
            (Coding::Quoted, b"\\xf", None),
        ];
        for (coding, written, expected) in cases {
            let stored = Stored::new(written, 0..written.len(), coding);
            assert_eq!(stored.length, expected.map(<[u8]>::len), "'{}'", written.escape_ascii());
            if let Some(bytes) = expected {
                assert_eq!(stored.bytes(&Bytes::copy_from_slice(written)), bytes);
                assert!(stored.begins(written, bytes) && stored.begins(written, &bytes[..1]));
                assert!(!stored.begins(written, b"other"));
            }
        }
    }
}

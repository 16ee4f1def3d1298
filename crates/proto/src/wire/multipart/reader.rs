//! The receiver's side of MJPEG over HTTP, from cameras as they are.
//!
//! Few cameras follow RFC 2046. Some send no delimiter before the first part, lines that end in LF alone, a delimiter that is
//! not the one they announced, no Content-Length or a wrong one, JPEGs without their end, and some send JPEGs one after another
//! with nothing between. What all have in common is the JPEG, so a picture is found by its own first and last marker. Its
//! length and the delimiter only help where its end is missing.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    Limits,
    jpeg::{MAGIC, end::EndFinder, end::Found},
};

/// The most bytes between two pictures that are searched for a Content-Length.
const HEAD: usize = 8 << 10;
/// How a delimiter begins.
const DELIMITER: &[u8] = b"\n--";
/// A JPEG's last marker.
const END: [u8; 2] = [0xFF, 0xD9];

/// Reads the body of a response: push bytes, then pull pictures until there are none.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    /// What a delimiter consists of, without the dashes before and after it; empty when it is unknown.
    boundary: Vec<u8>,
    buffer: BytesMut,
    state: State,
    too_large: u64,
    broken: u64,
}

#[derive(Debug)]
enum State {
    /// Before a picture. Bytes that still belong to the part before are skipped.
    Between { skip: usize },
    /// In a picture, of which this many bytes are to come, where that is known. One that is too large is not held.
    Picture { length: Option<usize>, end: EndFinder, too_large: bool },
}

impl Reader {
    /// Reads a response with this Content-Type. Accepts pictures of at most [`Limits::frame`] bytes.
    pub fn new(content_type: &str, limits: &Limits) -> Self {
        Self {
            limit: limits.frame,
            boundary: boundary(content_type),
            buffer: BytesMut::new(),
            state: State::Between { skip: 0 },
            too_large: 0,
            broken: 0,
        }
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole JPEG, from its first marker to its last, which is added where it was missing; `None` if more bytes are
    /// needed.
    pub fn pull(&mut self) -> Option<Bytes> {
        loop {
            let outcome = match mem::replace(&mut self.state, State::Between { skip: 0 }) {
                State::Between { skip } => self.find_start(skip),
                State::Picture { length, end, too_large } => self.find_end(length, end, too_large),
            };
            match outcome {
                Outcome::Picture(picture) => return Some(picture),
                Outcome::Next => {}
                Outcome::More => return None,
            }
        }
    }

    /// The picture that the response ends in, where only its last marker is missing.
    pub fn finish(mut self) -> Option<Bytes> {
        let State::Picture { end, too_large, .. } = &self.state else { return None };
        (end.in_scan() && !too_large).then(|| terminated(self.buffer.split()))
    }

    /// Pictures that were passed over because they are over the limit.
    pub fn too_large(&self) -> u64 {
        self.too_large
    }

    /// Pictures that were passed over because they are damaged.
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// Goes to the first byte of a picture, and reads in the head before it how long it is.
    fn find_start(&mut self, skip: usize) -> Outcome {
        let left = self.skip(skip);
        let start = if left > 0 { None } else { find(&self.buffer, &MAGIC) };
        let Some(start) = start else {
            if left == 0 {
                self.buffer.advance(self.buffer.len().saturating_sub(HEAD));
            }
            self.state = State::Between { skip: left };
            return Outcome::More;
        };
        let length = content_length(&self.buffer[..start]);
        self.buffer.advance(start);
        self.state = State::Picture { length, end: EndFinder::default(), too_large: false };
        Outcome::Next
    }

    /// Skips this many bytes, or up to the next delimiter: then the length was wrong. Returns how many are left to skip.
    fn skip(&mut self, skip: usize) -> usize {
        let there = skip.min(self.buffer.len());
        match find(&self.buffer[..there], DELIMITER) {
            Some(at) => {
                self.buffer.advance(at);
                0
            }
            None if there == skip => {
                self.buffer.advance(skip);
                0
            }
            None => {
                let skipped = there.saturating_sub(DELIMITER.len() - 1);
                self.buffer.advance(skipped);
                skip - skipped
            }
        }
    }

    fn find_end(&mut self, length: Option<usize>, mut end: EndFinder, too_large: bool) -> Outcome {
        let there = length.map_or(self.buffer.len(), |length| length.min(self.buffer.len()));
        let bytes = &self.buffer[..there];
        let (at, whole) = match end.find(bytes, if length.is_some() { &[] } else { &self.boundary }) {
            Found::End(at) => (at, true),
            Found::Start(next) => match end.pixels() {
                Some(pixels) => (last_delimiter(bytes, pixels, next), false),
                None => return self.drop_damaged(next, 0),
            },
            Found::Delimiter(at) => (line_start(&bytes[..at]), false),
            Found::More if length == Some(there) && end.pixels().is_some() => (there, false),
            // Not even a header is that short.
            Found::More if length == Some(there) => {
                self.state = State::Picture { length: None, end, too_large };
                return Outcome::Next;
            }
            Found::More => return self.wait_for_end(length, end, too_large),
            Found::Damaged(at) => return self.drop_damaged(at, length.map_or(0, |length| length - at)),
        };
        let picture = self.buffer.split_to(at);
        self.state = State::Between { skip: length.filter(|_| whole).map_or(0, |length| length - at) };
        if too_large || picture.len() > self.limit {
            self.too_large += 1;
            return Outcome::Next;
        }
        Outcome::Picture(if whole { picture.freeze() } else { terminated(picture) })
    }

    /// Drops what is no picture: these bytes now, and these when they come.
    fn drop_damaged(&mut self, bytes: usize, skip: usize) -> Outcome {
        self.broken += 1;
        self.buffer.advance(bytes);
        self.state = State::Between { skip };
        Outcome::Next
    }

    /// Keeps what there is of a picture, unless it is too large.
    fn wait_for_end(&mut self, mut length: Option<usize>, mut end: EndFinder, mut too_large: bool) -> Outcome {
        too_large |= self.buffer.len().max(length.unwrap_or(0)) > self.limit;
        if too_large {
            let passed = end.forget(self.buffer.len());
            self.buffer.advance(passed);
            length = length.map(|length| length - passed);
        }
        self.state = State::Picture { length, end, too_large };
        Outcome::More
    }
}

/// What a step has led to.
enum Outcome {
    Picture(Bytes),
    /// Another step.
    Next,
    /// More bytes are needed.
    More,
}

/// A picture whose last marker is missing, with it.
fn terminated(mut picture: BytesMut) -> Bytes {
    picture.extend_from_slice(&END);
    picture.freeze()
}

/// The boundary that a Content-Type announces, without dashes: some cameras count the two dashes of the delimiter in.
fn boundary(content_type: &str) -> Vec<u8> {
    let parameters = content_type.split(';').skip(1);
    let boundary = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').trim_matches('-'))
    });
    // A short one could be found in a picture by chance.
    boundary.last().filter(|boundary| boundary.len() >= 4).unwrap_or_default().as_bytes().to_vec()
}

/// The last Content-Length in a head, in bytes.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = head.split(|byte| *byte == b'\n').rev();
    let length = lines.find_map(|line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())
    });
    length.flatten().filter(|length| *length > 0)
}

/// Where the last line that looks like a delimiter begins, with the line break before it, between the first coded pixels and the
/// next picture; that picture's first byte if there is none.
fn last_delimiter(bytes: &[u8], pixels: usize, next: usize) -> usize {
    let from = pixels.min(next).max(next.saturating_sub(HEAD));
    let at = bytes[from..next].windows(DELIMITER.len()).rposition(|window| window == DELIMITER);
    at.map_or(next, |at| line_start(&bytes[..=from + at]))
}

/// Where the line break before a delimiter begins, given all bytes before the delimiter's text.
fn line_start(mut bytes: &[u8]) -> usize {
    for end in [&b"--"[..], b"\n", b"\r"] {
        while let Some(rest) = bytes.strip_suffix(end) {
            bytes = rest;
            if end != b"--" {
                break;
            }
        }
    }
    bytes.len()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG with a thumbnail, a comment that looks like a delimiter, and data bytes FF.
    fn jpeg(pixels: &[u8]) -> Vec<u8> {
        let thumbnail = [&[0xFF, 0xE1, 0, 12][..], &MAGIC, b"\n--xx", &END].concat();
        [&[0xFF, 0xD8][..], &thumbnail, &[0xFF, 0xDA, 0, 2], pixels, &[0xFF, 0x00, 9, 0xFF, 0xD0, 8], &END].concat()
    }

    const TYPE: &str = "multipart/x-mixed-replace; boundary=frame";

    /// The pictures of a body, the same however it is split.
    fn pictures(content_type: &str, body: &[u8]) -> Vec<Bytes> {
        let read = |chunk: usize| {
            let mut reader = Reader::new(content_type, &Limits { frame: 100, ..Limits::default() });
            let mut pictures = Vec::new();
            for bytes in body.chunks(chunk) {
                reader.push(bytes);
                pictures.extend(std::iter::from_fn(|| reader.pull()));
                assert!(reader.buffer.len() <= HEAD.max(100) + chunk);
            }
            let counts = (reader.too_large(), reader.broken());
            pictures.extend(reader.finish());
            (pictures, counts)
        };
        let whole = read(body.len().max(1));
        for chunk in [1, 2, 7, 50] {
            assert_eq!(read(chunk), whole, "{chunk}");
        }
        whole.0
    }

    #[test]
    fn pictures_are_found_however_the_parts_are_written() {
        let (one, two) = (jpeg(b"one"), jpeg(b"second"));
        let part = |picture: &[u8], before: &str, length: &str, eol: &str, after: &str| {
            [format!("{before}Content-Type: image/jpeg{eol}{length}{eol}").as_bytes(), picture, after.as_bytes()]
                .concat()
        };
        for eol in ["\r\n", "\n"] {
            for (before, after) in [("--frame", ""), ("", "--frame"), ("----other", ""), ("frame", "")] {
                for lengths in [true, false] {
                    let write = |picture: &[u8]| {
                        let length =
                            if lengths { format!("content-length : {}{eol}", picture.len()) } else { String::new() };
                        let line = |text: &str| if text.is_empty() { String::new() } else { format!("{text}{eol}") };
                        part(picture, &line(before), &length, eol, &format!("{eol}{}", line(after)))
                    };
                    let body = [write(&one), write(&two)].concat();
                    assert_eq!(pictures(TYPE, &body), [one.clone(), two.clone()], "{eol:?} {before:?} {lengths}");
                }
            }
        }
        assert_eq!(pictures("", &[one.clone(), two.clone()].concat()), [one, two], "nothing between");
    }

    #[test]
    fn a_picture_is_done_at_its_end_and_not_when_the_next_one_comes() {
        let mut reader = Reader::new(TYPE, &Limits::default());
        reader.push(&[b"--frame\r\n\r\n".as_slice(), &jpeg(b"one")].concat());
        assert_eq!(reader.pull().unwrap(), jpeg(b"one"));
        // Without its end, at its length.
        let cut = &jpeg(b"one")[..jpeg(b"one").len() - 2];
        reader.push(&[format!("--frame\r\nContent-Length: {}\r\n\r\n", cut.len()).as_bytes(), cut].concat());
        assert_eq!(reader.pull().unwrap(), jpeg(b"one"));
    }

    #[test]
    fn a_missing_end_is_added_at_the_delimiter_or_the_next_picture() {
        let whole = jpeg(b"one");
        let cut = &whole[..whole.len() - 2];
        for (content_type, between) in [
            (TYPE, "\r\n--frame\r\n\r\n"),
            ("multipart/x-mixed-replace;boundary=\"--frame\"", "\n--frame\n\n"),
            ("multipart/x-mixed-replace; boundary =wrong", "\r\n--frame\r\n\r\n"),
            ("", ""),
        ] {
            let body = [cut, between.as_bytes(), cut, between.as_bytes(), cut].concat();
            assert_eq!(pictures(content_type, &body), vec![whole.clone(); 3], "{content_type} {between:?}");
        }
    }

    #[test]
    fn a_wrong_length_costs_no_more_than_its_own_picture() {
        let (one, two) = (jpeg(b"one"), jpeg(b"second"));
        for wrong in [one.len() + 30, one.len() + 5, 3, 0] {
            let head = format!("--frame\r\nContent-Length: {wrong}\r\n\r\n");
            let body = [head.as_bytes(), &one, b"\r\n--frame\r\n\r\n", &two].concat();
            assert_eq!(pictures(TYPE, &body).last(), Some(&Bytes::from(two.clone())), "{wrong}");
        }
        // Padding after the end, and a second JPEG in the same part.
        let padded = [&one[..], &[0; 20], &one].concat();
        let head = format!("--frame\r\nContent-Length: {}\r\n\r\n", padded.len());
        let body = [head.as_bytes(), &padded, b"\r\n--frame\r\n\r\n", &two].concat();
        assert_eq!(pictures(TYPE, &body), [one, two]);
    }

    #[test]
    fn what_is_too_large_or_damaged_is_passed_over_and_counted() {
        let (small, large) = (jpeg(b"one"), jpeg(&[7; 300]));
        for head in [format!("--frame\r\nContent-Length: {}\r\n\r\n", large.len()), "--frame\r\n\r\n".into()] {
            let body = [head.as_bytes(), &large, b"\r\n--frame\r\n\r\n", &small].concat();
            assert_eq!(pictures(TYPE, &body), std::slice::from_ref(&small), "{head}");
        }
        let damaged = [&MAGIC[..], &[0xE0, 0, 0, 1, 2, 3, 4]].concat();
        let mut reader = Reader::new(TYPE, &Limits::default());
        reader.push(&[&damaged[..], b"\r\n--frame\r\n\r\n", &small].concat());
        assert_eq!((reader.pull().unwrap(), reader.broken()), (Bytes::from(small), 1));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_only_jpegs_and_hold_little(
            body in proptest::collection::vec(proptest::sample::select(vec![0xFF_u8, 0xD8, 0xD9, 0xDA, 0xE0, 0, 1, 4, b'\n', b'-']), 0..400)
        ) {
            for picture in pictures("multipart/x-mixed-replace; boundary=----", &body) {
                proptest::prop_assert!(picture.starts_with(&MAGIC[..2]) && picture.ends_with(&END) && picture.len() <= 102);
            }
        }
    }
}

//! The byte formats, and the table that recognises them by a connection's first bytes: for a wire of text by its first line.

pub mod base64;
pub mod length;
pub mod lhh;
pub mod multipart;
pub mod native;
pub mod pickle;
mod room;
pub mod stopwait;
pub mod tutorial;
mod unpickle;
pub mod y4m;

use bytes::Buf;
use tutorial::Tutorial;

/// A byte format on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// The word for it, in errors, logs and statistics; of a tutorial's wire also the URL's scheme.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Whether a connection that begins with these bytes speaks it.
    pub recognise: fn(&[u8]) -> Verdict,
    /// How it is spoken, where it is a tutorial's.
    pub tutorial: Option<Tutorial>,
}

/// What the first bytes of a connection say about a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is this wire.
    Yes,
    /// It cannot be this wire any more.
    No,
    /// More bytes are needed to tell.
    More,
}

/// Every wire that this crate knows. A new one is a file and its row here; the library's `serve` has a row that says what
/// serves it.
pub const WIRES: &[Wire] = &[NATIVE, HTTP, lhh::WIRE, base64::WIRE, stopwait::WIRE, length::WIRE, pickle::WIRE];

/// framewire's own wire.
pub const NATIVE: Wire = Wire {
    name: native::NAME,
    summary: "framewire's own wire, see PROTOCOL.md",
    recognise: native::recognise,
    tutorial: None,
};

/// The wire of browsers.
pub const HTTP: Wire = Wire {
    name: "http",
    summary: "HTTP/1.1: the page, JSON, MJPEG, WebSocket",
    recognise: recognise_http,
    tutorial: None,
};

/// Bytes after which a connection's wire is decided. Binary wires need 16 at most, a length in text some 100, and a
/// wire of text its first line.
pub const PREFIX: usize = 1 << 10;

/// The wire that a connection beginning with these bytes speaks: `Ok(None)` while more bytes are needed.
///
/// # Errors
/// These bytes begin no wire at all.
pub fn recognise(prefix: &[u8]) -> Result<Option<&'static Wire>, Unknown> {
    recognise_among(WIRES, prefix)
}

/// As [`recognise`], among these wires. Where two recognise the same bytes the first is taken.
///
/// # Errors
/// These bytes begin none of them, or none of them was sure within [`PREFIX`] bytes.
pub fn recognise_among<'a>(
    wires: impl IntoIterator<Item = &'a Wire>,
    prefix: &[u8],
) -> Result<Option<&'a Wire>, Unknown> {
    let mut undecided = false;
    for wire in wires {
        match (wire.recognise)(prefix) {
            Verdict::Yes => return Ok(Some(wire)),
            Verdict::More => undecided = true,
            Verdict::No => {}
        }
    }
    if undecided && prefix.len() < PREFIX { Ok(None) } else { Err(Unknown) }
}

/// The first bytes of a connection are those of no wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the first bytes are those of no wire: a camera sends a length and then a JPEG, its base64 or a pickle, or JPEGs alone"
)]
pub struct Unknown;

/// Digits that a length in ASCII has at most.
const DIGITS: usize = 10;

/// Whether `prefix` begins with a length in ASCII and then `end`, as far as it goes. No picture's length has one digit;
/// without those, no such text is a binary length within bounds in its first four bytes, which is how lhh begins.
fn after_digits(prefix: &[u8], end: &[u8]) -> Verdict {
    let digits = prefix.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match begins(&prefix[digits..], end) {
        Verdict::More if digits == prefix.len() && digits <= DIGITS => Verdict::More,
        verdict if (2..=DIGITS).contains(&digits) => verdict,
        _ => Verdict::No,
    }
}

/// Whether `prefix` may begin with a length of so many bytes that is neither 0 nor over its limit, as far as it goes. The low
/// bytes come first, so a length can be too long before it is whole.
fn within(prefix: &[u8], width: usize, limit: u64) -> bool {
    let known = &prefix[..prefix.len().min(width)];
    let length = little_endian(known);
    length <= limit && (length > 0 || known.len() < width)
}

/// The number in at most 8 bytes.
fn little_endian(mut bytes: &[u8]) -> u64 {
    bytes.get_uint_le(bytes.len())
}

/// What is said of several possibilities together.
fn any<const N: usize>(verdicts: [Verdict; N]) -> Verdict {
    let said = |verdict| verdicts.contains(&verdict).then_some(verdict);
    said(Verdict::Yes).or(said(Verdict::More)).unwrap_or(Verdict::No)
}

/// Whether `prefix` begins with `magic`, as far as it goes.
fn begins(prefix: &[u8], magic: &[u8]) -> Verdict {
    let known = prefix.len().min(magic.len());
    match prefix[..known] == magic[..known] {
        false => Verdict::No,
        true if known == magic.len() => Verdict::Yes,
        true => Verdict::More,
    }
}

/// The first line of a connection on a wire of text, without its end: `None` while the line goes on. A line longer than
/// [`PREFIX`] is cut.
pub fn first_line(prefix: &[u8]) -> Option<&[u8]> {
    let known = &prefix[..prefix.len().min(PREFIX)];
    match known.iter().position(|byte| *byte == b'\n') {
        Some(end) => Some(known[..end].trim_ascii_end()),
        None if known.len() == PREFIX => Some(known),
        None => None,
    }
}

/// An HTTP/1.x request line begins with a method (RFC 9110, section 9) and a space. Methods that nothing here answers
/// count too, so that their sender gets its answer in HTTP. Other protocols have the same form and share methods, as RTSP does
/// (RFC 2326, section 6.1), so a request line that ends in another protocol's version is theirs.
fn recognise_http(prefix: &[u8]) -> Verdict {
    const METHODS: [&[u8]; 9] =
        [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT "];
    let by_method = any(METHODS.map(|method| begins(prefix, method)));
    match first_line(prefix) {
        _ if by_method != Verdict::Yes => by_method,
        None => Verdict::More,
        Some(line) if other_protocol(line) => Verdict::No,
        Some(_) => Verdict::Yes,
    }
}

/// Whether a request line ends in a version such as `RTSP/1.0`, and not in HTTP's.
fn other_protocol(line: &[u8]) -> bool {
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let letters = last.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let (name, version) = last.split_at(letters);
    !name.is_empty() && name != b"HTTP" && matches!(version, [b'/', digit, ..] if digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(prefix: &[u8]) -> Result<Option<&'static str>, Unknown> {
        recognise(prefix).map(|wire| wire.map(|wire| wire.name))
    }

    #[test]
    fn wires_are_told_apart_by_their_first_bytes() {
        assert_eq!(name(b"GET / HTTP/1.1\r\n"), Ok(Some("http")));
        assert_eq!(name(&native::PREAMBLE), Ok(Some("native")));
        assert_eq!(name(b""), Ok(None));
        assert_eq!(name(b"G"), Ok(None));
        assert_eq!(name(b"OPTIONS * HTTP/1.1"), Ok(None), "its line goes on");
        assert_eq!(name(b"OPTIONS * HTTP/1.1\n"), Ok(Some("http")));
        assert_eq!(name(b"GEX / HTTP/1.1\r\n"), Err(Unknown));
        assert_eq!(name(b"\xff\xff\xff\xff"), Err(Unknown));
    }

    #[test]
    fn a_request_line_is_told_from_rtsps_by_its_version() {
        for line in ["OPTIONS rtsp://hub/door RTSP/1.0", "OPTIONS * RTSP/2.0"] {
            let request = format!("{line}\r\nCSeq: 1\r\n\r\n");
            for end in 0..request.len() {
                let open = end <= line.len() + 1;
                assert_eq!(
                    name(&request.as_bytes()[..end]),
                    if open { Ok(None) } else { Err(Unknown) },
                    "{line} {end}"
                );
            }
        }
        for https in ["GET /a/RTSP/1.0", "GET / http/1.1", "GET /", "GET / X", "OPTIONS * HTTP/1.1"] {
            assert_eq!(name(format!("{https}\n").as_bytes()), Ok(Some("http")), "{https}");
        }
        // A line without an end is HTTP's, which knows how to refuse it.
        let endless = [b"GET /".to_vec(), vec![b'a'; 2 * PREFIX]].concat();
        assert_eq!(name(&endless[..PREFIX - 1]), Ok(None));
        assert_eq!(name(&endless[..PREFIX]), Ok(Some("http")));
        assert_eq!(name(&endless), Ok(Some("http")));
    }

    #[test]
    fn other_wires_can_stand_beside_those_here() {
        let rtsp = Wire {
            name: "rtsp",
            summary: "a wire of text",
            recognise: |prefix| match first_line(prefix) {
                Some(line) if line.ends_with(b" RTSP/1.0") => Verdict::Yes,
                Some(_) => Verdict::No,
                None => Verdict::More,
            },
            tutorial: None,
        };
        let name =
            |prefix: &[u8]| recognise_among(WIRES.iter().chain([&rtsp]), prefix).map(|wire| wire.map(|wire| wire.name));
        assert_eq!(name(b"OPTIONS * RTSP/1.0\r\n"), Ok(Some("rtsp")));
        assert_eq!(name(b"DESCRIBE rtsp://hub/door RTSP/1.0\r\n"), Ok(Some("rtsp")));
        assert_eq!(name(b"OPTIONS * HTTP/1.1\r\n"), Ok(Some("http")));
        assert_eq!(name(&[b'x'; PREFIX - 1]), Ok(None));
        assert_eq!(name(&[b'x'; PREFIX]), Err(Unknown), "nobody is sure in time");
    }

    #[test]
    fn every_wire_is_decided_within_the_prefix() {
        for first in 0..=u8::MAX {
            assert_ne!(name(&[first; PREFIX]), Ok(None), "{first}");
        }
    }
}

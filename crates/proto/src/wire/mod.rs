//! The byte formats, and the table that recognises them by a connection's first bytes.

pub mod base64;
pub mod lhh;
pub mod multipart;
pub mod native;
pub mod pickle;
mod room;
pub mod stopwait;
pub mod tutorial;
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

/// Every wire that a hub's port tells apart. A new one is a file and its row here.
pub const WIRES: &[Wire] = &[
    Wire {
        name: native::NAME,
        summary: "framewire's own wire, see PROTOCOL.md",
        recognise: native::recognise,
        tutorial: None,
    },
    Wire {
        name: HTTP,
        summary: "HTTP/1.1: the page, JSON, MJPEG, WebSocket",
        recognise: recognise_http,
        tutorial: None,
    },
    lhh::WIRE,
    pickle::WIRE,
    base64::WIRE,
    stopwait::WIRE,
];

/// The word for the wire of browsers.
pub const HTTP: &str = "http";

/// The most bytes that any wire needs to be recognised.
pub const PREFIX: usize = 16;

/// The wire that a connection beginning with these bytes speaks: `Ok(None)` while more bytes are needed.
///
/// # Errors
/// These bytes begin no wire at all.
pub fn recognise(prefix: &[u8]) -> Result<Option<&'static Wire>, Unknown> {
    let mut undecided = false;
    for wire in WIRES {
        match (wire.recognise)(prefix) {
            Verdict::Yes => return Ok(Some(wire)),
            Verdict::More => undecided = true,
            Verdict::No => {}
        }
    }
    if undecided { Ok(None) } else { Err(Unknown) }
}

/// The first bytes of a connection are those of no wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the first bytes are those of no wire")]
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

/// An HTTP/1.x request line begins with a method (RFC 9110, section 9) and a space. Methods that nothing here answers
/// count too, so that their sender is told so in HTTP.
fn recognise_http(prefix: &[u8]) -> Verdict {
    const METHODS: [&[u8]; 9] =
        [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT "];
    any(METHODS.map(|method| begins(prefix, method)))
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
        assert_eq!(name(b"GEX / HTTP/1.1\r\n"), Err(Unknown));
        assert_eq!(name(b"\xff\xff\xff\xff"), Err(Unknown));
    }

    #[test]
    fn every_wire_is_decided_within_the_prefix() {
        for first in 0..=u8::MAX {
            assert_ne!(name(&[first; PREFIX]), Ok(None), "{first}");
        }
    }
}

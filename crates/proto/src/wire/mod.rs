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
    /// Its name in errors, logs and statistics. For a tutorial's wire it is also the URL scheme.
    pub name: &'static str,
    /// A description in one line.
    pub summary: &'static str,
    /// Decides from a connection's first bytes whether it uses this wire.
    pub recognise: fn(&[u8]) -> Verdict,
    /// How a tutorial uses it; `None` if it is not a tutorial's wire.
    pub tutorial: Option<Tutorial>,
}

/// Whether a connection's first bytes belong to a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They do.
    Yes,
    /// They do not, whatever follows.
    No,
    /// More bytes are needed to decide.
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

/// The name of HTTP's wire.
pub const HTTP: &str = "http";

/// The most bytes needed to recognise any wire.
pub const PREFIX: usize = 16;

/// Recognises a connection's wire by its first bytes. Returns `Ok(None)` if more bytes are needed.
///
/// # Errors
/// The bytes belong to no wire.
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

/// A connection's first bytes belong to no wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the first bytes belong to no known wire")]
pub struct Unknown;

/// The most digits of a length in ASCII.
const DIGITS: usize = 10;

/// Whether `prefix` may start with a length in ASCII followed by `end`. A length has at least two digits. So the text's first
/// four bytes, read as lhh's binary length, are always over lhh's limit, and the two wires cannot be confused.
fn after_digits(prefix: &[u8], end: &[u8]) -> Verdict {
    let digits = prefix.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match begins(&prefix[digits..], end) {
        Verdict::More if digits == prefix.len() && digits <= DIGITS => Verdict::More,
        verdict if (2..=DIGITS).contains(&digits) => verdict,
        _ => Verdict::No,
    }
}

/// Whether `prefix` may start with a little-endian length of `width` bytes that is neither 0 nor over the limit. An incomplete
/// length has only its low bytes, and may already be over the limit.
fn within(prefix: &[u8], width: usize, limit: u64) -> bool {
    let known = &prefix[..prefix.len().min(width)];
    let length = little_endian(known);
    length <= limit && (length > 0 || known.len() < width)
}

/// Reads a number of at most 8 bytes.
fn little_endian(mut bytes: &[u8]) -> u64 {
    bytes.get_uint_le(bytes.len())
}

/// Combines the verdicts on several variants of a wire.
fn any<const N: usize>(verdicts: [Verdict; N]) -> Verdict {
    let found = |verdict| verdicts.contains(&verdict).then_some(verdict);
    found(Verdict::Yes).or(found(Verdict::More)).unwrap_or(Verdict::No)
}

/// Whether `prefix` starts with `magic`.
fn begins(prefix: &[u8], magic: &[u8]) -> Verdict {
    let known = prefix.len().min(magic.len());
    match prefix[..known] == magic[..known] {
        false => Verdict::No,
        true if known == magic.len() => Verdict::Yes,
        true => Verdict::More,
    }
}

/// An HTTP/1.x request starts with a method (RFC 9110, section 9) and a space. Unsupported methods count too, so that their
/// sender gets an HTTP error.
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
    fn wires_are_recognised_by_their_first_bytes() {
        assert_eq!(name(b"GET / HTTP/1.1\r\n"), Ok(Some("http")));
        assert_eq!(name(&native::PREAMBLE), Ok(Some("native")));
        assert_eq!(name(b""), Ok(None));
        assert_eq!(name(b"G"), Ok(None));
        assert_eq!(name(b"GEX / HTTP/1.1\r\n"), Err(Unknown));
        assert_eq!(name(b"\xff\xff\xff\xff"), Err(Unknown));
    }

    #[test]
    fn the_prefix_is_enough_to_decide_on_every_wire() {
        for first in 0..=u8::MAX {
            assert_ne!(name(&[first; PREFIX]), Ok(None), "{first}");
        }
    }
}

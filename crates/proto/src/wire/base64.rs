//! The wire of the base64 tutorial: 64 bytes of length in ASCII, a JPEG in base64 (RFC 4648), 64 bytes of time in ASCII.
//!
//! Length and time are left-justified and padded with spaces. The time is when the picture was sent, in UTC. There are no
//! answers, and no end but the connection's.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use time::{PrimitiveDateTime, UtcDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    Verdict, Wire, length,
    tutorial::{self, End, Inbox, Outgoing, Parse, Picture, Received, Size, Transmit, Tutorial},
};
use crate::{Codec, Limits, Micros, WireError, error::ErrorKind};

/// This wire's name.
pub const NAME: &str = "base64";
/// This wire's row in [`WIRES`](super::WIRES).
pub const WIRE: Wire = Wire {
    name: NAME,
    summary: "a length, a JPEG in base64 and the time of sending, all as text",
    recognise,
    tutorial: Some(Tutorial {
        camera: End::Connects,
        port: 8080,
        size: Size::Exactly(480, 315),
        codec: Codec::Jpeg,
        quality: Some(90),
        receiver: |limits| tutorial::receiver(NAME, Parser::new(limits)),
        transmitter: |_| Box::new(Transmitter { waiting: None }),
    }),
};

/// Bytes of a length field, and of a time field.
const FIELD: usize = 64;
/// The format of Python's `str(datetime.utcnow())`.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");

/// Recognises this wire: digits, then spaces up to 64 characters. What follows shows that it is not a [`length`] of so many.
pub fn recognise(prefix: &[u8]) -> Verdict {
    match super::after_digits(prefix, b"   ") {
        Verdict::Yes => {}
        verdict => return verdict,
    }
    let field = &prefix[..prefix.len().min(FIELD)];
    if !field.trim_ascii_end().iter().all(u8::is_ascii_digit) {
        return Verdict::No;
    }
    match length::recognise(prefix) {
        _ if prefix.len() <= FIELD => Verdict::More,
        Verdict::Yes => Verdict::No,
        Verdict::No => Verdict::Yes,
        Verdict::More => Verdict::More,
    }
}

/// The viewer's side.
#[derive(Debug)]
struct Parser {
    limit: usize,
    /// Bytes of base64 in the next picture, once its length was read and is within the limit.
    length: Option<usize>,
}

impl Parser {
    fn new(limits: &Limits) -> Self {
        Self { limit: tutorial::longest(limits.frame), length: None }
    }

    /// The length of the next picture in base64. `None` if more bytes are needed.
    fn length(inbox: &mut Inbox) -> Result<Option<u64>, ErrorKind> {
        if !inbox.holds(FIELD) {
            return Ok(None);
        }
        let field = &inbox.bytes()[..FIELD];
        let text = std::str::from_utf8(field).unwrap_or_default().trim_end_matches(' ');
        let length = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(length) = length.and_then(|text| text.parse::<u64>().ok()) else {
            let why = format!("'{}' is not a number padded with spaces to 64 bytes", inbox.shown());
            return Err(ErrorKind::Invalid { what: "a length", why });
        };
        Ok(Some(length))
    }
}

impl Parse for Parser {
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind> {
        loop {
            let length = if let Some(length) = self.length {
                length
            } else {
                let Some(length) = Self::length(inbox)? else { return Ok(None) };
                if let Some(too_large) = inbox.pass_over(FIELD, length, FIELD, self.limit.div_ceil(3) * 4)? {
                    return Ok(Some(too_large));
                }
                inbox.skip(FIELD);
                *self.length.insert(length as usize)
            };
            if !inbox.holds(length + FIELD) {
                return Ok(None);
            }
            self.length = None;
            let (coded, time) = inbox.bytes()[..length + FIELD].split_at(length);
            let data = decode(coded)?;
            // A picture with an invalid time is kept.
            let sent = parse_time(time);
            inbox.skip(length + FIELD);
            if !data.is_empty() {
                return Ok(Some(Received::Picture(Picture { sent, ..Picture::jpeg(data) })));
            }
        }
    }
}

fn decode(coded: &[u8]) -> Result<Bytes, ErrorKind> {
    let data = STANDARD.decode(coded);
    let data = data.map_err(|error| ErrorKind::Invalid { what: "a picture in base64", why: error.to_string() })?;
    Ok(Bytes::from(data))
}

/// The camera's side.
struct Transmitter {
    waiting: Option<Bytes>,
}

impl Transmit for Transmitter {
    fn ready(&self) -> bool {
        self.waiting.is_none()
    }

    fn picture(&mut self, picture: &Outgoing, wall: Micros) -> usize {
        let coded = STANDARD.encode(&picture.data);
        let mut bytes = BytesMut::with_capacity(FIELD + coded.len() + FIELD);
        put_field(&mut bytes, &coded.len().to_string());
        bytes.put_slice(coded.as_bytes());
        put_field(&mut bytes, &format_time(wall));
        self.waiting.insert(bytes.freeze()).len()
    }

    fn pull(&mut self) -> Result<Option<Bytes>, WireError> {
        Ok(self.waiting.take())
    }
}

fn put_field(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_bytes(b' ', FIELD - text.len());
}

fn parse_time(field: &[u8]) -> Option<Micros> {
    let text = std::str::from_utf8(field).ok()?.trim_end_matches(' ');
    let time = PrimitiveDateTime::parse(text, TIME).ok()?.assume_utc();
    Micros::try_from(time.unix_timestamp_nanos() / 1_000).ok()
}

/// The time in the tutorial's format. A time out of the calendar's range becomes 1970.
fn format_time(wall: Micros) -> String {
    let time = UtcDateTime::from_unix_timestamp_nanos(i128::from(wall) * 1_000).unwrap_or(UtcDateTime::UNIX_EPOCH);
    time.format(TIME).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Vec<u8> {
        let mut field = BytesMut::new();
        put_field(&mut field, text);
        field.to_vec()
    }

    #[test]
    fn times_are_read_and_written_to_the_microsecond() {
        let times = [
            ("1970-01-01 00:00:00.000000", 0),
            ("2001-09-09 01:46:40.000001", 1_000_000_000_000_001),
            ("2024-02-29 23:59:59.999999", 1_709_251_199_999_999),
            ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999),
        ];
        for (text, micros) in times {
            assert_eq!(parse_time(&field(text)), Some(micros), "{text}");
            assert_eq!(format_time(micros), text);
        }
    }

    #[test]
    fn an_invalid_time_is_none() {
        let texts = [
            "",
            "soon",
            "2024-02-30 00:00:00.000000",
            "2024-02-29 24:00:00.000000",
            "2024-02-29T23:59:59.999999",
            "2024-02-29 23:59:59.999999 +01:00",
            "1969-12-31 23:59:59.999999",
            "-2024-02-29 23:59:59.999999",
        ];
        for text in texts {
            assert_eq!(parse_time(&field(text)), None, "{text}");
        }
        assert_eq!(parse_time(&[0xff; FIELD]), None);
    }

    #[test]
    fn a_time_out_of_range_becomes_1970() {
        assert_eq!(format_time(Micros::MAX), "1970-01-01 00:00:00.000000");
    }
}

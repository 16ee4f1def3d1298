//! MJPEG over HTTP: a multipart/x-mixed-replace response (RFC 2046, section 5.1) whose parts are JPEGs.
//!
//! A response is [`OPENING`], then for each picture [`part_head`], the JPEG and [`CLOSING`]. The delimiter is sent with each
//! part, not before the next one: browsers and OpenCV show a picture only after the delimiter, so a later delimiter would delay
//! every picture by one frame.

mod reader;

use crate::Micros;

pub use reader::Reader;

/// The response's Content-Type.
pub const CONTENT_TYPE: &str = "multipart/x-mixed-replace;boundary=framewire-next-frame";
/// Sent before the first part.
pub const OPENING: &[u8] = b"--framewire-next-frame\r\n";
/// Sent after each picture.
pub const CLOSING: &[u8] = b"\r\n--framewire-next-frame\r\n";

/// A header without a meaning. It may be sent before a part's head any number of times. The receiver's kernel acknowledges it
/// with its current receive window, which the sender needs.
pub const DUMMY_HEADER: &[u8] = b"X-Waiting: 1\r\n";

/// The same, of so many bytes, which are a multiple of 128.
pub fn dummy_headers(bytes: usize) -> Vec<u8> {
    let line = format!("X-Waiting: {:1<115}\r\n", "");
    line.repeat(bytes / line.len()).into_bytes()
}

/// The head of a part: the JPEG's length in bytes, its capture time (`wall`, in µs since 1970, UTC; written in seconds) and its
/// number.
pub fn part_head(length: usize, wall: Micros, sequence: u64) -> Vec<u8> {
    let time = timestamp(wall);
    format!(
        "Content-Type: image/jpeg\r\nContent-Length: {length}\r\nX-Timestamp: {time}\r\nX-Sequence: {sequence}\r\n\r\n"
    )
    .into_bytes()
}

/// A time in µs since 1970 (UTC), as X-Timestamp has it: in seconds, with six places.
pub fn timestamp(wall: Micros) -> String {
    format!("{}.{:06}", wall / 1_000_000, wall % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_follows_rfc_2046() {
        assert_eq!((dummy_headers(1024).len(), dummy_headers(1024).ends_with(b"1\r\n")), (1024, true));
        let boundary = CONTENT_TYPE.split_once("boundary=").unwrap().1;
        assert_eq!(OPENING, format!("--{boundary}\r\n").as_bytes());
        assert_eq!(CLOSING, format!("\r\n--{boundary}\r\n").as_bytes());
        let head = String::from_utf8(part_head(5, 1_700_000_000_000_042, 7)).unwrap();
        let lines: Vec<&str> = head.split("\r\n").collect();
        let expected = [
            "Content-Type: image/jpeg",
            "Content-Length: 5",
            "X-Timestamp: 1700000000.000042",
            "X-Sequence: 7",
            "",
            "",
        ];
        assert_eq!(lines, expected);
    }
}

//! MJPEG over HTTP: a response of type multipart/x-mixed-replace (RFC 2046, section 5.1) whose parts are JPEGs.
//!
//! A response is [`OPENING`], then for each picture [`part_head`], its bytes and [`CLOSING`]. The delimiter stands behind each
//! part, not before the next: browsers and OpenCV show a picture once they have seen the delimiter after it, so sending
//! that later would make every picture one frame older.

use crate::Micros;

/// The response's Content-Type.
pub const CONTENT_TYPE: &str = "multipart/x-mixed-replace;boundary=framewire-next-frame";
/// What stands before the first part.
pub const OPENING: &[u8] = b"--framewire-next-frame\r\n";
/// What stands behind each picture.
pub const CLOSING: &[u8] = b"\r\n--framewire-next-frame\r\n";

/// May stand before any part's head, as often as one likes: a header that means nothing, for who waits for an answer of the other
/// end's kernel.
pub const WAITING: &[u8] = b"X-Waiting: 1\r\n";

/// What stands before a JPEG of this many bytes: its number and when it was captured, in µs since 1970 (UTC), written as
/// seconds.
pub fn part_head(length: usize, wall: Micros, sequence: u64) -> Vec<u8> {
    let (seconds, micros) = (wall / 1_000_000, wall % 1_000_000);
    format!(
        "Content-Type: image/jpeg\r\nContent-Length: {length}\r\nX-Timestamp: {seconds}.{micros:06}\r\nX-Sequence: {sequence}\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_reads_as_rfc_2046_has_it() {
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

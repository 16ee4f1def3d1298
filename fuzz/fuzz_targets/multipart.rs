//! An HTTP camera's answer from any bytes, in chunks of any size: no panic, the same pictures as in one piece, each from the first
//! marker of a JPEG to its last, no more memory than one picture and one head may have.
#![no_main]

use bytes::Bytes;
use framewire_proto::{Limits, jpeg::MAGIC, wire::multipart::Reader};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 10;

fuzz_target!(|body: &[u8]| {
    let chunk = body.last().map_or(1, |last| usize::from(*last) + 1);
    for content_type in ["multipart/x-mixed-replace; boundary=frame", ""] {
        assert_eq!(read(content_type, body, chunk), read(content_type, body, usize::MAX));
    }
});

/// The pictures, and how many were passed over.
fn read(content_type: &str, body: &[u8], chunk: usize) -> (Vec<Bytes>, [u64; 2]) {
    let mut reader = Reader::new(content_type, &Limits { frame: LIMIT, ..Limits::default() });
    let mut pictures = Vec::new();
    for bytes in body.chunks(chunk) {
        reader.push(bytes);
        while let Some(picture) = reader.pull() {
            assert!(picture.starts_with(&MAGIC) && picture.ends_with(&[0xFF, 0xD9]) && picture.len() <= LIMIT + 2);
            pictures.push(picture);
        }
    }
    let passed_over = [reader.too_large(), reader.broken()];
    pictures.extend(reader.finish());
    (pictures, passed_over)
}

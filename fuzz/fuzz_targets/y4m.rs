//! A YUV4MPEG2 stream of any bytes in chunks of any size: no panic, and the same parts as in one piece.
#![no_main]

use framewire_proto::{
    limits::check_size,
    wire::y4m::{Part, Reader},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let chunk = stream.last().map_or(1, |last| usize::from(*last) + 1);
    assert_eq!(read(stream, chunk), read(stream, usize::MAX));
});

/// The parts, and whether the stream was refused.
fn read(stream: &[u8], chunk: usize) -> (Vec<Part>, bool) {
    let (mut reader, mut parts, mut length) = (Reader::default(), Vec::new(), 0);
    for bytes in stream.chunks(chunk) {
        reader.push(bytes);
        loop {
            match reader.pull() {
                Ok(Some(part)) => {
                    match &part {
                        Part::Header(header) => {
                            check_size(header.width, header.height).expect("a size within the limits");
                            length = header.frame_length();
                        }
                        Part::Frame(frame) => assert_eq!(frame.len(), length),
                    }
                    parts.push(part);
                }
                Ok(None) => break,
                Err(_) => return (parts, true),
            }
        }
    }
    (parts, false)
}

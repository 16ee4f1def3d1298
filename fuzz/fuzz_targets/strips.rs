//! A JPEG of any bytes is cut into strips: no panic, the strips cover the picture from top to bottom, each strip is at most two
//! bytes larger than the JPEG. Strips of any bytes are joined without a panic.
#![no_main]

use framewire_proto::jpeg::{self, strips};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parts = bytes.last().map_or(2, |last| usize::from(*last) % 8);
    if let Some(cut) = strips::cut(bytes, parts) {
        assert!((2..=parts).contains(&cut.len()));
        let mut top = 0;
        for strip in &cut {
            assert_eq!(strip.top, top);
            assert!(strip.height > 0 && strip.jpeg.len() <= bytes.len() + 2);
            top += strip.height;
        }
        if let Ok((_, height)) = jpeg::size(bytes) {
            assert_eq!(top, usize::from(height));
        }
    }
    let middle = bytes.len() / 2;
    let _ = strips::join(&[&bytes[..middle], &bytes[middle..]], 16);
});

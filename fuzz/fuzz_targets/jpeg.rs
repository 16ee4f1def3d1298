//! A stream of JPEGs from any bytes in chunks of any size: no panic, the same pictures as in one piece, every byte counted,
//! no more memory than one picture may have. A size that is read is within the limits, and what is admitted stays as it is.
#![no_main]

use bytes::Bytes;
use framewire_proto::{
    Limits,
    jpeg::{self, Splitter},
    limits::check_size,
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 10;

fuzz_target!(|row: &[u8]| {
    if let Ok((width, height)) = jpeg::size(row) {
        check_size(width.into(), height.into()).expect("a size within the limits");
    }
    if let Ok(admitted) = jpeg::admit(&Bytes::copy_from_slice(row)) {
        assert_eq!(jpeg::admit(&admitted.data), Ok(admitted), "admitted again unchanged");
    }
    let chunk = row.last().map_or(1, |last| usize::from(*last) + 1);
    let (in_chunks, refused) = split(row, chunk);
    let (whole, refused_whole) = split(row, usize::MAX);
    assert_eq!(refused, refused_whole);
    assert_eq!(in_chunks, whole);
});

/// The pictures, and how many were too large.
fn split(row: &[u8], chunk: usize) -> (Vec<Bytes>, usize) {
    let mut splitter = Splitter::new(&Limits { frame: LIMIT, ..Limits::default() });
    let (mut given, mut taken, mut pictures, mut refused) = (0, 0, Vec::new(), 0);
    for bytes in row.chunks(chunk) {
        splitter.push(bytes);
        given += bytes.len();
        loop {
            match splitter.pull() {
                Ok(Some(picture)) => {
                    assert!(picture.len() <= LIMIT && picture.starts_with(&jpeg::MAGIC));
                    taken += picture.len();
                    pictures.push(picture);
                }
                Ok(None) => break,
                Err(_) => refused += 1,
            }
        }
        assert_eq!(given as u64, taken as u64 + splitter.skipped() + splitter.pending() as u64);
        assert!(splitter.pending() <= LIMIT + 4);
    }
    (pictures, refused)
}

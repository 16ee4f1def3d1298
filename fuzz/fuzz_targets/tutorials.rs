//! A tutorial's camera that sends any bytes in chunks of any size: no panic, the same pictures as in one piece, within the
//! limits, bounded memory.
#![no_main]

use bytes::BufMut;
use framewire_proto::{
    Limits,
    wire::{
        WIRES,
        tutorial::{Received, Tutorial},
    },
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 2_000;

fuzz_target!(|connection: &[u8]| {
    let chunk = connection.last().map_or(1, |last| usize::from(*last) + 1);
    for tutorial in WIRES.iter().filter_map(|wire| wire.tutorial) {
        assert_eq!(read(&tutorial, connection, chunk), read(&tutorial, connection, usize::MAX));
    }
});

/// What was received, and the kind and position of the error. Its text may quote more bytes if more arrived at once.
fn read(tutorial: &Tutorial, mut bytes: &[u8], most: usize) -> (Vec<Received>, Option<String>) {
    let limits = Limits { frame: LIMIT, raw: LIMIT, ..Limits::default() };
    let mut receiver = (tutorial.receiver)(&limits);
    let mut all = Vec::new();
    let mut total = 0;
    while !bytes.is_empty() {
        let space = receiver.space();
        let room = space.capacity() - space.len();
        assert!(room > 0 && space.capacity() <= (2 * total).max(16 << 10));
        let (now, later) = bytes.split_at(bytes.len().min(room).min(most));
        space.put_slice(now);
        total += now.len();
        bytes = later;
        loop {
            match receiver.pull() {
                Ok(Some(received)) => {
                    if let Received::Picture(picture) = &received {
                        assert!((1..=LIMIT).contains(&picture.data.len()));
                    }
                    all.push(received);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(receiver.pull(), Err(error.clone()));
                    return (all, Some(format!("{:?} at {}", std::mem::discriminant(&error.kind), error.offset)));
                }
            }
        }
    }
    (all, None)
}

//! A connection of any bytes in chunks of any size: no panic, the same messages as in one piece, bounded memory. Decoded
//! messages are decoded again after encoding.
#![no_main]

use bytes::{BufMut, Bytes};
use framewire_proto::{
    Limits, WireError,
    wire::native::{Decoder, Message, PREAMBLE},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|connection: &[u8]| {
    let chunk = connection.last().map_or(1, |last| usize::from(*last) + 1);
    let decoded = read(connection, chunk);
    assert_eq!(decoded, read(connection, usize::MAX));
    let (messages, _) = decoded;
    let mut again = PREAMBLE.to_vec();
    for message in &messages {
        message.encode(&mut again);
    }
    assert_eq!(read(&again, usize::MAX), (messages, None));

    let limits = Limits::default();
    if let Ok(Some(message)) = Message::from_bytes(Bytes::copy_from_slice(connection), &limits) {
        assert_eq!(Message::from_bytes(message.to_bytes(), &limits), Ok(Some(message)));
    }
});

/// Reads like a socket does, into the decoder's space.
fn read(mut connection: &[u8], most: usize) -> (Vec<Message>, Option<WireError>) {
    let mut decoder = Decoder::new(Limits::default());
    let mut messages = Vec::new();
    let mut total = 0;
    while !connection.is_empty() {
        let space = decoder.space();
        let room = space.capacity() - space.len();
        assert!(room > 0 && space.capacity() <= (2 * total).max(256 << 10));
        let (now, later) = connection.split_at(connection.len().min(room).min(most));
        space.put_slice(now);
        total += now.len();
        connection = later;
        loop {
            match decoder.pull() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

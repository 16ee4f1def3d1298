//! What the viewer's side of the tutorials' wires holds in memory and copies.

use bytes::BufMut;
use framewire_proto::{
    Limits,
    wire::tutorial::{Outgoing, Receive, Received, Tutorial, Width},
};

use crate::tutorials::tutorials;

/// Feeds a camera's bytes like a socket does: into the receiver's space, at most this many at a time. Returns what was received
/// and the most memory held.
fn read(receiver: &mut dyn Receive, mut bytes: &[u8], most: usize) -> (Vec<Received>, usize) {
    let (mut all, mut held) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let space = receiver.space();
        let room = space.capacity() - space.len();
        assert!(room > 0, "a read into no room would look like the end of the connection");
        let (now, later) = bytes.split_at(bytes.len().min(room).min(most));
        space.put_slice(now);
        held = held.max(space.capacity());
        bytes = later;
        while let Some(received) = receiver.pull().unwrap() {
            all.push(received);
        }
    }
    (all, held)
}

/// The bytes that a camera sends for one picture of this size, with every answer received at once.
fn written(tutorial: &Tutorial, width: u16, height: u16) -> Vec<u8> {
    let mut data = vec![7; 3 * usize::from(width) * usize::from(height)];
    data[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
    let mut camera = (tutorial.transmitter)(Width::Eight);
    camera.picture(&Outgoing { width, height, data: data.into() }, 0);
    let mut written = Vec::new();
    while let Some(bytes) = camera.pull().unwrap() {
        camera.push(b"ok");
        written.extend_from_slice(&bytes);
    }
    written
}

#[test]
fn a_picture_is_read_into_its_own_memory_without_a_copy() {
    for wire in tutorials().filter(|wire| wire.name != "base64") {
        let tutorial = wire.tutorial.unwrap();
        let whole = written(&tutorial, 300, 200);
        let mut receiver = (tutorial.receiver)(&Limits::default());
        let (begin, rest) = whole.split_at(4_000);
        read(receiver.as_mut(), begin, 4_000);
        let space = receiver.space();
        let end = space.as_ptr().addr() + space.len();
        let (received, held) = read(receiver.as_mut(), rest, 30_000);
        let Some(Received::Picture(picture)) = received.last() else { panic!("{}: {received:?}", wire.name) };
        let begun = begin.len() - whole.windows(3).position(|bytes| bytes == [0xff, 0xd8, 0xff]).unwrap();
        assert_eq!(picture.data.as_ptr().addr(), end - begun, "{}", wire.name);
        assert!(held <= whole.len(), "{}: {held} bytes held for {}", wire.name, whole.len());
    }
}

#[test]
fn an_announced_length_alone_reserves_little_memory() {
    for wire in tutorials() {
        let tutorial = wire.tutorial.unwrap();
        let mut receiver = (tutorial.receiver)(&Limits::default());
        let whole = written(&tutorial, 1920, 1080);
        let begin = whole.iter().position(|byte| *byte == 7).unwrap_or(64);
        read(receiver.as_mut(), &whole[..begin], 8);
        assert!(receiver.space().capacity() <= 256 << 10, "{}", wire.name);
        let mut sent = begin;
        for piece in whole[begin..].chunks(50_000) {
            read(receiver.as_mut(), piece, piece.len());
            sent += piece.len();
            let held = receiver.space().capacity();
            assert!(held <= (2 * sent).max(256 << 10), "{}: {held} bytes held for {sent}", wire.name);
        }
        read(receiver.as_mut(), &whole[..begin], 8);
        let held = receiver.space().capacity();
        assert!((whole.len() - begin..=whole.len()).contains(&held), "{}: {held} bytes for one proven", wire.name);
    }
}

//! What the decoder holds in memory, copies and skips.

use std::io;

use bytes::{BufMut, Bytes};
use framewire_proto::{
    Limits,
    wire::native::{Decoder, Message, Oversized, PREAMBLE, State},
};

use crate::util::{decode, encode, frame, raw};

/// Feeds a connection's bytes like a socket does: into the decoder's space, at most this many at a time. Returns the messages
/// and the most memory held.
fn read(decoder: &mut Decoder, mut connection: &[u8], most: usize) -> (Vec<Message>, usize) {
    let (mut messages, mut held) = (Vec::new(), 0);
    while !connection.is_empty() {
        let space = decoder.space();
        let room = space.capacity() - space.len();
        assert!(room > 0, "a read into no room would look like the end of the connection");
        let (now, later) = connection.split_at(connection.len().min(room).min(most));
        space.put_slice(now);
        held = held.max(space.capacity());
        connection = later;
        while let Some(message) = decoder.pull().unwrap() {
            messages.push(message);
        }
    }
    (messages, held)
}

#[test]
fn a_frame_is_read_into_its_own_memory_without_a_copy() {
    let mut decoder = Decoder::new(Limits::default());
    read(&mut decoder, &PREAMBLE, 8);
    let whole = Message::Frame(frame(1, 200_000)).to_bytes();
    let (begin, rest) = whole.split_at(4_000);
    read(&mut decoder, begin, 4_000);
    let place = decoder.space().as_ptr();
    let (messages, held) = read(&mut decoder, rest, 30_000);
    let [Message::Frame(frame)] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(frame.data.as_ptr().addr() - place.addr(), 56);
    assert_eq!(held, whole.len());
}

#[test]
fn a_blocking_reader_fills_the_space_and_a_read_error_adds_nothing() {
    struct Flaky<'a>(&'a [u8], bool);
    impl io::Read for Flaky<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(room) }
        }
    }
    let sent = [Message::Frame(frame(1, 300_000)), Message::Ping { sent: 2 }, Message::Frame(frame(3, 300_000))];
    let connection = encode(&sent);
    let (mut reader, mut decoder, mut heard) = (Flaky(&connection, false), Decoder::new(Limits::default()), Vec::new());
    loop {
        match decoder.read_from(&mut reader) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        heard.extend(std::iter::from_fn(|| decoder.pull().unwrap()));
    }
    assert_eq!(heard, sent);
}

#[test]
fn an_announced_length_alone_reserves_little_memory() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(limits);
    let whole = Message::Frame(frame(1, limits.frame)).to_bytes();
    read(&mut decoder, &PREAMBLE, 8);
    read(&mut decoder, &whole[..8], 8);
    assert!(decoder.space().capacity() <= 256 << 10);
    let mut sent = 8;
    for piece in whole[8..].chunks(50_000) {
        read(&mut decoder, piece, piece.len());
        sent += piece.len();
        let held = decoder.space().capacity();
        assert!(held <= (2 * sent).max(256 << 10), "{held} bytes held for {sent}");
    }
    read(&mut decoder, &whole[..8], 8);
    assert_eq!(decoder.space().capacity(), whole.len());
}

#[test]
fn an_unknown_message_is_skipped_and_not_held() {
    let mut connection = raw(99, 7, &vec![1; 64 << 10]);
    connection.extend(Message::Demand { viewers: 3 }.to_bytes());
    let (messages, held) = read(&mut Decoder::new(Limits::default()), &connection, usize::MAX);
    assert_eq!(messages, [Message::Demand { viewers: 3 }]);
    assert!(held <= 4 << 10, "{held}");
}

#[test]
fn a_frame_over_the_limit_is_passed_over_and_not_held() {
    let limits = Limits::with_frame(1_000);
    let sent = [frame(1, 1_000), frame(2, 1_001), frame(3, 500_000), frame(4, 10)];
    let connection: Vec<u8> = sent.iter().flat_map(|frame| Message::Frame(frame.clone()).to_bytes()).collect();
    let over = |sequence, length| Message::Oversized(Oversized { sequence, length, limit: 1_000 });
    let [first, .., last] = sent.map(Message::Frame);
    for most in [1, 47, 4_096, usize::MAX] {
        let mut decoder = Decoder::new(limits);
        read(&mut decoder, &PREAMBLE, 8);
        let (messages, held) = read(&mut decoder, &connection, most);
        assert_eq!(messages, [first.clone(), over(2, 1_001), over(3, 500_000), last.clone()]);
        assert!(held <= 4 << 10, "{held}");
    }
}

#[test]
fn small_messages_reuse_the_same_memory() {
    let mut decoder = Decoder::new(Limits::default());
    read(&mut decoder, &PREAMBLE, 8);
    let ping = Message::Ping { sent: 1 }.to_bytes();
    read(&mut decoder, &ping, usize::MAX);
    let place = decoder.space().as_ptr();
    for _ in 0..1_000 {
        read(&mut decoder, &ping, usize::MAX);
        assert_eq!(decoder.space().as_ptr(), place);
    }
}

#[test]
fn longer_bodies_and_unknown_states_and_flags_are_ignored() {
    let longer = |message: &Message, kind: u8| {
        let mut body = message.to_bytes()[8..].to_vec();
        body.extend([9; 100]);
        raw(kind, 0xfc, &body)
    };
    for (kind, message) in [
        (7, Message::Report(framewire_proto::wire::native::Report { sequence: 4, received: 3, decoded: 2, shown: 1 })),
        (8, Message::Ping { sent: 5 }),
        (9, Message::Pong { pinged: 1, received: 2, sent: 3 }),
        (10, Message::Demand { viewers: 1 }),
        (11, Message::State(State::Idle)),
    ] {
        assert_eq!(decode(&longer(&message, kind), 11), Ok(vec![message]));
    }
    let mut connection = raw(11, 0, &[200, 0, 0, 0]);
    connection.extend(Message::State(State::Stalled).to_bytes());
    assert_eq!(decode(&connection, 4), Ok(vec![Message::State(State::Stalled)]));
}

#[test]
fn an_error_is_returned_again_and_frees_the_memory() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(&raw(8, 0, &[1; 7]));
    let error = decoder.pull().unwrap_err();
    decoder.push(&Message::Ping { sent: 1 }.to_bytes());
    assert_eq!(decoder.pull(), Err(error));
}

#[test]
fn control_characters_in_a_text_become_spaces() {
    let heard = decode(&raw(13, 0, "gone\x1b[2J\r\n\u{9b}".as_bytes()), 3);
    assert_eq!(heard, Ok(vec![Message::Bye { text: "gone [2J   ".into() }]));
}

#[test]
fn a_configurations_data_does_not_keep_a_frames_memory_alive() {
    let extra = Bytes::from_static(b"avcC");
    let config = framewire_proto::Config {
        extra: extra.clone(),
        ..framewire_proto::Config::new(framewire_proto::Codec::H264, 2, 2, 0)
    };
    let messages = decode(&encode(&[Message::Config(config)]), usize::MAX).unwrap();
    let [Message::Config(config)] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(config.extra, extra);
    assert!(config.extra.is_unique());
}

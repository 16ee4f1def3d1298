//! Every limit: a length at the limit is accepted, one more is refused when it is announced.

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Limits, WireError,
    error::ErrorKind,
    limits::LARGEST_FRAME,
    wire::native::{Message, PREAMBLE, code},
};

use crate::util::{decode, encode, frame, raw};

/// Decodes a header that announces this many bytes, without a body.
fn announce(kind: u8, length: usize) -> Result<Vec<Message>, WireError> {
    let mut bytes = raw(kind, 0, b"");
    let place = bytes.len() - 4;
    bytes[place..].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    decode(&bytes, 1)
}

#[test]
fn every_kind_is_accepted_at_its_limit_and_refused_above_it() {
    let Limits { text, extra, unknown, .. } = Limits::default();
    let limits = [
        (1, text),
        (2, text),
        (3, text),
        (4, text),
        (5, 12 + extra),
        (7, text),
        (8, text),
        (9, text),
        (10, text),
        (11, text),
        (12, 4 + text),
        (13, text),
        (14, text),
        (15, text),
        (16, text),
        (200, unknown),
        (0, unknown),
        (255, unknown),
    ];
    for (kind, limit) in limits {
        assert_eq!(announce(kind, limit), Ok(vec![]), "kind {kind} at its limit");
        let error = announce(kind, limit + 1).unwrap_err();
        assert_eq!(error.offset, 8, "kind {kind}");
        let ErrorKind::TooLong { length, limit: said, .. } = error.kind else { panic!("kind {kind}: {error}") };
        assert_eq!((length, said), (limit as u64 + 1, limit as u64), "kind {kind}");
    }
}

#[test]
fn a_frame_is_refused_over_what_any_limit_allows() {
    let most = 48 + LARGEST_FRAME;
    assert_eq!(announce(6, most), Ok(vec![]));
    let error = announce(6, most + 1).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TooLong { .. }) && error.offset == 8, "{error}");
    assert_eq!(announce(6, 48 + Limits::default().frame), Ok(vec![]));
}

#[test]
fn a_length_of_4_gib_is_refused_with_its_position() {
    let mut bytes = encode(&[Message::Ping { sent: 7 }]);
    bytes.extend([6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let error = decode(&bytes, 5).unwrap_err();
    assert_eq!(error.offset, 24);
    let text = "native: a frame of 4294967295 bytes is over the limit of 8388656 (at byte 24 of the connection)";
    assert_eq!(error.to_string(), text);
}

#[test]
fn the_longest_messages_are_decoded() {
    let Limits { frame: longest, text, extra, .. } = Limits::default();
    let extra = Bytes::from(vec![1; extra]);
    let messages = [
        Message::Config(Config { extra, ..Config::new(Codec::H264, 8192, 4880, u32::MAX) }),
        Message::Frame(frame(1, longest)),
        Message::Hello { software: "x".repeat(text) },
        Message::Error { code: u16::MAX, text: "ß".repeat(text / 2) },
        Message::Accepted { name: "n".repeat(64).parse().unwrap() },
    ];
    assert_eq!(decode(&encode(&messages), 100_000), Ok(messages.to_vec()));
}

#[test]
fn a_text_over_the_limit_is_cut_between_characters_before_it_is_sent() {
    let text = format!("x{}", "€".repeat(1_000));
    let cut = format!("x{}", "€".repeat(341));
    assert_eq!(cut.len(), 1_024);
    let sent = [
        Message::Hello { software: text.clone() },
        Message::Error { code: code::PROTOCOL, text: text.clone() },
        Message::Bye { text },
    ];
    let heard = [
        Message::Hello { software: cut.clone() },
        Message::Error { code: code::PROTOCOL, text: cut.clone() },
        Message::Bye { text: cut },
    ];
    assert_eq!(decode(&encode(&sent), 999), Ok(heard.to_vec()));
}

#[test]
fn an_unknown_version_is_refused_with_both_versions() {
    let mut bytes = PREAMBLE;
    bytes[6] = 9;
    let error = decode(&bytes, 1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Version { theirs: 9, ours: 1 });
    assert!(error.to_string().contains("update the older"), "{error}");
}

#[test]
fn a_preamble_of_another_wire_or_with_a_translated_line_end_is_refused() {
    for bytes in [*b"GET / HT", *b"\x89PNG\r\n\x1a\n", *b"\x89FWIRE\x01\r"] {
        assert_eq!(decode(&bytes, 1).unwrap_err().kind, ErrorKind::NotThisWire, "{bytes:?}");
    }
}

#[test]
fn invalid_fields_are_refused_with_the_reason() {
    let config = |codec: u8, width: u16, height: u16| {
        let mut body = vec![codec, 0, 0, 0];
        body.extend(width.to_le_bytes());
        body.extend(height.to_le_bytes());
        body.extend([0; 4]);
        raw(5, 0, &body)
    };
    let cases = [
        (raw(1, 0, b"\xff"), "UTF-8"),
        (raw(2, 0, b""), "a stream's name is empty"),
        (raw(2, 0, b"a/b"), "'/' is not allowed"),
        (raw(3, 0, b"a\x1b[2J"), "'\\u{1b}' is not allowed"),
        (raw(3, 0, &[b'x'; 65]), "65 bytes is over the limit of 64"),
        (raw(4, 0, b"\xc3"), "UTF-8"),
        (config(9, 640, 480), "codec 9 is unknown"),
        (config(1, 0, 480), "0x480 has no pixels"),
        (config(1, 8193, 1), "8193x1 is over the limit"),
        (config(1, 8192, 8192), "40 million"),
        (raw(12, 0, b"\x01\0\0\0\xff"), "UTF-8"),
    ];
    for (bytes, fault) in cases {
        let error = decode(&bytes, 4).unwrap_err();
        assert!(error.to_string().contains(fault), "{error}");
        assert_eq!(error.offset, 8);
    }
}

#[test]
fn a_body_one_byte_short_of_its_fields_is_refused() {
    for (kind, fields) in [(5, 12), (6, 48), (7, 32), (8, 8), (9, 24), (10, 4), (11, 4), (12, 4), (16, 24)] {
        let error = decode(&raw(kind, 0, &vec![1; fields - 1]), 4).unwrap_err();
        let short = matches!(error.kind, ErrorKind::TooShort { length, .. } if length == fields - 1);
        assert!(short, "kind {kind}: {error}");
        if kind != 5 {
            assert_eq!(decode(&raw(kind, 0, &vec![1; fields]), 4).unwrap().len(), 1, "kind {kind}");
        }
    }
}

#[test]
fn from_bytes_accepts_exactly_one_message() {
    let whole = Message::Ping { sent: 1 }.to_bytes();
    let limits = Limits::default();
    for cut in 0..whole.len() {
        assert!(Message::from_bytes(whole.slice(..cut), &limits).is_err(), "cut at {cut}");
    }
    let mut longer = whole.to_vec();
    longer.push(0);
    let error = Message::from_bytes(longer.into(), &limits).unwrap_err().to_string();
    assert!(error.contains("announces 16 bytes and the message has 17"), "{error}");
    let unknown = Bytes::from_static(&[200, 0, 0, 0, 1, 0, 0, 0, 42]);
    assert_eq!(Message::from_bytes(unknown, &limits), Ok(None));
}

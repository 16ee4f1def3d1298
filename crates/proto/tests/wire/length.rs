//! The wire of the many scripts that push a length and then a picture: every length before every kind of picture, and the lengths that
//! could be two things.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use framewire_proto::{
    Codec, Limits,
    limits::LARGEST_FRAME,
    wire::{
        Verdict, WIRES,
        length::{Body, Layout, Length, recognise},
        tutorial::{Picture, Received},
    },
};

use crate::{
    pickle::image,
    tutorials::{pictures, receive, recognised},
};

const LITTLE: [Length; 3] = [binary(2, false), binary(4, false), binary(8, false)];
const BIG: [Length; 3] = [binary(2, true), binary(4, true), binary(8, true)];
const TEXTS: [usize; 7] = [4, 8, 10, 16, 20, 32, 64];

const fn binary(width: usize, big: bool) -> Length {
    Length::Binary { width, big }
}

/// How a length in text is padded.
type Pad = fn(usize, usize) -> String;
const PADS: [Pad; 3] = [
    |length, width| format!("{length:<width$}"),
    |length, width| format!("{length:>width$}"),
    |length, width| format!("{length:0width$}"),
];

/// The bytes of a camera with these pictures.
fn written(length: Length, pad: Pad, pictures: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::new();
    for picture in pictures {
        let number = picture.len();
        match length {
            Length::Binary { width, big: true } => out.extend(&(number as u64).to_be_bytes()[8 - width..]),
            Length::Binary { width, big: false } => out.extend(&(number as u64).to_le_bytes()[..width]),
            Length::Text { width } => out.extend(pad(number, width).bytes()),
            Length::Netstring => out.extend(format!("{number}:").bytes()),
            Length::None => {}
        }
        out.extend_from_slice(picture);
        out.extend((length == Length::Netstring).then_some(b','));
    }
    out
}

/// Bytes that begin and end like a JPEG, so many.
fn jpeg(length: usize) -> Bytes {
    let mut bytes = vec![7; length];
    bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
    bytes[length - 2..].copy_from_slice(&[0xff, 0xd9]);
    bytes.into()
}

fn picture(data: &Bytes) -> Received {
    Received::Picture(Picture { codec: Codec::Jpeg, size: None, sent: None, data: data.clone() })
}

/// As they are received: the layout and these JPEGs.
fn received(length: Length, body: Body, jpegs: &[Bytes]) -> Vec<Received> {
    std::iter::once(recognised_as(length, body)).chain(jpegs.iter().map(picture)).collect()
}

fn recognised_as(length: Length, body: Body) -> Received {
    Received::Recognised(Layout { length, body }.to_string())
}

fn taken(bytes: &[u8]) -> Vec<Received> {
    let (received, error) = receive("length", bytes, usize::MAX, &Limits::default());
    assert_eq!(error, None, "'{}'", bytes[..bytes.len().min(32)].escape_ascii());
    received
}

/// A JPEG as it is pickled as `bytes` in protocol 3.
fn pickled(jpeg: &Bytes) -> Bytes {
    [b"\x80\x03B", &(jpeg.len() as u32).to_le_bytes()[..], jpeg, b"q\0."].concat().into()
}

/// A JPEG in base64, with or without line breaks.
fn coded(jpeg: &Bytes, lines: bool) -> Bytes {
    let coded = STANDARD.encode(jpeg);
    if !lines {
        return coded.into();
    }
    coded.as_bytes().chunks(76).flat_map(|line| [line, b"\n"].concat()).collect()
}

#[test]
fn every_length_stands_before_every_kind_of_picture() {
    let jpegs = pictures();
    let bodies = [
        (Body::Jpeg, jpegs.clone()),
        (Body::PickledJpeg, jpegs.clone().map(|jpeg| pickled(&jpeg))),
        (Body::Base64, jpegs.clone().map(|jpeg| coded(&jpeg, false))),
        (Body::Base64, jpegs.clone().map(|jpeg| coded(&jpeg, true))),
    ];
    let texts = TEXTS.map(|width| Length::Text { width });
    let lengths = [&LITTLE[1..], &BIG[1..], &texts, &[Length::Netstring]].concat();
    for (length, pad) in lengths.into_iter().flat_map(|length| PADS.map(|pad| (length, pad))) {
        for (body, written_as) in &bodies {
            let bytes = written(length, pad, written_as);
            if (length, *body) == (Length::Text { width: 64 }, Body::Base64) && bytes[0] != b' ' && bytes[0] != b'0' {
                continue; // That is the base64 tutorial's, but for the time behind it.
            }
            let expected = received(length, *body, &jpegs);
            assert_eq!(taken(&bytes), expected, "{length:?} {body:?}");
            assert_eq!(receive("length", &bytes, 1, &Limits::default()), (expected, None), "{length:?} {body:?}");
            recognised(Some("length"), &bytes);
        }
    }
    for length in [LITTLE[0], BIG[0], Length::None] {
        let bytes = written(length, PADS[0], &jpegs);
        let expected = received(length, Body::Jpeg, &jpegs);
        assert_eq!(receive("length", &bytes, 1, &Limits::default()), (expected, None), "{length:?}");
        recognised(Some("length"), &bytes);
    }
}

#[test]
fn what_is_recognised_is_said_in_words() {
    let said = |length, body| Layout { length, body }.to_string();
    assert_eq!(said(BIG[1], Body::PickledJpeg), "4-byte big-endian length, then a pickled JPEG");
    assert_eq!(said(LITTLE[2], Body::PickledArray), "8-byte little-endian length, then a pickled array");
    assert_eq!(
        said(Length::Text { width: 16 }, Body::Base64),
        "length in 16 characters of text, then a JPEG in base64"
    );
    assert_eq!(said(Length::Netstring, Body::Jpeg), "netstring with a JPEG");
    assert_eq!(said(Length::None, Body::Jpeg), "JPEGs one after another without a length");
}

/// Lengths that are possible in both orders. The end of the picture decides, or the beginning of the next.
#[test]
fn the_order_of_a_lengths_bytes_is_found_by_where_pictures_end() {
    for length in [0x100, 0x1_0000, 0x7_1100, 0x10_2000, 0x12_3400, 0x2_0100, 0x50_0000] {
        for order in [LITTLE[1], BIG[1]] {
            let ended = [jpeg(length), jpeg(300), jpeg(length)];
            let endless = ended.clone().map(|jpeg| jpeg.slice(..jpeg.len() - 2));
            for jpegs in [ended, endless] {
                let bytes = written(order, PADS[0], &jpegs);
                let (got, error) = receive("length", &bytes, 50_000, &Limits::default());
                assert_eq!((got.len(), error), (4, None), "{length:x} {order:?}");
                assert_eq!(got[1..], received(order, Body::Jpeg, &jpegs)[1..], "{length:x} {order:?}");
            }
        }
    }
    for (length, order) in [(0x0102, LITTLE[0]), (0x0102, BIG[0]), (0x2000, BIG[0]), (0x2000, LITTLE[0])] {
        let jpegs = [jpeg(length), jpeg(999)];
        let (got, error) = receive("length", &written(order, PADS[0], &jpegs), 7, &Limits::default());
        assert_eq!((got, error), (received(order, Body::Jpeg, &jpegs), None), "{length:x} {order:?}");
    }
    for order in [LITTLE[1], BIG[1]] {
        let big = pickled(&jpeg(0x0002_0100 - 10));
        assert_eq!(big.len(), 0x0002_0100);
        let got = taken(&written(order, PADS[0], &[big, pickled(&jpeg(500))]));
        assert_eq!(got, received(order, Body::PickledJpeg, &[jpeg(0x0002_0100 - 10), jpeg(500)]), "{order:?}");
    }
}

/// A length that is the same in both orders leaves the order open until another comes.
#[test]
fn a_palindrome_is_no_order() {
    for order in [LITTLE[1], BIG[1]] {
        let jpegs = [jpeg(0x0001_0100), jpeg(0x0000_0100), jpeg(5_000)];
        let got = taken(&written(order, PADS[0], &jpegs));
        let [first, others @ ..] = &jpegs;
        assert_eq!(got, [vec![picture(first)], received(order, Body::Jpeg, others)].concat(), "{order:?}");
    }
}

#[test]
fn a_picture_is_given_as_soon_as_it_is_whole() {
    let jpegs = pictures();
    for length in [LITTLE[1], BIG[1], LITTLE[2], BIG[2], Length::Text { width: 16 }] {
        let first = written(length, PADS[0], &jpegs[..1]);
        assert_eq!(taken(&first), received(length, Body::Jpeg, &jpegs[..1]), "{length:?}");
    }
}

#[test]
fn no_length_of_a_picture_is_mistaken_for_another_wires() {
    let magic = [0xff, 0xd8, 0xff, 0xe0, 0, 16];
    for length in (1..70_000).chain((70_000..LARGEST_FRAME as u32).step_by(9_973)) {
        for bytes in [length.to_le_bytes(), length.to_be_bytes()] {
            recognised(Some("length"), &[&bytes[..], &magic].concat());
        }
        let long = u64::from(length);
        for bytes in [long.to_le_bytes(), long.to_be_bytes()] {
            recognised(Some("length"), &[&bytes[..], &magic].concat());
        }
    }
}

#[test]
fn no_more_bytes_are_waited_for_than_needed() {
    let verdict = |bytes: &[u8]| recognise(bytes);
    assert_eq!(verdict(b"\0\0\x03\xae\xff\xd8"), Verdict::More);
    assert_eq!(verdict(b"\0\0\x03\xae\xff\xd8\xff"), Verdict::Yes);
    assert_eq!(verdict(b"\xff\xd8\xff"), Verdict::Yes);
    assert_eq!(verdict(b"942             \xff\xd8\xff"), Verdict::Yes);
    assert_eq!(verdict(b"942:\xff\xd8\xff"), Verdict::Yes);
    for no in
        [&b"\0\0\x03\xae\x89PNG"[..], b"942             <", b"942;", b"\0\0\0\0\0\0\0\0", b"hello", b"\x20\0\0\x20"]
    {
        assert_eq!(verdict(no), Verdict::No, "'{}'", no.escape_ascii());
    }
    // An lhh header has a size; a length of 8 bytes has zeros there.
    let name = |bytes: &[u8]| WIRES.iter().find(|wire| (wire.recognise)(bytes) == Verdict::Yes).map(|wire| wire.name);
    assert_eq!(name(b"\xae\x03\0\0\0\0\0\0\xff\xd8\xff"), Some("length"));
    assert_eq!(name(b"\xae\x03\0\0\x80\x02\xe0\x01\xff\xd8\xff"), Some("lhh"));
    assert_eq!(name(b"\xae\x03\0\0\x80\x02cnumpy."), Some("length"));
}

#[test]
fn a_length_of_zero_is_the_end() {
    let jpegs = pictures();
    let end = Bytes::new();
    let texts = [Length::Text { width: 16 }, Length::Netstring];
    for length in LITTLE.into_iter().chain(BIG).chain(texts) {
        let bytes = written(length, PADS[0], &[jpegs[0].clone(), end.clone()]);
        let got = taken(&bytes);
        assert_eq!(got, [received(length, Body::Jpeg, &jpegs[..1]), vec![Received::End]].concat(), "{length:?}");
    }
}

#[test]
fn what_is_too_large_is_passed_over_and_the_next_is_given() {
    let limits = Limits { frame: 1_000, raw: 1_000, ..Limits::default() };
    let texts = [Length::Text { width: 10 }, Length::Netstring];
    for length in [LITTLE[1], BIG[1], LITTLE[2], BIG[2]].into_iter().chain(texts) {
        for first in [1_001, 900] {
            let jpegs = [jpeg(first), jpeg(5_555), jpeg(800)];
            let bytes = written(length, PADS[0], &jpegs);
            for chunk in [1, 100, usize::MAX] {
                let (got, error) = receive("length", &bytes, chunk, &limits);
                let large: Vec<_> =
                    got.iter().filter(|one| matches!(one, Received::TooLarge { limit: 1_000, .. })).collect();
                assert_eq!((large.len(), error), (if first > 1_000 { 2 } else { 1 }, None), "{length:?} {first}");
                assert_eq!(got.last(), Some(&picture(&jpegs[2])), "{length:?} {first}");
            }
        }
    }
}

#[test]
fn a_length_that_cannot_be_is_refused_and_said() {
    let good = written(BIG[1], PADS[0], &pictures());
    let bytes = [&good[..], b"\xff\xff\xff\xff"].concat();
    let error = receive("length", &bytes, 1, &Limits::default()).1.unwrap().to_string();
    assert!(error.contains("a picture of 4294967295 bytes is over the limit of 8388608"), "{error}");
    let text = [&written(Length::Text { width: 16 }, PADS[0], &pictures())[..], b"no number of 16."].concat();
    let error = receive("length", &text, 1, &Limits::default()).1.unwrap().to_string();
    assert!(error.contains("'no number of 16.' does not begin with a number"), "{error}");
    let netstring = b"4:\xff\xd8\xff\xe0;";
    let error = receive("length", netstring, 1, &Limits::default()).1.unwrap().to_string();
    assert!(error.contains("no comma follows"), "{error}");
    let error = receive("length", b"\0\0\x03\xae\x89PNG", 1, &Limits::default()).1.unwrap().to_string();
    assert!(error.contains("no JPEG, no base64 of one and no pickle begins behind"), "{error}");
}

#[test]
fn an_array_of_pixels_is_read_behind_every_length() {
    let pixels = image(2, 4, 0);
    let array = [
        &b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01K\x02K\x04K\x03\x87"[..],
        b"cnumpy\ndtype\nX\x02\0\0\0u1\x89\x88\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\x18",
        &pixels,
        b"tb.",
    ]
    .concat();
    for length in [LITTLE[1], BIG[1], LITTLE[2], BIG[2], Length::Text { width: 10 }, Length::Netstring] {
        let got = taken(&written(length, PADS[0], &[array.clone().into()]));
        let expected = Picture { codec: Codec::Bgr24, size: Some((4, 2)), sent: None, data: pixels.clone().into() };
        assert_eq!(got[1..], [Received::Picture(expected)], "{length:?}");
        assert_eq!(got[0], recognised_as(length, Body::PickledArray));
    }
}

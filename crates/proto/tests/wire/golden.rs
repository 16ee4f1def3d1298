//! Committed bytes that PROTOCOL.md explains: what was once sent is read for ever.

use std::{env, fs, path::Path};

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame, Limits, Name, Orientation, PixelAspect, Rendition, Times,
    wire::native::{Message, Report, Service, Session, State, Token, code},
};

use crate::util::{decode, encode};

/// Write the captures again when the wire is meant to change.
const REGENERATE: &str = "FRAMEWIRE_WRITE_GOLDEN";

/// What a publisher sends.
fn publisher() -> Vec<Message> {
    vec![
        Message::Hello { software: "framewire 0.1.0".into() },
        Message::Ping { sent: 1_000_000 },
        Message::Session(Session { token: Token(*b"16 random bytes!"), turn: 2 }),
        Message::Publish { name: name(), passthrough: false },
        Message::Pong { pinged: 5_000_000, received: 1_000_400, sent: 1_000_410 },
        Message::Config(jpeg()),
        Message::Frame(frame()),
        Message::Bye { text: "the file has ended".into() },
    ]
}

/// What a hub answers a publisher.
fn to_publisher() -> Vec<Message> {
    vec![
        Message::Hello { software: "framewire 0.1.0".into() },
        Message::Pong { pinged: 1_000_000, received: 4_999_900, sent: 4_999_910 },
        Message::Accepted { name: name() },
        Message::Ping { sent: 5_000_000 },
        Message::Demand { viewers: 1 },
        Message::Report(Report { sequence: 7, received: 5_012_000, ..Report::default() }),
    ]
}

/// What a viewer sends.
fn viewer() -> Vec<Message> {
    vec![
        Message::Hello { software: "viewer.py".into() },
        Message::Ping { sent: 2_000_000 },
        Message::Subscribe { name: name(), wait: true, every: false, jpegs: false },
        Message::Report(Report { sequence: 7, received: 2_000_500, ..Report::default() }),
        Message::Report(Report { sequence: 7, received: 2_000_500, decoded: 2_002_000, shown: 2_010_000 }),
    ]
}

/// What a hub answers a viewer.
fn to_viewer() -> Vec<Message> {
    let mut frame = frame();
    frame.times = Times {
        captured: 5_008_000,
        encoded: 5_010_500,
        sent: 5_010_600,
        received: 5_012_000,
        forwarded: 5_012_050,
        ..Times::default()
    };
    vec![
        Message::Hello { software: "framewire 0.1.0".into() },
        Message::Pong { pinged: 2_000_000, received: 5_011_000, sent: 5_011_010 },
        Message::Accepted { name: name() },
        Message::Ping { sent: 5_011_020 },
        Message::State(State::Live),
        Message::Config(jpeg()),
        Message::Frame(frame),
    ]
}

/// What a hub says to who asks for a stream that is not there.
fn refused() -> Vec<Message> {
    vec![
        Message::Hello { software: "framewire 0.1.0".into() },
        Message::Error { code: code::NO_SUCH_STREAM, text: "no stream is called 'dor'; there is: door".into() },
    ]
}

/// A configuration of each codec, the longest fields, and what else is rare.
fn rare() -> Vec<Message> {
    let mut messages: Vec<Message> = Codec::ALL
        .into_iter()
        .map(|codec| {
            let extra = Bytes::from_static(if codec == Codec::H264 { &[0, 0, 0, 1, 0x67] } else { &[] });
            Message::Config(Config { extra, ..Config::new(codec, 1920, 1080, 29_970) })
        })
        .collect();
    messages.extend([
        Message::Subscribe { name: Name::from_lossy("straße@hof:2"), wait: false, every: true, jpegs: true },
        Message::Frame(Frame { sequence: u64::MAX, keyframe: false, times: Times::default(), data: Bytes::new() }),
        Message::State(State::Stalled),
        Message::State(State::Idle),
        Message::Demand { viewers: 0 },
        Message::Keyframe,
        Message::Service(Service {
            rendition: Rendition::High,
            capacity: 4_000_000,
            delivered: 300,
            superseded: 7,
            undecodable: 2,
            full: 0,
        }),
        Message::Bye { text: String::new() },
        Message::Fault { text: "camera /dev/video0 was unplugged".into() },
    ]);
    messages
}

/// Every kind of message once or more.
pub(crate) fn conversation() -> Vec<Message> {
    [publisher(), to_publisher(), viewer(), to_viewer(), refused(), rare()].concat()
}

#[test]
fn captures_are_read_and_written_as_ever() {
    let captures = [
        ("publisher", publisher()),
        ("to-publisher", to_publisher()),
        ("viewer", viewer()),
        ("to-viewer", to_viewer()),
        ("refused", refused()),
        ("rare", rare()),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/native");
    for (name, messages) in captures {
        let path = folder.join(name).with_extension("bin");
        let bytes = encode(&messages);
        if env::var_os(REGENERATE).is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; {}", path.display(), hint()));
        assert_eq!(decode(&golden, 13).as_ref(), Ok(&messages), "{name}: {}", hint());
        assert_eq!(golden, bytes, "{name}: {}", hint());
    }
}

#[test]
fn the_documentation_shows_the_captures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../../PROTOCOL.md")).unwrap();
    for name in ["viewer", "to-viewer"] {
        let (_, section) = page.split_once(&format!("`{name}.bin`, what")).expect(name);
        let block = section.split("```").nth(1).expect(name);
        let shown: Vec<u8> = block.lines().flat_map(hex).collect();
        assert_eq!(shown, fs::read(root.join(format!("testdata/native/{name}.bin"))).unwrap(), "{name}");
    }
}

/// The bytes that a line begins with.
fn hex(line: &str) -> impl Iterator<Item = u8> {
    let bytes = line.split_whitespace().map_while(|word| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2));
    bytes.collect::<Vec<_>>().into_iter()
}

fn hint() -> String {
    format!("if the wire was meant to change, run this test again with {REGENERATE}=1 and mend PROTOCOL.md")
}

fn name() -> Name {
    Name::from_lossy("door")
}

#[test]
fn how_pictures_are_shown_takes_bytes_that_were_zero() {
    let mut config = jpeg();
    config.presentation.orientation = Orientation::turned(1);
    config.presentation.pixel_aspect = PixelAspect::new(64, 45);
    let message = Message::Config(config);
    let bytes = message.to_bytes();
    assert_eq!(bytes[8..12], [1, 5, 64, 45]);
    assert_eq!(Message::from_bytes(bytes.clone(), &Limits::default()), Ok(Some(message)));
    for nonsense in [[8, 0, 0], [255, 0, 9], [0, 7, 0], [0, 1, 255]] {
        let mut bytes = bytes.to_vec();
        bytes[9..12].copy_from_slice(&nonsense);
        assert_eq!(Message::from_bytes(bytes.into(), &Limits::default()), Ok(Some(Message::Config(jpeg()))));
    }
}

fn jpeg() -> Config {
    Config::new(Codec::Jpeg, 1280, 720, 30_000)
}

/// A frame whose picture is a JPEG's first and last bytes: the wire does not look inside.
fn frame() -> Frame {
    let times = Times { captured: 1_008_500, encoded: 1_011_000, sent: 1_011_100, ..Times::default() };
    Frame { sequence: 7, keyframe: true, times, data: Bytes::from_static(&[0xff, 0xd8, 0xff, 0xd9]) }
}

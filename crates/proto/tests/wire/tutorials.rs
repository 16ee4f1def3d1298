//! The tutorials' wires through the public API: captures of the tutorials are read and written byte for byte, and damaged bytes
//! are refused with a reason.

use std::{fs, path::Path};

use bytes::Bytes;
use framewire_proto::{
    Codec, Limits, Micros, WireError,
    error::ErrorKind,
    limits::LARGEST_FRAME,
    wire::{
        PREFIX, Verdict, WIRES, Wire,
        native::PREAMBLE,
        tutorial::{Outgoing, Picture, Received, Transmit, Tutorial, Width},
    },
};
use proptest::prelude::*;

use crate::pickle;

/// When the captured pictures were sent.
const TIMES: [Micros; 2] = [1_620_123_630_000_042, 1_620_123_630_999_999];
const OK: Received = Received::Answer(b"ok");

pub(crate) fn testdata(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let hint = "testdata/make_tutorials.py writes the captures";
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; {hint}", path.display())).into()
}

pub(crate) fn tutorials() -> impl Iterator<Item = &'static Wire> {
    WIRES.iter().filter(|wire| wire.tutorial.is_some())
}

fn tutorial(name: &str) -> Tutorial {
    tutorials().find(|wire| wire.name == name).unwrap().tutorial.unwrap()
}

pub(crate) fn pictures() -> [Bytes; 2] {
    ["pictures/first.jpg", "pictures/second.jpg"].map(testdata)
}

/// Everything that the viewer's side receives from a camera's bytes, and the final error.
pub(crate) fn receive(wire: &str, bytes: &[u8], chunk: usize, limits: &Limits) -> (Vec<Received>, Option<WireError>) {
    let mut receiver = (tutorial(wire).receiver)(limits);
    let mut all = Vec::new();
    for bytes in bytes.chunks(chunk.max(1)) {
        receiver.push(bytes);
        loop {
            match receiver.pull() {
                Ok(Some(received)) => all.push(received),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}

fn taken(wire: &str, bytes: &[u8]) -> Vec<Received> {
    let (received, error) = receive(wire, bytes, usize::MAX, &Limits::default());
    assert_eq!(error, None, "{wire}");
    received
}

fn refused(wire: &str, bytes: &[u8]) -> WireError {
    receive(wire, bytes, 1, &Limits::default()).1.unwrap_or_else(|| panic!("{wire}: '{}'", bytes.escape_ascii()))
}

fn picture(data: Bytes, sent: Option<Micros>) -> Received {
    Received::Picture(Picture { codec: Codec::Jpeg, size: None, sent, data })
}

/// Each capture and what it contains.
fn captures() -> Vec<(&'static str, Bytes, Vec<Received>)> {
    let [first, second] = pictures();
    let plain = vec![picture(first.clone(), None), picture(second.clone(), None)];
    let timed = vec![picture(first.clone(), Some(TIMES[0])), picture(second.clone(), Some(TIMES[1]))];
    let answered = |data: &Bytes| vec![OK, OK, picture(data.clone(), None)];
    let end = || vec![Received::End];
    let pickles = pickle::tiny().into_iter().map(|(_, bytes, expected)| ("pickle", bytes, expected));
    let captures = vec![
        ("lhh", testdata("lhh/long8.bin"), plain.clone()),
        ("lhh", testdata("lhh/long4.bin"), plain.clone()),
        ("lhh", testdata("lhh/long8-empty-first.bin"), plain.clone()),
        ("lhh", testdata("lhh/long4-empty-first.bin"), plain.clone()),
        ("base64", testdata("base64/camera.bin"), timed),
        ("base64", testdata("base64/other-times.bin"), plain),
        ("stopwait", testdata("stopwait/camera.bin"), [answered(&first), answered(&second), end()].concat()),
        (
            "stopwait",
            testdata("stopwait/camera-again.bin"),
            [answered(&first), end(), answered(&second), end()].concat(),
        ),
    ];
    captures.into_iter().chain(pickles).collect()
}

/// The writes of a camera that sends these pictures. The viewer's side answers at once if it must.
fn transmit(wire: &str, width: Width, pictures: &[(Bytes, Micros)]) -> Vec<Bytes> {
    let mut camera = (tutorial(wire).transmitter)(width);
    let mut receiver = (tutorial(wire).receiver)(&Limits::default());
    let mut written = Vec::new();
    for (data, wall) in pictures {
        assert!(camera.ready(), "{wire}");
        camera.picture(&Outgoing { width: 640, height: 480, data: data.clone() }, *wall);
        written.extend(talk(camera.as_mut(), |bytes| answers(receiver.as_mut(), bytes)));
    }
    camera.finish();
    written.extend(talk(camera.as_mut(), |bytes| answers(receiver.as_mut(), bytes)));
    written
}

fn talk(camera: &mut dyn Transmit, mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<Bytes> {
    let mut written = Vec::new();
    while let Some(bytes) = camera.pull().unwrap() {
        camera.push(&answer(&bytes));
        written.push(bytes);
    }
    written
}

fn answers(receiver: &mut dyn framewire_proto::wire::tutorial::Receive, bytes: &[u8]) -> Vec<u8> {
    receiver.push(bytes);
    let mut answers = Vec::new();
    while let Some(received) = receiver.pull().unwrap() {
        if let Received::Answer(answer) = received {
            answers.extend_from_slice(answer);
        }
    }
    answers
}

#[test]
fn captures_are_read() {
    for (wire, bytes, expected) in captures() {
        assert_eq!(taken(wire, &bytes), expected, "{wire}");
    }
}

#[test]
fn captures_are_read_the_same_wherever_they_are_split() {
    for (wire, bytes, expected) in captures() {
        for cut in 0..=bytes.len() {
            let mut receiver = (tutorial(wire).receiver)(&Limits::default());
            let mut received = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                receiver.push(part);
                while let Some(one) = receiver.pull().unwrap() {
                    received.push(one);
                }
            }
            assert_eq!(received, expected, "{wire} cut at {cut}");
        }
        assert_eq!(receive(wire, &bytes, 1, &Limits::default()), (expected, None), "{wire} byte by byte");
    }
}

#[test]
fn the_bytes_sent_are_those_of_the_tutorials() {
    let [first, second] = pictures();
    let timed = [(first.clone(), TIMES[0]), (second.clone(), TIMES[1])];
    let written = |wire, width| transmit(wire, width, &timed).concat();
    assert_eq!(written("lhh", Width::Eight), testdata("lhh/long8.bin"));
    assert_eq!(written("lhh", Width::Four), testdata("lhh/long4.bin"));
    assert_eq!(written("base64", Width::default()), testdata("base64/camera.bin"));
    assert_eq!(written("stopwait", Width::default()), testdata("stopwait/camera.bin"));
}

#[test]
fn stopwait_sends_each_header_picture_and_end_in_a_write_of_its_own() {
    let [first, second] = pictures();
    let written = transmit("stopwait", Width::default(), &[(first.clone(), 0), (second.clone(), 0)]);
    let header = |data: &Bytes| Bytes::from(format!("{}, ", data.len()));
    assert_eq!(written, [header(&first), first, header(&second), second, Bytes::from("over")]);
}

#[test]
fn stopwait_has_at_most_one_answer_in_flight() {
    let [first, _] = pictures();
    let mut receiver = (tutorial("stopwait").receiver)(&Limits::default());
    receiver.push(format!("{}, ", first.len()).as_bytes());
    assert_eq!(receiver.pull(), Ok(Some(OK)));
    assert_eq!(receiver.pull(), Ok(None), "a header is answered once");
    receiver.push(&first[..first.len() - 1]);
    assert_eq!(receiver.pull(), Ok(None), "a picture is answered when it is whole");
    receiver.push(&first[first.len() - 1..]);
    assert_eq!(receiver.pull(), Ok(Some(OK)), "before it is decoded");
    assert_eq!(receiver.pull(), Ok(Some(picture(first, None))));
    assert_eq!(receiver.pull(), Ok(None));
}

/// A camera that has just sent a header.
fn asking() -> Box<dyn Transmit> {
    let mut camera = (tutorial("stopwait").transmitter)(Width::default());
    camera.picture(&Outgoing { width: 16, height: 16, data: Bytes::from_static(b"picture") }, 0);
    assert_eq!(camera.pull(), Ok(Some(Bytes::from("7, "))));
    assert_eq!(camera.pull(), Ok(None));
    camera
}

#[test]
fn stopwait_waits_for_each_complete_answer() {
    let mut camera = asking();
    camera.push(b"o");
    assert_eq!(camera.pull(), Ok(None));
    camera.push(b"k");
    assert_eq!(camera.pull(), Ok(Some(Bytes::from("picture"))));
    camera.finish();
    assert_eq!(camera.pull(), Ok(None), "the end waits for the answer too");
    assert!(!camera.ready());
    camera.push(b"ok");
    assert_eq!(camera.pull(), Ok(Some(Bytes::from("over"))));
    camera.push(b"ok, bye");
    assert_eq!(camera.pull(), Ok(None), "what comes after the end is of no interest");
    assert!(!camera.ready());
}

#[test]
fn stopwait_keeps_an_early_answer_for_its_turn() {
    let mut camera = asking();
    camera.push(b"okok");
    assert_eq!(camera.pull(), Ok(Some(Bytes::from("picture"))));
    assert!(!camera.ready());
    assert_eq!(camera.pull(), Ok(None));
    assert!(camera.ready());
}

#[test]
fn stopwait_refuses_any_other_answer() {
    for (answer, words) in
        [("no", "'no' is not 'ok'"), ("k", "'k' is not 'ok'"), ("okokok", "'okokok' was received where")]
    {
        let mut camera = asking();
        camera.push(answer.as_bytes());
        let error = camera.pull().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.offset, 0);
        camera.push(b"ok");
        assert_eq!(camera.pull(), Err(error));
        assert!(!camera.ready(), "{answer}");
    }
    let mut camera = asking();
    camera.push(b"ok");
    assert_eq!(camera.pull(), Ok(Some(Bytes::from("picture"))));
    camera.push(b"okok");
    assert_eq!(camera.pull().unwrap_err().offset, 2, "the next header has not been sent");
}

#[test]
fn stopwait_does_not_send_an_empty_picture() {
    let mut camera = (tutorial("stopwait").transmitter)(Width::default());
    camera.picture(&Outgoing { width: 16, height: 16, data: Bytes::new() }, 0);
    assert_eq!(camera.pull(), Ok(None));
    assert!(camera.ready());
}

/// A camera's announcement of a picture of this length, and how the picture begins.
fn announced(wire: &str, length: u64) -> Vec<u8> {
    let coded = (length as usize).div_ceil(3) * 4;
    match wire {
        "lhh" => [&length.to_le_bytes()[..], &[0x80, 2, 0xe0, 1, 0xff, 0xd8, 0xff]].concat(),
        "base64" => format!("{coded:<64}/9j/").into(),
        "stopwait" => format!("{length}, ").into(),
        _ => [&length.to_be_bytes()[..], &[0xff, 0xd8, 0xff]].concat(),
    }
}

#[test]
fn a_picture_over_the_limit_is_passed_over_and_the_next_is_given() {
    let [first, second] = pictures();
    let limits = Limits { frame: second.len(), raw: 0, ..Limits::default() };
    let large = Bytes::from([&first[..], &vec![7; 200_000], &[0xff, 0xd9]].concat());
    for wire in ["lhh", "base64", "stopwait", "length"] {
        for pictures in [[&first, &large, &second], [&large, &first, &second]] {
            let pictures = pictures.map(|data| (data.clone(), TIMES[0]));
            let bytes = transmit(wire, Width::Eight, &pictures).concat();
            for chunk in [1, 4_000, usize::MAX] {
                let (received, error) = receive(wire, &bytes, chunk, &limits);
                assert_eq!(error, None, "{wire}");
                let answers = received.iter().filter(|one| **one == OK).count();
                assert_eq!(answers, if wire == "stopwait" { 6 } else { 0 });
                let large = received.iter().filter(|one| matches!(one, Received::TooLarge { .. })).count();
                let given = received.iter().filter(|one| matches!(one, Received::Picture(_))).count();
                assert_eq!((large, given), (1, 2), "{wire} in pieces of {chunk}");
            }
        }
    }
}

#[test]
fn what_is_passed_over_is_not_held() {
    for wire in ["lhh", "base64", "stopwait", "length"] {
        let mut receiver = (tutorial(wire).receiver)(&Limits::default());
        receiver.push(&announced(wire, LARGEST_FRAME as u64));
        while receiver.pull().unwrap().is_some() {}
        for _ in 0..100 {
            receiver.push(&vec![7; 100_000]);
            assert_eq!(receiver.pull(), Ok(None), "{wire}");
            assert!(receiver.space().capacity() <= 256 << 10, "{wire}: {}", receiver.space().capacity());
        }
    }
}

#[test]
fn lengths_that_no_limit_allows_are_refused_when_they_are_announced() {
    for wire in ["lhh", "base64", "stopwait", "length"] {
        // In base64 with line breaks a picture may be longer than in bytes.
        for length in [2 * LARGEST_FRAME as u64, 9_999_999_999] {
            let error = refused(wire, &announced(wire, length));
            // The first length shows the layout, so one that cannot be is none.
            let refused = matches!(error.kind, ErrorKind::TooLong { .. }) || wire == "length";
            assert!(refused && error.offset == 0, "{error}");
        }
    }
}

#[test]
fn lhh_checks_the_limit_also_after_the_first_picture() {
    for (capture, header) in [("lhh/long4.bin", 8), ("lhh/long8.bin", 12)] {
        let mut bytes = testdata(capture).to_vec();
        let end = bytes.len() as u64;
        bytes.extend(&[0xff_u8; 12][..header]);
        let error = refused("lhh", &bytes);
        assert!(matches!(error.kind, ErrorKind::TooLong { .. }) && error.offset == end, "{error}");
    }
}

#[test]
fn wrong_bytes_are_refused_with_the_reason() {
    let [first, _] = pictures();
    let stopwait = format!("{}, ", first.len());
    let cases: [(&str, Vec<u8>, u64, &str); 12] = [
        ("lhh", b"GET / HTTP/1.1\r\n\r\n".into(), 0, "no JPEG begins after 8 or 12 bytes"),
        ("lhh", [[0; 12], [1; 12], [1; 12]].concat(), 12, "no JPEG"),
        ("base64", [b'x'; 64].into(), 0, "'xxxxxxxxxxxxxxxx' is not a number padded"),
        ("base64", [b' '; 64].into(), 0, "is not a number padded"),
        ("base64", [0xff; 64].into(), 0, "is not a number padded"),
        ("base64", format!("{:<64}", "-4").into(), 0, "'-4"),
        ("base64", format!("{:<64}/9j!{:<64}", 4, "").into(), 64, "a picture in base64"),
        ("base64", format!("{:<64}/9j/4{:<64}", 5, "").into(), 64, "a picture in base64"),
        ("stopwait", b"12;".into(), 0, "'12;' is neither 'LENGTH, ' nor 'over'"),
        ("stopwait", b", ".into(), 0, "neither"),
        ("stopwait", b"0, ".into(), 0, "0 bytes"),
        ("stopwait", [stopwait.as_bytes(), &first, b"out"].concat(), (stopwait.len() + first.len()) as u64, "'ou'"),
    ];
    for (wire, bytes, offset, words) in cases {
        let error = refused(wire, &bytes);
        assert!(error.to_string().contains(words) && error.wire == wire, "{error}");
        assert_eq!(error.offset, offset, "{error}");
    }
    assert!(refused("stopwait", b"01234567890").to_string().contains("neither"), "eleven digits are no length");
}

#[test]
fn an_error_is_returned_again() {
    for (wire, wrong) in [("lhh", [b'x'; 64]), ("base64", [b'x'; 64]), ("stopwait", [b'x'; 64]), ("pickle", [b'x'; 64])]
    {
        let mut receiver = (tutorial(wire).receiver)(&Limits::default());
        receiver.push(&wrong);
        let error = receiver.pull().unwrap_err();
        receiver.push(&captures().iter().find(|capture| capture.0 == wire).unwrap().1);
        assert_eq!(receiver.pull(), Err(error));
    }
}

#[test]
fn base64_skips_an_empty_frame() {
    let empty = format!("{:<64}{:<64}", 0, "");
    let bytes = [empty.as_bytes(), &testdata("base64/camera.bin")].concat();
    assert_eq!(taken("base64", &bytes).len(), 2);
}

/// The verdict of each wire on these first bytes.
fn verdicts(prefix: &[u8]) -> Vec<(&'static str, Verdict)> {
    WIRES.iter().map(|wire| (wire.name, (wire.recognise)(prefix))).collect()
}

/// Checks that a connection is recognised as this wire: never excluded before, never taken for another, and
/// never changed after the decision.
pub(crate) fn recognised(name: Option<&str>, whole: &[u8]) {
    let mut decided = false;
    for length in 0..=whole.len().min(PREFIX) {
        let prefix = &whole[..length];
        let verdicts = verdicts(prefix);
        let shown = prefix.escape_ascii();
        for (wire, verdict) in &verdicts {
            assert!(name == Some(wire) || *verdict != Verdict::Yes, "{name:?} taken for {wire} at '{shown}'");
            assert!(name != Some(wire) || *verdict != Verdict::No, "{wire} excluded at '{shown}'");
        }
        let yes = verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Yes);
        assert!(yes || !decided, "{name:?} in doubt again at '{shown}'");
        decided = yes;
    }
    assert_eq!(decided, name.is_some(), "{name:?} by '{}'", whole[..whole.len().min(PREFIX)].escape_ascii());
}

#[test]
fn wires_are_recognised_at_every_length() {
    for (wire, capture, _) in captures().iter().filter(|capture| capture.1[..4] != [0; 4]) {
        // Cameras that push what the pickle tutorial's viewer fetches have a wire of their own.
        recognised(Some(if *wire == "pickle" { "length" } else { wire }), capture);
    }
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"] {
        recognised(Some("http"), format!("{method} / HTTP/1.1\r\n").as_bytes());
    }
    recognised(Some("native"), &[&PREAMBLE[..], &[0; 8]].concat());
    recognised(Some("stopwait"), b"over");
    recognised(Some("stopwait"), b"12, ");
    recognised(Some("stopwait"), b"1234567890, ");
    recognised(Some("base64"), format!("{:<64}/9j/", 1_234_567_890_u64).as_bytes());
    recognised(Some("base64"), format!("{:<64}iVBOR", 12_345).as_bytes());
    let pickled = |length: &[u8], begin: &[u8]| [length, begin].concat();
    for protocol in 2..=5 {
        for begin in [
            [0x80, protocol, 0x95, 0xa5, 0, 0, 0, 0, 0],
            *b"\x80\x03cnumpy.",
            [0x80, protocol, b'N', b'.', 4, 0, 0, 0, 0],
        ] {
            recognised(Some("length"), &pickled(&[0xa5, 0x84, 3, 0], &begin));
            recognised(Some("length"), &pickled(&[0xa5, 0x84, 3, 0, 0, 0, 0, 0], &begin));
        }
    }
    for protocol in [0, 1, 6, 0xff] {
        recognised(None, &pickled(&[0xa5, 0x84, 3, 0, 0, 0, 0, 0, 0x80, protocol], &[0; 8]));
    }
    for none in [&b"12345678901, "[..], b"1, ", b"RTSP/1.0", b"\x80\x04\x95", b"12345,123", b"123 456", &[0; 16]] {
        recognised(None, none);
    }
}

#[test]
fn an_lhh_length_over_the_limit_is_excluded_early() {
    let jpeg = [0x80, 2, 0xe0, 1, 0xff, 0xd8, 0xff];
    let over = LARGEST_FRAME as u32 + 1;
    for header in [&over.to_le_bytes()[..], &u64::from(over).to_le_bytes(), &(1_u64 << 32 | 1).to_le_bytes()] {
        recognised(None, &[header, &jpeg].concat());
    }
    for prefix in [over.to_le_bytes(), *b"GET ", *b"12, ", *b"12  "] {
        assert!(verdicts(&prefix).contains(&("lhh", Verdict::No)), "'{}'", prefix.escape_ascii());
    }
}

#[test]
fn no_length_of_an_lhh_picture_is_mistaken_for_text() {
    // Some of these lengths consist of digits, commas and spaces: 0x2c31 is "1,", 0x2031 is "1 ".
    let lengths =
        (1..70_000).chain((70_000..=Limits::default().frame as u32).step_by(251)).chain([0x20_2c31, 0x2c_3231]);
    for length in lengths {
        let jpeg = [0x80, 2, 0xe0, 1, 0xff, 0xd8, 0xff];
        for header in [&length.to_le_bytes()[..], &u64::from(length).to_le_bytes()] {
            recognised(Some("lhh"), &[header, &jpeg].concat());
        }
    }
}

const SMALL: Limits = Limits { frame: 999, raw: 999, text: 0, extra: 0, unknown: 0 };

/// Any bytes are read the same however they are split, and no picture is over its limit.
fn stays_within_limits(bytes: &[u8], chunk: usize) -> Result<(), TestCaseError> {
    for tutorial in tutorials() {
        let (received, error) = receive(tutorial.name, bytes, usize::MAX, &SMALL);
        for one in &received {
            if let Received::Picture(picture) = one {
                prop_assert!((1..=SMALL.frame).contains(&picture.data.len()));
            }
        }
        let (again, refused) = receive(tutorial.name, bytes, chunk, &SMALL);
        prop_assert_eq!(again, received);
        // The message may quote more bytes if more arrived at once.
        let place = |error: WireError| (error.offset, std::mem::discriminant(&error.kind));
        prop_assert_eq!(refused.map(place), error.map(place));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_pictures_arrive_as_sent(
        sent in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3_000), 0..253_402_300_800_000_000_u64), 1..6),
        eight: bool,
        chunk in 1..4_000_usize,
    ) {
        let jpeg = |data: &Vec<u8>| Bytes::from([&[0xff, 0xd8, 0xff], &data[..], &[0xff, 0xd9]].concat());
        let sent: Vec<_> = sent.iter().map(|(data, wall)| (jpeg(data), *wall)).collect();
        for tutorial in tutorials().filter(|wire| wire.tutorial.is_some_and(|tutorial| tutorial.codec == Codec::Jpeg)) {
            let bytes = transmit(tutorial.name, if eight { Width::Eight } else { Width::Four }, &sent).concat();
            let (received, error) = receive(tutorial.name, &bytes, chunk, &Limits::default());
            prop_assert_eq!(error, None);
            let arrived = received.into_iter().filter(|one| matches!(one, Received::Picture(_)));
            let timed = tutorial.name == "base64";
            let expected = sent.iter().map(|(data, wall)| picture(data.clone(), timed.then_some(*wall)));
            prop_assert_eq!(arrived.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn flipped_bits_stay_within_limits(
        capture in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 1..6),
        chunk in 1..400_usize,
    ) {
        let captures = captures();
        let mut bytes = capture.get(&captures).1.to_vec();
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        stays_within_limits(&bytes, chunk)?;
    }

    #[test]
    fn random_bytes_stay_within_limits(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        text in "[0-9]{1,4}(, | {0,60})[0-9, =/A-Za-z]{0,300}",
        chunk in 1..400_usize,
    ) {
        stays_within_limits(&bytes, chunk)?;
        stays_within_limits(text.as_bytes(), chunk)?;
        stays_within_limits(&[text.as_bytes(), &bytes].concat(), chunk)?;
        for prefix in 0..bytes.len().min(PREFIX + 1) {
            let sure = verdicts(&bytes[..prefix]).iter().filter(|(_, verdict)| *verdict == Verdict::Yes).count();
            prop_assert!(sure <= 1);
        }
    }

    #[test]
    fn random_answers_are_refused_or_incomplete(answers in prop::collection::vec(prop::sample::select(b"ok\0n"), 0..12)) {
        let mut camera = asking();
        camera.push(&answers);
        let mut written = 0;
        while let Ok(Some(_)) = camera.pull() {
            written += 1;
        }
        prop_assert_eq!(written, usize::from(answers.starts_with(b"ok") && answers.len() <= 4));
    }
}

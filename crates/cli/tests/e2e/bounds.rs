//! Frames over the limit: those who make them drop and count them, those who get them pass over them, and nobody hangs up.

use std::{fs, io::Write as _};

use bytes::Bytes;
use framewire_proto::wire::native::{Message, code};

use crate::harness::{Hub, Peer, Running, Scratch, eventually, framewire, jpeg, output_fed, read_to_close};

/// Under this limit are the small pictures, and over it the large ones.
const LIMIT: &str = "64k";

/// A JPEG whose comments make it longer by so many bytes.
fn commented(jpeg: &[u8], more: usize) -> Bytes {
    let mut out = jpeg[..2].to_vec();
    for length in std::iter::repeat_n(60_000, more / 60_000) {
        out.extend([0xff, 0xfe]);
        out.extend((length as u16 + 2).to_be_bytes());
        out.extend(vec![b' '; length]);
    }
    out.extend(&jpeg[2..]);
    out.into()
}

/// Two small pictures, a large one and a small one.
fn mixed() -> Vec<Bytes> {
    let small = [40, 80, 120].map(jpeg);
    vec![small[0].clone(), small[1].clone(), commented(&small[1], 300_000), small[2].clone()]
}

/// The same as a film.
fn film(scratch: &Scratch) -> String {
    let path = scratch.file("mixed.mjpeg");
    fs::write(&path, mixed().concat()).expect("a film");
    path
}

/// How many JPEGs there are, and the longest of them.
fn jpegs(bytes: &[u8]) -> (usize, usize) {
    let starts: Vec<usize> =
        bytes.windows(3).enumerate().filter(|(_, three)| *three == [0xff, 0xd8, 0xff]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    (starts.len(), starts.iter().zip(ends).map(|(start, end)| end - start).max().unwrap_or(0))
}

#[test]
fn a_hub_passes_over_a_publishers_frame_and_keeps_the_connection() {
    let mut hub = Hub::start(&["--max-frame", LIMIT]);
    let mut publisher = Peer::publish(&hub, "door");
    for (sequence, picture) in mixed().iter().enumerate() {
        publisher.send_jpeg(sequence as u64, picture);
        publisher.wait_for(
            "a report",
            |message| matches!(message, Message::Report(report) if report.sequence == sequence as u64),
        );
    }
    let stream = hub.wait_until("door", "has the small ones", |stream| stream["published"] == 3);
    assert_eq!(stream["missed"], 1);
    hub.running.has_printed("is over the limit of 65536 and was dropped (1 so far)");
}

#[test]
fn a_sender_drops_and_counts_what_is_over_its_limit() {
    let scratch = Scratch::new("bounds-sender");
    let hub = Hub::start(&[]);
    let send =
        ["send", &film(&scratch), &hub.fw("film"), "--codec", "copy", "--fps", "20", "--loop", "--max-frame", LIMIT];
    let mut sender = Running::start(framewire(send));
    sender.wait_for("publishing 'film'");
    let got = output_fed(framewire(["record", &hub.fw("film"), "-", "--format", "mjpeg", "--duration", "2"]), vec![]);
    let (count, longest) = jpegs(&got);
    assert!(count >= 10 && longest < 65_536, "{count} pictures, the longest of {longest} bytes");
    sender.has_printed("is over the limit of 65536 and was dropped");
    assert!(hub.stream("film").expect("the stream")["missed"].as_u64().is_some_and(|missed| missed > 3));
}

#[test]
fn a_hub_drops_what_its_viewers_would_pass_over() {
    let scratch = Scratch::new("bounds-hub");
    let source = format!("film={}#loop#codec=copy#fps=20", film(&scratch));
    let hub = Hub::start(&["--max-frame", LIMIT, "--source", &source]);
    let got = output_fed(framewire(["record", &hub.fw("film"), "-", "--format", "mjpeg", "--duration", "2"]), vec![]);
    let (count, longest) = jpegs(&got);
    assert!(count >= 10 && longest < 65_536, "{count} pictures, the longest of {longest} bytes");
    let stream = hub.stream("film").expect("the stream");
    assert!(stream["dropped"]["too_large"].as_u64().is_some_and(|dropped| dropped > 3), "{stream}");
}

#[test]
fn a_viewer_passes_over_what_is_over_its_limit() {
    let scratch = Scratch::new("bounds-viewer");
    let source = format!("film={}#loop#codec=copy#fps=20", film(&scratch));
    let mut hub = Hub::start(&["--source", &source]);
    let from = format!("{}#max-frame={LIMIT}", hub.fw("film"));
    let (mut viewer, _, mut out) =
        Running::start_piped(framewire(["record", &from, "-", "--format", "mjpeg", "--duration", "2"]));
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut got).expect("pictures");
    let (count, longest) = jpegs(&got);
    assert!(count >= 10 && longest < 65_536, "{count} pictures, the longest of {longest} bytes");
    viewer.has_printed("is over the limit of 65536 and was dropped");
    assert!(!hub.running.printed().contains("closed"), "{}", hub.running.printed());
}

#[test]
fn standard_input_goes_on_after_a_frame_over_the_limit() {
    let record = framewire(["record", "-", "-", "--format", "mjpeg", "--max-frame", LIMIT]);
    let (count, longest) = jpegs(&output_fed(record, mixed().concat()));
    assert!(count == 3 && longest < 65_536, "{count} pictures, the longest of {longest} bytes");
}

#[test]
fn a_raised_limit_lets_large_frames_through() {
    let scratch = Scratch::new("bounds-raised");
    let path = scratch.file("large.mjpeg");
    fs::write(&path, [jpeg(9), commented(&jpeg(10), 9 << 20)].concat()).expect("a film");
    let mut hub = Hub::start(&["--max-frame", "32M"]);
    let _send = Running::start(framewire([
        "send",
        &path,
        &hub.fw("film"),
        "--codec",
        "copy",
        "--fps",
        "5",
        "--loop",
        "--max-frame",
        "32M",
    ]));
    hub.running.wait_for("publishes 'film'");
    let record = ["record", &hub.fw("film"), "-", "--format", "mjpeg", "--duration", "3", "--max-frame", "32M"];
    let (count, longest) = jpegs(&output_fed(framewire(record), vec![]));
    assert!(count > 2 && longest > 8 << 20, "{count} pictures, the longest of {longest} bytes");
}

#[test]
fn an_error_arrives_though_its_receiver_still_sends() {
    let hub = Hub::start(&[]);
    let mut publisher = Peer::publish(&hub, "door");
    let picture = commented(&jpeg(7), 1 << 20);
    publisher.send_jpeg(0, &picture);
    // A second Publish is refused while much more is on its way.
    publisher
        .client
        .send(&Message::Publish { name: "yard".parse().expect("a name"), passthrough: false })
        .expect("sent");
    (1..5).for_each(|sequence| publisher.send_jpeg(sequence, &picture));
    let error = publisher.wait_for("the error", |message| matches!(message, Message::Error { .. }));
    assert!(matches!(error, Message::Error { code: code::UNEXPECTED, .. }), "{error:?}");
    // Over HTTP too.
    let mut client = hub.connect();
    client
        .write_all(b"POST /streams HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n")
        .expect("a request");
    client.write_all(&vec![0; 4 << 20]).expect("its body is taken, if not read");
    let answer = read_to_close(&mut client);
    assert!(answer.starts_with(b"HTTP/1.1 405"), "{}", answer.escape_ascii());
    eventually("the hub still answers", || (hub.get("/healthz").0 == 200).then_some(()));
}

//! Bad input gives a clear error and disturbs no other client.

use std::{io::Write, net::Shutdown, time::Instant};

use bytes::Bytes;
use framewire_proto::wire::native::{self, Message, code};

use crate::harness::{Hub, Peer, fails, framewire, jpeg, read_to_close, run};

/// A hub with a publisher and a viewer of another stream, to check that they are not disturbed.
struct Bystanders {
    hub: Hub,
    publisher: Peer,
    viewer: Peer,
    next: u64,
}

impl Bystanders {
    fn new() -> Self {
        Self::of(Hub::start(&[]))
    }

    fn of(hub: Hub) -> Self {
        let publisher = Peer::publish(&hub, "bystander");
        publisher.send_jpeg(0, &jpeg(0));
        hub.wait_until("bystander", "has a frame", |info| info["published"] == 1);
        let mut viewer = Peer::watch(&hub, "bystander");
        viewer.frame();
        Self { hub, publisher, viewer, next: 1 }
    }

    fn are_undisturbed(&mut self) {
        self.publisher.send_jpeg(self.next, &jpeg(77));
        self.next += 1;
        assert_eq!(self.viewer.frame().data, jpeg(77));
        let report = native::Report { sequence: self.next - 1, received: 1, ..native::Report::default() };
        self.viewer.client.send(&Message::Report(report)).unwrap();
    }
}

/// The answer of the hub to these bytes until it closes the connection.
fn answer(hub: &Hub, bytes: &[u8]) -> Vec<u8> {
    let mut stream = hub.connect();
    stream.write_all(bytes).unwrap();
    read_to_close(&mut stream)
}

/// The error in an answer.
fn error(answer: &[u8]) -> (u16, String) {
    let mut decoder = native::Decoder::new(framewire_proto::Limits::default());
    decoder.push(answer);
    while let Ok(Some(message)) = decoder.pull() {
        if let Message::Error { code, text } = message {
            return (code, text);
        }
    }
    panic!("no error in {answer:?}");
}

fn publish(name: &str) -> Vec<u8> {
    let mut bytes = native::PREAMBLE.to_vec();
    Message::Publish { name: name.parse().unwrap(), passthrough: false }.encode(&mut bytes);
    bytes
}

#[test]
fn a_length_of_four_gigabytes_is_refused_with_a_reason() {
    let mut bystanders = Bystanders::new();
    let mut bytes = publish("huge");
    bytes.extend([6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let (code, text) = error(&answer(&bystanders.hub, &bytes));
    assert_eq!(code, code::PROTOCOL);
    assert!(text.contains("4294967295") && text.contains("limit"), "{text}");
    bystanders.are_undisturbed();
}

#[test]
fn a_publisher_that_dies_within_a_frame_disturbs_no_other() {
    let mut bystanders = Bystanders::new();
    let mut bytes = publish("half");
    let mut frame = Vec::new();
    let whole = framewire_proto::Frame {
        sequence: 0,
        keyframe: true,
        times: framewire_proto::Times::default(),
        data: Bytes::from(vec![0; 100_000]),
    };
    Message::Frame(whole).encode(&mut frame);
    bytes.extend(&frame[..50_000]);
    let mut stream = bystanders.hub.connect();
    stream.write_all(&bytes).unwrap();
    bystanders.hub.wait_until("half", "is there", |_| true);
    stream.shutdown(Shutdown::Both).unwrap();
    bystanders.hub.wait_until("half", "is stalled", |info| info["state"] == "stalled");
    bystanders.are_undisturbed();
}

#[test]
fn random_bytes_close_their_connection() {
    let mut bystanders = Bystanders::new();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let noise: Vec<u8> = (0..256)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as u8
            })
            .collect();
        let mut stream = bystanders.hub.connect();
        // The hub may close the connection before it has read all of them.
        let _ = stream.write_all(&noise);
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(read_to_close(&mut stream), [0; 0], "an answer to noise");
    }
    bystanders.are_undisturbed();
}

#[test]
fn malformed_jpegs_are_dropped_and_the_stream_goes_on() {
    let mut bystanders = Bystanders::new();
    let good = jpeg(5);
    // The size in the frame header (T.81, B.2.2): height and width behind marker, length and precision.
    let place = good.windows(2).position(|two| two == [0xff, 0xc0]).unwrap() + 5;
    let mut bomb = good.to_vec();
    bomb[place..place + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let peer = Peer::publish(&bystanders.hub, "liar");
    for (sequence, bytes) in
        [Bytes::from(bomb), good.slice(..20), Bytes::from_static(b"no JPEG"), Bytes::new()].into_iter().enumerate()
    {
        peer.send_jpeg(sequence as u64, &bytes);
    }
    peer.send_jpeg(4, &good);
    let info = bystanders.hub.wait_until("liar", "has the good one", |info| info["published"].as_u64() > Some(0));
    assert_eq!(info["published"], 1, "{info}");
    bystanders.are_undisturbed();
}

#[test]
fn an_unknown_stream_is_an_error_that_lists_the_streams() {
    let bystanders = Bystanders::new();
    let mut peer = Peer::ask(
        &bystanders.hub,
        Message::Subscribe { name: "nowhere".parse().unwrap(), wait: false, every: false, jpegs: false },
    );
    let message = peer.wait_for("an error", |message| matches!(message, Message::Error { .. }));
    let Message::Error { code, text } = message else { unreachable!() };
    assert_eq!((code, text.as_str()), (code::NO_SUCH_STREAM, "there is no stream 'nowhere'; there is 'bystander'"));
}

#[test]
fn names_with_slashes_and_control_characters_are_refused() {
    let hub = Hub::start(&[]);
    for name in ["a%2Fb", "a/b", "a\u{7}b"] {
        let error = fails(framewire(["send", "pattern", &format!("fw://{}/{name}", hub.address)]));
        assert!(error.contains("is not allowed in a stream's name"), "{error}");
    }
    let mut bytes = native::PREAMBLE.to_vec();
    bytes.extend([2, 0, 0, 0, 3, 0, 0, 0]);
    bytes.extend(b"a/b");
    let (_, text) = error(&answer(&hub, &bytes));
    assert!(text.contains("'/'"), "{text}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let hub = Hub::start(&[]);
    let error = fails(framewire(["serve", "--listen", &hub.address.to_string()]));
    assert!(error.contains("another program listens there") && error.contains("--listen"), "{error}");
}

#[test]
fn listening_beyond_this_machine_needs_a_flag() {
    let error = fails(framewire(["serve", "--listen", "0.0.0.0:0"]));
    assert!(error.contains("--insecure"), "{error}");
}

#[test]
fn a_missing_hub_is_one_clear_line() {
    let hub = Hub::start(&[]);
    let gone = hub.address;
    drop(hub);
    let error = fails(framewire(["send", "pattern", &format!("fw://{gone}/x")]));
    assert!(error.contains("no hub listens there"), "{error}");
    let error = fails(framewire(["list", &gone.to_string()]));
    assert!(error.contains("no hub listens there"), "{error}");
}

#[test]
fn a_wrong_value_says_what_is_wrong_with_it() {
    for (arguments, reason) in [
        (&["send", "pattern#nonsense", "fw://h/x"][..], "'nonsense' is no option of a source: size=WxH, fps=N"),
        (&["send", "pattern#size=12", "fw://h/x"], "'12' is no size: write it like 1280x720"),
        (&["send", "pattern#fps", "fw://h/x"], "'fps' lacks its value: write it like fps=N"),
        (&["record", "a.mp4#loop=2", "o.mkv"], "'loop' takes no value"),
        (&["record", "a.mp4#codec=h265", "o.mkv"], "unknown codec 'h265': expected auto"),
        (&["view", "pattern#max-age=1"], "'1' is no age: a number of milliseconds from 10"),
        (&["doctor", ""], "a source is empty: name a camera"),
        (&["serve", "--source", "a=pattern#quality=0"], "'0' is no quality: a number from 1 to 100"),
        (&["serve", "--source", "pattern"], "'pattern' names no source: write it like door="),
        (&["serve", "--source", "a b=pattern"], "' ' is not allowed in a stream's name"),
        (&["serve", "--pickle", "127.0.0.1:9"], "names no stream: write it like 127.0.0.1:9999=door"),
        (&["send", "pattern", "fw://h/x", "--codec", "h265"], "unknown codec 'h265': expected auto"),
        (&["send", "pattern", "fw://h/x", "--quality", "0"], "'0' is no quality: a number from 1 to 100"),
        (&["send", "pattern", "fw://h/x", "--size", "9000x1"], "over the limit of 8192 pixels a side"),
        (&["send", "pattern", "fw://h/x", "--bitrate", "5"], "'5' is no bitrate: bits per second from 50k"),
        (&["send", "pattern", "fw://h/x", "--fps=-1"], "'-1' is no rate: frames per second from 0"),
        (&["send", "pattern", "fw://h/x", "--max-age", "1"], "'1' is no age: a number of milliseconds from 10"),
        (&["send", "pattern", "fw://h/x", "--duration", "0"], "'0' is no time: seconds over 0"),
        (&["record", "pattern", "-", "--format", "gif"], "'gif' is no format: y4m, mjpeg or bgr24"),
        (&["send", "pattern", "fw://h/x", "--stats", "xml"], "possible values: text, json"),
    ] {
        let ended = run(framewire(arguments));
        let printed = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {printed}");
        assert!(printed.contains(reason), "{arguments:?}: {printed}");
    }
}

#[test]
fn silent_and_slow_connections_are_closed_on_time() {
    let hub = Hub::start(&[]);
    let mut silent = hub.connect();
    let mut slow_native = hub.connect();
    slow_native.write_all(&native::PREAMBLE).unwrap();
    let mut slow_http = hub.connect();
    slow_http.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let begun = Instant::now();
    // In the order of their deadlines.
    for (stream, due) in [(&mut slow_native, 10.0), (&mut slow_http, 10.0), (&mut silent, 15.0)] {
        read_to_close(stream);
        let took = begun.elapsed().as_secs_f64();
        assert!((due - 0.5..due + 3.0).contains(&took), "closed after {took:.1} s, not after {due}");
    }
    Bystanders::of(hub).are_undisturbed();
}

//! Viewers that report falsely and publishers that ignore demand: no other client is affected.

use std::{
    thread,
    time::{Duration, Instant},
};

use framewire_proto::{
    Micros,
    wire::native::{Message, Report},
};

use crate::{
    harness::{Hub, Peer, Running, framewire, jpeg},
    internals::{clock, net::client::Received},
};

/// A viewer's report of a frame.
type Answer = fn(sequence: u64, now: Micros) -> Option<Report>;

/// False reports.
const LIARS: [Answer; 5] = [
    // It reports frames that were not sent yet.
    |_, now| Some(Report { sequence: u64::MAX, received: now, ..Report::default() }),
    |sequence, now| Some(Report { sequence: sequence + 7, received: now, decoded: now, shown: now }),
    // It reports frames as received long ago, as over an infinitely fast link.
    |sequence, _| Some(Report { sequence, received: 1, decoded: 1, shown: 1 }),
    // Its clock has jumped.
    |sequence, _| Some(Report { sequence, received: u64::MAX, decoded: u64::MAX, shown: u64::MAX }),
    // It never reports.
    |_, _| None,
];

/// How long a liar waits for a message before it checks whether the test is over.
const CHECK_TIME: Duration = Duration::from_millis(100);

/// Reports frames falsely until the test ends, or until the hub closes the connection. Returns how many frames it got.
fn lie(mut peer: Peer, answer: Answer, until: Instant) -> usize {
    let mut frames = 0;
    while Instant::now() < until {
        match peer.incoming.receive(CHECK_TIME) {
            Ok(Received::Message(Message::Frame(frame))) => {
                frames += 1;
                let report = answer(frame.sequence, clock::now()).map(Message::Report);
                if report.is_some_and(|report| peer.client.send(&report).is_err()) {
                    return frames;
                }
            }
            Ok(Received::Message(Message::Ping { sent })) => {
                // Its clock is wrong too.
                let _ = peer.client.send(&Message::Pong { pinged: sent, received: 3, sent: 5 });
            }
            Ok(_) => {}
            Err(_) => return frames,
        }
    }
    frames
}

#[test]
fn lying_viewers_harm_only_themselves() {
    let hub = Hub::start(&[]);
    let to = hub.fw("scene");
    let _sender = Running::start(framewire(["send", "pattern#size=320x240", &to]));
    hub.wait_until("scene", "is there", |info| info["published"].as_u64() > Some(0));
    let mut honest = Peer::watch(&hub, "scene");
    let until = Instant::now() + Duration::from_secs(4);
    let liars = LIARS.map(|answer| {
        let peer = Peer::watch(&hub, "scene");
        thread::spawn(move || lie(peer, answer, until))
    });
    let (mut frames, mut last) = (0, None);
    while Instant::now() < until {
        let frame = honest.frame();
        let report = Report { sequence: frame.sequence, received: clock::now(), ..Report::default() };
        honest.client.send(&Message::Report(report)).unwrap();
        assert!(last.is_none_or(|last| last < frame.sequence));
        last = Some(frame.sequence);
        frames += 1;
    }
    let lied = liars.map(|liar| liar.join().expect("a liar that ends"));
    assert!(lied.iter().all(|frames| *frames > 0), "every liar had a frame to lie about: {lied:?}");
    assert!(frames >= 60, "{frames} frames in 4 s");
    let info = hub.stream("scene").unwrap();
    assert_eq!(info["state"], "live");
    let renditions = info["renditions"].as_array().unwrap();
    assert_eq!(renditions.len(), 1, "nothing was transcoded for them: {info}");
    let downlink = info["latency_ms"]["downlink"]["max"].as_f64().unwrap();
    assert!(downlink < 4_000.0, "impossible times are ignored: {info}");
}

#[test]
fn a_publisher_that_ignores_demand_is_served_too() {
    let hub = Hub::start(&[]);
    let mut peer = Peer::publish(&hub, "stubborn");
    for sequence in 0..200 {
        peer.send_jpeg(sequence, &jpeg(sequence as u8));
    }
    let last = |message: &Message| matches!(message, Message::Report(report) if report.sequence == 199);
    peer.wait_for("a report of the last frame", last);
    let info = hub.stream("stubborn").unwrap();
    assert_eq!(
        (&info["published"], &info["delivered"], &info["viewers"]),
        (&200.into(), &0.into(), &0.into()),
        "{info}"
    );
    let mut viewer = Peer::watch(&hub, "stubborn");
    assert_eq!(viewer.frame().data, jpeg(199), "a new viewer gets the newest frame");
}

//! Viewers and publishers that lie or do not care: they harm nobody but themselves.

use std::{
    thread,
    time::{Duration, Instant},
};

use framewire::{clock, net::client::Received};
use framewire_proto::{
    Micros,
    wire::native::{Message, Report},
};

use crate::harness::{Hub, Peer, Running, framewire, jpeg};

/// What a viewer answers to a frame.
type Answer = fn(sequence: u64, now: Micros) -> Option<Report>;

/// The ways to lie.
const LIARS: [Answer; 5] = [
    // It has what was not sent yet, and all of it.
    |_, now| Some(Report { sequence: u64::MAX, received: now, ..Report::default() }),
    |sequence, now| Some(Report { sequence: sequence + 7, received: now, decoded: now, shown: now }),
    // It has everything at once: its link carries anything.
    |sequence, _| Some(Report { sequence, received: 1, decoded: 1, shown: 1 }),
    // Its clock has jumped.
    |sequence, _| Some(Report { sequence, received: u64::MAX, decoded: u64::MAX, shown: u64::MAX }),
    // It never reports.
    |_, _| None,
];

/// How long a liar waits for a message before it looks whether the test is over.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Takes frames and lies about them until the test is over.
fn lie(mut peer: Peer, answer: Answer, until: Instant) {
    while Instant::now() < until {
        match peer.incoming.receive(LOOK_AROUND) {
            Ok(Received::Message(Message::Frame(frame))) => {
                let report = answer(frame.sequence, clock::now()).map(Message::Report);
                if report.is_some_and(|report| peer.client.send(&report).is_err()) {
                    return;
                }
            }
            Ok(Received::Message(Message::Ping { sent })) => {
                // The clock that goes with it is wrong too.
                let _ = peer.client.send(&Message::Pong { pinged: sent, received: 3, sent: 5 });
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

#[test]
fn viewers_that_lie_harm_themselves_alone() {
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
    liars.into_iter().for_each(|liar| liar.join().expect("a liar that comes to its end"));
    assert!(frames >= 60, "{frames} frames in 4 s");
    let info = hub.stream("scene").unwrap();
    assert_eq!(info["state"], "live");
    let forms = info["renditions"].as_array().unwrap();
    assert_eq!(forms.len(), 1, "nothing was coded for them: {info}");
    let downlink = info["latency_ms"]["downlink"]["max"].as_f64().unwrap();
    assert!(downlink < 4_000.0, "times that cannot be are not believed: {info}");
}

#[test]
fn a_publisher_that_does_not_care_whether_anybody_watches_is_served_all_the_same() {
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
    assert_eq!(viewer.frame().data, jpeg(199), "who comes gets the newest");
}

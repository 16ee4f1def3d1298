//! A hub and the programs around it: they come, go, die and return.

use std::time::{Duration, Instant};

use framewire_proto::wire::native::{Message, Session, State, Token, code};

use crate::harness::{Hub, PATIENCE, Peer, Running, fails, framewire, greeting, jpeg, output};

#[test]
fn a_picture_crosses_the_hub_with_its_times() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(50));
    let mut viewer = Peer::watch(&hub, "door");
    let frame = viewer.frame();
    assert_eq!(frame.data, jpeg(50));
    let times = frame.times;
    // Both run on this machine's clock, so the hub's agreement with each of them can be checked against it.
    assert!(times.captured <= times.sent && times.sent <= times.received + 2_000, "{times:?}");
    assert!(times.received <= times.forwarded, "{times:?}");
    assert!(framewire::clock::now() - times.captured < 5_000_000, "{times:?}");
}

#[test]
fn the_test_scene_is_sent_and_measured() {
    let hub = Hub::start(&[]);
    let mut viewer =
        Peer::ask(&hub, Message::Subscribe { name: "scene".parse().unwrap(), wait: true, every: false, jpegs: false });
    let _sender = Running::start(framewire(["send", "pattern#size=320x240", &hub.fw("scene")]));
    for _ in 0..10 {
        let frame = viewer.frame();
        let now = framewire::clock::now();
        let report =
            framewire_proto::wire::native::Report { sequence: frame.sequence, received: now, decoded: now, shown: now };
        viewer.client.send(&Message::Report(report)).unwrap();
    }
    let info = hub.wait_until("scene", "is measured", |info| info["latency_ms"]["total"]["p50"].is_number());
    for stage in ["encode", "send", "uplink", "hub", "downlink", "decode", "show", "total"] {
        let summary = &info["latency_ms"][stage];
        assert!(summary["p50"].as_f64() <= summary["max"].as_f64(), "{stage}: {info}");
    }
    assert_eq!((info["state"].as_str(), info["codec"].as_str()), (Some("live"), Some("jpeg")));
    assert_eq!((info["width"].as_u64(), info["height"].as_u64()), (Some(320), Some(240)));
}

#[test]
fn a_publisher_killed_and_restarted_under_a_watching_viewer() {
    let hub = Hub::start(&[]);
    let sender = Running::start(framewire(["send", "pattern#size=320x240", &hub.fw("scene"), "--wait"]));
    hub.wait_until("scene", "is live", |info| info["published"].as_u64() > Some(0));
    let mut viewer = Peer::watch(&hub, "scene");
    let before = viewer.frame().sequence;
    let killed = Instant::now();
    sender.signal("KILL");
    viewer.wait_for("'stalled'", |message| *message == Message::State(State::Stalled));
    assert!(killed.elapsed() < Duration::from_secs(1), "stalled is said within a second");
    let _again = Running::start(framewire(["send", "pattern#size=320x240", &hub.fw("scene")]));
    viewer.wait_for("'live'", |message| *message == Message::State(State::Live));
    assert!(viewer.frame().sequence > before);
}

#[test]
fn a_hub_restarted_under_publisher_and_viewer() {
    let hub = Hub::start(&[]);
    let address = hub.address;
    let mut sender = Running::start(framewire(["send", "pattern#size=320x240", &hub.fw("scene")]));
    sender.wait_for("publishing 'scene'");
    drop(hub);
    sender.wait_for("trying again");
    let hub = Hub::at(&address.to_string(), &[]);
    sender.wait_for("publishing 'scene'");
    hub.wait_until("scene", "is back", |info| info["published"].as_u64() > Some(0));
    let mut viewer = Peer::watch(&hub, "scene");
    viewer.frame();
}

#[test]
fn a_second_live_publisher_is_refused_in_words() {
    let hub = Hub::start(&[]);
    let _first = Peer::publish(&hub, "door");
    let error = fails(framewire(["send", "pattern", &hub.fw("door")]));
    assert!(error.contains("'door' has a live publisher already"), "{error}");
}

/// A connection of a client that says who it is.
fn session(hub: &Hub, token: u8, turn: u64, wish: Message) -> Peer {
    let [hello, ping, wish] = greeting(wish);
    Peer::say(hub, &[hello, ping, Message::Session(Session { token: Token([token; 16]), turn }), wish])
}

#[test]
fn a_publisher_takes_its_own_stream_over_and_no_other_does() {
    let hub = Hub::start(&[]);
    let publish = || Message::Publish { name: "door".parse().unwrap(), passthrough: false };
    let accepted = |message: &Message| matches!(message, Message::Accepted { .. });
    let mut first = session(&hub, 1, 1, publish());
    first.wait_for("an Accepted", accepted);
    let mut stranger = session(&hub, 2, 9, publish());
    let refused = |message: &Message| matches!(message, Message::Error { code: code::NAME_TAKEN, .. });
    stranger.wait_for("a refusal", refused);
    session(&hub, 1, 2, publish()).wait_for("an Accepted", accepted);
    first.is_closed();
    let mut third = session(&hub, 1, 3, publish());
    third.wait_for("an Accepted", accepted);
    let mut late = session(&hub, 1, 1, publish());
    late.wait_for("a goodbye", |message| matches!(message, Message::Bye { text } if text.contains("newer")));
    third.wait_for("a ping, since it is the one", |message| matches!(message, Message::Ping { .. }));
}

#[test]
fn a_viewer_that_comes_again_is_counted_once() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    let subscribe = || Message::Subscribe { name: "scene".parse().unwrap(), wait: false, every: false, jpegs: false };
    let mut before = session(&hub, 1, 1, subscribe());
    before.frame();
    let mut other = session(&hub, 2, 1, subscribe());
    other.frame();
    let mut after = session(&hub, 1, 2, subscribe());
    after.frame();
    hub.wait_until("scene", "has two viewers", |info| info["viewers"] == 2);
    before.is_closed();
    other.frame();
}

#[test]
fn a_source_in_the_hub_sleeps_until_somebody_watches() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x240"]);
    assert_eq!(hub.stream("scene").unwrap()["state"], "idle");
    let mut viewer = Peer::watch(&hub, "scene");
    viewer.frame();
    assert_eq!(hub.stream("scene").unwrap()["state"], "live");
    drop(viewer);
    let left = Instant::now();
    hub.wait_until("scene", "sleeps again", |info| info["state"] == "idle");
    assert!(left.elapsed() < PATIENCE);
}

#[test]
fn a_name_is_optional_and_then_the_machines() {
    let hub = Hub::start(&[]);
    let _sender = Running::start(framewire(["send", "pattern#size=320x240", &format!("fw://{}", hub.address)]));
    let name = framewire_proto::Name::from_lossy(&framewire::net::machine_name());
    hub.wait_until(name.as_str(), "is there", |_| true);
}

#[test]
fn what_a_viewer_got_and_what_was_dropped_is_what_was_published() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(1));
    let mut viewer = Peer::watch(&hub, "door");
    viewer.frame();
    for sequence in 1..200 {
        publisher.send_jpeg(sequence, &jpeg(sequence as u8));
    }
    hub.wait_until("door", "has all frames", |info| info["published"] == 200);
    drop(viewer);
    let info = hub.wait_until("door", "is left", |info| info["viewers"] == 0);
    let dropped: u64 = info["dropped"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(info["delivered"].as_u64().unwrap() + dropped, 200, "{info}");
}

#[test]
fn ctrl_c_and_sigterm_end_a_hub_cleanly() {
    for signal in ["INT", "TERM"] {
        let hub = Hub::start(&["--source", "scene=pattern"]);
        let mut viewer = Peer::watch(&hub, "scene");
        viewer.frame();
        hub.running.signal(signal);
        let (status, said) = hub.running.ended();
        assert_eq!(status.code(), Some(0), "{signal}: {said}");
    }
}

#[test]
fn the_streams_are_listed() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(1));
    hub.wait_until("door", "has its size", |info| info["width"] == 64);
    let listed = String::from_utf8(output(framewire(["list", &hub.address.to_string()]))).unwrap();
    let line = listed.lines().find(|line| line.contains("door")).unwrap_or_else(|| panic!("{listed}"));
    assert!(line.contains("64x48") && line.contains("jpeg"), "{line}");
}

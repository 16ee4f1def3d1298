//! `framewire doctor` on healthy and on slow streams.

use std::{process::Command, thread, time::Duration};

use serde_json::Value;

use crate::{
    cable::{Cable, HUB},
    copy,
    harness::{Hub, Peer, Running, Scratch, fails, ffmpeg, framewire, jpeg, output},
    internals::stop::Stop,
    namespaces::this_test,
    slow_links,
};

/// The doctor's report of a stream.
fn examine(from: &str, seconds: &str) -> Value {
    report_of(framewire(["doctor", from, "--duration", seconds, "--json"]))
}

/// A report as JSON.
fn report_of(doctor: Command) -> Value {
    serde_json::from_slice(&output(doctor)).expect("one JSON object")
}

#[test]
fn a_healthy_stream_is_reported_as_healthy() {
    let hub = Hub::start(&[]);
    let _sender = Running::start(framewire(["send", "pattern#size=320x240#fps=10", &hub.fw("scene")]));
    hub.wait_until("scene", "is there", |info| info["codec"] == "jpeg");
    let text = String::from_utf8(output(framewire(["doctor", &hub.fw("scene"), "--duration", "5"]))).unwrap();
    assert!(text.starts_with("Nothing is slow: "), "{text}");
    for part in [": live, 320x240 jpeg, ", "(announced 10.0)", "rendition source, capacity ", "dropped by the hub: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for stage in ["encode", "send", "uplink", "hub", "downlink", "decode", "total"] {
        assert!(text.lines().any(|line| line[2.min(line.len())..].starts_with(stage)), "{stage}: {text}");
    }
    assert!(text.contains("Not known: How long the screen takes"), "{text}");
}

#[test]
fn gop_replay_counts_as_no_latency() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("led-up"));
    let film = copy::film(&scratch, "film.mp4", 500, 500);
    let _sender = Running::start(framewire(["send", &film, &hub.fw("film"), "--codec", "copy"]));
    let _watcher = Running::start(framewire(["record", &hub.fw("film"), &scratch.file("out.mkv"), "--wait"]));
    hub.wait_until("film", "is four seconds behind its keyframe", |info| info["published"].as_u64() >= Some(100));
    let report = examine(&hub.fw("film"), "2");
    assert!(report["latency_ms"]["total"]["max"].as_f64().is_some_and(|oldest| oldest < 3_000.0), "{report}");
    assert!(report["frames"].as_u64().is_some_and(|frames| (1..100).contains(&frames)), "{report}");
    // Only the film's own B-frames take time.
    let verdict = report["verdict"].as_str().unwrap();
    assert!(verdict.contains("B-frames") && report["findings"].as_array().unwrap().len() == 1, "{report}");
}

#[test]
fn a_camera_slower_than_it_announces_is_named() {
    let (hub, done) = (Hub::start(&[]), Stop::default());
    // It announces 30 frames a second.
    let (peer, stopped) = (Peer::publish(&hub, "dark"), done.clone());
    let camera = thread::spawn(move || {
        for sequence in 0.. {
            peer.send_jpeg(sequence, &jpeg(sequence as u8));
            if stopped.wait(Duration::from_millis(100)) {
                break;
            }
        }
    });
    hub.wait_until("dark", "is there", |info| info["codec"] == "jpeg");
    let report = examine(&hub.fw("dark"), "3");
    done.stop();
    camera.join().unwrap();
    assert_eq!(report["slow"], "camera", "{report}");
    assert_eq!(report["announced_fps"], 30.0, "{report}");
    assert!(report["verdict"].as_str().unwrap().contains("of the 30.0 frames per second"), "{report}");
    assert!(report["findings"][0]["try"][0].as_str().unwrap().contains("more light"), "{report}");
}

#[test]
fn a_downlink_slower_than_the_stream_is_named() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let _hub = slow_links::hub(&cable, 2_000);
    let from = format!("fw://{HUB}/scene");
    let report = report_of(cable.at_far(&framewire(["doctor", &from, "--duration", "8", "--json"])));
    assert_eq!(report["slow"], "downlink", "{report}");
    assert!(["high", "low"].iter().any(|rendition| report["lowered"] == **rendition), "{report}");
    assert!(report["verdict"].as_str().unwrap().contains("so the hub sends the rendition"), "{report}");
    assert!(report["service"]["capacity"].is_u64(), "{report}");
}

#[test]
fn an_uplink_slower_than_the_stream_is_named() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let far = "10.97.0.2:7070";
    let mut hub = Running::start(cable.at_far(&framewire(["serve", "--listen", far, "--insecure"])));
    hub.wait_for("the hub listens on");
    cable.narrow(300);
    let to = format!("fw://{far}/scene");
    let mut sender =
        Running::start(cable.at_near(&framewire(["send", "pattern", &to, "--codec", "jpeg", "--stats", "json"])));
    let doctor = report_of(cable.at_far(&framewire(["doctor", &format!("{to}#wait"), "--duration", "8", "--json"])));
    assert_eq!(doctor["slow"], "uplink", "{doctor}");
    let line = sender.wait_for_line("what the uplink carries", |line| {
        let figures: Value = serde_json::from_str(line).unwrap_or_default();
        figures["uplink"]["capacity"].is_u64()
    });
    let uplink = serde_json::from_str::<Value>(&line).unwrap()["uplink"].clone();
    assert!(uplink["codec"].is_string() && uplink["width"].as_u64() > Some(0), "{line}");
}

#[test]
fn an_unknown_stream_is_an_error_that_lists_the_streams() {
    let hub = Hub::start(&["--source", "scene=pattern"]);
    let error = fails(framewire(["doctor", &hub.fw("door")]));
    assert!(error.contains("there is no stream 'door'") && error.contains("'scene'"), "{error}");
}

#[test]
fn a_stalled_stream_is_reported_as_stalled() {
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "door");
    publisher.send_jpeg(0, &jpeg(9));
    hub.wait_until("door", "has a frame", |info| info["published"] == 1);
    drop(publisher);
    hub.wait_until("door", "is stalled", |info| info["state"] == "stalled");
    let report = examine(&hub.fw("door"), "1");
    assert!(report["verdict"].as_str().unwrap().contains("has stalled: no more frames arrive"), "{report}");
}

#[test]
fn every_kind_of_source_can_be_examined() {
    let (hub, scratch) = (Hub::start(&["--source", "scene=pattern#size=320x240"]), Scratch::new("doctor"));
    let film = scratch.file("film.mkv");
    output(ffmpeg(&["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25", "-frames:v", "50", "-c:v", "libx264", &film]));
    for from in ["pattern#size=320x240", &film, &hub.url("/streams/scene/mjpeg"), &hub.fw("scene")] {
        let report = examine(from, "2");
        assert!(report["frames"].as_u64() > Some(0), "{report}");
        assert!(report["latency_ms"]["decode"]["p50"].is_number(), "{report}");
    }
    for from in ["lhh://127.0.0.1:0", "base64://127.0.0.1:0", "stopwait://127.0.0.1:0"] {
        let report = examine(from, "0.5");
        assert!(report["verdict"].as_str().unwrap().starts_with("No frame arrived in "), "{report}");
    }
    assert!(fails(framewire(["doctor", "nothing-here.mkv"])).contains("nothing-here.mkv"));
}

use framewire_proto::{
    Rendition, Times,
    wire::native::{Report as Receipt, Service},
};

use super::*;
use crate::latency::{Split, StageSummary};

/// Frames that took these milliseconds at each stage, from encoding to decoding.
fn split(stages: [u64; 6]) -> Split {
    let mut at = 1_000_000;
    let [encoded, sent, received, forwarded, arrived, decoded] = stages.map(|ms| {
        at += ms * 1000;
        at
    });
    let times = Times { captured: 1_000_000, encoded, sent, received, forwarded, arrived };
    let receipt = Receipt { sequence: 1, received: arrived, decoded, shown: 0 };
    let mut split = Split::default();
    split.take_arrival(&times);
    split.take_delivery(&times, &receipt);
    split.take_decoding(&times, &receipt);
    split
}

/// Ten seconds of a stream of a hub without a fault.
fn healthy() -> Figures {
    Figures {
        from: "fw://hub/door".into(),
        seconds: 10.0,
        state: Some("live".into()),
        codec: Some("jpeg"),
        width: 1280,
        height: 720,
        announced_fps: Some(30.0),
        camera_fps: Some(29.9),
        frames: 299,
        fps: 29.9,
        bitrate: 18e6,
        decode_ms: Some(3.0),
        service: Some(Service { capacity: 90_000_000, delivered: 299, ..Service::default() }.into()),
        hub: Some(AtHub { published: 299, bitrate: 18e6, ..AtHub::default() }),
        latency_ms: split([6, 0, 1, 0, 2, 4]),
        ..Figures::default()
    }
}

fn served(service: Service) -> Figures {
    let lowered = matches!(service.rendition, Rendition::High | Rendition::Low);
    let lowered = lowered.then_some(service.rendition.name());
    let least_capacity = Some(service.capacity);
    Figures { service: Some(service.into()), least_capacity, lowered, ..healthy() }
}

fn at_hub(hub: AtHub) -> Figures {
    Figures { hub: Some(AtHub { bitrate: 18e6, ..hub }), ..healthy() }
}

#[test]
fn a_report_without_findings_says_where_the_time_goes() {
    let report = examine(healthy());
    let verdict = "Nothing is slow: 29.9 frames per second. Half of the frames are at most 13.0 ms old when they \
                   are decoded; the longest part of that is encode, 6.0 ms.";
    assert_eq!((report.verdict.as_str(), report.slow), (verdict, None));
    let text = report.to_string();
    assert!(
        text.contains("rendition source, capacity of the downlink 90.0 Mbit/s\ndropped by the hub: none\n"),
        "{text}"
    );
    assert!(text.contains("= total         13.0    13.0    13.0\n") && !text.contains("What to try"), "{text}");
}

#[test]
fn each_side_that_is_slow_is_named() {
    let narrow = Service { rendition: Rendition::High, capacity: 2_000_000, delivered: 290, ..Service::default() };
    let crowded = Service { delivered: 200, superseded: 99, ..Service::default() };
    let full = Service { capacity: 20_000_000, delivered: 299, ..Service::default() };
    let show = StageSummary { p50: 120.0, ..StageSummary::default() };
    let not_sent = AtHub { published: 150, missed: 150, ..AtHub::default() };
    let dropped = Service { superseded: 100, ..Service::default() };
    let cases = [
        (
            Side::Camera,
            Figures { camera_fps: Some(10.0), fps: 10.0, ..healthy() },
            "10.0 of the 30.0 frames per second",
        ),
        (
            Side::Camera,
            Figures {
                camera_fps: None,
                frames: 1,
                decode_ms: Some(600.0),
                ..at_hub(AtHub { published: 2, ..AtHub::default() })
            },
            "0.2 of the 30.0 frames per second",
        ),
        (
            // The encoder slows the camera down.
            Side::Encoder,
            Figures { camera_fps: Some(10.0), latency_ms: split([130, 0, 1, 0, 2, 4]), ..healthy() },
            "every 33 ms",
        ),
        (Side::Encoder, Figures { latency_ms: split([90, 0, 1, 0, 2, 4]), ..healthy() }, "90 ms after its capture"),
        (Side::Encoder, Figures { latency_ms: split([40, 0, 1, 0, 2, 4]), ..at_hub(not_sent) }, "encoded 40 ms"),
        (Side::Encoder, Figures { reordered: true, latency_ms: split([90, 0, 1, 0, 2, 4]), ..healthy() }, "B-frames"),
        (
            Side::Uplink,
            Figures { uplink_rate: Some(2.1e6), latency_ms: split([6, 2, 30, 0, 2, 4]), ..healthy() },
            "carries about 2.1 Mbit/s",
        ),
        (Side::Uplink, at_hub(not_sent), "50% of the frames were dropped"),
        (Side::Hub, Figures { latency_ms: split([6, 0, 1, 80, 2, 4]), ..healthy() }, "waits 80 ms"),
        (Side::Downlink, served(narrow), "about 2.0 Mbit/s of the source's 18.0 Mbit/s"),
        (Side::Downlink, served(crowded), "dropped 33% of the frames"),
        (Side::Downlink, Figures { latency_ms: split([6, 0, 1, 0, 30, 4]), ..served(full) }, "takes 30 ms"),
        (Side::Downlink, Figures { frames: 0, ..healthy() }, "299 frames reached the hub, and none"),
        (Side::Decoder, Figures { decode_ms: Some(70.0), ..healthy() }, "takes 70 ms per frame"),
        (Side::Decoder, Figures { dropped: dropped.into(), ..healthy() }, "33% were dropped"),
        (Side::Decoder, Figures { bad: 200, fault: Some("cut short".into()), ..healthy() }, "200 of 299 frames"),
        (Side::Screen, at_hub(AtHub { published: 299, show_ms: Some(show), ..AtHub::default() }), "wait 120 ms"),
    ];
    for (side, figures, words) in cases {
        let report = examine(figures);
        assert_eq!(report.slow, Some(side), "{report}");
        assert!(report.verdict.contains(words), "{}", report.verdict);
        assert!(report.to_string().contains("What to try:\n- "), "{report}");
    }
}

#[test]
fn a_long_round_trip_alone_is_no_fault() {
    let far = Figures { latency_ms: split([6, 0, 1, 0, 80, 4]), ..healthy() };
    assert_eq!(examine(far).slow, None);
    let waits_for_the_link = Figures {
        latency_ms: split([6, 0, 1, 60, 30, 4]),
        ..served(Service { rendition: Rendition::Low, capacity: 300_000, delivered: 290, ..Service::default() })
    };
    let report = examine(waits_for_the_link);
    assert_eq!((report.slow, report.findings.len()), (Some(Side::Downlink), 1), "{report}");
}

#[test]
fn the_worst_finding_comes_first() {
    let service = Service { rendition: Rendition::Low, capacity: 1_000_000, delivered: 299, ..Service::default() };
    let report = examine(Figures { camera_fps: Some(15.0), ..served(service) });
    let sides: Vec<Side> = report.findings.iter().map(|finding| finding.side).collect();
    assert_eq!(sides, [Side::Downlink, Side::Camera]);
    assert!(report.to_string().contains("Also: The camera is slow"), "{report}");
}

#[test]
fn a_stream_without_frames_is_reported() {
    let nothing = Figures { from: "fw://hub/door".into(), seconds: 10.0, ..Figures::default() };
    let report = examine(Figures { state: Some("stalled".into()), ..nothing.clone() });
    assert_eq!(report.verdict, "No frame arrived in 10.0 s from fw://hub/door: the stream is stalled.");
    assert_eq!(examine(nothing).verdict, "No frame arrived in 10.0 s from fw://hub/door.");
    let stopped = examine(Figures { state: Some("stalled".into()), ..healthy() });
    assert!(stopped.verdict.contains("has stalled: no more frames"), "{stopped}");
}

#[test]
fn unknown_figures_are_listed() {
    let figures = Figures { hub: None, service: None, latency_ms: Split::default(), ..healthy() };
    let report = examine(figures);
    assert_eq!(report.slow, None);
    assert!(report.verdict.contains("The age of the frames is not known."), "{report}");
    assert_eq!(report.not_known.len(), 2, "{report}");
}

#[test]
fn a_report_is_one_json_object() {
    let narrow = Service { rendition: Rendition::High, capacity: 2_000_000, ..Service::default() };
    let json = serde_json::to_value(examine(served(narrow))).unwrap();
    assert_eq!((json["slow"].as_str(), json["findings"][0]["side"].as_str()), (Some("downlink"), Some("downlink")));
    assert!(json["findings"][0]["try"].as_array().is_some_and(|advice| !advice.is_empty()), "{json}");
    assert_eq!(json["service"]["capacity"], 2_000_000);
    assert_eq!(json["latency_ms"]["encode"]["p50"], 6.0);
    assert_eq!(json["dropped"]["superseded"], 0);
}

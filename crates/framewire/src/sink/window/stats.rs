//! The figures of a tile, for its overlay and for `--stats`.

use std::fmt::Write as _;

use framewire_proto::{Micros, wire::native::State};
use serde::Serialize;

use super::player::{DecodedPicture, StreamStatus};
use crate::{
    hub::{Reason, ServiceInfo, drops_in_words},
    latency::{Split, Stage},
};

/// The current figures of a tile.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The tile's name.
    pub name: String,
    /// `waiting` before the first picture, then `live`, `stalled`, `idle` or `ended`.
    pub state: &'static str,
    /// The codec of the frames; `None` before the first frame.
    pub codec: Option<&'static str>,
    /// Width of the picture in pixels, 0 before the first picture.
    pub width: u32,
    /// Height of the picture in pixels, 0 before the first picture.
    pub height: u32,
    /// Frames per second that arrived.
    pub fps: f64,
    /// Bits per second that arrived.
    pub bitrate: f64,
    /// Milliseconds since the picture in the window was captured; `None` before the first picture, or where its capture time is
    /// unknown.
    pub age_ms: Option<f64>,
    /// Pictures that were shown.
    pub shown: u64,
    /// Frames that were not shown, by reason.
    pub dropped: Drops,
    /// How the hub serves this viewer; `None` where the frames do not come from a hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceInfo>,
    /// The latency split in milliseconds.
    pub latency_ms: Split,
    /// Why the last frame could not be decoded; `None` if it was decoded.
    pub fault: Option<String>,
    /// Why there is no picture: the last fault of the stream's source; `None` while frames flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_picture: Option<String>,
}

/// How many frames were not shown, by reason: the reasons of the hub's mailbox, then `bad` (could not be decoded), `before_show`
/// (a newer one was decoded before this one could be shown) and `frozen` (the window was frozen).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drops(pub Vec<(&'static str, u64)>);

impl Stats {
    pub(super) fn new(
        name: &str,
        status: StreamStatus,
        picture: Option<&DecodedPicture>,
        shown: u64,
        split: Split,
        now: Micros,
    ) -> Self {
        let captured = picture.map_or(0, |ready| ready.frame.times.captured);
        let known = [("bad", status.bad), ("before_show", status.before_show), ("frozen", status.frozen)];
        let stale = |reason| if reason == Reason::Stale { status.stale } else { 0 };
        let hub = Reason::ALL.map(|reason| (reason.name(), status.counts.dropped(reason) + stale(reason)));
        Self {
            name: name.into(),
            state: state_name(picture.is_some(), status.state, status.ended),
            codec: status.config.as_ref().map(|config| config.codec.name()),
            width: picture.map_or(0, |ready| ready.picture.width()),
            height: picture.map_or(0, |ready| ready.picture.height()),
            fps: status.meter.fps(now),
            bitrate: status.meter.bitrate(now),
            age_ms: (captured != 0).then(|| now.saturating_sub(captured) as f64 / 1000.0),
            shown,
            dropped: Drops(hub.into_iter().chain(known).collect()),
            service: status.service.map(ServiceInfo::from),
            latency_ms: split,
            fault: status.fault,
            no_picture: status.no_picture.map(|why| why.to_string()),
        }
    }

    /// The overlay's lines. The first has the banner, or else the state.
    pub(super) fn overlay(&self, banner: Option<&str>) -> String {
        let mut text = format!("{}  {}\n", self.name, banner.unwrap_or(self.state));
        if let Some(codec) = self.codec {
            let rate = self.bitrate / 1e6;
            let _ = writeln!(text, "{}x{} {codec}  {:.1} fps  {rate:.1} Mbit/s", self.width, self.height, self.fps);
        }
        match self.age_ms {
            Some(age) => _ = writeln!(text, "age of the picture {}", duration(age)),
            None => text.push_str("age of the picture not known\n"),
        }
        if let Some(ServiceInfo { rendition, capacity, dropped, .. }) = &self.service {
            let capacity = capacity.map_or("not known".into(), |bits| format!("{:.1} Mbit/s", bits as f64 / 1e6));
            let _ = writeln!(text, "rendition {rendition}  capacity {capacity}");
            let _ = writeln!(text, "dropped by the hub: {}", drops_in_words(dropped.by_reason()));
        }
        let _ = writeln!(text, "not shown: {}", drops_in_words(self.dropped.0.iter().copied()));
        for (place, (stage, summary)) in self.latency_ms.summaries().enumerate() {
            if place == 0 {
                text.push_str("latency, ms    p50    p95\n");
            }
            let mark = if stage == Stage::Total { "= " } else { "  " };
            let _ = writeln!(text, "{mark}{:9} {:7.1}{:7.1}", stage.name(), summary.p50, summary.p95);
        }
        text
    }

    /// The text over the picture, when something is wrong. `since` is the time since the last picture, in milliseconds.
    pub(super) fn banner(&self, since: Option<f64>) -> Option<String> {
        let name = &self.name;
        let fault = self.fault.as_ref().map(|fault| format!("frames arrive but cannot be decoded:\n{fault}"));
        let why = self.no_picture.as_ref().map_or(String::new(), |why| format!("\n{why}"));
        match self.state {
            "waiting" => Some(fault.unwrap_or_else(|| format!("waiting for {name}{why}"))),
            "stalled" => Some(match since {
                Some(since) => format!("stalled: no new picture for {:.0} s{why}", (since / 1000.0).floor()),
                None => format!("stalled: no new picture{why}"),
            }),
            "idle" => Some(format!("the source is idle{why}")),
            "ended" => Some("ended".into()),
            _ => fault,
        }
    }
}

impl Serialize for Drops {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The name of a tile's state.
pub(super) fn state_name(picture: bool, state: Option<State>, ended: bool) -> &'static str {
    match state {
        _ if ended => "ended",
        _ if !picture => "waiting",
        Some(state) => state.name(),
        None => "live",
    }
}

fn duration(milliseconds: f64) -> String {
    if milliseconds < 10_000.0 { format!("{milliseconds:.0} ms") } else { format!("{:.0} s", milliseconds / 1000.0) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use framewire_proto::{
        Codec, Config, Rendition, Times,
        wire::native::{Report, Service},
    };

    use super::*;

    fn stats(status: StreamStatus) -> Stats {
        let mut split = Split::default();
        let times = Times { captured: 1_000, encoded: 3_500, ..Times::default() };
        split.take_arrival(&times);
        split.take_showing(&times, &Report { sequence: 0, received: 4_000, decoded: 6_000, shown: 9_000 });
        Stats::new("door", status, None, 7, split, 20_000)
    }

    #[test]
    fn the_overlay_lists_drops_and_latency() {
        let config = Config::new(Codec::Jpeg, 64, 48, 0);
        let status = StreamStatus { config: Some(Arc::new(config)), before_show: 3, bad: 2, ..StreamStatus::default() };
        let text = stats(status).overlay(None);
        assert!(text.contains("not shown: 2 bad, 3 before show\n"), "{text}");
        assert!(text.contains("  encode        2.5    2.5\n"), "{text}");
        assert!(text.contains("= total         8.0    8.0\n"), "{text}");
        assert!(stats(StreamStatus::default()).overlay(None).contains("not shown: none\n"));
    }

    #[test]
    fn the_overlay_lists_rendition_and_capacity() {
        let service = Service { rendition: Rendition::High, capacity: 2_140_000, superseded: 3, ..Service::default() };
        let text = stats(StreamStatus { service: Some(service), ..StreamStatus::default() }).overlay(None);
        assert!(text.contains("rendition high  capacity 2.1 Mbit/s\ndropped by the hub: 3 superseded\n"), "{text}");
        let service = Some(Service::default());
        let text = stats(StreamStatus { service, ..StreamStatus::default() }).overlay(None);
        assert!(text.contains("rendition source  capacity not known\ndropped by the hub: none\n"), "{text}");
    }

    #[test]
    fn the_overlay_starts_with_the_banner() {
        let stats = stats(StreamStatus::default());
        assert!(stats.overlay(None).starts_with("door  waiting\n"));
        assert!(stats.overlay(Some("stalled: for long")).starts_with("door  stalled: for long\n"));
    }

    #[test]
    fn banners_say_what_is_wrong() {
        assert_eq!(stats(StreamStatus::default()).banner(None).as_deref(), Some("waiting for door"));
        let fault = StreamStatus { fault: Some("cut short".into()), ..StreamStatus::default() };
        assert!(stats(fault).banner(None).unwrap().contains("cut short"));
        let no_picture = StreamStatus { no_picture: Some("unplugged".into()), ..StreamStatus::default() };
        assert_eq!(stats(no_picture).banner(None).as_deref(), Some("waiting for door\nunplugged"));
        let mut stalled = stats(StreamStatus::default());
        stalled.state = state_name(true, Some(State::Stalled), false);
        assert_eq!(stalled.banner(Some(3_900.0)).as_deref(), Some("stalled: no new picture for 3 s"));
        stalled.state = state_name(true, Some(State::Live), false);
        assert_eq!(stalled.banner(None), None);
    }

    #[test]
    fn stats_are_json_with_drops_by_reason() {
        let json = serde_json::to_value(stats(StreamStatus { bad: 4, ..StreamStatus::default() })).unwrap();
        assert_eq!(json["dropped"]["bad"], 4);
        assert_eq!(json["dropped"]["superseded"], 0);
        assert_eq!(json["latency_ms"]["total"]["p50"], 8.0);
        assert!(json.get("service").is_none(), "no hub serves it: {json}");
    }
}

//! `--stats`: once a second, how each stream of this process does, and at the end what became of it in all.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use framewire::proto::Micros;
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;

use crate::options::Stats;
use framewire::{
    clock,
    hub::{Hub, Info, ServiceInfo, drops_in_words},
    latency::{Split, Stage},
    sink::{Sent, Uplink, window},
    stop::Stop,
};

const EVERY: Duration = Duration::from_secs(1);

/// What is told of the streams of this process, on stderr.
pub(crate) struct Teller {
    stats: Option<Stats>,
    hub: Hub,
    /// What goes out, where that differs from what the streams hold.
    sent: Option<Arc<Mutex<Sent>>>,
    begun: Instant,
}

impl Teller {
    /// Tells nothing yet.
    pub(crate) fn new(stats: Option<Stats>, hub: &Hub, sent: Option<Arc<Mutex<Sent>>>) -> Arc<Self> {
        Arc::new(Self { stats, hub: hub.clone(), sent, begun: Instant::now() })
    }

    /// Tells of each stream once a second until `stop` is raised.
    pub(crate) fn start(self: &Arc<Self>, stop: &Stop) {
        let Some(stats) = self.stats else { return };
        let (this, stop) = (self.clone(), stop.clone());
        thread::spawn(move || {
            while !stop.wait(EVERY) {
                let uplink = this.sent().map(|sent| sent.uplink);
                for info in this.infos(clock::now()) {
                    match stats {
                        Stats::Json => eprintln!("{}", with(&info, "uplink", uplink.as_ref())),
                        Stats::Text => {
                            let dropped = drops_in_words(info.dropped.by_reason());
                            let coded = uplink.as_ref().map(coded).unwrap_or_default();
                            eprintln!("{}{coded}", text(&info, &info.latency_ms, &dropped));
                        }
                    }
                }
            }
        });
    }

    /// What a window has told once a second of its tiles.
    pub(crate) fn of_window(self: &Arc<Self>) -> Option<window::OnSecond> {
        let (stats, this) = (self.stats?, self.clone());
        Some(Box::new(move |tiles| {
            let now = clock::now();
            for tile in tiles {
                let Ok(info) = this.hub.stream(&tile.name, now) else { continue };
                match stats {
                    Stats::Json => eprintln!("{}", with(tile, "missed", Some(info.missed))),
                    Stats::Text => {
                        let dropped = drops_in_words(tile.dropped.0.iter().copied());
                        eprintln!("{}", text(&info, &tile.latency_ms, &dropped));
                    }
                }
            }
        }))
    }

    /// Tells in words what became of each stream in all.
    pub(crate) fn totals(&self) {
        if self.stats != Some(Stats::Text) {
            return;
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        for info in self.infos(clock::now()) {
            let Info { name, published, bytes, missed, .. } = &info;
            eprintln!(
                "{name}: in all {published} frames, {} in {seconds:.1} s, {:.1} fps, {} dropped, {missed} missed",
                HumanBytes(*bytes),
                *published as f64 / seconds,
                info.dropped.all_dropped(),
            );
        }
    }

    /// The streams as they are, by what goes out where that is counted.
    fn infos(&self, now: Micros) -> Vec<Info> {
        let mut infos = self.hub.streams(now);
        for (info, Sent { meter, .. }) in infos.iter_mut().zip(self.sent()) {
            (info.fps, info.bitrate) = (meter.fps(now), meter.bitrate(now));
            (info.published, info.bytes) = meter.totals();
            info.newest.sent = meter.last().unwrap_or(0);
        }
        infos
    }

    fn sent(&self) -> Option<Sent> {
        self.sent.as_ref().map(|sent| sent.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Figures as JSON, with another one where it is known.
fn with(figures: &impl Serialize, name: &str, more: Option<impl Serialize>) -> Value {
    let mut json = serde_json::to_value(figures).unwrap_or_default();
    if let (Some(more), Some(json)) = (more, json.as_object_mut()) {
        json.insert(name.into(), serde_json::to_value(more).unwrap_or_default());
    }
    json
}

/// A line with what the tutorials print of each frame: how many there were, when the newest was sent and received, its delay;
/// then what was dropped, and how a hub serves this process.
fn text(info: &Info, split: &Split, dropped: &str) -> String {
    let Info { name, state, fps, published, missed, newest, .. } = info;
    let mut line = format!("{name}: {state}, {published} frames, {fps:.1} fps, {:.2} Mbit/s", info.bitrate / 1e6);
    let known = [("sent", newest.sent), ("received", newest.received.max(newest.arrived))].into_iter();
    for (what, at) in known.filter(|(_, at)| *at != 0) {
        let _ = write!(line, ", {what} {}", time_of_day(clock::calendar(at)));
    }
    let delay = [Stage::Total, Stage::Uplink].into_iter().find_map(|stage| split.summary(stage));
    line += &delay.map_or(", delay not known".into(), |delay| {
        format!(", delay {:.1} ms (p95 {:.1}, max {:.1})", delay.p50, delay.p95, delay.max)
    });
    if let Some(age) = info.age_ms {
        let _ = write!(line, ", age {age:.0} ms");
    }
    let _ = write!(line, ", dropped: {dropped}, {missed} missed");
    if let Some(ServiceInfo { rendition, capacity, dropped, .. }) = &info.service {
        let dropped = drops_in_words(dropped.by_reason());
        let _ = write!(line, ", rendition {rendition}, capacity {}, dropped by the hub: {dropped}", carried(*capacity));
    }
    line
}

/// What is coded for the link out of this process, behind the line.
fn coded(uplink: &Uplink) -> String {
    let Uplink { capacity, codec, width, height, quality, bitrate } = uplink;
    let Some(codec) = codec else { return String::new() };
    let quality = quality.map(|quality| format!(" of quality {quality}"));
    let aim = quality.or_else(|| bitrate.map(|bits| format!(" for {}", carried(Some(bits)))));
    format!(", coded: {width}x{height} {codec}{}, capacity {}", aim.unwrap_or_default(), carried(*capacity))
}

/// Bits a second that a link carries.
fn carried(capacity: Option<u64>) -> String {
    capacity.map_or("not known".into(), |bits| format!("{:.2} Mbit/s", bits as f64 / 1e6))
}

/// A moment of the calendar (µs since 1970) as `10:20:30.123`, UTC.
fn time_of_day(wall: Micros) -> String {
    let (seconds, milliseconds) = (wall / 1_000_000, wall / 1_000 % 1_000);
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use framewire::proto::{Rendition, wire::native::Service};

    use super::*;

    #[test]
    fn a_line_of_text_tells_what_the_tutorials_print() {
        let hub = Hub::default();
        let publisher = hub.publish(&"door".parse().unwrap(), 1).unwrap();
        let info = hub.stream("door", 1).unwrap();
        let line = text(&info, &info.latency_ms, "2 superseded");
        assert!(line.contains("door: ") && line.contains("0 frames") && line.contains("delay not known"), "{line}");
        assert!(!line.contains("sent") && line.ends_with("dropped: 2 superseded, 0 missed"), "{line}");
        drop(publisher);
    }

    #[test]
    fn a_line_of_text_tells_how_a_hub_serves_and_what_is_coded_for_it() {
        let hub = Hub::default();
        let publisher = hub.publish(&"door".parse().unwrap(), 1).unwrap();
        let service = Service { rendition: Rendition::High, capacity: 2_100_000, superseded: 3, ..Service::default() };
        publisher.set_service(service);
        let info = hub.stream("door", 1).unwrap();
        let line = text(&info, &info.latency_ms, "none");
        let end = "rendition high, capacity 2.10 Mbit/s, dropped by the hub: 3 superseded";
        assert!(line.ends_with(end), "{line}");
        assert_eq!(serde_json::to_value(&info).unwrap()["service"]["dropped"]["superseded"], 3);
        let (codec, bitrate) = (Some("h264"), Some(2_240_000));
        let uplink = Uplink { codec, width: 640, height: 360, bitrate, ..Uplink::default() };
        assert_eq!(coded(&uplink), ", coded: 640x360 h264 for 2.24 Mbit/s, capacity not known");
    }

    #[test]
    fn a_time_of_day_is_to_the_millisecond() {
        assert_eq!(time_of_day(1_620_123_630_987_654), "10:20:30.987");
        assert_eq!(time_of_day(0), "00:00:00.000");
    }
}

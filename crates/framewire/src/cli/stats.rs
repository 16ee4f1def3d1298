//! `--stats`: once a second, how each stream of this process does, and at the end what became of it in all.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use framewire_proto::Micros;
use indicatif::HumanBytes;

use super::options::Stats;
use crate::{
    clock,
    hub::{Hub, Info},
    latency::{Meter, Split, Stage},
    sink::window,
    stop::Stop,
};

const EVERY: Duration = Duration::from_secs(1);

/// What is told of the streams of this process, on stderr.
pub(super) struct Teller {
    stats: Option<Stats>,
    hub: Hub,
    /// Counts what goes out, where that differs from what the streams hold.
    sent: Option<Arc<Mutex<Meter>>>,
    begun: Instant,
}

impl Teller {
    /// Tells nothing yet.
    pub(super) fn new(stats: Option<Stats>, hub: &Hub, sent: Option<Arc<Mutex<Meter>>>) -> Arc<Self> {
        Arc::new(Self { stats, hub: hub.clone(), sent, begun: Instant::now() })
    }

    /// Tells of each stream once a second until `stop` is raised.
    pub(super) fn start(self: &Arc<Self>, stop: &Stop) {
        let Some(stats) = self.stats else { return };
        let (this, stop) = (self.clone(), stop.clone());
        thread::spawn(move || {
            while !stop.wait(EVERY) {
                let now = clock::now();
                for info in this.infos(now) {
                    match stats {
                        Stats::Json => eprintln!("{}", serde_json::to_string(&info).unwrap_or_default()),
                        Stats::Text => {
                            let line = text(&info, &info.latency_ms, info.dropped.all_dropped());
                            eprintln!("{line}");
                        }
                    }
                }
            }
        });
    }

    /// What a window has told once a second of its tiles.
    pub(super) fn of_window(self: &Arc<Self>) -> Option<window::OnSecond> {
        let (stats, this) = (self.stats?, self.clone());
        Some(Box::new(move |tiles| {
            let now = clock::now();
            for tile in tiles {
                let Ok(info) = this.hub.stream(&tile.name, now) else { continue };
                let dropped = tile.dropped.0.iter().map(|(_, count)| count).sum();
                match stats {
                    Stats::Json => eprintln!("{}", with_missed(tile, info.missed)),
                    Stats::Text => eprintln!("{}", text(&info, &tile.latency_ms, dropped)),
                }
            }
        }))
    }

    /// Tells in words what became of each stream in all.
    pub(super) fn totals(&self) {
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
        for (info, sent) in infos.iter_mut().zip(&self.sent) {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            (info.fps, info.bitrate) = (sent.fps(now), sent.bitrate(now));
            (info.published, info.bytes) = sent.totals();
            info.newest.sent = sent.last().unwrap_or(0);
        }
        infos
    }
}

fn with_missed(tile: &window::Stats, missed: u64) -> serde_json::Value {
    let mut json = serde_json::to_value(tile).unwrap_or_default();
    json["missed"] = missed.into();
    json
}

/// A line with what the tutorials print of each frame: how many there were, when the newest was sent and received, its delay.
fn text(info: &Info, split: &Split, dropped: u64) -> String {
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
    line + &format!(", {dropped} dropped, {missed} missed")
}

/// A moment of the calendar (µs since 1970) as `10:20:30.123`, UTC.
fn time_of_day(wall: Micros) -> String {
    let (seconds, milliseconds) = (wall / 1_000_000, wall / 1_000 % 1_000);
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_tells_what_the_tutorials_print() {
        let hub = Hub::default();
        let publisher = hub.publish(&"door".parse().unwrap(), 1).unwrap();
        let info = hub.stream("door", 1).unwrap();
        let line = text(&info, &info.latency_ms, 2);
        assert!(line.contains("door: ") && line.contains("0 frames") && line.contains("delay not known"), "{line}");
        assert!(!line.contains("sent") && line.ends_with("2 dropped, 0 missed"), "{line}");
        drop(publisher);
    }

    #[test]
    fn a_time_of_day_is_to_the_millisecond() {
        assert_eq!(time_of_day(1_620_123_630_987_654), "10:20:30.987");
        assert_eq!(time_of_day(0), "00:00:00.000");
    }
}

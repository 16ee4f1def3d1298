//! `--stats`: once a second, how each stream of this process does, and at the end what became of it in all.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use framewire::{
    Stop,
    stats::{Latency, Service, Stage, Stream, Tile, Uplink, drops_in_words},
};
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;

use crate::options::Stats;

/// Prints the figures of this process's streams on stderr.
pub(crate) struct StatsPrinter {
    format: Stats,
    started: Instant,
    /// The streams as they were last, for the totals.
    last: Mutex<Vec<Stream>>,
}

impl StatsPrinter {
    /// From one line of a stream to the next.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

    /// A printer, where one is asked for.
    pub(crate) fn new(format: Option<Stats>) -> Option<Arc<Self>> {
        Some(Arc::new(Self { format: format?, started: Instant::now(), last: Mutex::default() }))
    }

    /// Prints what `read` returns once a second until `stop` is raised.
    pub(crate) fn every_second(
        self: &Arc<Self>,
        stop: &Stop,
        read: impl Fn() -> (Vec<Stream>, Option<Uplink>) + Send + 'static,
    ) {
        let (this, stop) = (self.clone(), stop.clone());
        thread::spawn(move || {
            while !stop.wait(Self::INTERVAL) {
                let (streams, uplink) = read();
                this.streams(&streams, uplink.as_ref());
            }
        });
    }

    /// Prints a line for each stream.
    pub(crate) fn streams(&self, streams: &[Stream], uplink: Option<&Uplink>) {
        self.note(streams);
        for stream in streams {
            match self.format {
                Stats::Json => eprintln!("{}", with(stream, "uplink", uplink)),
                Stats::Text => {
                    let dropped = drops_in_words(stream.dropped.by_reason());
                    let coded = uplink.map(coded).unwrap_or_default();
                    eprintln!("{}{coded}", text(stream, &stream.latency_ms, &dropped));
                }
            }
        }
    }

    /// Prints a line for each tile of a window.
    pub(crate) fn tiles(&self, streams: &[Stream], tiles: &[Tile]) {
        self.note(streams);
        for tile in tiles {
            let Some(stream) = streams.iter().find(|stream| stream.name == tile.name) else { continue };
            match self.format {
                Stats::Json => eprintln!("{}", with(tile, "missed", Some(stream.missed))),
                Stats::Text => {
                    let dropped = drops_in_words(tile.dropped.0.iter().copied());
                    eprintln!("{}", text(stream, &tile.latency_ms, &dropped));
                }
            }
        }
    }

    /// Keeps the figures for the totals.
    pub(crate) fn note(&self, streams: &[Stream]) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = streams.to_vec();
    }

    /// Prints in words what became of each stream's frames in all.
    pub(crate) fn totals(&self) {
        if self.format != Stats::Text {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        for Stream { name, published, bytes, missed, dropped, .. } in
            &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
        {
            eprintln!(
                "{name}: in all {published} frames, {} in {seconds:.1} s, {:.1} fps, {} dropped, {missed} missed",
                HumanBytes(*bytes),
                *published as f64 / seconds,
                dropped.all_dropped(),
            );
        }
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
fn text(info: &Stream, split: &Latency, dropped: &str) -> String {
    let Stream { name, state, fault, fps, published, missed, .. } = info;
    let mut line = format!("{name}: {state}, {published} frames, {fps:.1} fps, {:.2} Mbit/s", info.bitrate / 1e6);
    for (what, at) in [("sent", info.newest_sent_at()), ("received", info.newest_received_at())] {
        if let Some(at) = at {
            let _ = write!(line, ", {what} {}", time_of_day(at));
        }
    }
    let delay = [Stage::Total, Stage::Uplink].into_iter().find_map(|stage| split.summary(stage));
    line += &delay.map_or(", delay not known".into(), |delay| {
        format!(", delay {:.1} ms (p95 {:.1}, max {:.1})", delay.p50, delay.p95, delay.max)
    });
    if let Some(age) = info.age_ms {
        let _ = write!(line, ", age {age:.0} ms");
    }
    let _ = write!(line, ", dropped: {dropped}, {missed} missed");
    if let Some(fault) = fault {
        let _ = write!(line, ", no picture: {fault}");
    }
    if let Some(Service { rendition, capacity, dropped, .. }) = &info.service {
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

/// A moment of the calendar as `10:20:30.123`, UTC.
fn time_of_day(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use framewire::{Hub, Image, PixelFormat};

    use super::*;

    fn stream() -> Stream {
        let hub = Hub::new();
        let mut publisher = hub.publish("door").unwrap();
        publisher.send(Image::new(PixelFormat::Gray, 64, 48, vec![0; 64 * 48]).unwrap()).unwrap();
        hub.streams().remove(0)
    }

    #[test]
    fn a_line_of_text_has_what_the_tutorials_print() {
        let stream = stream();
        let line = text(&stream, &stream.latency_ms, "2 superseded");
        assert!(line.contains("door: ") && line.contains("1 frames") && line.contains("delay not known"), "{line}");
        assert!(line.contains("received ") && line.ends_with("dropped: 2 superseded, 0 missed"), "{line}");
    }

    #[test]
    fn a_line_of_text_says_how_a_hub_serves_and_what_is_encoded_for_it() {
        let mut stream = stream();
        let dropped = stream.dropped;
        stream.service = Some(Service { rendition: "high", capacity: Some(2_100_000), delivered: 1, dropped });
        let line = text(&stream, &stream.latency_ms, "none");
        assert!(line.ends_with("rendition high, capacity 2.10 Mbit/s, dropped by the hub: none"), "{line}");
        assert_eq!(serde_json::to_value(&stream).unwrap()["service"]["dropped"]["superseded"], 0);
        let (codec, bitrate) = (Some("h264"), Some(2_240_000));
        let uplink = Uplink { codec, width: 640, height: 360, bitrate, ..Uplink::default() };
        assert_eq!(coded(&uplink), ", coded: 640x360 h264 for 2.24 Mbit/s, capacity not known");
    }

    #[test]
    fn a_time_of_day_is_to_the_millisecond() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(1_620_123_630_987_654);
        assert_eq!(time_of_day(moment), "10:20:30.987");
        assert_eq!(time_of_day(SystemTime::UNIX_EPOCH), "00:00:00.000");
    }
}

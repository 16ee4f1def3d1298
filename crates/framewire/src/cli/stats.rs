//! `--stats`: once a second, how each stream of this process does.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::options::Stats;
use crate::{
    clock,
    hub::{Hub, Info},
    latency::{Meter, Split, Stage},
    sink::window,
    stop::Stop,
};

const EVERY: Duration = Duration::from_secs(1);

/// Prints to stderr until `stop` is raised. `sent` tells rate and bitrate of what goes out, where that differs from what the
/// streams hold.
pub(super) fn print(stats: Option<Stats>, hub: &Hub, sent: Option<Arc<Mutex<Meter>>>, stop: &Stop) {
    let Some(stats) = stats else { return };
    let (hub, stop) = (hub.clone(), stop.clone());
    thread::spawn(move || {
        while !stop.wait(EVERY) {
            let now = clock::now();
            for mut info in hub.streams(now) {
                if let Some(sent) = &sent {
                    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                    (info.fps, info.bitrate) = (sent.fps(now), sent.bitrate(now));
                }
                eprintln!("{}", line(stats, &info));
            }
        }
    });
}

/// What a window tells once a second of its tiles, as `--stats` wants it; `hub` holds their streams.
pub(super) fn of_window(stats: Option<Stats>, hub: &Hub) -> Option<window::OnSecond> {
    let (stats, hub) = (stats?, hub.clone());
    Some(Box::new(move |tiles| {
        for tile in tiles {
            let missed = hub.stream(&tile.name, clock::now()).map_or(0, |info| info.missed);
            let dropped = tile.dropped.0.iter().map(|(_, count)| count).sum();
            match stats {
                Stats::Json => eprintln!("{}", with_missed(tile, missed)),
                Stats::Text => {
                    let rates = (tile.fps, tile.bitrate);
                    eprintln!("{}", text(&tile.name, tile.state, rates, &tile.latency_ms, dropped, missed));
                }
            }
        }
    }))
}

fn with_missed(tile: &window::Stats, missed: u64) -> serde_json::Value {
    let mut json = serde_json::to_value(tile).unwrap_or_default();
    json["missed"] = missed.into();
    json
}

fn line(stats: Stats, info: &Info) -> String {
    match stats {
        Stats::Json => serde_json::to_string(info).unwrap_or_default(),
        Stats::Text => {
            let (rates, dropped) = ((info.fps, info.bitrate), info.dropped.all_dropped());
            text(&info.name, info.state, rates, &info.latency_ms, dropped, info.missed)
        }
    }
}

fn text(name: &str, state: &str, (fps, bitrate): (f64, f64), split: &Split, dropped: u64, missed: u64) -> String {
    let latency = split.summary(Stage::Total).unwrap_or_default();
    format!(
        "{name}: {state} {fps:.1} fps, {:.2} Mbit/s, latency {:.1} ms (p95 {:.1}, max {:.1}), {dropped} dropped, {missed} missed",
        bitrate / 1e6,
        latency.p50,
        latency.p95,
        latency.max,
    )
}

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
    latency::{Meter, Stage},
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

fn line(stats: Stats, info: &Info) -> String {
    match stats {
        Stats::Json => serde_json::to_string(info).unwrap_or_default(),
        Stats::Text => {
            let latency = info.latency_ms.summary(Stage::Total).unwrap_or_default();
            format!(
                "{}: {} {:.1} fps, {:.2} Mbit/s, latency {:.1} ms (p95 {:.1}, max {:.1}), {} dropped, {} missed",
                info.name,
                info.state,
                info.fps,
                info.bitrate / 1e6,
                latency.p50,
                latency.p95,
                latency.max,
                info.dropped.all_dropped(),
                info.missed,
            )
        }
    }
}

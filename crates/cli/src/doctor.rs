//! `framewire doctor`: where a stream's time goes, and which side is slow.

use std::{
    collections::BTreeMap,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use framewire::proto::Rendition;
use serde::Deserialize;

use crate::{cameras, list, options, view};
use framewire::{
    doctor::{self, AtHub, Figures},
    hub::{Hub, Policy, ServiceInfo, Subscriber},
    latency::{Stage, StageSummary},
    net::client::Address,
    sink::measure::{self, Measurement},
    source::{self, Spec},
    stop::Stop,
};

#[derive(clap::Args)]
#[command(after_help = source::help())]
pub(crate) struct Args {
    /// What to watch: fw://HOST:PORT/NAME, or any source, see below, or the next tutorial's camera that connects to
    /// lhh://ADDR:PORT, base64://ADDR:PORT or stopwait://ADDR:PORT
    from: Spec,
    /// Wait for a hub or a stream that is not there
    #[arg(long)]
    wait: bool,
    /// For how many seconds
    #[arg(long, value_name = "S", value_parser = options::parse_seconds, default_value = "10")]
    duration: Duration,
    /// Say it as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let hub = crate::local_hub(stop);
    let over = stop.child();
    let mut from = args.from.clone();
    from.options.wait |= args.wait;
    let address = from.source.parse::<Address>().ok();
    // One that is waited for has had no frames yet.
    let none_yet = from.options.wait.then(Stream::default);
    let before = address.as_ref().and_then(|address| ask(address).ok().or(none_yet));
    let (subscriber, feed) = open(&from, &hub, &over)?;
    let begun = Instant::now();
    crate::stop_after(Some(args.duration), &over);
    let seen = measure::run(subscriber, &over);
    let seconds = begun.elapsed().as_secs_f64();
    // The source's own thread tells why it failed.
    over.stop();
    feed.join().ok().context("the source's thread panicked").flatten()?;
    let after = address.as_ref().and_then(|address| ask(address).ok());
    let figures = figures(&from, &seen, seconds, before.zip(after));
    let report = doctor::examine(figures);
    if args.json { crate::print(serde_json::to_string(&report)?) } else { crate::print(report.to_string().trim_end()) }
}

/// Opens what is to be watched until `over` is raised.
fn open(from: &Spec, hub: &Hub, over: &Stop) -> Result<(Subscriber, JoinHandle<Result<()>>)> {
    if let Some(at) = cameras::endpoint(from)? {
        return cameras::one(&at, hub, Policy::Newest, over);
    }
    let (_, subscriber, feed) = view::watch(hub, from, None, Policy::Newest, over)?;
    Ok((subscriber, feed))
}

/// What is read of a hub's answer.
#[derive(Default, Deserialize)]
struct Stream {
    state: String,
    published: u64,
    missed: u64,
    bitrate: f64,
    viewers: u64,
    latency_ms: BTreeMap<String, StageSummary>,
}

/// Asks the hub what it knows of a stream.
fn ask(address: &Address) -> Result<Stream> {
    let name = address.name.as_ref().context("no stream is named")?;
    Ok(serde_json::from_str(&list::get(address, &format!("/streams/{name}"))?)?)
}

fn figures(from: &Spec, seen: &Measurement, seconds: f64, hub: Option<(Stream, Stream)>) -> Figures {
    let config = seen.config.as_deref();
    let (frames, bytes) = seen.meter.totals();
    let (decoded, took) = seen.decoded;
    let told = seen.state.map(|state| state.name().to_owned());
    let state =
        if seen.ended { Some("ended".into()) } else { hub.as_ref().map(|(_, after)| after.state.clone()).or(told) };
    let announced = config.filter(|config| config.millifps > 0 && !from.options.unpaced());
    Figures {
        from: from.source.clone(),
        seconds,
        state,
        codec: config.map(|config| config.codec.name()),
        width: config.map_or(0, |config| config.width),
        height: config.map_or(0, |config| config.height),
        announced_fps: announced.map(|config| f64::from(config.millifps) / 1000.0),
        camera_fps: seen.source_fps(),
        frames,
        fps: frames as f64 / seconds,
        bitrate: bytes as f64 * 8.0 / seconds,
        reordered: seen.reordered * 4 > frames,
        decode_ms: (decoded > 0).then(|| took as f64 / decoded as f64 / 1000.0),
        bad: seen.bad,
        fault: seen.fault.clone(),
        dropped: seen.counts,
        uplink_rate: seen.uplink_rate(),
        service: seen.service.map(ServiceInfo::from),
        least_capacity: seen.least_capacity,
        lowered: seen.lowered.map(Rendition::name),
        hub: hub.map(|(before, after)| AtHub {
            published: after.published.saturating_sub(before.published),
            missed: after.missed.saturating_sub(before.missed),
            bitrate: after.bitrate,
            other_viewers: before.viewers,
            show_ms: after.latency_ms.get(Stage::Show.name()).copied(),
        }),
        latency_ms: seen.split.clone(),
    }
}

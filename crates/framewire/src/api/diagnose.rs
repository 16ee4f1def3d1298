//! Measuring a stream for the doctor.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use framewire_proto::Rendition;
use serde::Deserialize;

use super::{
    local::{self, From, LocalHub, Opened},
    remote,
};
use crate::{
    doctor::{self, AtHub, Figures},
    error::{Error, OrError as _, Result, error},
    hub::{Policy, ServiceInfo},
    latency::{Stage, StageSummary},
    net::client::Address,
    sink::measure::{self, Measurement},
    source::{Spec as Source, honours::Use},
    stop::Stop,
};

pub use crate::doctor::{Diagnosis, Finding, Side};

/// Watches a stream for this long, then says where its time goes and which side is slow.
///
/// ```no_run
/// use std::time::Duration;
///
/// let diagnosis = framewire::diagnose(&"fw://127.0.0.1:7070/door".parse()?, Duration::from_secs(10))?;
/// println!("{}", diagnosis.verdict);
/// # Ok::<(), framewire::Error>(())
/// ```
///
/// # Errors
/// The source cannot be opened, or fails.
pub fn diagnose(from: &Source, duration: Duration) -> Result<Diagnosis> {
    diagnose_until(from, duration, &Stop::default())
}

/// The same; raising the flag ends it early, with what was measured until then.
///
/// # Errors
/// As [`diagnose`].
pub fn diagnose_until(from: &Source, duration: Duration, stop: &Stop) -> Result<Diagnosis> {
    from.check_options(Use::SHOWN)?;
    let (hub, over) = (LocalHub::new(), stop.child());
    let address = from.source.expose().parse::<Address>().ok();
    // A stream that is waited for has had no frames yet.
    let none_yet = from.options.wait.then(Stream::default);
    let before = address.as_ref().and_then(|address| ask(address, stop).ok().or(none_yet));
    let Opened { subscriber, feeding } = From::new(from.clone())?.open(&hub.hub, Policy::Newest, &over)?;
    let begun = Instant::now();
    let timer = {
        let over = over.clone();
        thread::spawn(move || {
            over.wait(duration.min(local::LONGEST_WAIT));
            over.stop();
        })
    };
    let seen = measure::run(subscriber, &over);
    let seconds = begun.elapsed().as_secs_f64();
    over.stop();
    // The timer only waits for the flag.
    let _ = timer.join();
    local::join(feeding)?;
    let after = address.as_ref().and_then(|address| ask(address, &Stop::default()).ok());
    Ok(doctor::examine(figures(from, &seen, seconds, before.zip(after))))
}

/// What is read of a hub's answer.
#[derive(Default, Deserialize)]
struct Stream {
    state: String,
    fault: Option<String>,
    published: u64,
    missed: u64,
    bitrate: f64,
    viewers: u64,
    latency_ms: BTreeMap<String, StageSummary>,
}

/// Asks the hub what it knows of a stream.
fn ask(address: &Address, stop: &Stop) -> Result<Stream> {
    let name = address.name.as_ref().or_error(Error::InvalidInput, || "no stream is named")?;
    let json = remote::get(address, &format!("/streams/{name}"), stop)?;
    serde_json::from_str(&json).map_err(|error| error!(Protocol, "{address}: not a hub's answer: {error}"))
}

fn figures(from: &Source, seen: &Measurement, seconds: f64, hub: Option<(Stream, Stream)>) -> Figures {
    let config = seen.config.as_deref();
    let (frames, bytes) = seen.meter.totals();
    let (decoded, took) = seen.decoded;
    let told = seen.state.map(|state| state.name().to_owned());
    let state =
        if seen.ended { Some("ended".into()) } else { hub.as_ref().map(|(_, after)| after.state.clone()).or(told) };
    let no_picture = hub.as_ref().and_then(|(_, after)| after.fault.clone());
    let no_picture = no_picture.or_else(|| seen.no_picture.as_ref().map(ToString::to_string));
    let announced = config.filter(|config| config.millifps > 0 && !from.options.unpaced());
    let (width, height) = config.map_or((0, 0), framewire_proto::Config::shown_size);
    Figures {
        from: from.source.to_string(),
        seconds,
        state,
        no_picture,
        codec: config.map(|config| config.codec.name()),
        width,
        height,
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

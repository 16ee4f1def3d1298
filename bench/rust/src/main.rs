//! framewire's ends of its benchmarks: what `send` and `view` are, between a source that stamps each frame and an end that
//! reads the stamps. Started by `bench/run`, which reads the lines of JSON that they print.

mod camera;
mod screen;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use framewire::{
    clock,
    hub::Hub,
    media::encode,
    proto::{Codec, Name},
    sink::fw::Publish,
    source::feed::Feed,
    stop::Stop,
};
use tokio::runtime;

use camera::{Camera, Play};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Plays a clip to a hub.
    Publish(Job),
    /// Takes a stream of a hub and tells when each picture was decoded.
    View(Job),
}

#[derive(clap::Args)]
struct Job {
    /// The stream: fw://host:port/name
    hub: String,
    /// Picture lines: 480, 720 or 1080
    #[arg(long, default_value = "720")]
    size: String,
    /// The folder that clips.py filled
    #[arg(long)]
    clips: PathBuf,
    /// Frames per second, 0 is as fast as it goes
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Pictures are received, not decoded
    #[arg(long)]
    passed: bool,
    /// The publisher gets its pixels as I420, not as BGR
    #[arg(long)]
    i420: bool,
    /// Given to all benchmark programs; here the hub's address says it
    #[arg(long, hide = true)]
    port: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("framewire-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(role: &Role) -> Result<()> {
    let stop = stop_on_signals()?;
    match role {
        Role::Publish(job) => publish(job, &stop),
        Role::View(job) => screen::view(&job.hub, job.passed, &stop),
    }
}

fn publish(job: &Job, stop: &Stop) -> Result<()> {
    let size = match job.size.as_str() {
        "480" => (640, 480),
        "720" => (1280, 720),
        "1080" => (1920, 1080),
        other => anyhow::bail!("'{other}' is no size of a clip: 480, 720 or 1080"),
    };
    let codec = if job.i420 { Codec::I420 } else { Codec::Bgr24 };
    let play = Play { size, codec, fps: job.fps };
    let camera = Camera::load(&job.clips.join(format!("{}.bgr", job.size)), play, stop)?;
    let hub = Hub::default();
    let local = Name::from_lossy("out");
    // Only its options matter: the source is open.
    let spec = format!("clip#fps={}", job.fps).parse()?;
    let publisher = hub.publish(&local, clock::now())?;
    let feed = Feed { spec, publisher, encode: None, on_demand: false, again: false };
    let feeding = in_background(feed.run(Some(Box::new(camera)), stop.clone()))?;
    let publish = Publish {
        hub,
        local,
        address: job.hub.parse()?,
        encode: encode::Config::default(),
        wait: true,
        sent: Arc::default(),
    };
    let outcome = publish.run(stop);
    stop.stop();
    outcome.and(self::outcome(feeding))
}

fn in_background(feed: impl Future<Output = Result<()>> + Send + 'static) -> Result<JoinHandle<Result<()>>> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    Ok(thread::spawn(move || runtime.block_on(feed)))
}

fn outcome(feeding: JoinHandle<Result<()>>) -> Result<()> {
    feeding.join().ok().context("the source's thread panicked").flatten()
}

/// SIGTERM and Ctrl-C end the program in order.
fn stop_on_signals() -> Result<Stop> {
    use signal_hook::{consts, iterator::Signals};
    let stop = Stop::default();
    let mut signals = Signals::new([consts::SIGTERM, consts::SIGINT]).context("signals cannot be taken")?;
    let raised = stop.clone();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            raised.stop();
        }
    });
    Ok(stop)
}

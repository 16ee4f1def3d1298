//! framewire's ends of its benchmarks: what `send` and `view` are, between a source that stamps each frame and an end that
//! reads the stamps. Started by `bench/run`, which reads the lines of JSON that they print.

mod camera;
mod crowd;
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
    media::encode::{self, CodecChoice},
    net::{accept, endpoint::Endpoint},
    proto::{Codec, Name, wire::tutorial::End},
    sink::{Outlet, fw::Publish, pickle::Port, tutorial::Push},
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
    /// Plays a clip to a hub or to a tutorial's script.
    Publish(Job),
    /// Takes a stream of a hub or of a tutorial's camera and tells when each picture was decoded.
    View(Job),
    /// Many viewers of MJPEG over HTTP, who throw it away.
    Crowd(crowd::Crowd),
}

#[derive(clap::Args)]
struct Job {
    /// The stream, fw://host:port/name, or a tutorial's wire: lhh://host:port
    to: String,
    /// Picture lines: 480, 720 or 1080
    #[arg(long, default_value = "720")]
    size: String,
    /// The clip's name [default: the size]
    #[arg(long)]
    clip: Option<String>,
    /// The folder that clips.py filled
    #[arg(long)]
    clips: PathBuf,
    /// Frames per second, 0 is as fast as it goes
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Pictures are received, not decoded
    #[arg(long)]
    passed: bool,
    /// Put the luma of every tenth frame shown into this folder
    #[arg(long)]
    lumas: Option<PathBuf>,
    /// What pictures are coded in
    #[arg(long, default_value = "auto")]
    codec: CodecChoice,
    /// The publisher gets its pixels as I420, not as BGR
    #[arg(long)]
    i420: bool,
    /// Given to all benchmark programs; here the address says it
    #[arg(long, hide = true)]
    host: Option<String>,
    /// Given to all benchmark programs; here the address says it
    #[arg(long, hide = true)]
    port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Coded {
    /// Whatever `framewire send` chooses by itself.
    Auto,
    Jpeg,
    H264,
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
        Role::View(job) => screen::view(&job.to, job.passed, job.lumas.as_deref(), &stop),
        Role::Crowd(crowd) => crowd::watch(crowd, &stop),
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
    let clip = job.clip.as_ref().unwrap_or(&job.size);
    let camera = Camera::load(&job.clips.join(format!("{clip}.bgr")), play, stop)?;
    let hub = Hub::default();
    let local = Name::from_lossy("out");
    // Only its options matter: the source is open.
    let spec = format!("clip#fps={}", job.fps).parse()?;
    let publisher = hub.publish(&local, clock::now())?;
    let feed = Feed { spec, publisher, encode: None, on_demand: false, again: false };
    let feeding = in_background(feed.run(Some((Box::new(camera), stop.child())), stop.clone()))?;
    let encode = encoding(job)?;
    let outlet = Outlet { hub, stream: local, encode, max_age: None, sent: Arc::default(), preview: None };
    let outcome = send(&job.to, outlet, stop);
    stop.stop();
    outcome.and(self::outcome(feeding))
}

/// How pictures are coded: at the quality of all peers, in their own size.
fn encoding(job: &Job) -> Result<encode::EncodeOptions> {
    let only = if Endpoint::matches(&job.to) { Some(Endpoint::parse(&job.to)?.tutorial.codec) } else { None };
    Ok(encode::EncodeOptions { only, codec: job.codec, ..encode::EncodeOptions::default() })
}

fn send(to: &str, outlet: Outlet, stop: &Stop) -> Result<()> {
    if !Endpoint::matches(to) {
        return Publish { outlet, address: to.parse()?, wait: true, passthrough: false }.run(stop);
    }
    let at = Endpoint::parse(to)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if at.tutorial.camera == End::Connects {
            return Push { outlet, to: at, wait: true }.run(stop).await;
        }
        let listener = accept::bind(&at.authority()).await?;
        Port { outlet, at, ends: true }.run(listener, stop).await
    })
}

fn in_background(feed: impl Future<Output = Result<()>> + Send + 'static) -> Result<JoinHandle<Result<()>>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
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

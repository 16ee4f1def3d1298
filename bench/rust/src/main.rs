//! framewire's ends of its benchmarks: what `send` and `view` are, between a source that stamps each frame and an end that
//! reads the stamps. Started by `bench/run`, which reads the lines of JSON that they print.

mod camera;
mod crowd;
mod screen;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use framewire::{CodecChoice, PixelFormat, Sender, Stop};
use framewire_proto::Micros;
use rustix::time::{ClockId, clock_gettime};

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
    /// The viewer decodes to BGR, as the peers do, not to I420
    #[arg(long)]
    bgr: bool,
    /// Given to all benchmark programs; here the address says it
    #[arg(long, hide = true)]
    host: Option<String>,
    /// Given to all benchmark programs; here the address says it
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
        Role::View(job) => screen::view(job, &stop),
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
    let format = if job.i420 { PixelFormat::I420 } else { PixelFormat::Bgr };
    let play = Play { size, format, fps: job.fps };
    let clip = job.clip.as_ref().unwrap_or(&job.size);
    let mut camera = Camera::load(&job.clips.join(format!("{clip}.bgr")), play)?;
    let mut sender = Sender::builder(&job.to).own_size().codec(job.codec).wait().stop(stop).open()?;
    match camera.play(&mut sender, stop) {
        Err(_) if stop.stopped() => Ok(()),
        outcome => outcome,
    }
}

/// Now, in µs of the clock that all programs of this machine share.
fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
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

//! `framewire record`: a stream into a file, or to a program that reads.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{
    options::{self, Common},
    stats, view,
};
use crate::{
    hub::Policy,
    media::encode,
    sink::{
        raw::Format,
        record::{self, Summary, Target},
    },
    source::{self, Spec},
    stop::Stop,
};

#[derive(clap::Args)]
#[command(after_help = source::help())]
pub(super) struct Args {
    /// What to record: fw://HOST:PORT/NAME, or any source, see below
    from: Spec,
    /// A file ending with .mkv, .mp4 or .avi, or - for standard output
    file: PathBuf,
    /// What a program reads from standard output: y4m, mjpeg or bgr24
    #[arg(long, value_parser = parse_format)]
    format: Option<Format>,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let target = target(args)?;
    let mut spec = args.common.apply(&args.from);
    spec.options.every = true;
    let hub = super::local_hub(stop);
    // A file holds what comes, unless another size or quality is asked for.
    let encode = options::encoding(&spec)?;
    let encode = (args.format.is_none() && encode != encode::Config::default()).then_some(encode);
    let (_, subscriber, feed) = view::watch(&hub, &spec, encode, Policy::Every, stop)?;
    stats::print(args.common.stats, &hub, None, stop);
    let bar = progress_bar(args.common.stats.is_some());
    let outcome = record::run(subscriber, target, args.common.duration, stop, |summary| bar.set_message(said(summary)));
    bar.finish_and_clear();
    stop.stop();
    let summary = outcome?;
    feed.join().ok().context("the source's thread panicked").flatten()?;
    if !args.common.quiet() {
        report(&summary);
    }
    Ok(())
}

fn target(args: &Args) -> Result<Target> {
    let Some(format) = args.format else {
        if args.file.as_os_str() == "-" {
            bail!("standard output needs a --format: y4m, mjpeg or bgr24");
        }
        return Ok(Target::File(args.file.clone()));
    };
    if args.file.as_os_str() != "-" {
        bail!("--format is for standard output: write - instead of {}", args.file.display());
    }
    if io::stdout().is_terminal() {
        bail!("standard output is a terminal, not a program that reads: pipe it, or name a file");
    }
    // A size that the picture was asked for fits 16 bits: it was checked when it was read.
    let size = args.common.size.and_then(|(width, height)| Some((width.try_into().ok()?, height.try_into().ok()?)));
    Ok(Target::Reader { out: Box::new(io::stdout().lock()), format, size })
}

fn parse_format(text: &str) -> Result<Format> {
    let known = Format::ALL.into_iter().find(|format| format.name() == text);
    known.with_context(|| format!("'{text}' is no format: y4m, mjpeg or bgr24"))
}

/// A line on a terminal that tells how far the recording is.
fn progress_bar(quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn said(summary: &Summary) -> String {
    let dropped = summary.counts.all_dropped();
    format!("{} frames, {}, {dropped} dropped", summary.frames, HumanBytes(summary.bytes))
}

fn report(summary: &Summary) {
    let files: Vec<String> = summary.files.iter().map(|file| file.display().to_string()).collect();
    let whereto = if files.is_empty() { "standard output".into() } else { files.join(", ") };
    eprintln!("framewire recorded {} into {whereto}", said(summary));
}

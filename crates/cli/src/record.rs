//! `framewire record`: a stream into a file, or to a program that reads.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::{
    cameras,
    options::{self, Common},
    stats::Teller,
    view,
};
use framewire::{
    hub::{Hub, Policy, Subscriber},
    net::endpoint::Endpoint,
    sink::{
        raw::Format,
        record::{self, Summary, Target},
    },
    source::{self, Spec},
    stop::Stop,
    transcode::encode,
};

/// How often it is looked whether to end.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What feeds the stream, until it ends.
type Feeding = JoinHandle<Result<()>>;

#[derive(clap::Args)]
#[command(after_help = source::help())]
pub(crate) struct Args {
    /// What to record: fw://HOST:PORT/NAME, or any source, see below, or the tutorials' cameras that connect to
    /// lhh://ADDR:PORT, base64://ADDR:PORT or stopwait://ADDR:PORT, each into a file of its own
    from: Spec,
    /// A file ending with .mkv, .mp4 or .avi, or - for standard output
    file: PathBuf,
    /// What a program reads from standard output: y4m, mjpeg or bgr24
    #[arg(long, value_parser = parse_format)]
    format: Option<Format>,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let target = target(args)?;
    let mut spec = args.common.apply(&args.from);
    // A file shall hold every frame; a program that reads what happens now shall get the newest.
    spec.options.every |=
        matches!(target, Target::File(_)) || cameras::endpoint(&spec)?.is_some() || !source::kind(&spec)?.live;
    let hub = crate::local_hub(stop);
    let teller = Teller::new(args.common.stats, &hub, None);
    teller.start(stop);
    let from = match cameras::endpoint(&spec)? {
        None => Some(source(args, &spec, &hub, stop)?),
        Some(at) => match &target {
            Target::Reader { .. } => Some(cameras::one(&at, &hub, Policy::Every, stop)?),
            Target::File(file) => {
                each_camera(args, &at, &hub, file, stop)?;
                None
            }
        },
    };
    if let Some((subscriber, feed)) = from {
        let bar = progress_bar(args.common.stats.is_some());
        let progress = |summary: &Summary| bar.set_message(said(summary));
        let outcome = record::run(subscriber, target, args.common.duration, stop, progress);
        bar.finish_and_clear();
        let ended = !stop.stopped();
        stop.stop();
        let summary = outcome?;
        feed.join().ok().context("the source's thread panicked").flatten()?;
        ensure!(
            summary.frames > 0 || summary.left || !ended,
            "{}: no picture came, so nothing is recorded: `framewire doctor` tells why",
            args.from.source
        );
        if !args.common.quiet() {
            report(&summary);
        }
    }
    teller.totals();
    Ok(())
}

/// Opens a source. A file holds what comes, unless another size or quality is asked for.
fn source(args: &Args, spec: &Spec, hub: &Hub, stop: &Stop) -> Result<(Subscriber, Feeding)> {
    let encode = options::encoding(spec)?;
    let encode = (args.format.is_none() && encode != encode::EncodeOptions::default()).then_some(encode);
    let policy = if spec.options.every { Policy::Every } else { Policy::Newest };
    let (_, mut subscriber, feed) = view::watch(hub, spec, encode, policy, stop)?;
    subscriber.max_age(spec.options.max_age);
    Ok((subscriber, feed))
}

/// Records every camera that connects until `stop` is raised.
fn each_camera(args: &Args, at: &Endpoint, hub: &Hub, file: &Path, stop: &Stop) -> Result<()> {
    if args.common.codes() {
        bail!("{at}: its pictures are recorded as they come: leave out --size and --quality");
    }
    let (meet, met) = mpsc::channel();
    let watched = cameras::watched(hub, Policy::Every, move |subscriber| drop(meet.send(subscriber)));
    let listening = cameras::listen(at, hub, watched, stop)?;
    crate::stop_after(args.common.duration, stop);
    let mut recordings: Vec<Feeding> = Vec::new();
    let mut begun = 0;
    while !stop.stopped() {
        let Ok(subscriber) = met.recv_timeout(LOOK_AROUND) else { continue };
        let (done, going) = recordings.into_iter().partition(JoinHandle::is_finished);
        recordings = going;
        join(done)?;
        let file = if begun == 0 { file.to_owned() } else { record::following(file, begun)? };
        begun += 1;
        let (stop, quiet) = (stop.clone(), args.common.quiet());
        recordings.push(thread::spawn(move || {
            let outcome = record::run(subscriber, Target::File(file), None, &stop, |_| {});
            // A disk that is full is full for all cameras.
            let summary = outcome.inspect_err(|_| stop.stop())?;
            if !quiet {
                report(&summary);
            }
            Ok(())
        }));
    }
    recordings.push(listening);
    join(recordings)
}

fn join(threads: Vec<Feeding>) -> Result<()> {
    let outcomes = threads.into_iter().map(|thread| thread.join().ok().context("a thread panicked").flatten());
    // All of them end before the first error is told.
    outcomes.collect::<Vec<_>>().into_iter().collect()
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

//! `framewire record`: a stream into a file, or to a program that reads.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use framewire::{Format, Recorder, Recording, Source, Stop, sources_help};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::{options::Common, stats::StatsPrinter};

/// How often the progress on a terminal is brought up to date.
const REFRESH: Duration = Duration::from_millis(100);

/// How long the program that reads may take for the last picture after a stop.
const FAREWELL: Duration = Duration::from_millis(300);

#[derive(clap::Args)]
#[command(after_help = sources_help())]
pub(crate) struct Args {
    /// What to record: fw://HOST:PORT/NAME, or any source, see below, or the tutorials' cameras that connect to
    /// lhh://ADDR:PORT, base64://ADDR:PORT, stopwait://ADDR:PORT or length://ADDR:PORT (any length, then a JPEG, its base64 or
    /// a pickle), each into a file of its own
    from: Source,
    /// A file ending with .mkv, .mp4 or .avi, or - for standard output
    file: PathBuf,
    /// What a program reads from standard output: y4m, mjpeg or bgr24
    #[arg(long, value_parser = parse_format)]
    format: Option<Format>,
    /// Replace the file if it is there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let from = args.common.apply(&args.from);
    let recorder = match program_format(args)? {
        None => Recorder::builder(from, &args.file).overwrite(args.overwrite),
        Some(format) => Recorder::to_program(from, io::stdout(), format),
    };
    let bar = progress_bar(args.common.stats.is_some());
    let (shown, quiet, to_program) = (bar.clone(), args.common.quiet(), args.format.is_some());
    let report = move |recording: &Recording| {
        if !quiet {
            shown.suspend(|| report(recording, to_program));
        }
    };
    let recorder = recorder.on_finished(report).stop(stop);
    let recorder = match args.common.duration {
        Some(duration) => recorder.duration(duration),
        None => recorder,
    };
    let recorder = recorder.start()?;
    let printer = StatsPrinter::new(args.common.stats);
    let mut last = std::time::Instant::now();
    while !recorder.is_finished() && !stop.wait(REFRESH) {
        bar.set_message(summary(&recorder.progress()));
        if let Some(printer) = printer.as_ref().filter(|_| last.elapsed() >= StatsPrinter::INTERVAL) {
            last = std::time::Instant::now();
            printer.streams(&recorder.stats(), None);
        }
    }
    let streams = recorder.stats();
    let outcome = wait(recorder, to_program, stop);
    bar.finish_and_clear();
    outcome?;
    if let Some(printer) = printer {
        printer.note(&streams);
        printer.totals();
    }
    Ok(())
}

/// What a program reads from standard output; `None` where a file is recorded.
fn program_format(args: &Args) -> Result<Option<Format>> {
    let Some(format) = args.format else {
        if args.file.as_os_str() == "-" {
            bail!("standard output needs a --format: y4m, mjpeg or bgr24");
        }
        return Ok(None);
    };
    if args.file.as_os_str() != "-" {
        bail!("--format is for standard output: write - instead of {}", args.file.display());
    }
    if io::stdout().is_terminal() {
        bail!("standard output is a terminal, not a program that reads: pipe it, or name a file");
    }
    Ok(Some(format))
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
    bar.enable_steady_tick(REFRESH);
    bar
}

fn summary(recording: &Recording) -> String {
    let dropped = recording.left_out();
    format!("{} frames, {}, {dropped} dropped", recording.frames, HumanBytes(recording.bytes))
}

/// Waits for the end of the recording. After a stop, a program that reads nothing does not keep this one from ending.
fn wait(recorder: Recorder, to_program: bool, stop: &Stop) -> Result<()> {
    let (tell, outcome) = mpsc::channel();
    // Nobody may wait any more.
    thread::spawn(move || drop(tell.send(recorder.wait())));
    let patience = if to_program && stop.stopped() { FAREWELL } else { Duration::MAX };
    match outcome.recv_timeout(patience) {
        Ok(outcome) => outcome.map(drop).map_err(Into::into),
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("framewire: the program that reads has taken nothing more: the last picture is not whole");
            Ok(())
        }
        Err(RecvTimeoutError::Disconnected) => bail!("a thread of framewire panicked; please report this"),
    }
}

fn report(recording: &Recording, to_program: bool) {
    let files: Vec<String> = recording.files.iter().map(|file| file.display().to_string()).collect();
    let whereto = match files.as_slice() {
        [] if to_program => "standard output".into(),
        [] => return eprintln!("framewire recorded nothing: no frame came"),
        files => files.join(", "),
    };
    eprintln!("framewire recorded {} into {whereto}", summary(recording));
}

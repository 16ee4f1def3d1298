//! The command line: flags to configurations, one file a command.
//!
//! Exit status: 0 done, 1 failed (one line that says what, where and what to try), 2 wrong usage.

mod demo;
mod devices;
mod doctor;
mod list;
mod options;
mod record;
mod send;
mod serve;
mod stats;
mod view;

use std::{
    ffi::OsString,
    fmt,
    io::{self, IsTerminal, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{ArgAction, Parser, Subcommand};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing_subscriber::EnvFilter;

use framewire::{Stop, mask_secrets};

/// Live video from any camera to any screen or program, over one TCP port.
#[derive(Parser)]
#[command(name = "framewire", version, propagate_version = true, max_term_width = 120)]
struct Cli {
    /// Say more; twice, say all
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A hub with a moving test scene and the first camera, if there is one
    Demo(demo::Args),
    /// The hub: takes streams from publishers and gives them to viewers, all on one port
    Serve(serve::Args),
    /// Capture, encode and publish to a hub
    Send(send::Args),
    /// Watch streams in a window each, or in one grid
    View(view::Args),
    /// Record a stream into a file, or give it to a program
    Record(record::Args),
    /// The streams of a hub
    List(list::Args),
    /// Where a stream's time goes, and which side is slow
    Doctor(doctor::Args),
    /// The cameras of this machine: formats, sizes, rates
    Devices(devices::Args),
}

/// Runs the command that these arguments ask for; the first one is the program's name. Returns the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            print_usage(&error);
            return error.exit_code() as u8;
        }
    };
    let quiet = match &cli.command {
        Command::Send(args) => args.common.quiet(),
        Command::View(args) => args.common.quiet(),
        Command::Record(args) => args.common.quiet(),
        Command::Doctor(_) => true,
        _ => false,
    };
    log(cli.verbose, quiet);
    match execute(cli.command) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("framewire: {}", mask_secrets(&format!("{error:#}")));
            1
        }
    }
}

fn execute(command: Command) -> Result<()> {
    let stop = stop_on_signals()?;
    match command {
        Command::Demo(args) => demo::run(&args, &stop),
        Command::Serve(args) => serve::run(&args, &stop),
        Command::Send(args) => send::run(&args, &stop),
        Command::View(args) => view::run(&args, &stop),
        Command::Record(args) => record::run(&args, &stop),
        Command::List(args) => list::run(&args, &stop),
        Command::Doctor(args) => doctor::run(&args, &stop),
        Command::Devices(args) => devices::run(&args),
    }
}

/// Prints help or version, or what is wrong with the arguments, which may hold a password.
fn print_usage(error: &clap::Error) {
    if !error.use_stderr() {
        // It is no fault if the reader of help has left.
        let _ = error.print();
        return;
    }
    let text = error.render();
    let text = if io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    eprint!("{}", mask_secrets(&text));
}

/// Writes to standard output. Whoever has read enough of it and left is no fault.
fn print(text: impl fmt::Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}

/// A flag that the first Ctrl-C or SIGTERM raises; a second ends the program at once.
fn stop_on_signals() -> Result<Stop> {
    let stop = Stop::default();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for Ctrl-C")?;
    let raise = stop.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            if raise.stopped() {
                std::process::exit(128 + signal);
            }
            raise.stop();
        }
    });
    Ok(stop)
}

/// Raises `stop` when this time is over.
fn stop_after(duration: Option<Duration>, stop: &Stop) {
    let Some(duration) = duration else { return };
    let stop = stop.clone();
    thread::spawn(move || {
        if !stop.wait(duration) {
            stop.stop();
        }
    });
}

/// What happens goes to stderr, in words; `quiet` leaves it to figures for programs.
fn log(verbose: u8, quiet: bool) {
    let level = match verbose {
        0 if quiet => "framewire=warn",
        0 => "framewire=info",
        1 => "framewire=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("FRAMEWIRE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines =
        tracing_subscriber::fmt().with_writer(|| MaskedStderr).with_ansi(io::stderr().is_terminal()).with_target(false);
    if verbose > 0 {
        lines.with_env_filter(filter).init();
    } else {
        lines.without_time().with_env_filter(filter).init();
    }
}

/// Standard error, without the secrets of addresses: other libraries log them too.
struct MaskedStderr;

impl Write for MaskedStderr {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(mask_secrets(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

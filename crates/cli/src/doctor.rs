//! `framewire doctor`: where a stream's time goes, and which side is slow.

use std::time::Duration;

use anyhow::Result;
use framewire::{Source, Stop, sources_help};

use crate::options;

#[derive(clap::Args)]
#[command(after_help = sources_help())]
pub(crate) struct Args {
    /// What to watch: fw://HOST:PORT/NAME, or any source, see below, or the next tutorial's camera that connects to
    /// lhh://ADDR:PORT, base64://ADDR:PORT, stopwait://ADDR:PORT or length://ADDR:PORT
    from: Source,
    /// Wait for a hub or a stream that is not there
    #[arg(long)]
    wait: bool,
    /// For how many seconds
    #[arg(long, value_name = "S", value_parser = options::parse_seconds, default_value = "10")]
    duration: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let mut from = args.from.clone();
    from.options.wait |= args.wait;
    let diagnosis = framewire::diagnose_until(&from, args.duration, stop)?;
    if args.json {
        crate::print(serde_json::to_string(&diagnosis)?)
    } else {
        crate::print(diagnosis.to_string().trim_end())
    }
}

//! `framewire send`: a source of this machine as a stream of a hub, or to a tutorial's script.

use anyhow::Result;
use framewire::{Sender, Source, Stop, Window, sinks_help, sources_help};

use crate::{options::Common, stats::StatsPrinter};

#[derive(clap::Args)]
#[command(after_help = format!("{}\n\n{}", sources_help(), sinks_help()))]
pub(crate) struct Args {
    /// What to send, see below; options may follow, each after a #, as in /dev/video0#size=1280x720
    source: Source,
    /// Where to, see below
    to: String,
    /// Show in a window what is sent; q ends
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let sender = Sender::builder(&args.to).stop(stop);
    let sender = if args.preview { sender.preview() } else { sender };
    let sender = if args.common.wait() { sender.wait() } else { sender };
    let mut source = args.common.apply(&args.source);
    // The flag is for the other end, and for a source that can be waited for.
    source.options.wait &= args.source.options.wait || source.honours("wait");
    let sender = sender.forward(source)?;
    crate::stop_after(args.common.duration, stop);
    let (printer, monitor) = (StatsPrinter::new(args.common.stats), sender.monitor());
    if let Some(printer) = printer.clone() {
        let monitor = monitor.clone();
        printer.every_second(stop, move || {
            let (streams, uplink) = monitor.stats();
            (streams, Some(uplink))
        });
    }
    let shown = if args.preview { Window::builder().preview(&sender).stop(&sender.stop_flag()).show() } else { Ok(()) };
    if args.preview {
        sender.stop_flag().stop();
    }
    let outcome = sender.wait();
    stop.stop();
    if let Some(printer) = printer {
        printer.note(&monitor.stats().0);
        printer.totals();
    }
    Ok(outcome.and(shown)?)
}

//! `framewire view`: streams in one window or in several.

use anyhow::Result;
use framewire::{Source, Stop, Window, sources_help};

use crate::{options::Common, stats::StatsPrinter};

#[derive(clap::Args)]
#[command(after_help = sources_help())]
pub(crate) struct Args {
    /// What to watch: fw://HOST:PORT/NAME, or any source, see below; several make a grid. Tutorials' cameras that connect
    /// to lhh://ADDR:PORT, base64://ADDR:PORT, stopwait://ADDR:PORT or length://ADDR:PORT (any length, then a JPEG, its base64
    /// or a pickle) get a window each
    #[arg(required = true)]
    from: Vec<Source>,
    /// A window for each, instead of one grid
    #[arg(long)]
    windows: bool,
    /// Begin with the overlay of figures (the key i toggles it)
    #[arg(long)]
    overlay: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let window = Window::builder().separate(args.windows).overlay(args.overlay).stop(stop);
    let window = args.common.apply_to_each(&args.from).into_iter().fold(window, framewire::WindowBuilder::stream);
    let window = match args.common.max_age() {
        Some(age) => window.max_age(age),
        None => window,
    };
    let printer = StatsPrinter::new(args.common.stats);
    let window = match printer.clone() {
        Some(printer) => window.on_second(move |streams, tiles| printer.tiles(streams, tiles)),
        None => window,
    };
    crate::stop_after(args.common.duration, stop);
    let outcome = window.show();
    printer.iter().for_each(|printer| printer.totals());
    Ok(outcome?)
}

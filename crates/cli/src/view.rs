//! `framewire view`: streams in one window or in several.

use std::{pin::pin, sync::mpsc, thread::JoinHandle};

use anyhow::{Context, Result};
use framewire::proto::Name;

use crate::{cameras, options::Common, stats::Teller};
use framewire::{
    clock,
    hub::{Hub, Policy, Subscriber},
    latency::StaleFilter,
    sink::window::{self, Pane, Tile},
    source::{self, Spec, feed::Feed},
    stop::Stop,
    transcode::encode,
};

#[derive(clap::Args)]
#[command(after_help = source::help())]
pub(crate) struct Args {
    /// What to watch: fw://HOST:PORT/NAME, or any source, see below; several make a grid. Tutorials' cameras that connect
    /// to lhh://ADDR:PORT, base64://ADDR:PORT or stopwait://ADDR:PORT get a window each
    #[arg(required = true)]
    from: Vec<Spec>,
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
    let hub = crate::local_hub(stop);
    let teller = Teller::new(args.common.stats, &hub, None);
    let (mut tiles, mut feeds) = (Vec::new(), Vec::new());
    let (meet, met) = mpsc::channel();
    let mut listening = false;
    let filter = StaleFilter::new(args.common.max_age);
    for from in &args.from {
        if let Some(at) = cameras::endpoint(from)? {
            let meet = meet.clone();
            // Who is not shown any more is let go.
            let filter = filter.clone();
            let show = move |subscriber| drop(meet.send(pane(vec![tile(subscriber, &filter)])));
            let watched = cameras::watched(&hub, Policy::Newest, show);
            feeds.push(cameras::listen(&at, &hub, watched, stop)?);
            listening = true;
            continue;
        }
        let (_, subscriber, feed) = watch(&hub, &args.common.apply(from), None, Policy::Newest, stop)?;
        tiles.push(tile(subscriber, &filter));
        feeds.push(feed);
    }
    drop(meet);
    crate::stop_after(args.common.duration, stop);
    let panes = match tiles {
        tiles if tiles.is_empty() => Vec::new(),
        tiles if args.windows => tiles.into_iter().map(|tile| pane(vec![tile])).collect(),
        tiles => vec![pane(tiles)],
    };
    let config = window::WindowOptions { overlay: args.overlay, close_at_end: true, on_second: teller.of_window() };
    let outcome = window::run(panes, listening.then_some(met), config, stop);
    stop.stop();
    for feed in feeds {
        feed.join().ok().context("a source's thread panicked").flatten()?;
    }
    teller.totals();
    Ok(outcome?)
}

fn pane(tiles: Vec<Tile>) -> Pane {
    let names: Vec<&str> = tiles.iter().map(|tile| tile.name.as_str()).collect();
    Pane { title: format!("{} — framewire", names.join(", ")), tiles }
}

fn tile(subscriber: Subscriber, filter: &StaleFilter) -> Tile {
    Tile { name: subscriber.name().to_string(), subscriber, stale_filter: filter.clone() }
}

/// Opens what is to be watched as a stream of this process's hub, coded anew where `encode` says so; closes it when the
/// subscriber is dropped.
pub(crate) fn watch(
    hub: &Hub,
    spec: &Spec,
    encode: Option<encode::EncodeOptions>,
    policy: Policy,
    stop: &Stop,
) -> Result<(Name, Subscriber, JoinHandle<Result<()>>)> {
    let unwatched = stop.child();
    let closing = unwatched.child();
    let opened = (source::open(spec, &closing)?, closing);
    let now = clock::now();
    let name = free_name(hub, &spec.source);
    let publisher = hub.publish(&name, now)?;
    let subscriber = hub.subscribe(&name, policy, false, now)?;
    let mut viewers = publisher.viewers();
    let feed = Feed { spec: spec.clone(), publisher, encode, on_demand: false, again: false };
    let feed = async move {
        let mut feed = pin!(feed.run(Some(opened), unwatched.clone()));
        tokio::select! {
            outcome = &mut feed => return Ok(outcome?),
            _ = viewers.wait_for(|count| *count == 0) => {}
        }
        unwatched.stop();
        // How it ends now matters to nobody.
        let _ = feed.await;
        Ok(())
    };
    Ok((name, subscriber, crate::in_background(feed, stop)?))
}

/// What a source is called: the last part of its path, with a number where it is watched twice.
fn free_name(hub: &Hub, source: &str) -> Name {
    let last = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
    let mut name = Name::from_lossy(last);
    let mut number = 2;
    while hub.stream(name.as_str(), clock::now()).is_ok() {
        let short: String = last.chars().take(14).collect();
        name = Name::from_lossy(&format!("{short}-{number}"));
        number += 1;
    }
    name
}

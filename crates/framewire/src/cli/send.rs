//! `framewire send`: a source of this machine as a stream of a hub.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use framewire_proto::Name;

use super::{
    options::{self, Common},
    stats,
};
use crate::{
    clock,
    latency::Meter,
    net::{self, client::Address},
    sink::fw::Publish,
    source::{self, Spec, feed::Feed},
    stop::Stop,
};

#[derive(clap::Args)]
#[command(after_help = source::help())]
pub(super) struct Args {
    /// What to send, see below; options may follow, each after a #, as in /dev/video0#size=1280x720
    source: Spec,
    /// Where to: fw://HOST:PORT/NAME; without a name, under this machine's
    to: String,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let address: Address = args.to.parse()?;
    let spec = args.common.apply(&args.source);
    let encode = options::encoding(&spec)?;
    let opened = source::open(&spec, stop)?;
    let on_demand = source::kind(&spec)?.live;
    let hub = super::local_hub(stop);
    let local = address.name.clone().unwrap_or_else(|| Name::from_lossy(&net::machine_name()));
    let publisher = hub.publish(&local, clock::now())?;
    let feed = Feed { spec, publisher, encode: None, on_demand, again: false };
    let feeding = super::in_background(feed.run(Some(opened), stop.clone()), stop)?;
    let sent = Arc::new(Mutex::new(Meter::default()));
    super::stop_after(args.common.duration, stop);
    stats::print(args.common.stats, &hub, Some(sent.clone()), stop);
    let publish = Publish { hub, local, address, encode, wait: args.common.wait, sent };
    let outcome = publish.run(stop);
    stop.stop();
    outcome.and(feeding.join().ok().context("the source's thread panicked").flatten())
}

//! `framewire list`: the streams of a hub.

use anyhow::Result;
use framewire::{RemoteStream, Stop};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The hub: fw://HOST:PORT or HOST:PORT
    #[arg(default_value = "fw://127.0.0.1:7070")]
    hub: String,
    /// As the JSON that the hub gives
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    if args.json {
        return crate::print(framewire::streams_json_until(&args.hub, stop)?);
    }
    let streams = framewire::streams_of_until(&args.hub, stop)?;
    if streams.is_empty() {
        let hub = args.hub.trim_start_matches("fw://");
        crate::print(format!("no streams yet: publish one with `framewire send camera fw://{hub}/NAME`"))?;
    }
    for RemoteStream { name, state, fault, codec, width, height, fps, bitrate, viewers } in streams {
        let codec = codec.unwrap_or_else(|| "-".into());
        let bitrate = bitrate / 1e6;
        let why = fault.map_or(String::new(), |fault| format!("  no picture: {fault}"));
        crate::print(format!(
            "{name:24} {state:8} {codec:6} {width:>5}x{height:<5} {fps:6.1} fps {bitrate:8.2} Mbit/s {viewers:4} viewers{why}"
        ))?;
    }
    Ok(())
}

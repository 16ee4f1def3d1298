//! `framewire list`: the streams of a hub.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use framewire::net::client::{self, Address};

/// More than a full hub's answer.
const ANSWER: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The hub: fw://HOST:PORT or HOST:PORT
    #[arg(default_value = "fw://127.0.0.1:7070")]
    hub: String,
    /// As the JSON that the hub gives
    #[arg(long)]
    json: bool,
}

/// What is shown of a stream.
#[derive(Deserialize)]
struct Stream {
    name: String,
    state: String,
    codec: Option<String>,
    width: u16,
    height: u16,
    fps: f64,
    bitrate: f64,
    viewers: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = args.hub.trim_start_matches("fw://").trim_start_matches("http://").trim_end_matches('/');
    let address: Address = format!("fw://{text}").parse()?;
    let json = get(&address, "/streams").with_context(|| format!("{address}: cannot list its streams"))?;
    if args.json {
        return crate::print(json);
    }
    let streams: Vec<Stream> = serde_json::from_str(&json).with_context(|| format!("{address}: not a hub's answer"))?;
    if streams.is_empty() {
        crate::print(format!("no streams yet: publish one with `framewire send camera fw://{text}/NAME`"))?;
    }
    for Stream { name, state, codec, width, height, fps, bitrate, viewers } in streams {
        let codec = codec.unwrap_or_else(|| "-".into());
        let bitrate = bitrate / 1e6;
        crate::print(format!(
            "{name:24} {state:8} {codec:6} {width:>5}x{height:<5} {fps:6.1} fps {bitrate:8.2} Mbit/s {viewers:4} viewers"
        ))?;
    }
    Ok(())
}

/// The hub's answer to a GET. HTTP/1.0 with the connection's end as the answer's end is all that this needs.
pub(crate) fn get(address: &Address, path: &str) -> Result<String> {
    let mut stream = client::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}:{}\r\n\r\n", address.port)?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("it does not answer in HTTP: is it a framewire hub?")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!("it answers '{status}': {}", body.trim());
    }
    Ok(body.into())
}

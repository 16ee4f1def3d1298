//! What a hub elsewhere knows of its streams.

use std::{
    io::{Read, Write},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    error::{Context as _, Error, OrError as _, Result, bail, error},
    net::client::{self, Address},
};

/// More than a full hub's answer.
const ANSWER: u64 = 4 << 20;
/// How long the hub may take for each part of its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A stream of a hub elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RemoteStream {
    /// Its name.
    pub name: String,
    /// `live`, `stalled` or `idle`.
    pub state: String,
    /// What its frames are encoded in; `None` before the first.
    pub codec: Option<String>,
    /// Width in pixels, 0 before the first frame.
    pub width: u16,
    /// Height in pixels, 0 before the first frame.
    pub height: u16,
    /// Frames a second.
    pub fps: f64,
    /// Bits a second.
    pub bitrate: f64,
    /// How many viewers it has.
    pub viewers: usize,
}

/// The streams of a hub: `fw://HOST:PORT`, `http://HOST:PORT/` or `HOST:PORT`.
///
/// # Errors
/// No hub answers there.
pub fn streams_of(hub: &str) -> Result<Vec<RemoteStream>> {
    let json = streams_json(hub)?;
    serde_json::from_str(&json).map_err(|error| error!(Protocol, "{hub}: not a hub's answer: {error}"))
}

/// The same as the JSON that the hub serves, with all figures.
///
/// # Errors
/// As [`streams_of`].
pub fn streams_json(hub: &str) -> Result<String> {
    let address = address(hub)?;
    get(&address, "/streams").with_context(|| format!("{address}: cannot list its streams"))
}

/// The address of a hub, as people write it.
fn address(hub: &str) -> Result<Address> {
    let text = hub.trim_start_matches("fw://").trim_start_matches("http://").trim_end_matches('/');
    format!("fw://{text}").parse()
}

/// The hub's answer to a GET. HTTP/1.0 with the connection's end as the answer's end is all that this needs.
pub(super) fn get(address: &Address, path: &str) -> Result<String> {
    let mut stream = client::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}:{}\r\n\r\n", address.port)?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer)?;
    let parts = answer.split_once("\r\n\r\n");
    let (head, body) = parts.or_error(Error::Protocol, || "it does not answer in HTTP: is it a framewire hub?")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!(Refused, "it answers '{status}': {}", body.trim());
    }
    Ok(body.into())
}

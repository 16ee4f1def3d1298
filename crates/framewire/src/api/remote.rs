//! What a hub elsewhere knows of its streams.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    error::{Context as _, Error, OrError as _, Result, bail, ensure, error},
    net::client::{self, Address},
    stop::Stop,
};

/// More than a full hub's answer.
const ANSWER: usize = 4 << 20;
/// How long the hub may take for each part of its answer; for all of it twice as long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A stream of a hub elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RemoteStream {
    /// Its name.
    pub name: String,
    /// `live`, `stalled` or `idle`.
    pub state: String,
    /// Why there is no picture: the last fault of its source; `None` while frames flow.
    pub fault: Option<String>,
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
    streams_of_until(hub, &Stop::default())
}

/// The same; raising the flag ends it early.
///
/// # Errors
/// As [`streams_of`], and the flag was raised.
pub fn streams_of_until(hub: &str, stop: &Stop) -> Result<Vec<RemoteStream>> {
    let json = streams_json_until(hub, stop)?;
    serde_json::from_str(&json).map_err(|error| error!(Protocol, "{hub}: not a hub's answer: {error}"))
}

/// The same as the JSON that the hub serves, with all figures.
///
/// # Errors
/// As [`streams_of`].
pub fn streams_json(hub: &str) -> Result<String> {
    streams_json_until(hub, &Stop::default())
}

/// The same; raising the flag ends it early.
///
/// # Errors
/// As [`streams_of`], and the flag was raised.
pub fn streams_json_until(hub: &str, stop: &Stop) -> Result<String> {
    let address = address(hub)?;
    get(&address, "/streams", stop).with_context(|| format!("{address}: cannot list its streams"))
}

/// The address of a hub, as people write it.
fn address(hub: &str) -> Result<Address> {
    let text = hub.trim_start_matches("fw://").trim_start_matches("http://").trim_end_matches('/');
    format!("fw://{text}").parse()
}

/// The hub's answer to a GET. HTTP/1.0 with the connection's end as the answer's end is all that this needs.
pub(super) fn get(address: &Address, path: &str, stop: &Stop) -> Result<String> {
    let stream = client::connect(address, stop)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let closed = stream.try_clone()?;
    // Whoever waits for it is woken.
    let _closing = stop.on_stop(move || drop(closed.shutdown(Shutdown::Both)));
    let answer = ask(stream, address, path);
    ensure!(!stop.stopped(), Stopped, "stopped before it has answered");
    let answer = answer?;
    let parts = answer.split_once("\r\n\r\n");
    let (head, body) = parts.or_error(Error::Protocol, || "it does not answer in HTTP: is it a framewire hub?")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!(Refused, "it answers '{status}': {}", body.trim());
    }
    Ok(body.into())
}

fn ask(mut stream: TcpStream, address: &Address, path: &str) -> Result<String> {
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}:{}\r\n\r\n", address.port)?;
    let (begun, mut answer, mut part) = (Instant::now(), Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = match stream.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        answer.extend_from_slice(&part[..read]);
        if read == 0 || answer.len() > ANSWER {
            return String::from_utf8(answer)
                .map_err(|_| error!(Protocol, "its answer is no text: is it a framewire hub?"));
        }
        ensure!(begun.elapsed() < 2 * TIMEOUT, Timeout, "its answer does not come to an end");
    }
}

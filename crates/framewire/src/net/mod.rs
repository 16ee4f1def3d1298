//! Sockets: accept, recognise by the first bytes, keep deadlines and limits. No wire is understood here.
//!
//! [`Socket`](socket::Socket) is the one seam between a transport and all that uses it: accepting, dialling, pacing and
//! sending shared pages. Nothing outside this module touches a `TcpStream`. A TLS transport touches
//!
//! - `socket`: a TLS session beside the `TcpStream`, inside the methods that read and write; [`written`](socket::Socket::written)
//!   stays a count of plain bytes, [`acknowledged`](socket::Socket::acknowledged) maps the kernel's count back to plain bytes, and
//!   [`sends_pages`](socket::Socket::sends_pages) is false;
//! - `accept`: a connection whose first bytes are a ClientHello (`16 03`) gets a TLS session, and the wire inside is
//!   recognised by the first plain bytes;
//! - `client`, for the native wire's dialling end, which blocks.
//!
//! `conn`, `channel`, `pace`, `serve`, `sink` and `source` stay as they are.
//!
//! ```text
//!   accept   the listener: how many, from whom, which wire
//!   conn     a recognised connection as a byte stream, closed when its reader makes no progress
//!   channel  a recognised connection as native messages
//!   dial     a host's addresses, and the first of them that answers
//!   client   a hub's address, and native messages over one blocking socket
//!   hub_connection  one connection to a hub, with pings, clocks and silence
//!   hub_client  a client of a hub across its connections
//!   reconnect  the attempts at the next connection
//!   retry    trying again after a failure, ever later
//!   endpoint where a tutorial's wire is spoken: WIRE://HOST:PORT
//!   socket   bytes both ways, with deadlines
//!   shared_page  bytes for many connections, which the kernel has once
//!   tcp_info what the kernel knows of how much has arrived
//! ```

pub mod accept;
pub mod channel;
pub mod client;
pub mod conn;
pub mod dial;
pub mod endpoint;
pub mod hub_client;
mod hub_connection;
mod reconnect;
pub mod retry;
pub mod shared_page;
pub mod socket;
pub mod tcp_info;

use std::{io, net::TcpStream, os::fd::AsFd, time::Duration};

use framewire_proto::Micros;
use rustix::{
    event::{PollFd, poll},
    io::Errno,
};

use crate::{
    clock,
    error::{Context as _, Result},
};

/// The first bytes must come within this time: a tutorial's camera connects first and is opened then.
pub const FIRST_BYTES: Duration = Duration::from_secs(15);
/// A whole request's head, or the whole greeting on the native wire, must come within this time.
pub const HEAD: Duration = Duration::from_secs(10);
/// A reader that takes nothing for this long is closed.
pub const NO_PROGRESS: Duration = Duration::from_secs(10);

/// Bytes that may wait unsent in the kernel before a socket no longer counts as writable: what waits there is age that
/// nothing can take back.
const UNSENT: u32 = 16 << 10;

/// What is reported when [`NO_PROGRESS`] has passed: `the other end took nothing for 10 s`.
pub(crate) fn no_progress(what: &str) -> String {
    format!("{what} for {} s", NO_PROGRESS.as_secs())
}

/// Sets what every connection of framewire wants: no waiting for fuller packets, few bytes waiting unsent.
pub(crate) fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// The same for a socket that is read and written by blocking threads, which give up after [`NO_PROGRESS`].
pub(crate) fn tune_blocking(stream: &TcpStream) -> io::Result<()> {
    tune(stream)?;
    stream.set_write_timeout(Some(NO_PROGRESS))
}

/// What this socket still holds unsent is thrown away when it is closed, and the other end is told at once (RST).
pub(crate) fn abandon(socket: &impl AsFd) {
    // Where the system refuses, what it holds is sent: a connection that is silent takes nothing anyway.
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// This machine's name, in lower case.
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}

/// Waits until one of these is ready, or until this moment of [`clock::now`].
///
/// # Errors
/// The system cannot wait for them.
fn wait(fds: &mut [PollFd<'_>], until: Micros) -> Result<()> {
    let left = Duration::from_micros(until.saturating_sub(clock::now()));
    match poll(fds, Some(&left.try_into()?)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for a connection"),
    }
}

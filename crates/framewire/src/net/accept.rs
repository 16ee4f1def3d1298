//! The listener: how many connections there may be, and which wire each of them speaks.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use framewire_proto::wire::{self, Wire};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, info, warn};

use super::{FIRST_BYTES, endpoint::Endpoint, socket::Socket, tune};
use crate::error::{Context as _, Error, Result, bail};

/// Connections held at once; more wait in the kernel's queue for a moment and are then closed.
pub const CONNECTIONS: usize = 4096;
/// Out of file descriptors, accepting fails until a connection ends. The system does not report when, so it is tried again
/// after this time.
const RETRY_ACCEPT: Duration = Duration::from_millis(100);
/// First bytes of an unknown wire that are shown in errors.
const SHOWN: usize = 16;

/// A connection whose wire is known.
#[derive(Debug)]
pub struct Accepted {
    /// The wire it speaks.
    pub wire: &'static Wire,
    /// The connection.
    pub socket: Socket,
    /// Bytes that were read to recognise the wire: they come before all that is read from the socket.
    pub prefix: BytesMut,
}

/// Binds the address.
///
/// # Errors
/// In use, not this machine's, not permitted: in one line, with what to try.
pub async fn bind(address: &str) -> Result<TcpListener> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            bail!(Busy, "{address}: another program listens there: end it, or choose another port")
        }
        io::ErrorKind::AddrNotAvailable => {
            bail!(InvalidInput, "{address}: not an address of this machine: try 127.0.0.1")
        }
        io::ErrorKind::PermissionDenied => bail!(PermissionDenied, "{address}: not permitted: try a port from 1024 on"),
        _ => Err(error).with_context(|| format!("{address}: cannot listen there")),
    }
}

/// Binds a tutorial's address, and logs it. Anybody who reaches the port can do `what`.
///
/// # Errors
/// As [`bind`].
pub async fn bind_endpoint(at: &Endpoint, what: &str) -> Result<TcpListener> {
    let listener = bind(&at.authority()).await?;
    let address = listener.local_addr()?;
    info!("{}: listens on {address}", at.wire.name);
    if !address.ip().is_loopback() {
        warn!("anybody who reaches {address} can {what}");
    }
    Ok(listener)
}

/// Accepts for as long as it is polled. Each connection gets a task that recognises its wire among these and runs `serve`. Where
/// there is one wire only, a connection is served without reading its first bytes.
pub async fn run<S, F>(listener: TcpListener, wires: Vec<&'static Wire>, serve: S)
where
    S: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (permits, wires) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(wires));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(RETRY_ACCEPT).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            warn!("{peer}: closed at once: {CONNECTIONS} connections are open, the limit");
            continue;
        };
        let (serve, wires) = (serve.clone(), wires.clone());
        tokio::spawn(async move {
            match recognise(stream, peer, &wires).await {
                Ok(accepted) => serve(accepted).await,
                Err(error) if matches!(error, Error::Protocol(_)) => info!("{peer}: closed: {error}"),
                Err(error) => debug!("{peer}: closed: {error}"),
            }
            drop(permit);
        });
    }
}

/// Reads until the wire is known.
async fn recognise(stream: TcpStream, peer: SocketAddr, wires: &[&'static Wire]) -> Result<Accepted> {
    tune(&stream)?;
    let socket = Socket::new(stream, peer);
    if let [wire] = *wires {
        return Ok(Accepted { wire, socket, prefix: BytesMut::new() });
    }
    let mut prefix = BytesMut::with_capacity(4 << 10);
    let known = timeout(FIRST_BYTES, async {
        loop {
            if socket.read(&mut prefix).await? == 0 {
                bail!(ConnectionLost, "the connection ended before its wire was known");
            }
            match wire::recognise_among(wires.iter().copied(), &prefix) {
                Ok(Some(wire)) => return Ok(wire),
                Ok(None) => {}
                Err(unknown) => bail!(Protocol, "the connection begins with '{}': {unknown}", shown(&prefix)),
            }
        }
    });
    let wire = known.await.context("the first bytes did not arrive in time")??;
    Ok(Accepted { wire, socket, prefix })
}

/// A connection's first bytes, for an error or a log.
pub(crate) fn shown(prefix: &[u8]) -> impl std::fmt::Display {
    prefix[..prefix.len().min(SHOWN)].escape_ascii()
}

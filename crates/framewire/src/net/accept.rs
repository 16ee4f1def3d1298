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

use super::{FIRST_BYTES, socket::Socket, tune};
use crate::error::{Context as _, Error, Result, bail};

/// Connections held at once; more wait in the kernel's queue for a moment and are then closed.
pub const CONNECTIONS: usize = 4096;

/// A connection whose wire is known. The bytes that told are not lost: they come first.
#[derive(Debug)]
pub struct Accepted {
    /// The wire it speaks.
    pub wire: &'static Wire,
    /// The connection.
    pub socket: Socket,
    /// What was read of it.
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
            bail!(InvalidInput, "{address}: another program listens there: end it, or choose another port")
        }
        io::ErrorKind::AddrNotAvailable => {
            bail!(InvalidInput, "{address}: not an address of this machine: try 127.0.0.1")
        }
        io::ErrorKind::PermissionDenied => bail!(PermissionDenied, "{address}: not permitted: try a port from 1024 on"),
        _ => Err(error).with_context(|| format!("{address}: cannot listen there")),
    }
}

/// Accepts for as long as it is polled and hands each connection, once its wire is known, to `serve` in a task of its own.
/// Where all who connect speak one wire, nothing is read to find out.
pub async fn run<S, F>(listener: TcpListener, spoken: Option<&'static Wire>, serve: S)
where
    S: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: those who leave make room, which the system does not tell of, and
                // to ask again at once would only keep a processor busy.
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            warn!("{peer}: closed at once: {CONNECTIONS} connections are open, the limit");
            continue;
        };
        let serve = serve.clone();
        tokio::spawn(async move {
            match meet(stream, peer, spoken).await {
                Ok(accepted) => serve(accepted).await,
                Err(error) if matches!(error, Error::Protocol(_)) => info!("{peer}: closed: {error}"),
                Err(error) => debug!("{peer}: closed: {error}"),
            }
            drop(place);
        });
    }
}

/// Reads until the first bytes tell the wire, where it is not known.
async fn meet(stream: TcpStream, peer: SocketAddr, spoken: Option<&'static Wire>) -> Result<Accepted> {
    tune(&stream)?;
    let socket = Socket::new(stream, peer);
    if let Some(wire) = spoken {
        return Ok(Accepted { wire, socket, prefix: BytesMut::new() });
    }
    let mut prefix = BytesMut::with_capacity(4 << 10);
    let known = timeout(FIRST_BYTES, async {
        loop {
            if socket.read(&mut prefix).await? == 0 {
                bail!(ConnectionLost, "it ended before its wire was known");
            }
            match wire::recognise(&prefix) {
                Ok(Some(wire)) => return Ok(wire),
                Ok(None) => {}
                Err(unknown) => {
                    bail!(Protocol, "it begins with '{}': {unknown}", shown(&prefix));
                }
            }
        }
    });
    let wire = known.await.context("its first bytes did not come in time")??;
    Ok(Accepted { wire, socket, prefix })
}

/// The first bytes, for a log.
fn shown(prefix: &[u8]) -> String {
    prefix[..prefix.len().min(wire::PREFIX)].escape_ascii().to_string()
}

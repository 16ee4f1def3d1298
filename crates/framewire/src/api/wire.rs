//! Protocols of an embedding program on a hub's port.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::{Buf, BytesMut};
use framewire_proto::wire;

use super::hub::Hub;
use crate::{
    error::{Error, Result},
    net::{accept::Accepted, socket::Socket},
    serve::{Handler, ServedWire},
};

pub use framewire_proto::wire::Verdict;

/// A protocol of yours on a hub's port: which connections speak it, and what serves them. Add it with
/// [`ServerBuilder::wire`](crate::ServerBuilder::wire). `examples/toy_wire.rs` is a whole one.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// Its name in logs, different from those of framewire's own.
    pub name: &'static str,
    /// A description in one line.
    pub summary: &'static str,
    /// Decides from a connection's first bytes whether it speaks this protocol. framewire's own protocols are asked first.
    pub recognise: fn(&[u8]) -> Verdict,
    /// Serves one connection until it ends. An error is logged, and the connection is closed.
    pub serve: fn(Connection, Hub) -> Serving,
}

/// A [`Wire::serve`] at work.
pub type Serving = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A connection to a hub's port, from its first byte on.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    /// What was read to recognise the protocol.
    unread: BytesMut,
}

impl Connection {
    /// The address of the other end.
    pub fn peer(&self) -> SocketAddr {
        self.socket.peer()
    }

    /// Waits for bytes and appends them to `into`. Returns how many came; 0 at the end of the connection.
    ///
    /// # Errors
    /// [`Error::ConnectionLost`].
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<usize> {
        if self.unread.is_empty() && self.socket.read(&mut self.unread).await? == 0 {
            return Ok(0);
        }
        into.extend_from_slice(&self.unread);
        let read = self.unread.len();
        self.unread.advance(read);
        Ok(read)
    }

    /// Writes all of these bytes.
    ///
    /// # Errors
    /// [`Error::ConnectionLost`], or [`Error::Timeout`] where the other end takes nothing for ten seconds.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write([bytes]).await
    }
}

impl Wire {
    /// The row of the hub's port.
    pub(super) fn row(self, hub: &Hub) -> ServedWire {
        let Self { name, summary, recognise, serve } = self;
        let hub = hub.clone();
        let program = move |accepted: Accepted| -> Serving {
            serve(Connection { socket: accepted.socket, unread: accepted.prefix }, hub.clone())
        };
        // A few dozen bytes for each protocol of a server, which usually lives as long as its program.
        let wire = Box::leak(Box::new(wire::Wire { name, summary, recognise, tutorial: None }));
        ServedWire { wire, serve: Handler::Program(Arc::new(program)) }
    }
}

//! The hub's one port: each connection goes to the handler of the wire that it speaks, by the table [`WIRES`].
//!
//! ```text
//!   handshake  native: hello, session, Publish or Subscribe, the hub's answer
//!   publish    native: a publisher's connection
//!   watch      native: a viewer's connection; `viewer` is its conversation, whatever carries it
//!   http       HTTP: the page, JSON, snapshots, metrics
//!   mjpeg      HTTP: a stream as JPEGs; `broadcast` shares them between viewers, `renditions` makes them as `wanted`
//!   websocket  HTTP: a viewer's conversation over a WebSocket
//!   clients    which connections belong to one client
//! ```
//!
//! What to touch to add …
//!
//! - **a wire, such as an RTSP server**: `proto::wire::rtsp` for its bytes, with a [`Wire`] that recognises a first line ending in
//!   `RTSP/1.0` ([`first_line`](wire::first_line); HTTP leaves those alone); `serve::rtsp` with its handler, which gets the
//!   connection, the bytes read so far and the hub; and a row in [`WIRES`]. A program that embeds the library adds such a row by
//!   [`Config::extra_wires`] and touches nothing here: `examples/toy_wire.rs` shows all of it.
//! - **TLS**: `net::socket`, `net::accept` and, for the dialling end, `net::client`: see [`net`](crate::net). Nothing here.
//! - **audio**: a codec in `proto::Codec`, its encoder and decoder in `media`. A stream carries frames of any codec, so `net`,
//!   `pace` and `serve` stay; a browser's decoder for it is in `web/`.
//! - **access roles**: one file here that says what a token may do. Who may publish and watch is asked where a role is granted:
//!   in `handshake` before the hub is, in `http`'s guard for requests and WebSockets, and in this file for cameras of tutorials,
//!   which have no token. The token itself is a message of `proto::wire::native` and a header of HTTP.

mod broadcast;
pub mod clients;
mod handshake;
pub mod http;
pub mod metrics;
mod mjpeg;
mod publish;
mod renditions;
mod viewer;
mod wanted;
mod watch;
pub mod websocket;

use std::{pin::Pin, sync::Arc, time::Duration};

use framewire_proto::{
    Limits,
    wire::{self, Wire, base64, length, lhh, stopwait},
};
use tokio::{net::TcpListener, time::interval};
use tracing::{debug, info};

use crate::{
    clock,
    error::{Error, Result, ensure},
    hub::Hub,
    net::accept::{self, Accepted},
    source::tutorial::{Cameras, Streams},
    transcode,
};
use clients::Clients;
#[cfg(test)]
pub(crate) use viewer::ViewerSession;

/// From one look at the streams to the next: a stalled one must be noticed within a second.
const TICK: Duration = Duration::from_millis(100);

/// A wire of the hub's port and what serves it.
#[derive(Clone)]
pub struct ServedWire {
    /// The wire, with its recogniser.
    pub wire: &'static Wire,
    /// Serves a connection that was recognised.
    pub serve: Handler,
}

/// What serves a connection until it ends. An error is logged, and the connection is closed.
#[derive(Clone)]
pub enum Handler {
    /// A part of this port.
    Port(for<'a> fn(Accepted, &'a HubPort) -> Serving<'a>),
    /// A part of the program that embeds the library.
    Program(Arc<dyn Fn(Accepted) -> Serving<'static> + Send + Sync>),
}

/// A [`Handler`] at work.
pub type Serving<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// The wires of the hub's port. Where two recognise the same first bytes, the first serves.
pub const WIRES: &[ServedWire] = &[
    ServedWire {
        wire: &wire::NATIVE,
        serve: Handler::Port(|accepted, port| Box::pin(handshake::serve(accepted, port))),
    },
    ServedWire { wire: &wire::HTTP, serve: Handler::Port(|accepted, port| Box::pin(port.pages.serve(accepted))) },
    ServedWire { wire: &lhh::WIRE, serve: Handler::Port(|accepted, port| Box::pin(serve_camera(accepted, port))) },
    ServedWire { wire: &base64::WIRE, serve: Handler::Port(|accepted, port| Box::pin(serve_camera(accepted, port))) },
    ServedWire { wire: &stopwait::WIRE, serve: Handler::Port(|accepted, port| Box::pin(serve_camera(accepted, port))) },
    ServedWire { wire: &length::WIRE, serve: Handler::Port(|accepted, port| Box::pin(serve_camera(accepted, port))) },
];

/// What a hub's port does beyond the defaults.
#[derive(Clone, Default)]
pub struct Config {
    /// Who may ask for what over HTTP.
    pub access: http::Config,
    /// Refuse tutorials' cameras.
    pub no_legacy: bool,
    /// Bounds on what is received, and on the frames that are sent.
    pub limits: Limits,
    /// Wires besides [`WIRES`].
    pub extra_wires: Vec<ServedWire>,
}

/// What all connections of a hub's port share.
pub struct HubPort {
    hub: Hub,
    clients: Clients,
    pages: http::Pages,
    cameras: Cameras,
    limits: Limits,
    no_legacy: bool,
}

impl HubPort {
    fn new(hub: Hub, config: &Config, port: u16) -> Result<Self> {
        let clients = Clients::default();
        Ok(Self {
            pages: http::Pages::new(hub.clone(), clients.clone(), &config.access, port)?,
            cameras: Cameras { hub: hub.clone(), streams: Streams::Each, limits: config.limits },
            limits: config.limits,
            no_legacy: config.no_legacy,
            hub,
            clients,
        })
    }
}

/// Serves this hub on this listener for as long as it is polled.
///
/// # Errors
/// The configuration cannot be read.
pub async fn run(listener: TcpListener, hub: Hub, config: Config) -> Result<()> {
    transcode::renditions::serve(&hub);
    let port = Arc::new(HubPort::new(hub.clone(), &config, listener.local_addr()?.port())?);
    let rows: Arc<[ServedWire]> = [WIRES, &config.extra_wires].concat().into();
    let wires = rows.iter().map(|row| row.wire).collect();
    let serve = move |accepted| connection(accepted, port.clone(), rows.clone());
    tokio::join!(accept::run(listener, wires, serve), look_after(&hub));
    Ok(())
}

async fn look_after(hub: &Hub) {
    let mut tick = interval(TICK);
    loop {
        tick.tick().await;
        hub.tick(clock::now());
    }
}

async fn connection(accepted: Accepted, port: Arc<HubPort>, rows: Arc<[ServedWire]>) {
    let peer = accepted.socket.peer();
    let Some(row) = rows.iter().find(|row| std::ptr::eq(row.wire, accepted.wire)) else { return };
    let serving = match &row.serve {
        Handler::Port(serve) => serve(accepted, &port),
        Handler::Program(serve) => serve(accepted),
    };
    match serving.await {
        Ok(()) => debug!("{peer}: left"),
        Err(error) => info!("{peer}: closed: {error}"),
    }
}

/// A tutorial's camera that pushes its pictures.
async fn serve_camera(accepted: Accepted, port: &HubPort) -> Result<()> {
    ensure!(!port.no_legacy, Refused, "{} is refused by --no-legacy", accepted.wire.name);
    port.cameras.serve(accepted).await
}

#[cfg(test)]
mod tests {
    use wire::tutorial::End;

    use super::*;

    #[test]
    fn every_wire_is_served_by_one_row() {
        let served: Vec<_> = WIRES.iter().map(|row| row.wire.name).collect();
        // A viewer of a camera that listens sends nothing that could be recognised here.
        let listens = |wire: &Wire| wire.tutorial.is_some_and(|tutorial| tutorial.camera == End::Listens);
        let known: Vec<_> = wire::WIRES.iter().filter(|wire| !listens(wire)).map(|wire| wire.name).collect();
        assert_eq!(served, known);
    }
}

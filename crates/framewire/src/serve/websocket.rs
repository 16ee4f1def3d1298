//! A viewer on the native wire over a WebSocket (RFC 6455): each binary message is one message of the wire.

use std::{future::poll_fn, time::Duration};

use axum::extract::ws::{Message as Carrier, WebSocket};
use framewire_proto::{
    Limits,
    limits::LARGEST_FRAME,
    link::{IDLE_TIMEOUT, Link},
    wire::native::{Message, Session},
};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tracing::info;

use super::{
    clients::{Clients, taken_over},
    viewer::ViewerSession,
};
use crate::{
    clock,
    error::{Context as _, Error, Result, bail, error},
    hub::{Accepts, Subscriber},
    net::{NO_PROGRESS, no_progress, socket::Socket},
};

/// Bytes of one message from a browser: it sends reports and pings only.
pub(super) const MESSAGE: usize = 4 << 10;

/// Serves one viewer on this connection until it leaves. `client` is which one it is, where its address has a session, and `who`
/// its name in the log.
pub(super) async fn run(
    socket: WebSocket,
    subscriber: Subscriber,
    accepts: Accepts,
    client: Option<(Clients, Session)>,
    connection: &Socket,
    who: &str,
) {
    let name = subscriber.name().clone();
    info!("{who}: watches '{name}' in a browser");
    let mut viewer = ViewerSession::new(subscriber, Link::new(clock::now()), accepts, connection.local());
    // A browser takes any frame.
    viewer.set_max_frame(LARGEST_FRAME);
    match converse(socket, viewer, client).await {
        Ok(()) => info!("{who}: left '{name}'"),
        Err(error) => info!("{who}: closed: {error}"),
    }
}

async fn converse(socket: WebSocket, mut viewer: ViewerSession, client: Option<(Clients, Session)>) -> Result<()> {
    let session = client.map(|(clients, session)| clients.join(session)).transpose()?;
    if let Some(session) = &session {
        session.take_over();
        viewer.resume(session.link(), clock::now());
    }
    let (mut out, mut incoming) = socket.split();
    loop {
        let now = clock::now();
        if viewer.silent(now) {
            bail!(Timeout, "the viewer has sent nothing for {} s", IDLE_TIMEOUT / 1_000_000);
        }
        let wait = Duration::from_micros(viewer.deadline(now).saturating_sub(now));
        tokio::select! {
            biased;
            carrier = incoming.next() => match carrier {
                Some(Ok(Carrier::Binary(bytes))) => {
                    let Some(message) = Message::from_bytes(bytes, &Limits::default())? else { continue };
                    if !viewer.take(message, clock::now())? {
                        return Ok(());
                    }
                }
                Some(Ok(Carrier::Close(_))) | None => return Ok(()),
                Some(Ok(Carrier::Text(_))) => bail!(Protocol, "text on a wire of bytes"),
                Some(Ok(Carrier::Ping(_) | Carrier::Pong(_))) => viewer.take_bytes(clock::now()),
                Some(Err(error)) => return Err(error).context("the connection broke"),
            },
            () = taken_over(session.as_ref()) => return Err(superseded()),
            message = poll_fn(|context| viewer.poll(context, clock::now())) => {
                let sent = out.send(Carrier::Binary(message.to_bytes()));
                tokio::select! {
                    sent = timeout(NO_PROGRESS, sent) => {
                        sent.with_context(|| no_progress("the viewer took nothing"))?.context("the connection broke")?;
                    }
                    () = taken_over(session.as_ref()) => return Err(superseded()),
                }
            }
            () = sleep(wait) => {}
        }
    }
}

fn superseded() -> Error {
    error!(ConnectionLost, "a newer connection of the same page has taken over")
}

//! A viewer on the native wire over a WebSocket (RFC 6455): each binary message is one message of the wire.

use std::{future::poll_fn, time::Duration};

use axum::extract::ws::{Message as Carrier, WebSocket};
use framewire_proto::{
    Limits,
    link::Link,
    wire::native::{Message, Session},
};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tracing::info;

use super::{
    clients::{Sessions, taken},
    viewer::Talk,
};
use crate::error::{Context as _, Result, bail};
use crate::{
    clock,
    hub::{Accepts, Subscriber},
    net::{NO_PROGRESS, no_progress, socket::Socket},
};

/// Bytes of one message from a browser: it sends reports and pings only.
pub(super) const MESSAGE: usize = 4 << 10;

/// Serves one viewer on this connection until it leaves. `client` is which one it is, where it has identified itself.
pub(super) async fn run(
    socket: WebSocket,
    viewer: Subscriber,
    takes: Accepts,
    client: Option<(Sessions, Session)>,
    connection: &Socket,
) {
    let peer = connection.peer();
    let name = viewer.name().clone();
    info!("{peer}: watches '{name}' in a browser");
    match converse(socket, Talk::new(viewer, Link::new(clock::now()), takes, connection.local()), client).await {
        Ok(()) => info!("{peer}: left '{name}'"),
        Err(error) => info!("{peer}: closed: {error}"),
    }
}

async fn converse(socket: WebSocket, mut talk: Talk, client: Option<(Sessions, Session)>) -> Result<()> {
    let seat = client.map(|(sessions, session)| sessions.join(session)).transpose()?;
    if let Some(seat) = &seat {
        seat.settle();
        talk.resume(seat.known(), clock::now());
    }
    let (mut out, mut incoming) = socket.split();
    loop {
        let now = clock::now();
        if talk.silent(now) {
            bail!(Timeout, "the viewer has said nothing for 10 s");
        }
        let wait = Duration::from_micros(talk.deadline(now).saturating_sub(now));
        tokio::select! {
            biased;
            carrier = incoming.next() => match carrier {
                Some(Ok(Carrier::Binary(bytes))) => {
                    let Some(message) = Message::from_bytes(bytes, &Limits::default())? else { continue };
                    if !talk.take(message, clock::now())? {
                        return Ok(());
                    }
                }
                Some(Ok(Carrier::Close(_))) | None => return Ok(()),
                Some(Ok(Carrier::Text(_))) => bail!(Protocol, "text on a wire of bytes"),
                Some(Ok(Carrier::Ping(_) | Carrier::Pong(_))) => talk.heard(clock::now()),
                Some(Err(error)) => return Err(error).context("the connection broke"),
            },
            () = taken(seat.as_ref()) => bail!(ConnectionLost, "a newer connection of the same page has taken over"),
            message = poll_fn(|context| talk.poll(context, clock::now())) => {
                let sent = out.send(Carrier::Binary(message.to_bytes()));
                tokio::select! {
                    sent = timeout(NO_PROGRESS, sent) => {
                        sent.with_context(|| no_progress("the viewer took nothing"))?.context("the connection broke")?;
                    }
                    () = taken(seat.as_ref()) => bail!(ConnectionLost, "a newer connection of the same page has taken over"),
                }
            }
            () = sleep(wait) => {}
        }
    }
}

//! MJPEG over HTTP: the response to `GET /streams/NAME/mjpeg`, written by framewire itself.
//!
//! hyper parses the request, and the router answers it like any other: the Host check, the security headers and the errors are
//! decided there. A response that carries a [`Stream`] is then not written by hyper. The connection is taken from it, and
//! [`Stream::send`] writes head and pictures. Only this way the kernel can send a picture's bytes from a
//! [shared page](crate::net::shared_page). The response ends with its connection (RFC 9112, section 6.3), so it has no chunks.

use std::{
    convert::Infallible,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::{Body, Bytes},
    http::{Version, header, response},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use framewire_proto::{Frame, wire::multipart};
use futures_util::stream;
use tokio::time::sleep;

use super::{
    broadcast::{Broadcast, Part},
    renditions::{Rate, Rendition},
};
use crate::{
    clock,
    error::Result,
    hub::{Event, Subscriber},
    net::socket::Socket,
    pace::pacer::{Pacer, Room},
};

/// Bytes from the client that are read at once, and thrown away: a request was all that it had to say.
const IGNORED: usize = 1 << 10;

/// A viewer that gets JPEGs one after another and reports nothing.
pub(super) struct Stream {
    viewer: Subscriber,
    broadcast: Arc<Broadcast>,
    rate: Rate,
    /// What the viewer's frames are made in.
    _rendition: Option<Arc<Rendition>>,
}

impl Stream {
    /// The pictures of this viewer, at this rate. The rendition is held meanwhile.
    pub(super) fn new(
        viewer: Subscriber,
        broadcast: Arc<Broadcast>,
        rate: Rate,
        rendition: Option<Arc<Rendition>>,
    ) -> Self {
        Self { viewer, broadcast, rate, _rendition: rendition }
    }

    /// The stream that this response carries, taken out of it.
    pub(super) fn of(response: &mut Response) -> Option<Self> {
        Arc::into_inner(response.extensions_mut().remove::<Arc<Self>>()?)
    }

    /// Writes the response with this head, until the connection ends.
    ///
    /// # Errors
    /// The connection broke, or the other end's machine is gone.
    pub(super) async fn send(mut self, socket: &Socket, head: &response::Parts) -> Result<()> {
        let ended = tokio::select! {
            closed = closed(socket) => closed,
            broken = self.write(socket, head) => broken.map(|never| match never {}),
        };
        if ended.is_err() {
            // The response ends with its connection: an error must not look like its end.
            socket.abandon();
        }
        ended
    }

    async fn write(&mut self, socket: &Socket, head: &response::Parts) -> Result<Infallible> {
        socket.write([head_bytes(head).as_bytes(), multipart::OPENING]).await?;
        let mut pacer = Pacer::new(socket);
        loop {
            pacer.ready(socket).await?;
            match pacer.room(socket).await? {
                Room::Frame => {}
                Room::Probe => {
                    socket.write([multipart::DUMMY_HEADER]).await?;
                    continue;
                }
                Room::Test(bytes) => {
                    socket.write([&multipart::dummy_headers(bytes)]).await?;
                    continue;
                }
            }
            let wait = self.rate.due().saturating_sub(clock::now());
            pacer.reading_acks(socket, sleep(Duration::from_micros(wait))).await;
            let frame = self.next(&mut pacer, socket).await;
            self.rate.took(clock::now());
            pacer.start(frame.sequence, frame.data.len());
            match self.broadcast.part(&frame, socket.sends_pages()) {
                Part::Shared(page) => socket.write_page(&page).await?,
                Part::Own(head) => socket.write([&head, &frame.data, multipart::CLOSING]).await?,
            }
        }
    }

    /// The next frame, of whichever publisher it will be.
    async fn next(&mut self, pacer: &mut Pacer, socket: &Socket) -> Frame {
        if !pacer.local() {
            self.viewer.set_target(pacer.target(), clock::now());
            self.viewer.set_capacity(pacer.capacity());
        }
        loop {
            match pacer.reading_acks(socket, self.viewer.next(clock::now)).await {
                Event::Config(config) => pacer.configure(&config),
                Event::Frame(frame) => return frame,
                Event::State(_) | Event::Fault(_) | Event::Ended => {}
            }
        }
    }
}

impl IntoResponse for Stream {
    /// A response that carries the stream. Its body is of unknown length, as the stream is.
    fn into_response(self) -> Response {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut response = ([(header::CONTENT_TYPE, multipart::CONTENT_TYPE)], endless).into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Waits until the client closes the connection, and throws away what it sends.
async fn closed(socket: &Socket) -> Result<()> {
    let mut ignored = BytesMut::with_capacity(IGNORED);
    while socket.read(&mut ignored).await? > 0 {
        ignored.clear();
    }
    Ok(())
}

/// A response's head as bytes (RFC 9112, section 4), as hyper would write it but for the connection's end.
fn head_bytes(head: &response::Parts) -> String {
    let version = if head.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{version} {}\r\n", head.status);
    for (name, value) in &head.headers {
        // All of them were made here, of text.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(text, "connection: close\r\ndate: {}\r\n\r\n", httpdate::fmt_http_date(SystemTime::now()));
    text
}

//! A recognised connection as a byte stream, as hyper reads and writes it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{NO_PROGRESS, no_progress, socket::Socket};

/// A socket whose first bytes were read already. A write fails when the other end takes nothing for [`NO_PROGRESS`].
pub struct Conn {
    socket: Arc<Socket>,
    prefix: BytesMut,
    /// Runs while a write waits for the other end.
    timeout: Option<Pin<Box<Sleep>>>,
}

impl Conn {
    /// A connection that begins with these bytes.
    pub fn new(socket: Arc<Socket>, prefix: BytesMut) -> Self {
        Self { socket, prefix, timeout: None }
    }

    /// A write's outcome, or a timeout where the write has waited for too long.
    fn progress(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.timeout = None;
            return outcome;
        }
        let timeout = self.timeout.get_or_insert_with(|| Box::pin(sleep(NO_PROGRESS)));
        ready!(timeout.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, no_progress("the other end took nothing"))))
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.prefix.is_empty() {
            return this.socket.poll_read(context, into);
        }
        let length = this.prefix.len().min(into.remaining());
        into.put_slice(&this.prefix[..length]);
        this.prefix.advance(length);
        if this.prefix.is_empty() {
            this.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = this.socket.poll_write(context, slices);
        this.progress(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.finish())
    }
}

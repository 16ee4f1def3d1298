//! A recognised connection as native messages.

use std::{net::SocketAddr, sync::Mutex};

use super::{accept::Accepted, socket::Socket};
use crate::error::{Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use framewire_proto::{
    Limits,
    wire::native::{self, Message},
};

/// Native messages over a socket. One task may receive while another sends.
pub struct Channel {
    socket: Socket,
    decoder: Mutex<native::Decoder>,
}

impl Channel {
    /// A channel over a connection that was recognised as native, with these bounds on what is received.
    pub fn new(accepted: Accepted, limits: Limits) -> Self {
        let mut decoder = native::Decoder::new(limits);
        decoder.push(&accepted.prefix);
        Self { socket: accepted.socket, decoder: Mutex::new(decoder) }
    }

    /// The address of the other end.
    pub fn peer(&self) -> SocketAddr {
        self.socket.peer()
    }

    /// Whether the other end is on this machine.
    pub fn local(&self) -> bool {
        self.socket.local()
    }

    /// The next message. `on_bytes` is called for bytes that complete none yet.
    ///
    /// # Errors
    /// The connection ended or broke, or its bytes are not the native wire ([`framewire_proto::WireError`]).
    pub async fn receive(&self, mut on_bytes: impl FnMut()) -> Result<Message> {
        loop {
            if let Some(message) = self.decoder().pull()? {
                return Ok(message);
            }
            self.socket.readable().await?;
            // Bound before the match, which would otherwise hold the lock.
            let read = self.socket.try_read(self.decoder().space())?;
            match read {
                Some(0) => bail!(ConnectionLost, "the connection ended"),
                Some(_) => on_bytes(),
                None => {}
            }
        }
    }

    /// Sends a message whole; a frame's picture is not copied.
    ///
    /// # Errors
    /// The connection broke, or the other end took nothing for [`super::NO_PROGRESS`].
    pub async fn send(&self, message: &Message) -> Result<()> {
        match message {
            Message::Frame(frame) => self.socket.write([&native::frame_head(frame), &frame.data]).await,
            small => self.socket.write([&small.to_bytes()]).await,
        }
    }

    /// Sends the preamble and these messages in one write: how a connection begins.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub async fn greet(&self, messages: &[Message]) -> Result<()> {
        self.socket.write([&greeting(messages)]).await
    }

    /// Ends the connection after its last message, which the other end gets though it may still be sending.
    pub async fn linger(&self) {
        self.socket.linger().await;
    }

    /// From now on nothing that waits to be sent is: once dropped, the connection is gone at once.
    pub fn abandon(&self) {
        self.socket.abandon();
    }

    fn decoder(&self) -> std::sync::MutexGuard<'_, native::Decoder> {
        self.decoder.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The preamble and these messages as bytes.
pub fn greeting(messages: &[Message]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&native::PREAMBLE);
    messages.iter().for_each(|message| message.encode(&mut bytes));
    bytes.freeze()
}

/// How this program names itself.
pub fn hello() -> Message {
    Message::Hello { software: concat!("framewire ", env!("CARGO_PKG_VERSION")).into() }
}

//! A recognised connection as native messages.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Mutex,
};

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use framewire_proto::{
    Limits,
    wire::native::{self, Message},
};
use tokio::{net::TcpStream, time::timeout};

use super::{NO_PROGRESS, accept::Accepted};

/// Native messages over a socket. One task may receive while another sends.
pub struct Channel {
    stream: TcpStream,
    decoder: Mutex<native::Decoder>,
    /// Who is at the other end.
    pub peer: SocketAddr,
}

impl Channel {
    /// A channel over a connection that was recognised as native.
    pub fn new(accepted: Accepted) -> Self {
        let mut decoder = native::Decoder::new(Limits::default());
        decoder.push(&accepted.prefix);
        Self { stream: accepted.stream, decoder: Mutex::new(decoder), peer: accepted.peer }
    }

    /// The next message. `on_bytes` hears of bytes that complete none yet.
    ///
    /// # Errors
    /// The connection ended or broke, or what it says is not the native wire ([`framewire_proto::WireError`]).
    pub async fn receive(&self, mut on_bytes: impl FnMut()) -> Result<Message> {
        loop {
            if let Some(message) = self.decoder().pull()? {
                return Ok(message);
            }
            self.stream.readable().await?;
            // Bound before the match, which would else hold the lock.
            let read = self.stream.try_read_buf(self.decoder().space());
            match read {
                Ok(0) => bail!("the connection ended"),
                Ok(_) => on_bytes(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
    }

    /// Sends a message whole; a frame's picture goes from where it lies.
    ///
    /// # Errors
    /// The connection broke, or the other end took nothing for [`NO_PROGRESS`].
    pub async fn send(&self, message: &Message) -> Result<()> {
        match message {
            Message::Frame(frame) => self.write(&native::frame_head(frame), &frame.data).await,
            small => self.write(&small.to_bytes(), &[]).await,
        }
    }

    /// Sends these messages at once, after the preamble: what a connection begins with.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub async fn greet(&self, messages: &[Message]) -> Result<()> {
        self.write(&greeting(messages), &[]).await
    }

    async fn write(&self, head: &[u8], body: &[u8]) -> Result<()> {
        let (mut head, mut body) = (head, body);
        while !head.is_empty() || !body.is_empty() {
            let wrote = match self.stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => bail!("the connection takes nothing more"),
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = timeout(NO_PROGRESS, self.stream.writable()).await;
                    writable.context("the other end took nothing for 10 s")??;
                    continue;
                }
                Err(error) => return Err(error).context("the connection broke"),
            };
            let of_head = wrote.min(head.len());
            head = &head[of_head..];
            body = &body[wrote - of_head..];
        }
        Ok(())
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

//! One connection to a hub, with what its two ends have agreed on: answers pings, pings, notices silence.

use std::{sync::Arc, time::Duration};

use framewire_proto::{
    Limits, Micros,
    link::{IDLE_TIMEOUT, Link},
    wire::native::{Message, code},
};
use rustix::event::{PollFd, PollFlags};

use super::client::{MessageReceiver, MessageSender, Received};
use crate::clock;
use crate::error::{Error, Result, bail};

/// One connection to a hub. Its sender may be shared; one thread receives.
#[derive(Debug)]
pub(super) struct HubConnection {
    pub(super) sender: Arc<MessageSender>,
    receiver: MessageReceiver,
    pub(super) link: Link,
    /// A message that was taken from the receiver and is to be returned next.
    peeked: Option<Message>,
}

impl HubConnection {
    pub(super) fn new(sender: MessageSender, receiver: MessageReceiver) -> Self {
        Self { sender: Arc::new(sender), receiver, link: Link::new(clock::now()), peeked: None }
    }

    /// The next message, if it has arrived; does not wait. Answers pings, and sends the pings that are due. Once it returned
    /// `None`, call [`HubConnection::set_readable`] when the connection is ready.
    ///
    /// # Errors
    /// The connection ended or broke, the hub was silent for [`IDLE_TIMEOUT`], or its bytes are not the native wire.
    pub(super) fn receive(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.peeked.take() {
            return Ok(Some(message));
        }
        loop {
            let received = self.receiver.receive(Duration::ZERO)?;
            let now = clock::now();
            let message = match received {
                Received::Message(message) => Some(self.accept(message, now)?),
                Received::Bytes => {
                    self.link.on_bytes(now);
                    None
                }
                Received::Nothing => {
                    self.send_due(now)?;
                    return Ok(None);
                }
            };
            self.send_due(now)?;
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// The next message that was read from the socket already.
    ///
    /// # Errors
    /// The connection broke, or its bytes are not the native wire.
    pub(super) fn pull(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.peeked.take() {
            return Ok(Some(message));
        }
        let message = self.receiver.pull()?;
        message.map(|message| self.accept(message, clock::now())).transpose()
    }

    /// Takes the messages that have arrived up to the hub's answer, and returns whether the hub has granted the request. Does
    /// not wait.
    ///
    /// # Errors
    /// Those of [`HubConnection::receive`], or the hub refused.
    pub(super) fn granted(&mut self) -> Result<bool> {
        let mut message = self.receive()?;
        while let Some(received) = message {
            match received {
                Message::Accepted { .. } => {
                    // The hub's first ping comes with it, and must be answered before any frame is sent.
                    self.peeked = self.pull()?;
                    return Ok(true);
                }
                Message::Error { code, text } => return Err(refusal(code, text)),
                Message::Bye { text } => bail!(ConnectionLost, "the hub ends: {text}"),
                _ => message = self.receive()?,
            }
        }
        Ok(false)
    }

    /// Sets the bounds on what the hub sends from now on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.receiver.set_limits(limits);
    }

    /// The connection is ready: the next [`HubConnection::receive`] reads from it.
    pub(super) fn set_readable(&mut self) {
        self.receiver.set_readable();
    }

    /// What [`wait`](super::wait) waits for, so that [`HubConnection::receive`] has something to do.
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        let flags = if self.sender.has_unsent() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        PollFd::from_borrowed_fd(self.receiver.socket(), flags)
    }

    fn accept(&mut self, message: Message, now: Micros) -> Result<Message> {
        if let Some(answer) = self.link.on_message(&message, now) {
            self.sender.post(&answer)?;
        }
        Ok(message)
    }

    fn send_due(&mut self, now: Micros) -> Result<()> {
        if self.link.is_timed_out(now) {
            bail!(Timeout, "the hub sent nothing for {} s", IDLE_TIMEOUT / 1_000_000);
        }
        match self.link.poll_ping(now) {
            Some(ping) => self.sender.post(&ping),
            None => self.sender.send_posted(),
        }
    }
}

/// The hub's refusal as an error by kind.
fn refusal(code: u16, text: String) -> Error {
    let kind = if code == code::NO_SUCH_STREAM { Error::NotFound } else { Error::Refused };
    Error::new(kind, text)
}

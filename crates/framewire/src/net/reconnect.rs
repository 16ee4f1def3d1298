//! The attempts at another connection while the current one is silent. They begin often, because a lost handshake packet is
//! sent again only after a second. They end soon, so that few are open at once.

use std::net::SocketAddr;

use framewire_proto::{Micros, wire::native::Message};
use rustix::event::{PollFd, PollFlags};
use socket2::Socket;
use tracing::{debug, info};

use super::{client::MessageSender, dial, hub_connection::HubConnection, wait};
use crate::clock;
use crate::error::{Error, Result, bail};

/// From one attempt to the next, in µs.
const ATTEMPT_INTERVAL: Micros = 200_000;
/// An attempt without an answer ends after this time, in µs: at most eight are open at once.
const ATTEMPT_TIMEOUT: Micros = 1_500_000;
/// A hub that refused is asked again after this time, in µs.
const RETRY_AFTER_REFUSAL: Micros = 1_000_000;

/// The attempts at another connection to a hub.
#[derive(Debug)]
pub(super) struct Reconnect {
    hub: SocketAddr,
    attempts: Vec<Attempt>,
    /// When the next attempt may begin.
    next: Micros,
}

#[derive(Debug)]
struct Attempt {
    since: Micros,
    stage: AttemptStage,
}

/// How far an attempt is.
#[derive(Debug)]
enum AttemptStage {
    Connecting(Socket),
    /// The request is sent. Once the hub has read it, the hub may close the current connection.
    Requested(Box<HubConnection>),
}

/// What became of an attempt.
enum Progress {
    Pending(Attempt),
    Granted(Box<HubConnection>),
    Failed,
}

impl Reconnect {
    /// No attempt yet.
    pub(super) fn new(hub: SocketAddr) -> Self {
        Self { hub, attempts: Vec::new(), next: 0 }
    }

    /// Whether no attempt is open.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether the hub may have read the request of an attempt.
    pub(super) fn has_requested(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt.stage, AttemptStage::Requested(_)))
    }

    /// The current connection works again: ends the attempts that the hub has read no request of.
    pub(super) fn drop_connecting(&mut self) {
        self.attempts.retain(|attempt| matches!(attempt.stage, AttemptStage::Requested(_)));
    }

    /// Begins an attempt, when one is due.
    pub(super) fn dial(&mut self, now: Micros) {
        if now < self.next || self.awaits_answer(now) {
            return;
        }
        self.next = now + ATTEMPT_INTERVAL;
        match dial::begin(self.hub) {
            Ok(socket) => self.attempts.push(Attempt { since: now, stage: AttemptStage::Connecting(socket) }),
            // For example, there is no route. One may exist at the next attempt.
            Err(error) => debug!("{}: cannot connect: {error}", self.hub),
        }
    }

    /// When to call [`Reconnect::advance`] next, and [`Reconnect::dial`] while `dialing`, though no attempt is ready.
    pub(super) fn deadline(&self, dialing: bool) -> Micros {
        let expiry = self.attempts.iter().map(|attempt| attempt.since + ATTEMPT_TIMEOUT).min().unwrap_or(Micros::MAX);
        if !dialing {
            return expiry;
        }
        let awaited = self.attempts.iter().filter_map(Attempt::awaited_until).max().unwrap_or(0);
        expiry.min(self.next.max(awaited))
    }

    /// What must become ready before [`Reconnect::advance`] has something to do.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.attempts.iter().map(Attempt::poll_fd)
    }

    /// Advances the attempts that are ready; does not wait. Returns the connection that the hub has granted.
    ///
    /// # Errors
    /// Nothing listens at the hub's address any more.
    pub(super) fn advance(&mut self, request: impl Fn() -> [Message; 4]) -> Result<Option<HubConnection>> {
        let ready = self.ready()?;
        let now = clock::now();
        let mut awaits_answer = self.awaits_answer(now);
        let mut granted = None;
        for (Attempt { since, stage }, ready) in std::mem::take(&mut self.attempts).into_iter().zip(ready) {
            let progress = match stage {
                stage if !ready => Progress::Pending(Attempt { since, stage }),
                // A second request would make the hub close the connection that it is about to grant.
                AttemptStage::Connecting(_) if awaits_answer => Progress::Failed,
                AttemptStage::Connecting(socket) => {
                    awaits_answer = true;
                    self.request(socket, &request())?
                }
                AttemptStage::Requested(connection) => self.answer(since, connection),
            };
            match progress {
                Progress::Pending(attempt) => self.attempts.push(attempt),
                Progress::Granted(connection) => granted = Some(*connection),
                Progress::Failed => {}
            }
        }
        self.attempts.retain(|attempt| attempt.since + ATTEMPT_TIMEOUT > now);
        Ok(granted)
    }

    /// Which attempts are ready now.
    fn ready(&self) -> Result<Vec<bool>> {
        let mut fds: Vec<PollFd> = self.poll_fds().collect();
        wait(&mut fds, 0)?;
        Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Sends the request, if the socket has connected.
    fn request(&self, socket: Socket, request: &[Message]) -> Result<Progress> {
        Ok(match send_request(socket, request) {
            Ok(connection) => {
                Progress::Pending(Attempt { since: clock::now(), stage: AttemptStage::Requested(connection) })
            }
            Err(Error::Refused(_)) => bail!(Refused, "no hub listens there any more"),
            Err(error) => {
                debug!("{}: {error}", self.hub);
                Progress::Failed
            }
        })
    }

    /// Takes the hub's answer.
    fn answer(&mut self, since: Micros, mut connection: Box<HubConnection>) -> Progress {
        connection.set_readable();
        match connection.granted() {
            Ok(true) => Progress::Granted(connection),
            Ok(false) => Progress::Pending(Attempt { since, stage: AttemptStage::Requested(connection) }),
            Err(error) => {
                info!("{}: {error}", self.hub);
                self.next = clock::now() + RETRY_AFTER_REFUSAL;
                Progress::Failed
            }
        }
    }

    /// Whether the hub may be about to answer an attempt.
    fn awaits_answer(&self, now: Micros) -> bool {
        self.attempts.iter().filter_map(Attempt::awaited_until).any(|until| now < until)
    }
}

impl Attempt {
    /// Until when the hub's answer is likely to come, once the request is sent.
    fn awaited_until(&self) -> Option<Micros> {
        match &self.stage {
            AttemptStage::Connecting(_) => None,
            AttemptStage::Requested(connection) => Some(connection.link.suspect_at()),
        }
    }

    fn poll_fd(&self) -> PollFd<'_> {
        match &self.stage {
            AttemptStage::Connecting(socket) => PollFd::new(socket, PollFlags::OUT),
            AttemptStage::Requested(connection) => connection.poll_fd(),
        }
    }
}

fn send_request(socket: Socket, request: &[Message]) -> Result<Box<HubConnection>> {
    if let Some(error) = socket.take_error()? {
        return Err(error.into());
    }
    socket.set_nonblocking(false)?;
    let (sender, receiver) = MessageSender::greet(socket.into(), request)?;
    Ok(Box::new(HubConnection::new(sender, receiver)))
}

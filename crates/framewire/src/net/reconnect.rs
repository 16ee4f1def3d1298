//! The attempts at another connection while one is silent: begun often, since a packet that is lost while a connection is made
//! is sent again only after a second, and given up soon, so that few are open at once.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use framewire_proto::{Micros, wire::native::Message};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use socket2::{Domain, Socket, Type};
use tracing::{debug, info};

use super::{abandon, client::Client, line::Connection};
use crate::clock;
use crate::error::{Context as _, Error, Result, bail};

/// From one attempt to the next.
const EVERY: Micros = 200_000;
/// An attempt that gets no answer in this time is given up, so that at most eight are open at once.
const PATIENCE: Micros = 1_500_000;
/// A hub that refuses is asked again after this time.
const REFUSED: Micros = 1_000_000;
/// How long [`Reconnect::wait`] waits at least and at most.
const SHORTEST: Duration = Duration::from_millis(1);
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What is tried beside a connection that is silent.
#[derive(Debug)]
pub(super) struct Reconnect {
    to: SocketAddr,
    attempts: Vec<Attempt>,
    next: Micros,
}

#[derive(Debug)]
struct Attempt {
    since: Micros,
    way: Way,
}

/// How far an attempt is.
#[derive(Debug)]
enum Way {
    Connecting(Socket),
    /// The hub may have heard of it, and have closed the connection before.
    Begun(Box<Connection>),
}

/// What became of an attempt.
enum Outcome {
    Goes(Attempt),
    Granted(Box<Connection>),
    Failed,
}

impl Reconnect {
    /// Nothing is tried yet.
    pub(super) fn new(to: SocketAddr) -> Self {
        Self { to, attempts: Vec::new(), next: 0 }
    }

    /// Whether the hub may have heard of an attempt.
    pub(super) fn begun(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt.way, Way::Begun(_)))
    }

    /// The connection speaks: what the hub has not heard of is given up.
    pub(super) fn rest(&mut self) {
        self.attempts.retain(|attempt| matches!(attempt.way, Way::Begun(_)));
    }

    /// Begins an attempt, when one is due.
    pub(super) fn dial(&mut self) {
        let now = clock::now();
        if now < self.next || self.attempts.iter().any(|attempt| attempt.hopeful(now)) {
            return;
        }
        self.next = now + EVERY;
        match dial(self.to) {
            Ok(socket) => self.attempts.push(Attempt { since: now, way: Way::Connecting(socket) }),
            // No route, for instance: there may be one again soon.
            Err(error) => debug!("{}: cannot dial: {error}", self.to),
        }
    }

    /// Waits up to 100 ms for what comes of the attempts, or until the next is due. Returns whether the connection `beside`
    /// them speaks, and the attempt that the hub has granted.
    ///
    /// # Errors
    /// Nothing listens at the hub's address any more.
    pub(super) fn wait(
        &mut self,
        beside: Option<&TcpStream>,
        greeting: impl Fn() -> [Message; 4],
    ) -> Result<(bool, Option<Connection>)> {
        let (speaks, ready) = self.ready(beside)?;
        let now = clock::now();
        let mut hopeful = self.attempts.iter().any(|attempt| attempt.hopeful(now));
        let mut granted = None;
        for (Attempt { since, way }, ready) in std::mem::take(&mut self.attempts).into_iter().zip(ready) {
            let outcome = match way {
                way if !ready => Outcome::Goes(Attempt { since, way }),
                // The hub would close the one that it is about to grant.
                Way::Connecting(_) if hopeful => Outcome::Failed,
                Way::Connecting(socket) => {
                    hopeful = true;
                    self.begin(socket, &greeting())?
                }
                Way::Begun(connection) => self.hear(since, connection),
            };
            match outcome {
                Outcome::Goes(attempt) => self.attempts.push(attempt),
                Outcome::Granted(connection) => granted = Some(*connection),
                Outcome::Failed => {}
            }
        }
        self.attempts.retain(|attempt| attempt.since + PATIENCE > now);
        Ok((speaks, granted))
    }

    /// Waits until anything is ready, an attempt is due or it is time to look around.
    fn ready(&self, beside: Option<&TcpStream>) -> Result<(bool, Vec<bool>)> {
        let until = Duration::from_micros(self.next.saturating_sub(clock::now())).clamp(SHORTEST, LOOK_AROUND);
        let mut asked: Vec<PollFd> = self.attempts.iter().map(Attempt::asks).collect();
        asked.extend(beside.map(|stream| PollFd::new(stream, PollFlags::IN)));
        match poll(&mut asked, Some(&until.try_into()?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for connections"),
        }
        let mut ready: Vec<bool> = asked.iter().map(|asked| !asked.revents().is_empty()).collect();
        let speaks = beside.is_some() && ready.pop().unwrap_or_default();
        Ok((speaks, ready))
    }

    /// Says what the client wants, where the socket is connected by now.
    fn begin(&self, socket: Socket, greeting: &[Message]) -> Result<Outcome> {
        Ok(match greet(socket, greeting) {
            Ok(connection) => Outcome::Goes(Attempt { since: clock::now(), way: Way::Begun(Box::new(connection)) }),
            Err(error) if refused(&error) => bail!(Refused, "no hub listens there any more"),
            Err(error) => {
                debug!("{}: {error}", self.to);
                Outcome::Failed
            }
        })
    }

    /// Takes what the hub answers.
    fn hear(&mut self, since: Micros, mut connection: Box<Connection>) -> Outcome {
        match connection.granted() {
            Ok(true) => Outcome::Granted(connection),
            Ok(false) => Outcome::Goes(Attempt { since, way: Way::Begun(connection) }),
            Err(error) => {
                info!("{}: {error}", self.to);
                self.next = clock::now() + REFUSED;
                Outcome::Failed
            }
        }
    }
}

impl Attempt {
    /// Whether the hub may be about to answer it.
    fn hopeful(&self, now: Micros) -> bool {
        matches!(&self.way, Way::Begun(begun) if !begun.link.is_suspect(now))
    }

    /// What has to happen before it can go on.
    fn asks(&self) -> PollFd<'_> {
        match &self.way {
            Way::Connecting(socket) => PollFd::new(socket, PollFlags::OUT),
            Way::Begun(connection) => PollFd::new(connection.receiver.stream(), PollFlags::IN),
        }
    }
}

/// Begins to connect and does not wait.
fn dial(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Given up, it leaves nothing behind.
    abandon(&socket);
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

fn greet(socket: Socket, greeting: &[Message]) -> Result<Connection> {
    if let Some(error) = socket.take_error()? {
        return Err(error.into());
    }
    socket.set_nonblocking(false)?;
    let (client, receiver) = Client::greet(socket.into(), greeting)?;
    Ok(Connection::new(client, receiver))
}

fn refused(error: &Error) -> bool {
    matches!(error, Error::Refused(_))
}

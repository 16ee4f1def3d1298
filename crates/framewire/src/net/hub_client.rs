//! A client of a hub across its connections. A connection that is silent is kept, because it may recover, while
//! [`reconnect`](super::reconnect) attempts others beside it. TCP alone would wait longer and longer before it sends again.

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use framewire_proto::{
    Limits, Micros,
    link::Link,
    wire::native::{Message, Session, Token},
};
use rustix::event::{PollFd, PollFlags};
use tracing::info;

use super::{
    HEAD, channel,
    client::{Address, MessageSender},
    hub_connection::HubConnection,
    reconnect::Reconnect,
    wait,
};
use crate::error::{Context as _, Error, Result, bail, error};
use crate::{
    clock,
    stop::{Stop, StopPipe},
};

/// Names one client to its hub on all of its connections, so that each new connection takes over from the one before.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The hub.
    pub address: Address,
    /// Bounds on what the hub sends.
    limits: Limits,
    token: Token,
    /// The number of the next connection.
    turn: Arc<AtomicU64>,
}

/// A client whose request the hub has granted.
#[derive(Debug)]
pub struct HubClient {
    identity: ClientIdentity,
    request: Message,
    stop: Stop,
    stopped: StopPipe,
    /// A recorder takes every frame: it waits for frames in flight rather than lose them with the connection.
    keeps_silent_connection: bool,
    current: HubConnection,
    /// Since when it is not known whether the hub receives what is sent: the connection was silent. TCP may send again only
    /// seconds later, even once the hub's own bytes arrive.
    unconfirmed_since: Option<Micros>,
    /// Why the current connection has broken, while an attempt may still take over.
    lost: Option<Error>,
    reconnect: Reconnect,
}

/// What [`HubClient::receive`] returns.
#[derive(Debug)]
pub enum HubEvent {
    /// A message. Pings are answered already.
    Message(Message),
    /// Another connection has taken over: messages in flight are lost, and nothing is agreed on yet.
    Reconnected,
    /// The client's stop was raised.
    Stopped,
}

impl ClientIdentity {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(address: Address) -> Result<Self> {
        let mut token = Token([0; 16]);
        getrandom::fill(&mut token.0).map_err(|error| error!(System, "the system gives no random numbers: {error}"))?;
        Ok(Self { address, limits: Limits::default(), token, turn: Arc::default() })
    }

    /// The same with so many bytes of a frame at most; `None`: the default.
    #[must_use]
    pub fn with_max_frame(self, bytes: Option<usize>) -> Self {
        Self { limits: bytes.map_or(self.limits, Limits::with_frame), ..self }
    }

    /// Connects, sends the request and waits until the hub grants it. `stop` ends that wait, and later the client.
    ///
    /// # Errors
    /// No hub listens there, it does not answer within [`HEAD`], it refuses, or `stop` was raised.
    pub fn connect(&self, request: &Message, stop: &Stop) -> Result<HubClient> {
        let stopped = stop.pipe()?;
        let (sender, receiver) = MessageSender::connect(&self.address, &self.greeting(request), stop)?;
        let mut current = HubConnection::new(sender, receiver);
        current.set_limits(self.limits);
        let deadline = clock::now() + HEAD.as_micros() as Micros;
        while !current.granted().with_context(|| self.address.to_string())? {
            if stop.stopped() {
                bail!(Stopped, "{}: stopped before the hub answered", self.address);
            }
            if clock::now() >= deadline {
                bail!(
                    Protocol,
                    "{}: no answer within {} s; check that a framewire hub listens there",
                    self.address,
                    HEAD.as_secs()
                );
            }
            let mut fds = [PollFd::new(&stopped, PollFlags::IN), current.poll_fd()];
            wait(&mut fds, deadline.min(current.link.deadline()))?;
            current.set_readable();
        }
        let reconnect = Reconnect::new(current.sender.peer()?);
        Ok(HubClient {
            identity: self.clone(),
            request: request.clone(),
            stop: stop.clone(),
            stopped,
            keeps_silent_connection: matches!(request, Message::Subscribe { every: true, .. }),
            current,
            unconfirmed_since: None,
            lost: None,
            reconnect,
        })
    }

    /// The first messages of this client's next connection.
    fn greeting(&self, request: &Message) -> [Message; 4] {
        let session = Session { token: self.token, turn: self.turn.fetch_add(1, Ordering::Relaxed) };
        [channel::hello(), Message::Ping { sent: clock::now() }, Message::Session(session), request.clone()]
    }
}

impl HubClient {
    /// Sends to the hub over the current connection.
    pub fn sender(&self) -> Arc<MessageSender> {
        self.current.sender.clone()
    }

    /// What the two ends of the current connection have agreed on.
    pub fn link(&self) -> &Link {
        &self.current.link
    }

    /// Waits for the next event. Sends the pings and answers that are due meanwhile. Attempts other connections from when the
    /// hub is silent until traffic flows in both directions; the first connection that gets there is the current one.
    ///
    /// # Errors
    /// The connection ended or broke and no attempt took over, or the hub's bytes are not the native wire.
    pub fn receive(&mut self) -> Result<HubEvent> {
        loop {
            if self.stop.stopped() {
                return Ok(HubEvent::Stopped);
            }
            let dialing = self.dial_if_suspect(clock::now());
            if !self.reconnect.is_empty() {
                // Messages that were read already come before another connection takes over.
                if self.lost.is_none()
                    && let Some(message) = self.current.pull()?
                {
                    return Ok(HubEvent::Message(message));
                }
                if let Some(next) = self.reconnect.advance(|| self.identity.greeting(&self.request))? {
                    self.take_over(next)?;
                    return Ok(HubEvent::Reconnected);
                }
            }
            if let Some(message) = self.receive_from_current()? {
                return Ok(HubEvent::Message(message));
            }
            self.wait(dialing)?;
        }
    }

    /// Attempts another connection while the current one may be dead in either direction; returns whether it may.
    fn dial_if_suspect(&mut self, now: Micros) -> bool {
        if self.current.link.is_suspect(now) && !self.keeps_silent_connection {
            self.unconfirmed_since.get_or_insert(now);
        } else if self.unconfirmed_since.is_some_and(|since| self.current.link.has_answered_since(since)) {
            self.unconfirmed_since = None;
        }
        if self.unconfirmed_since.is_none() {
            self.reconnect.drop_connecting();
            return false;
        }
        if self.lost.is_some() {
            return false;
        }
        self.reconnect.dial(now);
        true
    }

    /// The current connection's next message, if it has arrived.
    fn receive_from_current(&mut self) -> Result<Option<Message>> {
        if self.lost.is_none() {
            match self.current.receive() {
                // The hub may have closed this connection because it has accepted the next one.
                Err(error) if self.reconnect.has_requested() => self.lost = Some(error),
                received => return received,
            }
        }
        match self.lost.take_if(|_| !self.reconnect.has_requested()) {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// Waits until a connection or an attempt is ready, the stop is raised, or something is due.
    fn wait(&mut self, dialing: bool) -> Result<()> {
        let mut until = self.reconnect.deadline(dialing);
        let mut fds = vec![PollFd::from_borrowed_fd(self.stopped.as_fd(), PollFlags::IN)];
        fds.extend(self.reconnect.poll_fds());
        if self.lost.is_none() {
            fds.push(self.current.poll_fd());
            until = until.min(self.current.link.deadline());
            if self.unconfirmed_since.is_none() && !self.keeps_silent_connection {
                until = until.min(self.current.link.suspect_at());
            }
        }
        wait(&mut fds, until)?;
        // Last in the list, unless the connection is lost: then nothing reads from it.
        let ready = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if ready {
            self.current.set_readable();
        }
        Ok(())
    }

    fn take_over(&mut self, mut next: HubConnection) -> Result<()> {
        let silent = clock::now().saturating_sub(self.current.link.last_received());
        info!("{}: connected again after {:.1} s of silence", self.identity.address, silent as f64 / 1e6);
        // Whatever it still holds is too old by now.
        self.current.sender.abandon();
        next.sender.deliver_on_close();
        self.reconnect = Reconnect::new(next.sender.peer()?);
        next.set_limits(self.identity.limits);
        self.current = next;
        (self.unconfirmed_since, self.lost) = (None, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    /// The client's next connection.
    fn accept(listener: &TcpListener) -> TcpStream {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "the client attempts no other connection: {error}"),
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_hub_that_sends_again_and_does_not_receive_is_dialled_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let name: framewire_proto::Name = "door".parse().unwrap();
        let request = Message::Publish { name: name.clone(), passthrough: false };
        let granted = [channel::hello(), Message::Accepted { name }];
        let identity =
            ClientIdentity::new(format!("fw://{}", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
        let (taken_over, reconnected) = mpsc::channel();
        let client = thread::spawn(move || {
            let mut client = identity.connect(&request, &Stop::default()).unwrap();
            while !matches!(client.receive().unwrap(), HubEvent::Reconnected) {}
            taken_over.send(()).unwrap();
        });
        // Nothing sent over the first connection arrives, and the second is never answered.
        let (first, _unread) = MessageSender::greet(accept(&listener), &granted).unwrap();
        let _second = accept(&listener);
        let sending = thread::spawn(move || {
            while reconnected.recv_timeout(Duration::from_millis(50)).is_err() {
                first.post(&Message::Ping { sent: clock::now() }).unwrap();
            }
        });
        let _third = MessageSender::greet(accept(&listener), &granted).unwrap();
        client.join().unwrap();
        sending.join().unwrap();
    }

    #[test]
    fn a_stop_ends_a_client_that_waits_for_a_silent_hub() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name: framewire_proto::Name = "door".parse().unwrap();
        let request = Message::Publish { name: name.clone(), passthrough: false };
        let identity =
            ClientIdentity::new(format!("fw://{}", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
        let stop = Stop::default();
        let (granted, is_granted) = mpsc::channel();
        let client = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut client = identity.connect(&request, &stop).unwrap();
                granted.send(()).unwrap();
                client.receive().unwrap()
            }
        });
        let answer = [channel::hello(), Message::Accepted { name }];
        let (_hub, _unread) = MessageSender::greet(listener.accept().unwrap().0, &answer).unwrap();
        is_granted.recv_timeout(Duration::from_secs(10)).unwrap();
        stop.stop();
        assert!(matches!(client.join().unwrap(), HubEvent::Stopped));
    }
}

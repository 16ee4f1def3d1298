//! A client's line to its hub, which outlives a dead link: a connection that is silent is kept, for it may yet speak, and
//! others are tried beside it ([`reconnect`](super::reconnect)). TCP alone would wait ever longer before it tries again.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use framewire_proto::{
    Micros,
    link::Link,
    wire::native::{Message, Session, Token},
};
use tracing::info;

use super::{
    HEAD, channel,
    client::{Address, Client, Received, Receiver},
    reconnect::Reconnect,
};
use crate::error::{Context as _, Error, Result, bail, error};
use crate::{clock, stop::Stop};

/// A client of a hub over all of its connections, each of which takes over from those before it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The hub.
    pub address: Address,
    token: Token,
    turn: Arc<AtomicU64>,
}

/// A connection that the hub has granted, or the next one.
#[derive(Debug)]
pub struct Line {
    caller: Caller,
    wish: Message,
    /// Who wants every frame had rather wait for those that are under way than lose them.
    patient: bool,
    held: Connection,
    /// Since when it is not known whether what is sent over the one held reaches the hub: it was silent, and TCP may wait for
    /// seconds yet before it sends again, though the hub speaks.
    doubtful: Option<Micros>,
    /// Why the one held is broken, while another was begun that may take over.
    broken: Option<Error>,
    redial: Reconnect,
}

/// What [`Line::receive`] found.
#[derive(Debug)]
pub enum Heard {
    /// A message. Pings are answered already.
    Message(Message),
    /// Another connection has taken over: what was under way is lost, and nothing is agreed on yet.
    Anew,
    /// Nothing for a while of at most 100 ms: time to look around.
    Nothing,
}

/// The hub does not grant what was wished for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// See [`code`](framewire_proto::wire::native::code).
    pub code: u16,
    /// What, where and what to try.
    pub text: String,
}

impl Caller {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(address: Address) -> Result<Self> {
        let mut token = Token([0; 16]);
        getrandom::fill(&mut token.0).map_err(|error| error!(System, "the system gives no random numbers: {error}"))?;
        Ok(Self { address, token, turn: Arc::default() })
    }

    /// Connects, says what it wants and waits until the hub grants it.
    ///
    /// # Errors
    /// Nobody listens there, or answers in time; [`Refused`]; or `stop` was raised.
    pub fn call(&self, wish: &Message, stop: &Stop) -> Result<Line> {
        let (client, receiver) = Client::connect(&self.address, &self.greeting(wish))?;
        let mut held = Connection::new(client, receiver);
        let deadline = clock::now() + HEAD.as_micros() as Micros;
        while !held.granted().with_context(|| self.address.to_string())? {
            if stop.stopped() || clock::now() > deadline {
                bail!(Protocol, "{}: the hub does not answer on the native wire", self.address);
            }
        }
        let redial = Reconnect::new(held.client.peer()?);
        let patient = matches!(wish, Message::Subscribe { every: true, .. });
        Ok(Line { caller: self.clone(), wish: wish.clone(), patient, held, doubtful: None, broken: None, redial })
    }

    /// The first messages of this client's next connection.
    pub(super) fn greeting(&self, wish: &Message) -> [Message; 4] {
        let session = Session { token: self.token, turn: self.turn.fetch_add(1, Ordering::Relaxed) };
        [channel::hello(), Message::Ping { sent: clock::now() }, Message::Session(session), wish.clone()]
    }
}

impl Line {
    /// Sends to the hub: the connection that is held now.
    pub fn client(&self) -> Arc<Client> {
        self.held.client.clone()
    }

    /// What the two ends have agreed on.
    pub fn link(&self) -> &Link {
        &self.held.link
    }

    /// Waits up to 100 ms for the next message, with the pings and answers that are due meanwhile. Dials from when the hub is
    /// silent until it is known to speak and to hear, and whichever connection comes to that first is the one that is held.
    ///
    /// # Errors
    /// The connection ended or broke, or what it says is not the native wire.
    pub fn receive(&mut self) -> Result<Heard> {
        if !self.doubts(clock::now()) {
            self.redial.rest();
            if !self.redial.begun() {
                return self.of_held();
            }
        } else if self.broken.is_none() {
            self.redial.dial();
        }
        if let Some(message) = self.held.pull()? {
            return Ok(Heard::Message(message));
        }
        let beside = self.broken.is_none().then(|| self.held.receiver.stream());
        let (speaks, next) = self.redial.wait(beside, || self.caller.greeting(&self.wish))?;
        if let Some(next) = next {
            self.take_over(next)?;
            return Ok(Heard::Anew);
        }
        if speaks {
            return self.of_held();
        }
        if let Some(error) = self.broken.take_if(|_| !self.redial.begun()) {
            return Err(error);
        }
        if self.broken.is_none() {
            self.held.tend(clock::now())?;
        }
        Ok(Heard::Nothing)
    }

    /// Whether the connection may be dead in either direction.
    fn doubts(&mut self, now: Micros) -> bool {
        if self.held.link.is_suspect(now) && !self.patient {
            self.doubtful.get_or_insert(now);
        } else if self.doubtful.is_some_and(|since| self.held.link.has_answered_since(since)) {
            self.doubtful = None;
        }
        self.doubtful.is_some()
    }

    fn of_held(&mut self) -> Result<Heard> {
        match self.held.receive() {
            Ok(message) => Ok(message.map_or(Heard::Nothing, Heard::Message)),
            // The hub may have closed it because it has heard of the next one.
            Err(error) if self.redial.begun() => {
                self.broken = Some(error);
                Ok(Heard::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    fn take_over(&mut self, next: Connection) -> Result<()> {
        let silent = clock::now().saturating_sub(self.held.link.last_received());
        info!("{}: connected anew after {:.1} s of silence", self.caller.address, silent as f64 / 1e6);
        // Whatever it holds is too old by now.
        self.held.client.abandon();
        next.client.keep();
        self.redial = Reconnect::new(next.client.peer()?);
        self.held = next;
        (self.doubtful, self.broken) = (None, None);
        Ok(())
    }
}

/// One connection, with what its two ends have agreed on.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Arc<Client>,
    pub(super) receiver: Receiver,
    pub(super) link: Link,
    /// Taken already, and not given yet.
    ahead: Option<Message>,
}

impl Connection {
    pub(super) fn new(client: Client, receiver: Receiver) -> Self {
        Self { client: Arc::new(client), receiver, link: Link::new(clock::now()), ahead: None }
    }

    /// Waits up to 100 ms for the next message.
    fn receive(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.ahead.take() {
            return Ok(Some(message));
        }
        let received = self.receiver.receive()?;
        let now = clock::now();
        let message = match received {
            Received::Message(message) => Some(self.take(message, now)?),
            Received::Bytes => {
                self.link.on_bytes(now);
                None
            }
            Received::Nothing => None,
        };
        self.tend(now)?;
        Ok(message)
    }

    /// A message that has come already.
    fn pull(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.ahead.take() {
            return Ok(Some(message));
        }
        let message = self.receiver.pull()?;
        message.map(|message| self.take(message, clock::now())).transpose()
    }

    fn take(&mut self, message: Message, now: Micros) -> Result<Message> {
        if let Some(answer) = self.link.on_message(&message, now) {
            self.client.post(&answer)?;
        }
        Ok(message)
    }

    /// Sends what is due.
    fn tend(&mut self, now: Micros) -> Result<()> {
        if self.link.is_timed_out(now) {
            bail!(Timeout, "the hub has said nothing for 10 s");
        }
        match self.link.poll_ping(now) {
            Some(ping) => self.client.post(&ping),
            None => self.client.send_posted(),
        }
    }

    /// Takes what has come, waiting up to 100 ms for it, and tells whether the hub has granted the wish by now. What follows
    /// that is left to be received.
    pub(super) fn granted(&mut self) -> Result<bool> {
        let mut message = self.receive()?;
        while let Some(said) = message {
            match said {
                Message::Accepted { .. } => {
                    // The hub's first ping comes with it, and is answered before any frame is sent.
                    self.ahead = self.pull()?;
                    return Ok(true);
                }
                Message::Error { code, text } => return Err(Refused { code, text }.into()),
                Message::Bye { text } => bail!(ConnectionLost, "the hub ends: {text}"),
                _ => message = self.pull()?,
            }
        }
        Ok(false)
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

    /// The next connection that a client makes.
    fn next(listener: &TcpListener) -> TcpStream {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "no other connection is tried: {error}"),
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_hub_that_speaks_again_and_does_not_hear_is_dialled_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let name: framewire_proto::Name = "door".parse().unwrap();
        let wish = Message::Publish { name: name.clone(), passthrough: false };
        let granted = [channel::hello(), Message::Accepted { name }];
        let caller = Caller::new(format!("fw://{}", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
        let (taken_over, news) = mpsc::channel();
        let client = thread::spawn(move || {
            let mut line = caller.call(&wish, &Stop::default()).unwrap();
            while !matches!(line.receive().unwrap(), Heard::Anew) {}
            taken_over.send(()).unwrap();
        });
        // What is sent over the first connection never arrives, and the second is never answered.
        let (first, _unread) = Client::greet(next(&listener), &granted).unwrap();
        let _second = next(&listener);
        let speaking = thread::spawn(move || {
            while news.recv_timeout(Duration::from_millis(50)).is_err() {
                first.post(&Message::Ping { sent: clock::now() }).unwrap();
            }
        });
        let _third = Client::greet(next(&listener), &granted).unwrap();
        client.join().unwrap();
        speaking.join().unwrap();
    }
}

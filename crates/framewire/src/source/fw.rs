//! A hub's stream as a source: connects, comes back by itself, reports how far its frames came.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use framewire_proto::{
    Frame,
    link::Link,
    wire::native::{Message, Report, State, code},
};
use tracing::{info, warn};

use super::{Item, Kind, Listener, Source};
use crate::{
    clock,
    hub::News,
    net::client::{Address, Backoff, Client, Received, Receiver, first_messages},
    stop::Stop,
};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "fw://HOST:PORT/NAME",
    summary: "a stream of a hub",
    live: true,
    sized: false,
    matches: |source| source.starts_with("fw://"),
    open: |spec, stop| {
        let config = Config { wait: spec.options.wait, every: spec.options.every };
        Ok(Box::new(Fw::open(spec.source.parse()?, config, stop)?))
    },
};

/// How to watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    /// Wait for a hub or a stream that is not there.
    pub wait: bool,
    /// Every frame, queued within bounds, instead of the newest.
    pub every: bool,
}

/// A stream of a hub.
pub struct Fw {
    address: Address,
    config: Config,
    stop: Stop,
    session: Option<Session>,
    /// The client that reports go to: that of the session now.
    client: Arc<Mutex<Option<Arc<Client>>>>,
    backoff: Backoff,
}

struct Session {
    client: Arc<Client>,
    receiver: Receiver,
    link: Link,
}

impl Fw {
    /// Connects to the stream.
    ///
    /// # Errors
    /// Without [`Config::wait`]: nobody listens there, or there is no such stream.
    pub fn open(address: Address, config: Config, stop: &Stop) -> Result<Self> {
        if address.name.is_none() {
            bail!(
                "{address} names no stream: write it like {address}/door; `framewire list {address}` shows what is there"
            );
        }
        let mut fw = Self {
            address,
            config,
            stop: stop.clone(),
            session: None,
            client: Arc::default(),
            backoff: Backoff::default(),
        };
        match fw.connect() {
            Ok(session) => fw.begin(session),
            Err(error) if config.wait => fw.wait_to_retry(&error),
            Err(error) => return Err(error),
        }
        Ok(fw)
    }

    /// Connects and waits until the hub grants the stream.
    fn connect(&self) -> Result<Session> {
        let Some(name) = self.address.name.clone() else { bail!("{}: no stream", self.address) };
        let wish = Message::Subscribe { name, wait: self.config.wait, every: self.config.every, jpegs: false };
        let (client, receiver) = Client::connect(&self.address, &first_messages(wish))?;
        let mut session = Session { client: Arc::new(client), receiver, link: Link::new(clock::now()) };
        while !self.stop.stopped() {
            match session.receive()? {
                Some(Message::Accepted { .. }) => break,
                Some(Message::Error { code: code::NO_SUCH_STREAM, text }) => {
                    bail!("{}: {text}; --wait waits for it", self.address)
                }
                Some(Message::Error { text, .. }) => bail!("{}: {text}", self.address),
                _ => {}
            }
        }
        Ok(session)
    }

    fn begin(&mut self, session: Session) {
        *lock(&self.client) = Some(session.client.clone());
        self.session = Some(session);
        self.backoff.reset();
        // From now on the stream is known to be right: wait for it whatever happens to the hub.
        self.config.wait = true;
    }

    fn wait_to_retry(&mut self, error: &anyhow::Error) {
        let wait = self.backoff.next_wait();
        warn!("{error:#}; trying again in {:.1} s", wait.as_secs_f64());
        self.stop.wait(wait);
    }

    fn reconnect(&mut self) {
        match self.connect() {
            Ok(session) => {
                info!("{}: connected", self.address);
                self.begin(session);
            }
            Err(error) => self.wait_to_retry(&error),
        }
    }
}

impl Source for Fw {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            let Some(session) = &mut self.session else {
                self.reconnect();
                continue;
            };
            match session.next() {
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) => {}
                Err(error) => {
                    *lock(&self.client) = None;
                    self.session = None;
                    self.wait_to_retry(&error.context(self.address.to_string()));
                    return Ok(Some(Item::State(State::Stalled)));
                }
            }
        }
        if let Some(session) = &self.session {
            // The hub may have gone first.
            let _ = session.client.send(&Message::Bye { text: String::new() });
        }
        Ok(None)
    }

    fn listener(&self) -> Option<Listener> {
        let client = self.client.clone();
        Some(Box::new(move |news| {
            let client = lock(&client).clone();
            let message = match news {
                News::Report(report) => Message::Report(report),
                News::Keyframe => Message::Keyframe,
            };
            // A broken connection is noticed by the thread that receives.
            let _ = client.map(|client| client.send(&message));
        }))
    }

    fn describe(&self) -> String {
        self.address.to_string()
    }
}

impl Session {
    /// The next thing for the stream; `None` after 100 ms without.
    fn next(&mut self) -> Result<Option<Item>> {
        Ok(match self.receive()? {
            Some(Message::Config(config)) => Some(Item::Config(config)),
            Some(Message::Frame(frame)) => Some(Item::Frame(self.arrived(frame)?)),
            Some(Message::State(state)) => Some(Item::State(state)),
            Some(Message::Service(service)) => Some(Item::Service(service)),
            Some(Message::Error { text, .. }) => bail!("{text}"),
            Some(Message::Bye { text }) if text.is_empty() => bail!("the hub ends"),
            Some(Message::Bye { text }) => bail!("the hub ends: {text}"),
            _ => None,
        })
    }

    /// Reports a frame at once, since the hub waits for that before it sends the one after the next.
    fn arrived(&mut self, mut frame: Frame) -> Result<Frame> {
        let now = clock::now();
        let report = Report { sequence: frame.sequence, received: now, ..Report::default() };
        self.client.send(&Message::Report(report))?;
        frame.times = self.link.to_ours(frame.times);
        frame.times.arrived = now;
        Ok(frame)
    }

    /// Waits up to 100 ms for a message, with the pings and answers that are due meanwhile.
    fn receive(&mut self) -> Result<Option<Message>> {
        let received = self.receiver.receive()?;
        let now = clock::now();
        if let Some(ping) = self.link.poll(now) {
            self.client.send(&ping)?;
        }
        match received {
            Received::Message(message) => {
                if let Some(answer) = self.link.take(&message, now) {
                    self.client.send(&answer)?;
                }
                return Ok(Some(message));
            }
            Received::Bytes => self.link.heard(now),
            Received::Nothing if self.link.silent(now) => bail!("the hub has said nothing for 10 s"),
            Received::Nothing => {}
        }
        Ok(None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A hub's stream as a source: connects, comes back by itself, reports how far its frames came.

use std::sync::{Arc, Mutex, PoisonError};

use framewire_proto::{
    Frame,
    wire::native::{Message, Report, State},
};
use tracing::{info, warn};

use super::{Item, Kind, Listener, Source};
use crate::error::{Error, Result, bail, error};
use crate::{
    clock,
    hub::Feedback,
    net::{
        client::{Address, Backoff, Client},
        line::{Caller, Heard, Line},
    },
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
    caller: Caller,
    config: Config,
    stop: Stop,
    line: Option<Line>,
    /// The client that reports go to: that of the connection now.
    client: Arc<Mutex<Option<Arc<Client>>>>,
    backoff: Backoff,
}

impl Fw {
    /// Connects to the stream.
    ///
    /// # Errors
    /// Without [`Config::wait`]: nobody listens there, or there is no such stream.
    pub fn open(address: Address, config: Config, stop: &Stop) -> Result<Self> {
        if address.name.is_none() {
            bail!(
                InvalidInput,
                "{address} names no stream: write it like {address}/door; `framewire list {address}` shows what is there"
            );
        }
        let mut fw = Self {
            caller: Caller::new(address)?,
            config,
            stop: stop.clone(),
            line: None,
            client: Arc::default(),
            backoff: Backoff::default(),
        };
        match fw.connect() {
            Ok(line) => fw.begin(line),
            Err(error) if config.wait => fw.wait_to_retry(&error),
            Err(error) => return Err(error),
        }
        Ok(fw)
    }

    /// Connects and waits until the hub grants the stream.
    fn connect(&self) -> Result<Line> {
        let address = &self.caller.address;
        let Some(name) = address.name.clone() else { bail!(InvalidInput, "{address}: no stream") };
        let wish = Message::Subscribe { name, wait: self.config.wait, every: self.config.every, jpegs: false };
        self.caller.call(&wish, &self.stop).map_err(|error| match error {
            Error::NotFound(_) => error!(NotFound, "{error}; --wait waits for it"),
            _ => error,
        })
    }

    fn begin(&mut self, line: Line) {
        *lock(&self.client) = Some(line.client());
        self.line = Some(line);
        self.backoff.reset();
        // From now on the stream is known to be right: wait for it whatever happens to the hub.
        self.config.wait = true;
    }

    fn wait_to_retry(&mut self, error: &Error) {
        let wait = self.backoff.next_wait();
        warn!("{error}; trying again in {:.1} s", wait.as_secs_f64());
        self.stop.wait(wait);
    }

    fn reconnect(&mut self) {
        match self.connect() {
            Ok(line) => {
                info!("{}: connected", self.caller.address);
                self.begin(line);
            }
            Err(error) => self.wait_to_retry(&error),
        }
    }
}

impl Source for Fw {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            let Some(line) = &mut self.line else {
                self.reconnect();
                continue;
            };
            match next(line) {
                Ok(Next::Item(item)) => return Ok(Some(item)),
                Ok(Next::Anew) => *lock(&self.client) = Some(line.client()),
                Ok(Next::Nothing) => {}
                Err(error) => {
                    *lock(&self.client) = None;
                    self.line = None;
                    self.wait_to_retry(&error.context(self.caller.address.to_string()));
                    return Ok(Some(Item::State(State::Stalled)));
                }
            }
        }
        if let Some(line) = &self.line {
            // The hub may have gone first.
            let _ = line.client().post(&Message::Bye { text: String::new() });
        }
        Ok(None)
    }

    fn listener(&self) -> Option<Listener> {
        let client = self.client.clone();
        Some(Box::new(move |news| {
            let client = lock(&client).clone();
            let message = match news {
                Feedback::Report(report) => Message::Report(report),
                Feedback::Keyframe => Message::Keyframe,
            };
            // A broken connection is noticed by the thread that receives.
            let _ = client.map(|client| client.post(&message));
        }))
    }

    fn describe(&self) -> String {
        self.caller.address.to_string()
    }
}

/// What came over the line.
enum Next {
    Item(Item),
    /// Another connection has taken over.
    Anew,
    Nothing,
}

/// The next thing for the stream, or nothing after 100 ms without.
fn next(line: &mut Line) -> Result<Next> {
    let message = match line.receive()? {
        Heard::Message(message) => message,
        Heard::Anew => return Ok(Next::Anew),
        Heard::Nothing => return Ok(Next::Nothing),
    };
    Ok(match message {
        Message::Config(config) => Next::Item(Item::Config(config)),
        Message::Frame(frame) => Next::Item(Item::Frame(arrived(line, frame)?)),
        Message::State(state) => Next::Item(Item::State(state)),
        Message::Service(service) => Next::Item(Item::Service(service)),
        Message::Error { text, .. } => bail!(ConnectionLost, "{text}"),
        Message::Bye { text } if text.is_empty() => bail!(ConnectionLost, "the hub ends"),
        Message::Bye { text } => bail!(ConnectionLost, "the hub ends: {text}"),
        _ => Next::Nothing,
    })
}

/// Reports a frame at once, since the hub waits for that before it sends the one after the next.
fn arrived(line: &Line, mut frame: Frame) -> Result<Frame> {
    let now = clock::now();
    let report = Report { sequence: frame.sequence, received: now, ..Report::default() };
    line.client().post(&Message::Report(report))?;
    frame.times = line.link().times_to_ours(frame.times);
    frame.times.arrived = now;
    Ok(frame)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

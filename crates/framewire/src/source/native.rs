//! A hub's stream as a source: connects, reconnects, reports which frames arrived and were shown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use framewire_proto::{
    Config, Frame,
    wire::native::{Message, Report},
};
use tracing::info;

use super::{Item, Kind, Listener, Source};
use crate::error::{Error, Result, bail, error};
use crate::{
    bad_frames::BadFrames,
    clock,
    hub::Feedback,
    media::jpeg::JpegEntry,
    net::{
        client::{Address, MessageSender},
        hub_client::{ClientIdentity, HubClient, HubEvent},
        retry::Retry,
    },
    stop::Stop,
};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "fw://HOST:PORT/NAME",
    summary: "a stream of a hub",
    live: true,
    sized: false,
    honours: &["wait", "once", "every", "codec=copy"],
    matches: |source| source.starts_with("fw://"),
    open: |spec, stop| {
        let options = WatchOptions { wait: spec.options.wait, once: spec.options.once, every: spec.options.every };
        Ok(Box::new(HubSource::open(spec.source.expose().parse()?, options, stop)?))
    },
};

/// How to watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct WatchOptions {
    /// Wait for a hub or a stream that does not exist yet.
    pub wait: bool,
    /// An error instead of connecting again when the hub goes away.
    pub once: bool,
    /// Every frame, queued within bounds, instead of the newest.
    pub every: bool,
}

/// A stream of a hub.
pub struct HubSource {
    identity: ClientIdentity,
    options: WatchOptions,
    stop: Stop,
    client: Option<HubClient>,
    /// Where reports go: over the current connection.
    reports_to: Arc<Mutex<Option<Arc<MessageSender>>>>,
    /// The configuration of the frames that follow.
    config: Option<Config>,
    jpegs: JpegEntry,
    bad: BadFrames,
    retry: Retry,
}

impl HubSource {
    /// Connects to the stream.
    ///
    /// # Errors
    /// Without [`WatchOptions::wait`]: no hub listens there, or it has no such stream.
    pub fn open(address: Address, options: WatchOptions, stop: &Stop) -> Result<Self> {
        if address.name.is_none() {
            bail!(
                InvalidInput,
                "{address} names no stream: write it like {address}/door; `framewire list {address}` lists the hub's streams"
            );
        }
        let mut source = Self {
            identity: ClientIdentity::new(address)?,
            options,
            stop: stop.clone(),
            client: None,
            reports_to: Arc::default(),
            config: None,
            jpegs: JpegEntry::default(),
            bad: BadFrames::default(),
            retry: Retry::default(),
        };
        match source.connect() {
            Ok(client) => source.begin(client),
            Err(error) if options.wait => source.retry.wait(&error, stop),
            Err(error) => return Err(error),
        }
        Ok(source)
    }

    /// Connects and waits until the hub grants the stream.
    fn connect(&self) -> Result<HubClient> {
        let address = &self.identity.address;
        let Some(name) = address.name.clone() else { bail!(InvalidInput, "{address} names no stream") };
        let WatchOptions { wait, every, .. } = self.options;
        let request = Message::Subscribe { name, wait, every, jpegs: false };
        self.identity.connect(&request, &self.stop).map_err(|error| match error {
            Error::NotFound(_) => error!(NotFound, "{error}; --wait waits for it"),
            _ => error,
        })
    }

    fn begin(&mut self, client: HubClient) {
        *lock(&self.reports_to) = Some(client.sender());
        self.client = Some(client);
        self.retry.reset();
        // The hub has granted the stream once, so its name is right: from now on wait for it.
        self.options.wait = true;
    }

    fn reconnect(&mut self) {
        match self.connect() {
            Ok(client) => {
                info!("{}: connected", self.identity.address);
                self.begin(client);
            }
            Err(error) => self.retry.wait(&error, &self.stop),
        }
    }

    /// An item as it enters. A frame that is not what it claims to be is dropped and counted: its hub may be an older one.
    fn enter(&mut self, item: Item) -> Option<Item> {
        match item {
            Item::Config(config) => {
                self.config = Some(config.clone());
                Some(Item::Config(config))
            }
            Item::Frame(mut frame) => {
                let mut config = self.config.clone()?;
                match self.jpegs.enter(&mut config, frame.data) {
                    Ok(data) => frame.data = data,
                    Err(why) => {
                        self.bad.count(&self.identity.address, format_args!("frame {}: {why}", frame.sequence));
                        return None;
                    }
                }
                Some(Item::Frame(frame))
            }
            other => Some(other),
        }
    }
}

impl Source for HubSource {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            let Some(client) = &mut self.client else {
                self.reconnect();
                continue;
            };
            let error = match client.receive() {
                Ok(HubEvent::Message(message)) => match take(client, message) {
                    Ok(Some(item)) => match self.enter(item) {
                        Some(item) => return Ok(Some(item)),
                        None => continue,
                    },
                    Ok(None) => continue,
                    Err(error) => error,
                },
                Ok(HubEvent::Reconnected) => {
                    *lock(&self.reports_to) = Some(client.sender());
                    continue;
                }
                Ok(HubEvent::Stopped) => break,
                Err(error) => error,
            };
            *lock(&self.reports_to) = None;
            self.client = None;
            let error = error.context(self.identity.address.to_string());
            if self.options.once {
                return Err(error);
            }
            self.retry.wait(&error, &self.stop);
            return Ok(Some(Item::Fault(error)));
        }
        if let Some(client) = &self.client {
            // The hub may have closed the connection first.
            let _ = client.sender().post(&Message::Bye { text: String::new() });
        }
        Ok(None)
    }

    fn listener(&self) -> Option<Listener> {
        let reports_to = self.reports_to.clone();
        Some(Box::new(move |feedback| {
            let sender = lock(&reports_to).clone();
            let message = match feedback {
                Feedback::Report(report) => Message::Report(report),
                Feedback::Keyframe => Message::Keyframe,
            };
            // The thread that receives notices a broken connection.
            let _ = sender.map(|sender| sender.post(&message));
        }))
    }

    fn describe(&self) -> String {
        self.identity.address.to_string()
    }
}

/// What a message means for the stream, if anything.
fn take(client: &HubClient, message: Message) -> Result<Option<Item>> {
    Ok(Some(match message {
        Message::Config(config) => Item::Config(config),
        Message::Frame(frame) => Item::Frame(arrived(client, frame)?),
        Message::State(state) => Item::State(state),
        Message::Service(service) => Item::Service(service),
        Message::Error { text, .. } => bail!(ConnectionLost, "{text}"),
        Message::Bye { text } if text.is_empty() => bail!(ConnectionLost, "the hub ends"),
        Message::Bye { text } => bail!(ConnectionLost, "the hub ends: {text}"),
        _ => return Ok(None),
    }))
}

/// Reports a frame at once: the hub waits for the report before it sends the frame after the next.
fn arrived(client: &HubClient, mut frame: Frame) -> Result<Frame> {
    let now = clock::now();
    let report = Report { sequence: frame.sequence, received: now, ..Report::default() };
    client.sender().post(&Message::Report(report))?;
    frame.times = client.link().times_to_ours(frame.times);
    frame.times.arrived = now;
    Ok(frame)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A hub's stream as a source: connects, reconnects, reports which frames arrived and were shown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use framewire_proto::{
    Config, Frame,
    wire::native::{Message, Oversized, Report},
};
use tracing::info;

use super::{Item, Kind, Listener, Options, Source};
use crate::error::{Error, Result, bail, error};
use crate::{
    bad_frames::{BadFrames, TooLarge},
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
    honours: &["wait", "once", "every", "codec=copy", "max-frame"],
    matches: |source| source.starts_with("fw://"),
    open: |spec, stop| {
        let Options { wait, once, every, max_frame, .. } = spec.options;
        let options = WatchOptions { wait, once, every, max_frame };
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
    /// The most bytes of a frame; `None`: the default.
    pub max_frame: Option<usize>,
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
    too_large: TooLarge,
    /// A frame was passed over that the next ones need: they are dropped until a keyframe comes.
    needs_keyframe: bool,
    retry: Retry,
    /// Why there is no connection, where the next try has to wait.
    failure: Option<Error>,
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
            identity: ClientIdentity::new(address)?.with_max_frame(options.max_frame),
            options,
            stop: stop.clone(),
            client: None,
            reports_to: Arc::default(),
            config: None,
            jpegs: JpegEntry::default(),
            bad: BadFrames::default(),
            too_large: TooLarge::default(),
            needs_keyframe: false,
            retry: Retry::default(),
            failure: None,
        };
        match source.connect() {
            Ok(client) => source.begin(client),
            Err(error) if options.wait => source.failure = Some(error),
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

    /// Connects once the next try is due; returns what that tells viewers.
    fn reconnect(&mut self) -> Option<Item> {
        if let Some(failure) = self.failure.take() {
            self.retry.wait(&failure, &self.stop);
        }
        match self.connect() {
            Ok(client) => {
                info!("{}: connected", self.identity.address);
                self.begin(client);
                Some(Item::NoPicture(String::new()))
            }
            Err(_) if self.stop.stopped() => None,
            Err(error) => Some(self.lose(error)),
        }
    }

    fn lose(&mut self, error: Error) -> Item {
        *lock(&self.reports_to) = None;
        self.client = None;
        self.failure = Some(error.clone());
        Item::Fault(error)
    }

    /// An item as it enters. A frame that is not what it claims to be is dropped and counted: its hub may be an older one.
    fn enter(&mut self, item: Item) -> Option<Item> {
        match item {
            Item::Config(config) => {
                self.config = Some(config.clone());
                Some(Item::Config(config))
            }
            Item::Frame(mut frame) => {
                self.needs_keyframe &= !frame.keyframe;
                if self.needs_keyframe {
                    return None;
                }
                match self.jpegs.enter(self.config.as_mut()?, frame.data) {
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

impl HubSource {
    /// A frame over the limit has come, and was passed over. It is reported as received, for the link is free again.
    fn pass_over(&mut self, Oversized { sequence, length, limit }: Oversized) {
        self.too_large.count(&self.identity.address, length as u64, limit as u64);
        let mut answers = vec![Message::Report(Report { sequence, received: clock::now(), ..Report::default() })];
        if self.config.as_ref().is_some_and(|config| !config.codec.independent()) {
            self.needs_keyframe = true;
            answers.push(Message::Keyframe);
        }
        // The next receive notices a broken connection.
        let sender = lock(&self.reports_to).clone();
        let _ = sender.map(|sender| answers.iter().try_for_each(|answer| sender.post(answer)));
    }
}

impl Source for HubSource {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            let Some(client) = &mut self.client else {
                match self.reconnect() {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                }
            };
            let error = match client.receive() {
                Ok(HubEvent::Message(Message::Oversized(oversized))) => {
                    self.pass_over(oversized);
                    continue;
                }
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
            let error = error.context(self.identity.address.to_string());
            if self.options.once {
                return Err(error);
            }
            return Ok(Some(self.lose(error)));
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
        Message::Fault { text } => Item::NoPicture(text),
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

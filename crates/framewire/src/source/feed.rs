//! Feeds a stream from a source: opens it when it is wanted, closes it when nobody watches, opens it again when it fails.

use std::{sync::Arc, thread, time::Duration};

use framewire_proto::{Config, Frame, Micros, wire::native::State};
use tokio::{
    sync::{oneshot, watch},
    time,
};
use tracing::info;

use super::{Item, Source, Spec, open};
use crate::error::{Context as _, Result};
use crate::{
    bad_frames::BadFrames,
    clock,
    hub::Publisher,
    net::retry::{self, Retry},
    stop::Stop,
    transcode::encode,
};

/// A source is closed this long after its last viewer has gone: long enough for a page to be reloaded.
const LINGER: Duration = Duration::from_secs(10);

/// From one keyframe on request to the next, in µs: viewers that join together share one.
const KEYFRAME_INTERVAL: Micros = 1_000_000;

/// A source and the stream it feeds.
pub struct Feed {
    /// What to open.
    pub spec: Spec,
    /// What to feed.
    pub publisher: Publisher,
    /// How to code frames before they are published; `None` publishes them as they come.
    pub encode: Option<encode::EncodeOptions>,
    /// Opened only while somebody watches, and opened again when it fails.
    pub on_demand: bool,
    /// Played again for the next viewer once it has ended; otherwise its end is the end of the stream.
    pub again: bool,
}

/// A source that is open, and the stop that it listens to.
pub type Opened = (Box<dyn Source>, Stop);

impl Feed {
    /// Runs until the source ends or `stop` is raised; one that is played again only ends with `stop`. `opened` is a
    /// source that is open already.
    ///
    /// # Errors
    /// The source cannot be opened or breaks, unless it is opened on demand: then that is logged and tried again.
    pub async fn run(self, mut opened: Option<Opened>, stop: Stop) -> Result<()> {
        let Self { spec, publisher, encode, on_demand, again } = self;
        publisher.set_passthrough(spec.is_passthrough());
        if on_demand && again {
            publisher.reserve();
        }
        let publisher = Arc::new(publisher);
        let mut viewers = publisher.viewers();
        let mut retry = Retry::default();
        while !stop.stopped() {
            if on_demand && opened.is_none() {
                publisher.set_state(State::Idle);
                viewers_are(&mut viewers, &stop, |count| count > 0).await;
                if stop.stopped() {
                    break;
                }
            }
            let pump = Pump { spec: spec.clone(), publisher: publisher.clone(), encode: encode.clone() };
            let (source, closing) = opened.take().map_or((None, stop.child()), |(source, stop)| (Some(source), stop));
            let mut ended = pump.start(source, closing.clone());
            let outcome = tokio::select! {
                outcome = &mut ended => outcome,
                () = deserted(&mut viewers), if on_demand => {
                    info!("'{}': closed, since nobody watches", publisher.name());
                    closing.stop();
                    // A camera must be let go before it is opened again.
                    if ended.await.is_ok_and(|outcome| outcome.opened) {
                        retry.reset();
                    }
                    continue;
                }
            };
            let Outcome { opened, result } = outcome.context("the source's thread is gone")?;
            if opened {
                retry.reset();
            }
            match result {
                Ok(()) if again => {
                    publisher.set_state(State::Stalled);
                    publisher.set_fault("it has ended, and begins again for the next viewer", clock::now());
                    viewers_are(&mut viewers, &stop, |count| count == 0).await;
                }
                Ok(()) => break,
                Err(error) if on_demand => {
                    publisher.set_state(State::Stalled);
                    publisher.set_fault(&error.to_string(), clock::now());
                    let failure = format!("'{}': {error}", publisher.name());
                    retry.wait_async(retry::least_wait(&error), &failure, &stop).await;
                }
                Err(error) => return Err(error),
            }
        }
        // A source may hold a runtime, which no task may drop.
        opened.into_iter().for_each(|unused| drop(thread::spawn(move || drop(unused))));
        if let Some(publisher) = Arc::into_inner(publisher) {
            publisher.finish();
        }
        Ok(())
    }
}

/// Waits until the number of viewers is such, or `stop` is raised.
async fn viewers_are(viewers: &mut watch::Receiver<u32>, stop: &Stop, such: impl Fn(u32) -> bool) {
    tokio::select! {
        // The sender lives in the stream, which the feed's publisher holds.
        _ = viewers.wait_for(|count| such(*count)) => {}
        () = stop.raised() => {}
    }
}

/// Waits until nobody has watched for [`LINGER`].
async fn deserted(viewers: &mut watch::Receiver<u32>) {
    loop {
        // The sender lives in the stream, which the feed's publisher holds.
        let _ = viewers.wait_for(|count| *count == 0).await;
        if time::timeout(LINGER, viewers.wait_for(|count| *count > 0)).await.is_err() {
            return;
        }
    }
}

/// The keyframes that viewers ask for when they join, or have lost frames.
struct KeyframeRequests {
    requests: watch::Receiver<u64>,
    /// When the next one may be made.
    next: Micros,
}

impl KeyframeRequests {
    /// Encodes a frame, as a keyframe where one is wanted.
    fn encode(
        &mut self,
        encoder: &mut encode::Encoder,
        config: &Config,
        frame: &Frame,
    ) -> Result<Option<(Config, Frame)>> {
        let now = clock::now();
        if now >= self.next && self.requests.has_changed().unwrap_or(false) {
            self.requests.mark_unchanged();
            self.next = now + KEYFRAME_INTERVAL;
            encoder.request_keyframe();
        }
        encoder.encode(config, frame)
    }
}

/// A source that is read by a thread of its own.
struct Pump {
    spec: Spec,
    publisher: Arc<Publisher>,
    encode: Option<encode::EncodeOptions>,
}

/// How a source has ended.
struct Outcome {
    /// It could be opened.
    opened: bool,
    result: Result<()>,
}

impl Pump {
    fn start(self, opened: Option<Box<dyn Source>>, stop: Stop) -> oneshot::Receiver<Outcome> {
        let (tell, outcome) = oneshot::channel();
        thread::spawn(move || {
            let source = opened.map_or_else(|| open(&self.spec, &stop), Ok);
            let opened = source.is_ok();
            let result = source.and_then(|source| self.pump(source, &stop));
            drop(self);
            // Nobody listens once the feed itself was dropped.
            let _ = tell.send(Outcome { opened, result });
        });
        outcome
    }

    fn pump(&self, mut source: Box<dyn Source>, stop: &Stop) -> Result<()> {
        info!("'{}': {}", self.publisher.name(), source.describe());
        if let Some(listener) = source.listener() {
            self.publisher.on_feedback(listener);
        }
        let mut encoder = self.encode.clone().map(encode::Encoder::new).transpose()?;
        let mut keyframes = KeyframeRequests { requests: self.publisher.keyframe_requests(), next: 0 };
        let mut config = None;
        let mut bad = BadFrames::default();
        while let Some(item) = source.next()? {
            if stop.stopped() {
                break;
            }
            match item {
                Item::State(state) => self.publisher.set_state(state),
                Item::Fault(error) => {
                    tracing::debug!("'{}': {error}", self.publisher.name());
                    self.publisher.set_state(State::Stalled);
                    self.publisher.set_fault(&error.to_string(), clock::now());
                }
                Item::NoPicture(why) => self.publisher.set_fault(&why, clock::now()),
                Item::Service(service) => self.publisher.set_service(service),
                Item::Config(new) => {
                    if encoder.is_none() {
                        self.publisher.configure(new.clone())?;
                    }
                    config = Some(new);
                }
                Item::Frame(frame) => {
                    let Some(config) = &config else { continue };
                    if self.spec.options.unpaced() {
                        self.publisher.room_within(Duration::MAX, stop.raised(), clock::now);
                        if stop.stopped() {
                            break;
                        }
                    }
                    let frame = match &mut encoder {
                        None => frame,
                        Some(encoder) => match keyframes.encode(encoder, config, &frame) {
                            Ok(None) => continue,
                            Ok(Some((config, mut frame))) => {
                                self.publisher.configure(config)?;
                                // It is in the hub by now: there is no way that it has to go.
                                let now = clock::now();
                                (frame.times.encoded, frame.times.received) = (now, now);
                                frame
                            }
                            Err(error) => {
                                bad.count(self.publisher.name(), error);
                                continue;
                            }
                        },
                    };
                    self.publisher.publish(frame, clock::now())?;
                }
            }
        }
        Ok(())
    }
}

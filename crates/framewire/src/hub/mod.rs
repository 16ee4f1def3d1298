//! Named streams between publishers and viewers: no I/O, no codec, no clock. Methods take `now`; waits take the
//! caller's clock.
//!
//! Each frame is held once in memory and shared by all viewers. Each viewer has a mailbox, where a newer frame replaces
//! an older one that the viewer has not taken. A publisher never waits for a viewer.
//!
//! Locks: the map of streams, then a stream's state; never the other way round. Neither is held while tasks are woken,
//! feedback is sent or bytes are written: the guard of a stream's state (`StreamGuard`) performs such effects after it
//! has released the lock.
//!
//! Files name only files to their left:
//!
//! ```text
//!  gop ── mailbox ─┬─ info ── rendition ── viewer_slot ─┬─ state ── stream ─┬─ publisher ──┬─ mod
//!  wait, effects ──┴─ publisher_slot ───────────────────┤                   ├─ subscriber ─┤
//!  numbering, liveness, fault ──────────────────────────┘                   └─ transcoder ─┘
//! ```

mod effects;
mod fault;
mod gop;
mod info;
mod liveness;
mod mailbox;
mod numbering;
mod publisher;
mod publisher_slot;
mod rendition;
mod state;
mod stream;
mod subscriber;
mod transcoder;
mod viewer_slot;
mod wait;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framewire_proto::{
    Micros, Name,
    wire::native::{Token, code},
};

pub use effects::Feedback;
pub use info::{Info, RenditionInfo, ServiceInfo};
pub use mailbox::{Counts, Policy, Reason, drops_in_words};
pub use publisher::Publisher;
pub use publisher_slot::{PublishError, Replaced};
pub use rendition::TranscodeJob;
use stream::{Stream, TranscoderFactory};
pub use subscriber::{Reporter, Subscriber};
pub use transcoder::Transcoder;
pub use viewer_slot::{Accepts, Event};
pub use wait::block_within;

/// The most streams that a hub holds.
pub const STREAMS: usize = 256;

/// The streams of this process. Clones are the same hub.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    streams: Arc<Mutex<BTreeMap<Name, Arc<Stream>>>>,
    transcoders: TranscoderFactory,
}

/// Why a stream could not be published or watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name has a live publisher.
    #[error("the stream '{0}' has a live publisher already: choose another name, or end that one first")]
    NameTaken(Name),
    /// A source of this hub has the name, though it may sleep.
    #[error("the stream '{0}' belongs to a source of this hub: choose another name")]
    OwnSource(Name),
    /// The hub has no such stream.
    #[error("there is no stream '{name}'; {}", list_streams(.streams))]
    NoSuchStream {
        /// The name of the stream.
        name: String,
        /// The streams that the hub has.
        streams: Vec<Name>,
    },
    /// The hub is full.
    #[error("the hub holds {STREAMS} streams already, its limit: end one first")]
    TooMany,
}

impl Refused {
    /// The [code] of the refusal on the native wire.
    pub fn code(&self) -> u16 {
        match self {
            Self::NameTaken(_) | Self::OwnSource(_) => code::NAME_TAKEN,
            Self::NoSuchStream { .. } => code::NO_SUCH_STREAM,
            Self::TooMany => code::TOO_MANY,
        }
    }
}

impl Hub {
    /// Begins to publish a stream, which is new or whose publisher is gone.
    ///
    /// # Errors
    /// [`Refused::NameTaken`] by a publisher that was alive within 3 s, [`Refused::OwnSource`] or [`Refused::TooMany`].
    pub fn publish(&self, name: &Name, now: Micros) -> Result<Publisher, Refused> {
        self.publish_as(None, name, now)
    }

    /// The same for a client that identifies itself: it replaces its own earlier publisher at once.
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub fn publish_as(&self, owner: Option<Token>, name: &Name, now: Micros) -> Result<Publisher, Refused> {
        let stream = self.find_or_add(name, now)?;
        Publisher::new(stream, owner, now)
    }

    /// Begins to watch a stream; with `wait` also one that does not exist yet.
    ///
    /// # Errors
    /// [`Refused::NoSuchStream`], or [`Refused::TooMany`] where the viewer would wait for a new one.
    pub fn subscribe(&self, name: &Name, policy: Policy, wait: bool, now: Micros) -> Result<Subscriber, Refused> {
        let stream = match self.find(name.as_str()) {
            Ok(stream) => stream,
            Err(_) if wait => self.find_or_add(name, now)?,
            Err(refused) => return Err(refused),
        };
        Ok(Subscriber::new(stream, policy, now))
    }

    /// From now on `start` is called for each rendition to transcode, as viewers need them. Without it every viewer
    /// gets the source. The first call counts.
    pub fn transcode_with(&self, start: impl Fn(Transcoder) + Send + Sync + 'static) {
        self.transcoders.set(move |stream, rendition| start(Transcoder::new(stream, rendition)));
    }

    /// Every stream that ever had a publisher, by name.
    pub fn streams(&self, now: Micros) -> Vec<Info> {
        self.all().iter().map(|stream| stream.info(now)).filter(|info| info.was_published).collect()
    }

    /// One stream.
    ///
    /// # Errors
    /// [`Refused::NoSuchStream`].
    pub fn stream(&self, name: &str, now: Micros) -> Result<Info, Refused> {
        Ok(self.find(name)?.info(now))
    }

    /// Waits until a stream's publisher has finished it, without watching it. Ready at once for a stream that does not exist.
    pub fn end_of(&self, name: &Name) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.find(name.as_str()).ok().map(|stream| stream.subscribe_end());
        async move {
            if let Some(mut ended) = ended {
                // An error means that the hub has removed the stream.
                let _ = ended.wait_for(|ended| *ended).await;
            }
        }
    }

    /// Notices streams whose frames are overdue, and forgets deserted ones. To be called a few times a second.
    pub fn tick(&self, now: Micros) {
        self.all().iter().for_each(|stream| stream.lock().tick(now));
        self.lock().retain(|_, stream| !stream.lock().is_forgotten(now));
    }

    fn all(&self) -> Vec<Arc<Stream>> {
        self.lock().values().cloned().collect()
    }

    fn find(&self, name: &str) -> Result<Arc<Stream>, Refused> {
        let (streams, name) = (self.lock(), &*Name::normal(name));
        streams.get(name).cloned().ok_or_else(|| Refused::NoSuchStream {
            name: name.into(),
            streams: streams
                .iter()
                .filter(|(_, stream)| stream.lock().was_published())
                .map(|(name, _)| name.clone())
                .collect(),
        })
    }

    fn find_or_add(&self, name: &Name, now: Micros) -> Result<Arc<Stream>, Refused> {
        let mut streams = self.lock();
        if let Some(stream) = streams.get(name) {
            return Ok(stream.clone());
        }
        if streams.len() >= STREAMS {
            // Ended streams stay for a while, but never in the way of another.
            let ended = streams.iter().find(|(_, stream)| stream.lock().is_over()).map(|(name, _)| name.clone());
            streams.remove(&ended.ok_or(Refused::TooMany)?);
        }
        let stream = Arc::new(Stream::new(name.clone(), self.transcoders.clone(), now));
        streams.insert(name.clone(), stream.clone());
        Ok(stream)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streams that a hub has, within the bounds of an error's sentence.
fn list_streams(streams: &[Name]) -> String {
    const MOST: usize = 10;
    if streams.is_empty() {
        return "there is none at all yet".into();
    }
    let mut text = "there is ".to_owned();
    for (index, name) in streams.iter().take(MOST).enumerate() {
        let _ = write!(text, "{}'{name}'", if index > 0 { ", " } else { "" });
    }
    if streams.len() > MOST {
        let _ = write!(text, " and {} more", streams.len() - MOST);
    }
    text
}

#[cfg(test)]
mod tests;

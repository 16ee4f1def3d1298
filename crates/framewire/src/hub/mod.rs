//! Named streams between publishers and viewers: no I/O, no codec, no clock of its own.
//!
//! Each frame is held once in memory and shared by all viewers; each viewer has a [mailbox](mailbox) in which what it
//! has not taken makes way for what is newer. Nothing here waits for a viewer.
//!
//! Locks: the hub's map, then a stream's state; never the other way round, and neither is held while bytes are sent.

mod gop;
mod mailbox;
mod publisher;
mod rendition;
mod stream;
mod subscriber;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framewire_proto::{Micros, Name, wire::native::Token};

pub use mailbox::{Counts, Policy, Reason, drops_in_words};
pub use publisher::{Publisher, Replaced, Unconfigured};
use rendition::Hire;
pub use rendition::{Accepts, RenditionInfo, TranscodeJob, Transcoder};
use stream::Stream;
pub use stream::{Feedback, Info, ServiceInfo};
pub use subscriber::{Event, Reporter, Subscriber};

/// How many streams a hub holds at most.
pub const STREAMS: usize = 256;
/// A stream without a publisher and without viewers is removed after this long.
pub const FORGET_AFTER: Micros = 60_000_000;
/// A stream that will not be fed again under its name is removed after this long, watched or not.
pub const FORGET_RETIRED_AFTER: Micros = 10_000_000;

/// The streams of this process. Clones are the same hub.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    streams: Arc<Mutex<BTreeMap<Name, Arc<Stream>>>>,
    hire: Hire,
}

/// Why a stream could not be published or watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name has a live publisher.
    #[error("the stream '{0}' has a live publisher already: choose another name, or end that one first")]
    Taken(Name),
    /// There is no such stream.
    #[error("there is no stream '{name}'; {}", known(.streams))]
    NoSuchStream {
        /// The name asked for.
        name: String,
        /// The streams there are.
        streams: Vec<Name>,
    },
    /// The hub is full.
    #[error("the hub holds {STREAMS} streams already, its limit: end one first")]
    TooMany,
}

impl Hub {
    /// Begins to feed a stream, new or left by its publisher.
    ///
    /// # Errors
    /// [`Refused::Taken`] by a publisher that was heard of lately, or [`Refused::TooMany`].
    pub fn publish(&self, name: &Name, now: Micros) -> Result<Publisher, Refused> {
        self.publish_as(None, name, now)
    }

    /// The same by a client that says who it is: from itself it takes the stream over at once.
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub fn publish_as(&self, owner: Option<Token>, name: &Name, now: Micros) -> Result<Publisher, Refused> {
        let stream = self.stream_or_new(name, now)?;
        Publisher::new(stream, owner, now).ok_or_else(|| Refused::Taken(name.clone()))
    }

    /// Begins to watch a stream; with `wait` also one that is not there yet.
    ///
    /// # Errors
    /// [`Refused::NoSuchStream`], or [`Refused::TooMany`] for one to be waited for.
    pub fn subscribe(&self, name: &Name, policy: Policy, wait: bool, now: Micros) -> Result<Subscriber, Refused> {
        let stream = match self.find(name.as_str()) {
            Ok(stream) => stream,
            Err(_) if wait => self.stream_or_new(name, now)?,
            Err(refused) => return Err(refused),
        };
        Ok(Subscriber::new(stream, policy, now))
    }

    /// From now on `hire` has renditions coded, as they are needed; without it every viewer gets the source.
    pub fn transcode_with(&self, hire: impl Fn(Transcoder) + Send + Sync + 'static) {
        self.hire.set(hire);
    }

    /// Every stream that was ever fed, by name.
    pub fn streams(&self, now: Micros) -> Vec<Info> {
        let streams: Vec<_> = self.lock().values().cloned().collect();
        streams.iter().map(|stream| stream.info(now)).filter(|info| info.known).collect()
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
        let ended = self.find(name.as_str()).ok().map(|stream| stream.finished.subscribe());
        async move {
            if let Some(mut ended) = ended {
                // An error means that the hub has removed the stream.
                let _ = ended.wait_for(|ended| *ended).await;
            }
        }
    }

    /// Notices streams whose frames stay away and forgets those that nobody feeds and nobody watches: to be called a few
    /// times a second.
    pub fn tick(&self, now: Micros) {
        self.lock().retain(|_, stream| {
            stream.tick(now);
            !stream.forgotten(now)
        });
    }

    fn find(&self, name: &str) -> Result<Arc<Stream>, Refused> {
        let streams = self.lock();
        streams.get(name).cloned().ok_or_else(|| Refused::NoSuchStream {
            name: name.into(),
            streams: streams.iter().filter(|(_, stream)| stream.known()).map(|(name, _)| name.clone()).collect(),
        })
    }

    fn stream_or_new(&self, name: &Name, now: Micros) -> Result<Arc<Stream>, Refused> {
        let mut streams = self.lock();
        if let Some(stream) = streams.get(name) {
            return Ok(stream.clone());
        }
        if streams.len() >= STREAMS {
            return Err(Refused::TooMany);
        }
        let stream = Arc::new(Stream::new(name.clone(), self.hire.clone(), now));
        streams.insert(name.clone(), stream.clone());
        Ok(stream)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streams there are, for a person, within the bounds of an error's sentence.
fn known(streams: &[Name]) -> String {
    const NAMED: usize = 10;
    if streams.is_empty() {
        return "there is none at all yet".into();
    }
    let mut text = "there is ".to_owned();
    for (place, name) in streams.iter().take(NAMED).enumerate() {
        let _ = write!(text, "{}'{name}'", if place > 0 { ", " } else { "" });
    }
    if streams.len() > NAMED {
        let _ = write!(text, " and {} more", streams.len() - NAMED);
    }
    text
}

#[cfg(test)]
mod tests;

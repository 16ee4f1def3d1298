//! Renditions whose width or quality was asked for in an address: each is encoded once for all who ask for the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use framewire_proto::{Codec, Micros};
use tokio::task::{AbortHandle, spawn_blocking};
use tracing::{debug, warn};

use super::wanted::Wanted;
use crate::{
    bad_frames::BadFrames,
    clock,
    error::{Context as _, Result},
    hub::{Event, Hub, Policy, Publisher, Refused, Subscriber},
    transcode::encode::{EncodeOptions, Encoder, Size},
};

/// Renditions of one stream at the same time.
const PER_STREAM: usize = 4;

/// The renditions by their streams and what they are.
#[derive(Debug, Default)]
pub(super) struct Renditions(Mutex<HashMap<(String, Wanted), Weak<Rendition>>>);

/// A rendition that is encoded while somebody holds it.
#[derive(Debug)]
pub(super) struct Rendition {
    /// A hub of its own, with the one stream.
    hub: Hub,
    encoding: AbortHandle,
}

impl Drop for Rendition {
    fn drop(&mut self) {
        self.encoding.abort();
    }
}

impl Renditions {
    /// Begins to watch this rendition of the stream that `source` watches. It is encoded while the rendition is held.
    ///
    /// # Errors
    /// The stream has many others already; a sentence that names them.
    pub(super) fn subscribe(&self, source: Subscriber, wanted: Wanted) -> Result<(Subscriber, Arc<Rendition>), String> {
        let name = source.name().clone();
        let rendition = self.find_or_start(source, wanted)?;
        let viewer = rendition.hub.subscribe(&name, Policy::Newest, false, clock::now());
        Ok((viewer.map_err(|refused| refused.to_string())?, rendition))
    }

    fn find_or_start(&self, source: Subscriber, wanted: Wanted) -> Result<Arc<Rendition>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, rendition| rendition.strong_count() > 0);
        let key = (source.name().to_string(), wanted);
        if let Some(rendition) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(rendition);
        }
        let of_this = known.keys().filter(|(name, _)| *name == key.0);
        let others: Vec<_> = of_this.map(|(_, other)| other.to_string()).collect();
        if others.len() >= PER_STREAM {
            return Err(format!(
                "'{}' is encoded in {PER_STREAM} other ways already, the limit: ask for one of those ({}), or end one first",
                key.0,
                others.join(", ")
            ));
        }
        let rendition = Arc::new(Rendition::start(source, wanted).map_err(|refused| refused.to_string())?);
        known.insert(key, Arc::downgrade(&rendition));
        Ok(rendition)
    }
}

impl Rendition {
    fn start(source: Subscriber, wanted: Wanted) -> Result<Self, Refused> {
        let hub = Hub::default();
        let publisher = hub.publish(source.name(), clock::now())?;
        let encoding = tokio::spawn(async move {
            if let Err(error) = encode(source, wanted, &publisher).await {
                warn!("stream '{}': encoding with {wanted} stopped: {error}", publisher.name());
            }
        });
        Ok(Self { hub, encoding: encoding.abort_handle() })
    }
}

/// Encodes the source's pictures, as often as was asked for.
async fn encode(mut source: Subscriber, wanted: Wanted, publisher: &Publisher) -> Result<()> {
    let (mut encoder, mut bad) = (Encoder::new(options(wanted))?, BadFrames::default());
    let (mut rate, mut given, mut first) = (Rate::new(wanted), None, true);
    debug!("stream '{}': encoding with {wanted}", source.name());
    loop {
        let frame = match source.next(clock::now).await {
            Event::Config(config) => {
                given = Some(config);
                continue;
            }
            Event::Frame(frame) => frame,
            Event::State(_) | Event::Fault(_) | Event::Ended => continue,
        };
        let Some(config) = given.clone() else { continue };
        // Frames that others depend on are decoded even where no picture is due.
        let due = !source.catching_up() && rate.is_due(clock::now());
        if !due && config.codec.independent() {
            continue;
        }
        let encoding = spawn_blocking(move || {
            let picture =
                if due { encoder.encode(&config, &frame) } else { encoder.skip(&config, &frame).map(|()| None) };
            (encoder, picture)
        });
        let picture;
        (encoder, picture) = encoding.await.context("the encoding thread panicked")?;
        match picture {
            Ok(Some((config, frame))) => {
                rate.took(clock::now());
                if std::mem::take(&mut first) {
                    publisher.number_from(frame.sequence);
                }
                // Nobody else publishes in this hub.
                publisher.configure(config)?;
                publisher.publish(frame, clock::now())?;
            }
            // The decoder started between keyframes and needs one.
            Ok(None) if due => source.request_keyframe(),
            Ok(None) => {}
            Err(error) => bad.count(source.name(), error),
        }
    }
}

fn options(wanted: Wanted) -> EncodeOptions {
    EncodeOptions {
        quality: wanted.quality,
        size: wanted.width.map(Size::AtMost),
        only: Some(Codec::Jpeg),
        ..EncodeOptions::default()
    }
}

/// How often a picture may be taken.
#[derive(Debug)]
pub(super) struct Rate {
    /// In µs; zero for every picture.
    interval: Micros,
    due: Micros,
}

impl Rate {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { interval: wanted.interval.map_or(0, |interval| interval.as_micros() as Micros), due: 0 }
    }

    /// Whether a picture may be taken.
    pub(super) fn is_due(&self, now: Micros) -> bool {
        now >= self.due
    }

    /// When the next picture may be taken.
    pub(super) fn due(&self) -> Micros {
        self.due
    }

    /// A picture was taken. One that came late does not delay those after it.
    pub(super) fn took(&mut self, now: Micros) {
        let late = now.saturating_sub(self.due);
        self.due = if late < self.interval { self.due + self.interval } else { now + self.interval };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_kept_over_pictures_that_come_at_another() {
        for (fps, taken) in [(5.0, 50), (7.0, 70), (20.0, 200), (60.0, 300)] {
            let interval = Some(Duration::from_secs_f64(1.0 / fps));
            let mut rate = Rate::new(Wanted { interval, ..Wanted::default() });
            let arrivals = (0..300).map(|number| 70_000_000 + number * 33_333);
            let count = arrivals.filter(|now| rate.is_due(*now).then(|| rate.took(*now)).is_some()).count();
            assert!(count.abs_diff(taken) <= 2, "{fps}: {count}");
        }
    }

    #[test]
    fn every_picture_is_due_where_no_rate_was_asked_for() {
        let mut rate = Rate::new(Wanted::default());
        assert!((0..10).all(|now| rate.is_due(now).then(|| rate.took(now)).is_some()));
    }
}

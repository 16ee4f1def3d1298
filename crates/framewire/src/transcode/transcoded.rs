//! A viewer's frames in the codec that it accepts, encoded on threads that may block.

use std::sync::Arc;

use framewire_proto::{Config, Frame};
use tokio::task::spawn_blocking;

use super::encode::{EncodeOptions, Encoder};
use crate::bad_frames::BadFrames;
use crate::error::{Context as _, Result};
use crate::{
    clock,
    hub::{Event, Subscriber},
};

/// Encodes a stream's frames for one viewer. Frames in the right codec pass through.
pub struct Transcoded {
    viewer: Subscriber,
    options: EncodeOptions,
    given: Option<Arc<Config>>,
    /// Created for the first frame that must be encoded. `None` while a thread uses it.
    encoder: Option<Encoder>,
    /// Bits per second that encoded frames may take; `None` while unknown.
    target: Option<u64>,
    bad: BadFrames,
}

impl Transcoded {
    /// This viewer's frames, encoded as `options` say.
    pub fn new(viewer: Subscriber, options: EncodeOptions) -> Self {
        Self { viewer, options, given: None, encoder: None, target: None, bad: BadFrames::default() }
    }

    /// The viewer.
    pub fn viewer(&self) -> &Subscriber {
        &self.viewer
    }

    /// Sets the bits per second that encoded frames may take from now on; `None` while unknown.
    pub fn set_target(&mut self, target: Option<u64>) {
        self.target = target;
    }

    /// Waits for the next frame. A broken frame is dropped and counted. `None`: the stream has ended, and continues only if
    /// another publisher takes it over.
    pub async fn next(&mut self) -> Option<(Arc<Config>, Frame)> {
        loop {
            match self.viewer.next(clock::now).await {
                Event::Config(config) => self.given = Some(config),
                Event::Frame(frame) => {
                    let Some(given) = self.given.clone() else { continue };
                    if self.target.is_none() && self.options.passes_through(&given) {
                        return Some((given, frame));
                    }
                    match self.encode(given, frame).await {
                        Ok(Some((config, frame))) => return Some((Arc::new(config), frame)),
                        Ok(None) if self.viewer.catching_up() => {}
                        // The decoder started between keyframes and needs one.
                        Ok(None) => self.viewer.request_keyframe(),
                        Err(error) => self.bad.count(self.viewer.name(), error),
                    }
                }
                Event::State(_) | Event::Fault(_) => {}
                Event::Ended => return None,
            }
        }
    }

    async fn encode(&mut self, given: Arc<Config>, frame: Frame) -> Result<Option<(Config, Frame)>> {
        let catching_up = self.viewer.catching_up();
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.options.clone())?,
        };
        encoder.set_target(self.target);
        let encoding = spawn_blocking(move || {
            let encoded =
                if catching_up { encoder.skip(&given, &frame).map(|()| None) } else { encoder.encode(&given, &frame) };
            (encoder, encoded)
        });
        let (encoder, encoded) = encoding.await.context("the encoding thread panicked")?;
        self.encoder = Some(encoder);
        encoded
    }
}

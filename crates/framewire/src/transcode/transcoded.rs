//! A viewer's frames in what it takes, coded by threads that may take their time.

use std::sync::Arc;

use framewire_proto::{Config, Frame};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::error::{Context as _, Error, Result};
use crate::{
    clock,
    hub::{Event, Subscriber},
    transcode::encode::{self, Encoder},
};

/// Turns what a stream holds into what its viewer takes. What is that already passes untouched.
pub struct Transcoded {
    viewer: Subscriber,
    encode: encode::Config,
    given: Option<Arc<Config>>,
    /// Made when the first frame comes that is to be coded; away while one is.
    encoder: Option<Encoder>,
    /// Bits a second that the viewer's link carries; `None` while that is not known.
    target: Option<u64>,
    bad: u64,
}

impl Transcoded {
    /// What this viewer gets, coded like this.
    pub fn new(viewer: Subscriber, encode: encode::Config) -> Self {
        Self { viewer, encode, given: None, encoder: None, target: None, bad: 0 }
    }

    /// The viewer.
    pub fn viewer(&self) -> &Subscriber {
        &self.viewer
    }

    /// From now on the viewer's link carries this many bits a second; `None` while that is not known.
    pub fn aim(&mut self, target: Option<u64>) {
        self.target = target;
    }

    /// Waits for the next frame. A broken one is passed over and counted. `None`: nothing more will come, unless another
    /// publisher takes the stream over.
    pub async fn next(&mut self) -> Option<(Arc<Config>, Frame)> {
        loop {
            match self.viewer.next(clock::now).await {
                Event::Config(config) => self.given = Some(config),
                Event::Frame(frame) => {
                    let Some(given) = self.given.clone() else { continue };
                    if self.target.is_none() && self.encode.passes(&given) {
                        return Some((given, frame));
                    }
                    match self.code(given, frame).await {
                        Ok(Some((config, frame))) => return Some((Arc::new(config), frame)),
                        Ok(None) if self.viewer.catching_up() => {}
                        // A decoder that begins here, in the middle.
                        Ok(None) => self.viewer.request_keyframe(),
                        Err(error) => self.count_bad(&error),
                    }
                }
                Event::State(_) => {}
                Event::Ended => return None,
            }
        }
    }

    async fn code(&mut self, given: Arc<Config>, frame: Frame) -> Result<Option<(Config, Frame)>> {
        let catching_up = self.viewer.catching_up();
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.encode.clone())?,
        };
        encoder.aim(self.target);
        let coding = spawn_blocking(move || {
            let coded =
                if catching_up { encoder.skip(&given, &frame).map(|()| None) } else { encoder.encode(&given, &frame) };
            (encoder, coded)
        });
        let (encoder, coded) = coding.await.context("the coding thread panicked")?;
        self.encoder = Some(encoder);
        coded
    }

    fn count_bad(&mut self, error: &Error) {
        self.bad += 1;
        if self.bad.is_power_of_two() {
            warn!("'{}': {error}: dropped ({} so far)", self.viewer.name(), self.bad);
        }
    }
}

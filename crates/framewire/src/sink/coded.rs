//! A viewer's frames in what it takes, coded by threads that may take their time.

use std::sync::Arc;

use anyhow::{Context, Result};
use framewire_proto::{Config, Frame};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::{
    hub::{Event, Subscriber},
    media::encode::{self, Encoder},
};

/// Turns what a stream holds into what its viewer takes. What is that already passes untouched.
pub(super) struct Coded {
    viewer: Subscriber,
    encode: encode::Config,
    given: Option<Arc<Config>>,
    /// Made when the first frame comes that is to be coded; away while one is.
    encoder: Option<Encoder>,
    /// Bits a second that the viewer's link carries; `None` while that is not known.
    budget: Option<u64>,
    bad: u64,
}

impl Coded {
    /// What this viewer gets, coded like this.
    pub(super) fn new(viewer: Subscriber, encode: encode::Config) -> Self {
        Self { viewer, encode, given: None, encoder: None, budget: None, bad: 0 }
    }

    /// The viewer.
    pub(super) fn viewer(&self) -> &Subscriber {
        &self.viewer
    }

    /// From now on the viewer's link carries this many bits a second; `None` while that is not known.
    pub(super) fn aim(&mut self, budget: Option<u64>) {
        self.budget = budget;
    }

    /// Waits for the next frame. A broken one is passed over and counted. `None`: nothing more will come, unless another
    /// publisher takes the stream over.
    pub(super) async fn next(&mut self) -> Option<(Arc<Config>, Frame)> {
        loop {
            match self.viewer.next().await {
                Event::Config(config) => self.given = Some(config),
                Event::Frame(frame) => {
                    let Some(given) = self.given.clone() else { continue };
                    if self.budget.is_none() && self.encode.passes(&given) {
                        return Some((given, frame));
                    }
                    match self.code(given, frame).await {
                        Ok(Some((config, frame))) => return Some((Arc::new(config), frame)),
                        Ok(None) if self.viewer.leads_up() => {}
                        // A decoder that begins here, in the middle.
                        Ok(None) => self.viewer.wish_keyframe(),
                        Err(error) => self.count_bad(&error),
                    }
                }
                Event::State(_) => {}
                Event::Ended => return None,
            }
        }
    }

    async fn code(&mut self, given: Arc<Config>, frame: Frame) -> Result<Option<(Config, Frame)>> {
        let leads_up = self.viewer.leads_up();
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.encode.clone())?,
        };
        encoder.aim(self.budget);
        let coding = spawn_blocking(move || {
            let coded = if leads_up {
                encoder.pass_over(&given, &frame).map(|()| None)
            } else {
                encoder.encode(&given, &frame)
            };
            (encoder, coded)
        });
        let (encoder, coded) = coding.await.context("the coding thread panicked")?;
        self.encoder = Some(encoder);
        coded
    }

    fn count_bad(&mut self, error: &anyhow::Error) {
        self.bad += 1;
        if self.bad.is_power_of_two() {
            warn!("'{}': {error:#}: dropped ({} so far)", self.viewer.name(), self.bad);
        }
    }
}

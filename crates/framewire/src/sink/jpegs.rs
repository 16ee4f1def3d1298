//! A viewer's frames as JPEGs, for those who know nothing else.

use std::sync::Arc;

use anyhow::{Context, Result};
use framewire_proto::{Codec, Config, Frame};
use tokio::task::spawn_blocking;
use tracing::debug;

use crate::{
    hub::{Event, Subscriber},
    media::{decode, encode, jpeg},
};

/// Turns whatever a stream holds into JPEGs. Those that are JPEGs already are passed on untouched.
#[derive(Default)]
pub(super) struct Jpegs {
    config: Option<Arc<Config>>,
    /// Made when the first frame comes that is no JPEG; away while a frame is being coded.
    coder: Option<Coder>,
}

struct Coder {
    decoder: decode::Decoder,
    encoder: jpeg::Encoder,
}

impl Jpegs {
    /// Waits for the viewer's next frame as a JPEG. A broken frame is passed over.
    pub(super) async fn next(&mut self, viewer: &mut Subscriber) -> Frame {
        loop {
            match viewer.next().await {
                Event::Config(config) => self.config = Some(config),
                Event::Frame(frame) => {
                    let Some(config) = self.config.clone() else { continue };
                    match self.jpeg(config, frame).await {
                        Ok(Some(frame)) => return frame,
                        Ok(None) => {}
                        Err(error) => debug!("'{}': {error:#}", viewer.name()),
                    }
                }
                Event::State(_) | Event::Ended => {}
            }
        }
    }

    /// The frame as a JPEG, made by a thread that may take its time; `None` while a decoder wants more.
    async fn jpeg(&mut self, config: Arc<Config>, frame: Frame) -> Result<Option<Frame>> {
        if config.codec == Codec::Jpeg {
            return Ok(Some(frame));
        }
        let mut coder = self.coder.take().unwrap_or_else(Coder::new);
        let coding = spawn_blocking(move || {
            let jpeg = coder.code(&config, &frame);
            (coder, jpeg)
        });
        let (coder, jpeg) = coding.await.context("the coding thread panicked")?;
        self.coder = Some(coder);
        jpeg
    }
}

impl Coder {
    fn new() -> Self {
        Self { decoder: decode::Decoder::new(), encoder: jpeg::Encoder::new(encode::QUALITY) }
    }

    fn code(&mut self, config: &Config, frame: &Frame) -> Result<Option<Frame>> {
        let Some(picture) = self.decoder.decode(config, frame, Codec::I420)? else { return Ok(None) };
        Ok(Some(Frame { data: self.encoder.encode(&picture)?, keyframe: true, ..frame.clone() }))
    }
}

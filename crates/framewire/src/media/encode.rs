//! interim
use super::{Picture, jpeg};
use crate::clock;
use anyhow::Result;
use framewire_proto::{Codec, Frame};
/// c
#[derive(Debug, Clone)]
pub struct Config {
    /// q
    pub quality: u8,
}
/// e
pub struct Encoder(jpeg::Encoder);
impl Encoder {
    /// n
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self(jpeg::Encoder::new(config.quality)))
    }
    /// e
    pub fn encode(
        &mut self,
        config: &framewire_proto::Config,
        frame: &Frame,
    ) -> Result<(framewire_proto::Config, Frame)> {
        let mut frame = frame.clone();
        let mut config = config.clone();
        if config.codec.raw_length(1, 1).is_some() {
            let p = Picture::new(config.codec, config.width.into(), config.height.into(), frame.data.clone())?;
            frame.data = self.0.encode(&p)?;
            config.codec = Codec::Jpeg;
        }
        frame.times.encoded = clock::now();
        Ok((config, frame))
    }
}

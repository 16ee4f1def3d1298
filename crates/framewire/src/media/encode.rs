//! Frames become what is sent.

use anyhow::{Context, Result};
use bytes::Bytes;
use framewire_proto::{Codec, Frame};

use super::{Picture, jpeg, scale::Scaler};
use crate::clock;

/// JPEG quality where none is asked for.
pub const QUALITY: u8 = 80;

/// How frames are coded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// JPEG quality, 1 to 100; `None` passes on the JPEGs that come as they are, and makes others of quality [`QUALITY`].
    pub quality: Option<u8>,
    /// Width and height in pixels to scale to; `None` leaves them.
    pub size: Option<(u32, u32)>,
    /// Pass frames on as they come, whatever their codec.
    pub copy: bool,
}

/// Codes frames: raw pictures become JPEGs; JPEGs are passed on untouched unless another size or a quality is asked for.
/// H.264 is passed on as it comes.
pub struct Encoder {
    config: Config,
    jpeg: jpeg::Encoder,
    decoder: jpeg::Decoder,
    scaler: Scaler,
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// The size is refused.
    pub fn new(config: Config) -> Result<Self> {
        if let Some((width, height)) = config.size {
            framewire_proto::limits::check_size(width, height).map_err(anyhow::Error::msg)?;
        }
        let jpeg = jpeg::Encoder::new(config.quality.unwrap_or(QUALITY));
        Ok(Self { config, jpeg, decoder: jpeg::Decoder::new(), scaler: Scaler::new() })
    }

    /// The quality of the JPEGs made from now on, 1 to 100.
    pub fn set_quality(&mut self, quality: u8) {
        self.jpeg.set_quality(quality);
    }

    /// The frame as it is to be sent, with the time at which it was ready, and what a decoder must know of it.
    ///
    /// # Errors
    /// The frame is not what its configuration says, or is a broken JPEG. The next one may be good.
    pub fn encode(
        &mut self,
        config: &framewire_proto::Config,
        frame: &Frame,
    ) -> Result<(framewire_proto::Config, Frame)> {
        let (mut config, mut frame) = (config.clone(), frame.clone());
        if let Some(picture) = self.picture(&config, &frame).with_context(|| format!("frame {}", frame.sequence))? {
            frame.data = self.jpeg.encode(&picture)?;
            frame.keyframe = true;
            config.codec = Codec::Jpeg;
            config.extra = Bytes::new();
            config.width = picture.width.try_into().context("the picture is too wide")?;
            config.height = picture.height.try_into().context("the picture is too high")?;
        }
        frame.times.encoded = clock::now();
        Ok((config, frame))
    }

    /// The picture to be coded; `None` where the frame is passed on.
    fn picture(&mut self, config: &framewire_proto::Config, frame: &Frame) -> Result<Option<Picture>> {
        let given = (config.width.into(), config.height.into());
        let size = self.config.size.unwrap_or(given);
        let picture = match config.codec {
            _ if self.config.copy => return Ok(None),
            Codec::H264 => return Ok(None),
            Codec::Jpeg if self.config.quality.is_none() && size == given => return Ok(None),
            Codec::Jpeg => self.decoder.decode(&frame.data, Codec::I420)?,
            codec => Picture::new(codec, given.0, given.1, frame.data.clone())?,
        };
        if size == (picture.width, picture.height) {
            return Ok(Some(picture));
        }
        self.scaler.scale(&picture, size, Codec::I420).map(Some)
    }
}

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

#[cfg(test)]
mod tests {
    use framewire_proto::{Config as Given, Times};

    use super::*;
    use crate::media::decode::Decoder;

    fn grey(width: u16, height: u16) -> (Given, Frame) {
        let length = Codec::I420.raw_length(width.into(), height.into()).unwrap();
        let config = Given { codec: Codec::I420, width, height, millifps: 30_000, extra: Bytes::new() };
        let times = Times { captured: 1, ..Times::default() };
        (config, Frame { sequence: 7, keyframe: true, times, data: vec![100; length].into() })
    }

    fn encoder(config: Config) -> Encoder {
        Encoder::new(config).unwrap()
    }

    #[test]
    fn raw_becomes_jpeg_and_jpeg_stays_as_it_is() {
        let (raw, frame) = grey(64, 48);
        let mut encode = encoder(Config::default());
        let (config, jpeg) = encode.encode(&raw, &frame).unwrap();
        assert_eq!((config.codec, config.width, config.height, config.millifps), (Codec::Jpeg, 64, 48, 30_000));
        assert_eq!((jpeg.sequence, jpeg.times.captured), (7, 1));
        assert!(jpeg.times.encoded > 1);
        let (again, same) = encode.encode(&config, &jpeg).unwrap();
        assert_eq!(again, config);
        assert_eq!(same.data.as_ptr(), jpeg.data.as_ptr());
        let picture = Decoder::new().decode(&config, &jpeg, Codec::I420).unwrap().unwrap();
        assert!(picture.data().iter().all(|value| value.abs_diff(100) <= 1));
    }

    #[test]
    fn a_size_or_quality_codes_a_jpeg_again() {
        let (config, jpeg) = encoder(Config::default()).encode(&grey(64, 48).0, &grey(64, 48).1).unwrap();
        let (small, scaled) =
            encoder(Config { size: Some((32, 24)), ..Config::default() }).encode(&config, &jpeg).unwrap();
        assert_eq!(framewire_proto::jpeg::size(&scaled.data), Ok((32, 24)));
        assert_eq!((small.width, small.height), (32, 24));
        let (_, worse) = encoder(Config { quality: Some(10), ..Config::default() }).encode(&config, &jpeg).unwrap();
        assert_ne!(worse.data, jpeg.data);
        let copy = Config { quality: Some(10), size: Some((32, 24)), copy: true };
        assert_eq!(encoder(copy).encode(&config, &jpeg).unwrap().1.data, jpeg.data);
    }

    #[test]
    fn a_frame_that_lies_about_its_size_is_an_error() {
        let (mut config, frame) = grey(64, 48);
        config.width = 65;
        let error = format!("{:#}", encoder(Config::default()).encode(&config, &frame).unwrap_err());
        assert!(error.contains("frame 7") && error.contains("65x48"), "{error}");
    }
}

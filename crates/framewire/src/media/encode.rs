//! Frames become what is sent.

use anyhow::{Context, Result};
use bytes::Bytes;
use framewire_proto::{Codec, Frame};

use super::{Picture, decode::Decoder, jpeg, scale::Scaler};
use crate::clock;

/// JPEG quality where none is asked for.
pub const QUALITY: u8 = 80;

/// How frames are coded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// JPEG quality, 1 to 100; `None` passes on the JPEGs that come as they are, and makes others of quality [`QUALITY`].
    pub quality: Option<u8>,
    /// The size to scale to; `None` leaves it.
    pub size: Option<Size>,
    /// Pass frames on as they come, where whoever takes them can.
    pub copy: bool,
    /// The one codec that whoever takes them can: [`Codec::Jpeg`] or [`Codec::Bgr24`]. `None`: any.
    pub only: Option<Codec>,
}

/// The size that pictures are scaled to, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// This width and height, whatever the picture's shape.
    Exactly(u32, u32),
    /// This width, and the height that keeps the picture's shape.
    Width(u32),
}

impl Config {
    /// Whether such frames are passed on as they come.
    pub fn passes(&self, given: &framewire_proto::Config) -> bool {
        if self.only.is_some_and(|only| only != given.codec) {
            return false;
        }
        let size = (given.width.into(), given.height.into());
        let same = self.size(size.0, size.1) == size;
        self.copy
            || match given.codec {
                Codec::H264 => true,
                Codec::Jpeg => self.quality.is_none() && same,
                Codec::Bgr24 | Codec::I420 => self.only.is_some() && same,
            }
    }

    /// What frames become that are not passed on.
    fn codec(&self) -> Codec {
        self.only.unwrap_or(Codec::Jpeg)
    }

    /// The size that a picture of this size is scaled to.
    fn size(&self, width: u32, height: u32) -> (u32, u32) {
        match self.size {
            None => (width, height),
            Some(Size::Exactly(width, height)) => (width, height),
            Some(Size::Width(to)) => (to, (u64::from(height) * u64::from(to) / u64::from(width.max(1))).max(1) as u32),
        }
    }
}

/// Codes frames: raw pictures become JPEGs; JPEGs are passed on untouched unless another size or a quality is asked for.
/// H.264 is passed on as it comes, unless only another codec is taken.
pub struct Encoder {
    config: Config,
    jpeg: jpeg::Encoder,
    decoder: Decoder,
    scaler: Scaler,
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// The size is refused.
    pub fn new(config: Config) -> Result<Self> {
        if let Some(Size::Exactly(width, height)) = config.size {
            framewire_proto::limits::check_size(width, height).map_err(anyhow::Error::msg)?;
        }
        let jpeg = jpeg::Encoder::new(config.quality.unwrap_or(QUALITY));
        Ok(Self { config, jpeg, decoder: Decoder::new(), scaler: Scaler::new() })
    }

    /// The quality of the JPEGs made from now on, 1 to 100.
    pub fn set_quality(&mut self, quality: u8) {
        self.jpeg.set_quality(quality);
    }

    /// The frame as it is to be sent, with the time at which it was ready, and what a decoder must know of it. `None` while
    /// H.264 that must be decoded gives no picture: before its first keyframe.
    ///
    /// # Errors
    /// The frame is not what its configuration says, or is broken. The next one may be good.
    pub fn encode(
        &mut self,
        config: &framewire_proto::Config,
        frame: &Frame,
    ) -> Result<Option<(framewire_proto::Config, Frame)>> {
        let (mut config, mut frame) = (config.clone(), frame.clone());
        if !self.config.passes(&config) {
            let Some(picture) = self.picture(&config, &frame).with_context(|| format!("frame {}", frame.sequence))?
            else {
                return Ok(None);
            };
            config.codec = self.config.codec();
            config.extra = Bytes::new();
            config.width = picture.width.try_into().context("the picture is too wide")?;
            config.height = picture.height.try_into().context("the picture is too high")?;
            frame.keyframe = true;
            frame.data = if config.codec == Codec::Jpeg { self.jpeg.encode(&picture)? } else { picture.into_data() };
        }
        frame.times.encoded = clock::now();
        Ok(Some((config, frame)))
    }

    /// The picture to be coded, in its size and, for a codec of plain pixels, in that layout.
    fn picture(&mut self, config: &framewire_proto::Config, frame: &Frame) -> Result<Option<Picture>> {
        let (width, height) = (config.width.into(), config.height.into());
        let layout = if self.config.codec() == Codec::Jpeg { Codec::I420 } else { self.config.codec() };
        let scaled = self.config.size(width, height) != (width, height);
        let picture = match config.codec {
            Codec::Jpeg | Codec::H264 => {
                let want = if scaled { Codec::I420 } else { layout };
                let Some(picture) = self.decoder.decode(config, frame, want)? else { return Ok(None) };
                picture
            }
            codec => Picture::new(codec, width, height, frame.data.clone())?,
        };
        let size = self.config.size(picture.width, picture.height);
        let fits = size == (picture.width, picture.height);
        // JPEGs are made of either layout.
        if fits && (self.config.codec() == Codec::Jpeg || picture.codec == layout) {
            return Ok(Some(picture));
        }
        self.scaler.scale(&picture, size, layout).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use framewire_proto::{Config as Given, Times};

    use super::*;

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
        let (config, jpeg) = encode.encode(&raw, &frame).unwrap().unwrap();
        assert_eq!((config.codec, config.width, config.height, config.millifps), (Codec::Jpeg, 64, 48, 30_000));
        assert_eq!((jpeg.sequence, jpeg.times.captured), (7, 1));
        assert!(jpeg.times.encoded > 1);
        let (again, same) = encode.encode(&config, &jpeg).unwrap().unwrap();
        assert_eq!(again, config);
        assert_eq!(same.data.as_ptr(), jpeg.data.as_ptr());
        let picture = Decoder::new().decode(&config, &jpeg, Codec::I420).unwrap().unwrap();
        assert!(picture.data().iter().all(|value| value.abs_diff(100) <= 1));
    }

    #[test]
    fn a_size_or_quality_codes_a_jpeg_again() {
        let (config, jpeg) = encoder(Config::default()).encode(&grey(64, 48).0, &grey(64, 48).1).unwrap().unwrap();
        let (small, scaled) = encoder(Config { size: Some(Size::Exactly(32, 24)), ..Config::default() })
            .encode(&config, &jpeg)
            .unwrap()
            .unwrap();
        assert_eq!(framewire_proto::jpeg::size(&scaled.data), Ok((32, 24)));
        assert_eq!((small.width, small.height), (32, 24));
        let (_, worse) =
            encoder(Config { quality: Some(10), ..Config::default() }).encode(&config, &jpeg).unwrap().unwrap();
        assert_ne!(worse.data, jpeg.data);
        let copy = Config { quality: Some(10), size: Some(Size::Exactly(32, 24)), copy: true, only: None };
        assert_eq!(encoder(copy).encode(&config, &jpeg).unwrap().unwrap().1.data, jpeg.data);
    }

    #[test]
    fn what_takes_pixels_only_gets_pixels() {
        let (raw, frame) = grey(64, 48);
        let (config, jpeg) = encoder(Config::default()).encode(&raw, &frame).unwrap().unwrap();
        let only = Config { only: Some(Codec::Bgr24), ..Config::default() };
        let narrow = Config { size: Some(Size::Width(32)), copy: true, ..only.clone() };
        for (given, frame) in [(&raw, &frame), (&config, &jpeg)] {
            for (code, width, height) in [(&only, 64, 48), (&narrow, 32, 24)] {
                let (pixels, frame) = encoder(code.clone()).encode(given, frame).unwrap().unwrap();
                assert_eq!((pixels.codec, pixels.width, pixels.height), (Codec::Bgr24, width, height));
                assert_eq!(frame.data.len(), 3 * usize::from(width) * usize::from(height));
                // Y, Cb and Cr of 100 each, as JFIF converts them.
                let near = |pixel: &[u8]| pixel.iter().zip([50, 130, 61]).all(|(got, due)| got.abs_diff(due) <= 3);
                assert!(frame.data.chunks_exact(3).all(near), "{:?}", &frame.data[..6]);
            }
        }
        let (pixels, frame) = encoder(only.clone()).encode(&raw, &frame).unwrap().unwrap();
        let (_, same) = encoder(only).encode(&pixels, &frame).unwrap().unwrap();
        assert_eq!(same.data.as_ptr(), frame.data.as_ptr());
    }

    #[test]
    fn a_frame_that_lies_about_its_size_is_an_error() {
        let (mut config, frame) = grey(64, 48);
        config.width = 65;
        let error = format!("{:#}", encoder(Config::default()).encode(&config, &frame).unwrap_err());
        assert!(error.contains("frame 7") && error.contains("65x48"), "{error}");
    }
}

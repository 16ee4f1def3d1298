//! Frames become what is sent.

use std::str::FromStr;

use bytes::Bytes;
use framewire_proto::{Codec, Frame};

use super::rate_target::RateTarget;
use crate::error::{Context as _, Error, Result, bail, error};
use crate::{
    clock,
    media::{Picture, decode::Decoder, h264, jpeg, scale::Scaler},
};

/// JPEG quality where none is asked for.
pub const QUALITY: u8 = 80;

/// How frames are coded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// JPEG quality, 1 to 100; `None` passes on the JPEGs that come as they are, and makes others of quality [`QUALITY`].
    pub quality: Option<u8>,
    /// The size to scale to; `None` leaves it.
    pub size: Option<Size>,
    /// What frames become.
    pub codec: CodecChoice,
    /// Bits per second at most, whatever the link carries.
    pub bitrate: Option<u64>,
    /// Code what could be passed on too.
    pub anew: bool,
    /// The one codec that whoever takes them can: [`Codec::Jpeg`] or [`Codec::Bgr24`]. `None`: any.
    pub only: Option<Codec>,
}

/// What frames are coded in on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodecChoice {
    /// JPEG, a camera's or file's own as they are, where the link carries that; else H.264. H.264 as it comes.
    #[default]
    Auto,
    /// JPEG, made here unless the source gives JPEGs and no size or quality is asked for; of less quality where the link
    /// carries no more.
    Jpeg,
    /// H.264.
    H264,
    /// As the source gives it, never coded again.
    Copy,
}

impl FromStr for CodecChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "jpeg" => Ok(Self::Jpeg),
            "h264" => Ok(Self::H264),
            "copy" => Ok(Self::Copy),
            _ => bail!(InvalidInput, "'{text}' is no codec: auto, jpeg, h264 or copy"),
        }
    }
}

/// How good a coded frame is; nothing of it for one that passed as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// A JPEG's quality, 1 to 100.
    pub quality: Option<u8>,
    /// Bits a second that H.264 aims at.
    pub bitrate: Option<u64>,
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
    /// Whether such frames are passed on as they come, where the link carries them.
    pub fn passes(&self, given: &framewire_proto::Config) -> bool {
        if self.anew || self.only.is_some_and(|only| only != given.codec) {
            return false;
        }
        let size = (given.width.into(), given.height.into());
        let same = self.size(size.0, size.1) == size;
        match (self.codec, given.codec) {
            (CodecChoice::Copy, _) | (CodecChoice::Auto | CodecChoice::H264, Codec::H264) => true,
            (CodecChoice::Auto | CodecChoice::Jpeg, Codec::Jpeg) => self.quality.is_none() && same,
            (_, Codec::Bgr24 | Codec::I420) => self.only.is_some() && same,
            _ => false,
        }
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

/// Codes frames as the [`Config`] says, and as large as [`Encoder::aim`] allows.
pub struct Encoder {
    config: Config,
    aim: RateTarget,
    jpeg: jpeg::Encoder,
    h264: Option<(h264::Config, h264::Encoder)>,
    /// The next H.264 frame shall be a keyframe.
    keyframe: bool,
    setting: Setting,
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
            framewire_proto::limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        }
        let quality = config.quality.unwrap_or(QUALITY);
        let aim = RateTarget::new(quality, config.bitrate);
        let (jpeg, decoder, scaler) = (jpeg::Encoder::new(quality), Decoder::new(), Scaler::new());
        let setting = Setting::default();
        Ok(Self { config, aim, jpeg, h264: None, keyframe: false, setting, decoder, scaler })
    }

    /// From now on the link carries this many bits a second; `None` while that is not known.
    pub fn aim(&mut self, target: Option<u64>) {
        self.aim.target(target);
    }

    /// Somebody cannot decode before a keyframe comes.
    pub fn request_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// How good the last frame was made.
    pub fn setting(&self) -> Setting {
        self.setting
    }

    /// The frame as it is to be sent, its times as they were, and what a decoder must know of it. Where H.264 must be decoded it
    /// may be an earlier one, under this one's number, and is `None` while there is no picture: before a keyframe, or while B-frames are brought into
    /// their order.
    ///
    /// # Errors
    /// The frame is not what its configuration says, or is broken. The next one may be good.
    pub fn encode(
        &mut self,
        config: &framewire_proto::Config,
        frame: &Frame,
    ) -> Result<Option<(framewire_proto::Config, Frame)>> {
        let (mut config, mut frame) = (config.clone(), frame.clone());
        let codec = self.codec(&config);
        let passed = self.config.passes(&config) && codec == config.codec && (codec != Codec::Jpeg || self.aim.best());
        self.setting = Setting::default();
        if !passed {
            let whose = || format!("frame {}", frame.sequence);
            let Some((of, picture)) = self.picture(&config, &frame, codec).with_context(whose)? else {
                return Ok(None);
            };
            // With B-frames the picture that comes is that of an earlier frame. It is numbered as the one that it came with: in
            // the order of showing their own numbers would go up and down.
            frame = Frame { sequence: frame.sequence, ..of };
            config.codec = codec;
            config.extra = Bytes::new();
            config.width = picture.width().try_into().context("the picture is too wide")?;
            config.height = picture.height().try_into().context("the picture is too high")?;
            frame.keyframe = true;
            frame.data = match codec {
                Codec::Jpeg => {
                    self.jpeg.set_quality(self.aim.quality());
                    self.setting.quality = Some(self.aim.quality());
                    self.jpeg.encode(&picture)?
                }
                Codec::H264 => {
                    let coded = self.h264(&config, &picture)?;
                    frame.keyframe = coded.keyframe;
                    self.setting.bitrate = Some(self.aim.bitrate(&config));
                    self.aim.coded(&config, coded.data.len());
                    coded.data
                }
                Codec::I420 | Codec::Bgr24 => picture.into_data(),
            };
        }
        if codec == Codec::Jpeg {
            self.aim.made(&config, frame.data.len());
        }
        Ok(Some((config, frame)))
    }

    /// This frame is not to be sent, but those that come may need it to be decoded.
    ///
    /// # Errors
    /// The frame is broken. The next one may be good.
    pub fn skip(&mut self, config: &framewire_proto::Config, frame: &Frame) -> Result<()> {
        self.decoder.push(config, frame, None)
    }

    /// What such frames become.
    fn codec(&mut self, given: &framewire_proto::Config) -> Codec {
        match (self.config.only, self.config.codec) {
            (Some(only), _) => only,
            (None, CodecChoice::Copy) => given.codec,
            (None, CodecChoice::Jpeg) => Codec::Jpeg,
            (None, CodecChoice::H264) => Codec::H264,
            (None, CodecChoice::Auto) if given.codec == Codec::H264 => Codec::H264,
            (None, CodecChoice::Auto) => self.aim.choose(clock::now()),
        }
    }

    fn h264(&mut self, config: &framewire_proto::Config, picture: &Picture) -> Result<h264::Encoded> {
        let wanted = h264::Config {
            width: picture.width(),
            height: picture.height(),
            millifps: config.millifps,
            bitrate: self.aim.bitrate(config),
        };
        let encoder = match &mut self.h264 {
            Some((open, encoder)) if h264::Config { bitrate: wanted.bitrate, ..*open } == wanted => {
                encoder.set_bitrate(wanted.bitrate);
                encoder
            }
            other => &mut other.insert((wanted, h264::Encoder::open(wanted)?)).1,
        };
        encoder.encode(picture, std::mem::take(&mut self.keyframe))
    }

    /// What the sides of a picture that would have this size are divided by, so that it fits the link.
    fn shrink(&mut self, config: &framewire_proto::Config, codec: Codec, size: (u32, u32)) -> u32 {
        match codec {
            Codec::H264 => self.aim.shrink(u64::from(size.0) * u64::from(size.1), config),
            Codec::Jpeg => self.aim.side(),
            Codec::I420 | Codec::Bgr24 => 1,
        }
    }

    /// The picture to be coded, in the size and layout that this codec takes, and the frame that it is of.
    fn picture(
        &mut self,
        config: &framewire_proto::Config,
        frame: &Frame,
        codec: Codec,
    ) -> Result<Option<(Frame, Picture)>> {
        let (width, height) = (config.width.into(), config.height.into());
        let layout = if codec == Codec::Bgr24 { Codec::Bgr24 } else { Codec::I420 };
        let (frame, picture) = match config.codec {
            Codec::Jpeg | Codec::H264 => {
                let scaled = self.config.size(width, height) != (width, height) || !self.aim.best();
                let want = if scaled { Codec::I420 } else { layout };
                let Some(made) = self.decoder.decode(config, frame, want)? else { return Ok(None) };
                made
            }
            raw => (frame.clone(), Picture::new(raw, width, height, frame.data.clone())?),
        };
        let whole = self.config.size(picture.width(), picture.height());
        let shrink = self.shrink(config, codec, whole);
        let mut size = ((whole.0 / shrink).max(1), (whole.1 / shrink).max(1));
        if codec == Codec::H264 {
            // It codes even sizes only.
            size = ((size.0 & !1).max(2), (size.1 & !1).max(2));
        }
        // JPEGs are made of either layout.
        if size == (picture.width(), picture.height()) && (codec == Codec::Jpeg || picture.codec() == layout) {
            return Ok(Some((frame, picture)));
        }
        Ok(Some((frame, self.scaler.scale(&picture, size, layout)?)))
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
        assert_eq!(encode.setting(), Setting { quality: Some(QUALITY), bitrate: None });
        let (again, same) = encode.encode(&config, &jpeg).unwrap().unwrap();
        assert_eq!(encode.setting(), Setting::default(), "it passed");
        assert_eq!(again, config);
        assert_eq!(same.data.as_ptr(), jpeg.data.as_ptr());
        let (_, picture) = Decoder::new().decode(&config, &jpeg, Codec::I420).unwrap().unwrap();
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
        let copy = Config {
            quality: Some(10),
            size: Some(Size::Exactly(32, 24)),
            codec: CodecChoice::Copy,
            ..Config::default()
        };
        assert_eq!(encoder(copy).encode(&config, &jpeg).unwrap().unwrap().1.data, jpeg.data);
    }

    /// A picture that no codec makes small.
    fn noise(width: u16, height: u16) -> (Given, Frame) {
        let (config, mut frame) = grey(width, height);
        let random = |number: u32| (number.wrapping_mul(2_654_435_761) >> 13) as u8;
        frame.data = (0..frame.data.len() as u32).map(random).collect();
        (config, frame)
    }

    #[test]
    fn what_the_link_does_not_carry_as_jpegs_becomes_h264() {
        let (raw, frame) = noise(320, 240);
        let mut encode = encoder(Config::default());
        let mut code = |target, keyframe| {
            encode.aim(target);
            if keyframe {
                encode.request_keyframe();
            }
            encode.encode(&raw, &frame).unwrap().unwrap()
        };
        assert_eq!(code(None, false).0.codec, Codec::Jpeg);
        let (config, first) = code(Some(1_000_000), false);
        assert_eq!((config.codec, config.width, config.height, first.keyframe), (Codec::H264, 320, 240, true));
        let (_, second) = code(Some(1_000_000), false);
        assert!(!second.keyframe && second.data.len() < 6_000, "{} bytes", second.data.len());
        assert!(code(Some(1_000_000), true).1.keyframe);
        let mut decoder = Decoder::new();
        let (_, picture) = decoder.decode(&config, &first, Codec::I420).unwrap().unwrap();
        assert_eq!((picture.width(), picture.height()), (320, 240));
    }

    #[test]
    fn jpegs_that_must_be_jpegs_get_worse_instead() {
        let (raw, frame) = noise(320, 240);
        let mut encode = encoder(Config { codec: CodecChoice::Jpeg, ..Config::default() });
        let best = encode.encode(&raw, &frame).unwrap().unwrap().1.data.len();
        encode.aim(Some(best as u64 * 8 * 30 / 2));
        let mut last = best;
        for _ in 0..8 {
            let (config, coded) = encode.encode(&raw, &frame).unwrap().unwrap();
            assert_eq!(config.codec, Codec::Jpeg);
            last = coded.data.len();
        }
        assert!(last < best * 6 / 10, "{last} of {best} bytes");
    }

    #[test]
    fn what_takes_pixels_only_gets_pixels() {
        let (raw, frame) = grey(64, 48);
        let (config, jpeg) = encoder(Config::default()).encode(&raw, &frame).unwrap().unwrap();
        let only = Config { only: Some(Codec::Bgr24), ..Config::default() };
        let narrow = Config { size: Some(Size::Width(32)), codec: CodecChoice::Copy, ..only.clone() };
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

//! Encodes a stream's frames for one output: passthrough where possible, else JPEG, H.264 or raw pixels.

use std::str::FromStr;

use framewire_proto::{Codec, Config, Frame};

use super::rate_target::RateTarget;
use crate::error::{Context as _, Error, Result, bail, error};
use crate::{
    clock,
    media::{
        Picture,
        decode::Decoder,
        h264::{EncodedFrame, H264Config, H264Encoder},
        jpeg::JpegEncoder,
        scale::Scaler,
    },
};

/// The JPEG quality where none is asked for.
pub const QUALITY: u8 = 80;

/// How frames are to be encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// JPEG quality, 1 to 100. `None` passes JPEGs through, and encodes other frames at [`QUALITY`].
    pub quality: Option<u8>,
    /// The size to scale to; `None` keeps the frame's size.
    pub size: Option<Size>,
    /// Which codec to encode with.
    pub codec: CodecChoice,
    /// The highest bitrate in bits per second, even on a faster link.
    pub bitrate: Option<u64>,
    /// Encode again even frames that could pass through.
    pub reencode: bool,
    /// The only codec that the receiver accepts: [`Codec::Jpeg`] or [`Codec::Bgr24`]. `None`: any.
    pub only: Option<Codec>,
}

/// Which codec frames are encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodecChoice {
    /// H.264 passes through unless a size or bitrate is asked for. Other frames become JPEG, or H.264 where the link is too slow for JPEG; a source's own JPEGs
    /// pass through.
    #[default]
    Auto,
    /// JPEG, of less quality on a slow link. The source's own JPEGs pass through unless a size or quality is asked for.
    Jpeg,
    /// H.264. A source's own passes through unless a size or bitrate is asked for.
    H264,
    /// Passthrough: the source's codec, never encoded again.
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
            _ => bail!(InvalidInput, "unknown codec '{text}': expected auto, jpeg, h264 or copy"),
        }
    }
}

/// How a frame was encoded; both `None` for a frame that passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// A JPEG's quality, 1 to 100.
    pub quality: Option<u8>,
    /// The bits per second that the H.264 encoder was given.
    pub bitrate: Option<u64>,
}

/// The size that pictures are scaled to, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// This width and height, whatever the picture's aspect ratio.
    Exactly(u32, u32),
    /// This width, and the height that keeps the picture's aspect ratio.
    Width(u32),
    /// The same, but no wider than the picture is.
    AtMost(u32),
}

impl EncodeOptions {
    /// Whether frames of this configuration pass through unchanged, on a link that is fast enough for them.
    pub fn passes_through(&self, given: &Config) -> bool {
        if self.reencode || self.only.is_some_and(|only| only != given.codec) {
            return false;
        }
        let size = (given.width.into(), given.height.into());
        let same_size = self.scaled_size(size.0, size.1) == size;
        match (self.codec, given.codec) {
            (CodecChoice::Copy, _) => true,
            (CodecChoice::Auto | CodecChoice::H264, Codec::H264) => self.bitrate.is_none() && same_size,
            (CodecChoice::Auto | CodecChoice::Jpeg, Codec::Jpeg) => self.quality.is_none() && same_size,
            (_, Codec::Bgr24 | Codec::I420) => self.only.is_some() && same_size,
            _ => false,
        }
    }

    /// The size that a picture of this size is scaled to.
    fn scaled_size(&self, width: u32, height: u32) -> (u32, u32) {
        match self.size {
            None => (width, height),
            Some(Size::Exactly(width, height)) => (width, height),
            Some(Size::AtMost(to)) if to >= width => (width, height),
            Some(Size::Width(to) | Size::AtMost(to)) => {
                (to, (u64::from(height) * u64::from(to) / u64::from(width.max(1))).max(1) as u32)
            }
        }
    }
}

/// Encodes frames as [`EncodeOptions`] say, within the bitrate of [`Encoder::set_target`].
pub struct Encoder {
    options: EncodeOptions,
    rate: RateTarget,
    jpeg: JpegEncoder,
    h264: Option<(H264Config, H264Encoder)>,
    /// The next H.264 frame must be a keyframe.
    keyframe: bool,
    setting: Setting,
    decoder: Decoder,
    scaler: Scaler,
}

impl Encoder {
    /// Creates an encoder.
    ///
    /// # Errors
    /// The size is outside the limits.
    pub fn new(options: EncodeOptions) -> Result<Self> {
        if let Some(Size::Exactly(width, height)) = options.size {
            framewire_proto::limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        }
        let quality = options.quality.unwrap_or(QUALITY);
        let rate = RateTarget::new(quality, options.bitrate);
        let (jpeg, decoder, scaler) = (JpegEncoder::new(quality), Decoder::new(), Scaler::new());
        let setting = Setting::default();
        Ok(Self { options, rate, jpeg, h264: None, keyframe: false, setting, decoder, scaler })
    }

    /// Sets the bits per second that encoded frames may take from now on; `None` while unknown.
    pub fn set_target(&mut self, target: Option<u64>) {
        self.rate.set(target);
    }

    /// Makes the next H.264 frame a keyframe: a viewer cannot decode without one.
    pub fn request_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// How the last frame was encoded.
    pub fn setting(&self) -> Setting {
        self.setting
    }

    /// The encoded frame with the times of the given one, and its configuration.
    ///
    /// `None` where H.264 must be decoded and gives no picture yet: before a keyframe, or while B-frames are put in order.
    /// With B-frames the picture is an earlier one, under this frame's number.
    ///
    /// # Errors
    /// The frame does not match its configuration, or is broken. The next one may be good.
    pub fn encode(&mut self, config: &Config, frame: &Frame) -> Result<Option<(Config, Frame)>> {
        let codec = self.codec(config);
        let full_quality = codec != Codec::Jpeg || self.rate.is_full_quality();
        let passes = self.options.passes_through(config) && codec == config.codec && full_quality;
        self.setting = Setting::default();
        let (config, frame) = if passes {
            (config.clone(), frame.clone())
        } else {
            let whose = || format!("frame {}", frame.sequence);
            let Some((of, picture)) = self.picture(config, frame, codec).with_context(whose)? else {
                return Ok(None);
            };
            // With B-frames the decoded picture belongs to an earlier frame. In the order of display those frames' own numbers
            // would jump back and forth, so the picture takes the number of the frame that it came out with.
            self.encode_picture(config, Frame { sequence: frame.sequence, ..of }, picture, codec)?
        };
        if codec == Codec::Jpeg {
            self.rate.count_jpeg(&config, frame.data.len());
        }
        Ok(Some((config, frame)))
    }

    /// After the last frame: with B-frames there are pictures that were held back, which [`Encoder::pull`] gives.
    pub fn finish(&mut self) {
        self.decoder.end();
    }

    /// The next picture that was held back.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn pull(&mut self, config: &Config) -> Result<Option<(Config, Frame)>> {
        let Some((frame, picture)) = self.decoder.pull() else { return Ok(None) };
        let codec = self.codec(config);
        let picture = self.fit(config, picture, codec)?;
        self.encode_picture(config, frame, picture, codec).map(Some)
    }

    /// Decodes a frame that is not to be sent, because later frames may need it.
    ///
    /// # Errors
    /// The frame is broken. The next one may be good.
    pub fn skip(&mut self, config: &Config, frame: &Frame) -> Result<()> {
        self.decoder.push(config, frame, None)
    }

    /// The codec that the next frame is encoded with.
    fn codec(&mut self, given: &Config) -> Codec {
        match (self.options.only, self.options.codec) {
            (Some(only), _) => only,
            (None, CodecChoice::Copy) => given.codec,
            (None, CodecChoice::Jpeg) => Codec::Jpeg,
            (None, CodecChoice::H264) => Codec::H264,
            (None, CodecChoice::Auto) if given.codec == Codec::H264 => Codec::H264,
            (None, CodecChoice::Auto) => self.rate.choose_codec(clock::now()),
        }
    }

    fn encode_picture(
        &mut self,
        given: &Config,
        mut frame: Frame,
        picture: Picture,
        codec: Codec,
    ) -> Result<(Config, Frame)> {
        let width = picture.width().try_into().context("the picture is too wide")?;
        let height = picture.height().try_into().context("the picture is too high")?;
        let config = Config::new(codec, width, height, given.millifps);
        frame.keyframe = true;
        frame.data = match codec {
            Codec::Jpeg => {
                self.jpeg.set_quality(self.rate.quality());
                self.setting.quality = Some(self.rate.quality());
                self.jpeg.encode(&picture)?
            }
            Codec::H264 => {
                let encoded = self.encode_h264(&config, &picture)?;
                frame.keyframe = encoded.keyframe;
                self.setting.bitrate = Some(self.rate.bitrate(&config));
                self.rate.count_h264(&config, encoded.data.len());
                encoded.data
            }
            Codec::I420 | Codec::Bgr24 => picture.into_data(),
        };
        Ok((config, frame))
    }

    fn encode_h264(&mut self, config: &Config, picture: &Picture) -> Result<EncodedFrame> {
        let wanted = H264Config {
            width: picture.width(),
            height: picture.height(),
            millifps: config.millifps,
            bitrate: self.rate.bitrate(config),
        };
        let encoder = match &mut self.h264 {
            Some((open, encoder)) if H264Config { bitrate: wanted.bitrate, ..*open } == wanted => {
                encoder.set_bitrate(wanted.bitrate);
                encoder
            }
            other => &mut other.insert((wanted, H264Encoder::open(wanted)?)).1,
        };
        encoder.encode(picture, std::mem::take(&mut self.keyframe))
    }

    /// What the sides of a picture of this size are divided by to meet the target.
    fn shrink(&mut self, config: &Config, codec: Codec, size: (u32, u32)) -> u32 {
        match codec {
            Codec::H264 => self.rate.h264_shrink(u64::from(size.0) * u64::from(size.1), config),
            Codec::Jpeg => self.rate.jpeg_shrink(),
            Codec::I420 | Codec::Bgr24 => 1,
        }
    }

    /// The picture to encode, in the size and pixel layout that this codec takes, and the frame that it belongs to.
    fn picture(&mut self, config: &Config, frame: &Frame, codec: Codec) -> Result<Option<(Frame, Picture)>> {
        let (width, height) = config.shown_size();
        let (width, height) = (u32::from(width), u32::from(height));
        let layout = pixel_layout(codec);
        let (frame, picture) = match config.codec {
            Codec::Jpeg | Codec::H264 => {
                let scaled = self.options.scaled_size(width, height) != (width, height) || !self.rate.is_full_quality();
                let want = if scaled { Codec::I420 } else { layout };
                let Some(decoded) = self.decoder.decode(config, frame, want)? else { return Ok(None) };
                decoded
            }
            raw => (frame.clone(), Picture::new(raw, width, height, frame.data.clone())?),
        };
        Ok(Some((frame, self.fit(config, picture, codec)?)))
    }

    /// The picture in the size and pixel layout that this codec takes.
    fn fit(&mut self, config: &Config, picture: Picture, codec: Codec) -> Result<Picture> {
        let layout = pixel_layout(codec);
        let full = self.options.scaled_size(picture.width(), picture.height());
        let shrink = self.shrink(config, codec, full);
        let mut size = ((full.0 / shrink).max(1), (full.1 / shrink).max(1));
        if codec == Codec::H264 {
            // H.264 in 4:2:0 needs even sizes.
            size = ((size.0 & !1).max(2), (size.1 & !1).max(2));
        }
        // The JPEG encoder takes both layouts.
        if size == (picture.width(), picture.height()) && (codec == Codec::Jpeg || picture.codec() == layout) {
            return Ok(picture);
        }
        self.scaler.scale(&picture, size, layout)
    }
}

/// The pixels that this codec encodes.
fn pixel_layout(codec: Codec) -> Codec {
    if codec == Codec::Bgr24 { Codec::Bgr24 } else { Codec::I420 }
}

#[cfg(test)]
mod tests {
    use framewire_proto::Times;

    use super::*;

    fn grey(width: u16, height: u16) -> (Config, Frame) {
        let length = Codec::I420.raw_length(width.into(), height.into()).unwrap();
        let config = Config::new(Codec::I420, width, height, 30_000);
        let times = Times { captured: 1, ..Times::default() };
        (config, Frame { sequence: 7, keyframe: true, times, data: vec![100; length].into() })
    }

    fn encoder(options: EncodeOptions) -> Encoder {
        Encoder::new(options).unwrap()
    }

    #[test]
    fn raw_becomes_jpeg_and_jpeg_passes_through() {
        let (raw, frame) = grey(64, 48);
        let mut encode = encoder(EncodeOptions::default());
        let (config, jpeg) = encode.encode(&raw, &frame).unwrap().unwrap();
        assert_eq!((config.codec, config.width, config.height, config.millifps), (Codec::Jpeg, 64, 48, 30_000));
        assert_eq!((jpeg.sequence, jpeg.times.captured), (7, 1));
        assert_eq!(encode.setting(), Setting { quality: Some(QUALITY), bitrate: None });
        let (again, same) = encode.encode(&config, &jpeg).unwrap().unwrap();
        assert_eq!(encode.setting(), Setting::default(), "passthrough");
        assert_eq!(again, config);
        assert_eq!(same.data.as_ptr(), jpeg.data.as_ptr());
        let (_, picture) = Decoder::new().decode(&config, &jpeg, Codec::I420).unwrap().unwrap();
        assert!(picture.data().iter().all(|value| value.abs_diff(100) <= 1));
    }

    #[test]
    fn a_size_or_quality_reencodes_a_jpeg() {
        let (config, jpeg) =
            encoder(EncodeOptions::default()).encode(&grey(64, 48).0, &grey(64, 48).1).unwrap().unwrap();
        let (small, scaled) = encoder(EncodeOptions { size: Some(Size::Exactly(32, 24)), ..EncodeOptions::default() })
            .encode(&config, &jpeg)
            .unwrap()
            .unwrap();
        assert_eq!(framewire_proto::jpeg::size(&scaled.data), Ok((32, 24)));
        assert_eq!((small.width, small.height), (32, 24));
        let (_, worse) = encoder(EncodeOptions { quality: Some(10), ..EncodeOptions::default() })
            .encode(&config, &jpeg)
            .unwrap()
            .unwrap();
        assert_ne!(worse.data, jpeg.data);
        let copy = EncodeOptions {
            quality: Some(10),
            size: Some(Size::Exactly(32, 24)),
            codec: CodecChoice::Copy,
            ..EncodeOptions::default()
        };
        assert_eq!(encoder(copy).encode(&config, &jpeg).unwrap().unwrap().1.data, jpeg.data);
    }

    /// A picture that no codec compresses well.
    fn noise(width: u16, height: u16) -> (Config, Frame) {
        let (config, mut frame) = grey(width, height);
        let random = |number: u32| (number.wrapping_mul(2_654_435_761) >> 13) as u8;
        frame.data = (0..frame.data.len() as u32).map(random).collect();
        (config, frame)
    }

    #[test]
    fn h264_replaces_jpegs_that_exceed_the_target() {
        let (raw, frame) = noise(320, 240);
        let mut encode = encoder(EncodeOptions::default());
        let mut run = |target, keyframe| {
            encode.set_target(target);
            if keyframe {
                encode.request_keyframe();
            }
            encode.encode(&raw, &frame).unwrap().unwrap()
        };
        assert_eq!(run(None, false).0.codec, Codec::Jpeg);
        let (config, first) = run(Some(1_000_000), false);
        assert_eq!((config.codec, config.width, config.height, first.keyframe), (Codec::H264, 320, 240, true));
        let (_, second) = run(Some(1_000_000), false);
        assert!(!second.keyframe && second.data.len() < 6_000, "{} bytes", second.data.len());
        assert!(run(Some(1_000_000), true).1.keyframe);
        let mut decoder = Decoder::new();
        let (_, picture) = decoder.decode(&config, &first, Codec::I420).unwrap().unwrap();
        assert_eq!((picture.width(), picture.height()), (320, 240));
    }

    #[test]
    fn jpeg_quality_falls_where_only_jpeg_is_allowed() {
        let (raw, frame) = noise(320, 240);
        let mut encode = encoder(EncodeOptions { codec: CodecChoice::Jpeg, ..EncodeOptions::default() });
        let best = encode.encode(&raw, &frame).unwrap().unwrap().1.data.len();
        encode.set_target(Some(best as u64 * 8 * 30 / 2));
        let mut last = best;
        for _ in 0..8 {
            let (config, encoded) = encode.encode(&raw, &frame).unwrap().unwrap();
            assert_eq!(config.codec, Codec::Jpeg);
            last = encoded.data.len();
        }
        assert!(last < best * 6 / 10, "{last} of {best} bytes");
    }

    #[test]
    fn a_receiver_of_raw_pixels_gets_raw_pixels() {
        let (raw, frame) = grey(64, 48);
        let (config, jpeg) = encoder(EncodeOptions::default()).encode(&raw, &frame).unwrap().unwrap();
        let only = EncodeOptions { only: Some(Codec::Bgr24), ..EncodeOptions::default() };
        let narrow = EncodeOptions { size: Some(Size::Width(32)), codec: CodecChoice::Copy, ..only.clone() };
        for (given, frame) in [(&raw, &frame), (&config, &jpeg)] {
            for (options, width, height) in [(&only, 64, 48), (&narrow, 32, 24)] {
                let (pixels, frame) = encoder(options.clone()).encode(given, frame).unwrap().unwrap();
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
    fn a_frame_whose_size_does_not_match_is_an_error() {
        let (mut config, frame) = grey(64, 48);
        config.width = 65;
        let error = format!("{:#}", encoder(EncodeOptions::default()).encode(&config, &frame).unwrap_err());
        assert!(error.contains("frame 7") && error.contains("65x48"), "{error}");
    }
}

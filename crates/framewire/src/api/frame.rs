//! A frame as a viewer gets it.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use framewire_proto::{self as proto, Codec, Config, Micros, wire::native::Report};

use super::image::{Image, PixelFormat, swap_red_and_blue};
use crate::{
    clock,
    error::{Context as _, Error, OrError as _, Result, ensure},
    hub::Reporter,
    media::{Picture, Pool, colour, decode::Decoder, jpeg, scale::Scaler},
};

/// Quality of a JPEG that is made of a frame that is none.
const QUALITY: u8 = 90;

/// How far the clocks of the two ends of a connection may be apart, in µs.
const CLOCK_ERROR: Micros = 2_000;

/// One frame of a stream, with its times. It is decoded when its pixels are asked for.
#[derive(Debug, Clone)]
pub struct Frame {
    pub(super) encoded: proto::Frame,
    pub(super) config: Arc<Config>,
    /// What a decoder made of it already: of H.264 each frame has to be decoded for the next one's sake.
    pub(super) picture: Option<Picture>,
    pub(super) decoded: OnceLock<Micros>,
    /// Frames of the stream between the one that was taken before and this one.
    pub(super) missed: u64,
    pub(super) size: Option<(u32, u32)>,
    pub(super) tools: Arc<Tools>,
}

/// What decodes the frames of one viewer, and who is told about it.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) reporter: Reporter,
    decoder: Mutex<Converter>,
    /// The newest frame that was reported as shown.
    reported: Mutex<Option<u64>>,
}

#[derive(Default)]
struct Converter {
    decoder: Decoder,
    scaler: Scaler,
    encoder: Option<jpeg::JpegEncoder>,
    pool: Pool,
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Converter")
    }
}

impl Tools {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { reporter, decoder: Mutex::default(), reported: Mutex::default() }
    }

    /// Reports a frame as decoded and shown, once.
    fn report(&self, frame: &proto::Frame, decoded: Micros, shown: Micros) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.replace(frame.sequence) == Some(frame.sequence) {
            return;
        }
        drop(reported);
        let received = if frame.times.arrived == 0 { decoded } else { frame.times.arrived };
        let report = Report { sequence: frame.sequence, received, decoded, shown };
        self.reporter.report(&frame.times, &report, true);
    }
}

impl Frame {
    /// Width of the picture in pixels.
    pub fn width(&self) -> u32 {
        self.dimensions().0
    }

    /// Height of the picture in pixels.
    pub fn height(&self) -> u32 {
        self.dimensions().1
    }

    /// The frame's number in its stream: rises by one for each frame, so a gap is frames that this viewer did not get.
    pub fn sequence(&self) -> u64 {
        self.encoded.sequence
    }

    /// How many frames of the stream were passed over since the frame that this viewer returned before.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// What the frame was encoded in on its way: `jpeg`, `h264`, `i420` or `bgr24`.
    pub fn codec(&self) -> &'static str {
        self.config.codec.name()
    }

    /// When the frame was captured, by this machine's calendar clock. Where the source does not say: when it came in.
    pub fn captured_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(clock::calendar(self.encoded.times.captured_or_received()))
    }

    /// How long ago the frame was captured. Measured on a monotonic clock that both ends of the connection agree on.
    pub fn age(&self) -> Duration {
        Duration::from_micros(clock::now().saturating_sub(self.encoded.times.captured_or_received()))
    }

    /// The stages of the frame's way and how long each took, in the order of the way. A stage whose begin or end is not
    /// known is left out.
    pub fn latency(&self) -> Vec<(&'static str, Duration)> {
        let times = &self.encoded.times;
        let way = [
            ("encode", times.captured, times.encoded),
            ("send", times.encoded, times.sent),
            ("uplink", times.sent, times.received),
            ("hub", times.received, times.forwarded),
            ("downlink", times.forwarded, times.arrived),
            ("decode", times.arrived, self.decoded.get().copied().unwrap_or(0)),
        ];
        // Two clocks agree within some microseconds: what seems to take less than nothing takes nothing.
        let known = way.into_iter().filter(|(_, from, to)| *from > 0 && *to > 0 && to + CLOCK_ERROR >= *from);
        known.map(|(stage, from, to)| (stage, Duration::from_micros(to.saturating_sub(from)))).collect()
    }

    /// The pixels as OpenCV has them: [`PixelFormat::Bgr`].
    ///
    /// # Errors
    /// As [`Frame::image`].
    pub fn bgr(&self) -> Result<Image> {
        self.image(PixelFormat::Bgr)
    }

    /// The picture as a JPEG: the very bytes that were sent where they are one and no size was asked for.
    ///
    /// # Errors
    /// As [`Frame::image`].
    pub fn jpeg(&self) -> Result<Image> {
        self.image(PixelFormat::Jpeg)
    }

    /// The picture in this format, and in the size that the viewer was asked for.
    ///
    /// # Errors
    /// [`Error::InvalidData`]: the frame is damaged. The next one may be good.
    pub fn image(&self, format: PixelFormat) -> Result<Image> {
        let mut converter = self.tools.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        if format == PixelFormat::Jpeg && self.config.codec == Codec::Jpeg && self.size.is_none() {
            let now = clock::now();
            self.tools.report(&self.encoded, now, now);
            return Image::jpeg(self.encoded.data.clone());
        }
        if format == PixelFormat::Jpeg {
            let picture = self.picture(&mut converter, Codec::I420)?;
            self.shown();
            let encoder = converter.encoder.get_or_insert_with(|| jpeg::JpegEncoder::new(QUALITY));
            return Image::jpeg(encoder.encode(&picture)?);
        }
        let (width, height) = self.dimensions();
        let mut pixels = converter.pool.take(format.length(width, height));
        self.fill(&mut converter, format, &mut pixels)?;
        Image::new(format, width, height, pixels.freeze())
    }

    /// Fills these bytes with the picture in this format, which is not [`PixelFormat::Jpeg`]: with [`PixelFormat::length`] bytes
    /// for the frame's width and height.
    ///
    /// # Errors
    /// As [`Frame::image`]; and [`Error::InvalidInput`]: the picture takes more or fewer bytes.
    pub fn image_into(&self, format: PixelFormat, out: &mut [u8]) -> Result<()> {
        let (width, height) = self.dimensions();
        let (expected, found) = (format.length(width, height), out.len());
        ensure!(
            found == expected && format != PixelFormat::Jpeg,
            InvalidInput,
            "{width}x{height} {format:?} takes {expected} bytes, and there are {found}"
        );
        let mut converter = self.tools.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        self.fill(&mut converter, format, out)
    }

    /// The bytes of the frame as they were sent.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded.data
    }

    /// Fills `out`, which has the right length.
    fn fill(&self, converter: &mut Converter, format: PixelFormat, out: &mut [u8]) -> Result<()> {
        match format {
            PixelFormat::Gray => {
                let picture = self.picture(converter, Codec::I420)?;
                out.copy_from_slice(&picture.data()[..out.len()]);
            }
            _ if self.picture.is_none() && !self.is_scaled() => converter
                .decoder
                .decode_into(&self.config, &self.encoded, format.decoded(), out)
                .with_context(|| format!("frame {}", self.encoded.sequence))?,
            _ => colour::convert_into(&self.picture(converter, format.decoded())?, format.decoded(), out)?,
        }
        if format == PixelFormat::Rgb {
            swap_red_and_blue(out);
        }
        self.shown();
        Ok(())
    }

    /// The picture in the size that the viewer was asked for; in `want` where it has to be decoded or scaled for that.
    fn picture(&self, converter: &mut Converter, want: Codec) -> Result<Picture> {
        let picture = if let Some(picture) = &self.picture {
            picture.clone()
        } else {
            let want = if self.is_scaled() { Codec::I420 } else { want };
            let decoded = converter.decoder.decode(&self.config, &self.encoded, want);
            let decoded = decoded.with_context(|| format!("frame {}", self.encoded.sequence))?;
            decoded.or_error(Error::InvalidData, || format!("frame {} holds no picture", self.encoded.sequence))?.1
        };
        match self.size {
            Some(size) if self.is_scaled() => converter.scaler.scale(&picture, size, want),
            _ => Ok(picture),
        }
    }

    /// Reports that the program has the pixels.
    fn shown(&self) {
        let now = clock::now();
        self.tools.report(&self.encoded, *self.decoded.get_or_init(|| now), now);
    }

    fn is_scaled(&self) -> bool {
        self.size.is_some_and(|size| size != self.encoded_size())
    }

    fn dimensions(&self) -> (u32, u32) {
        self.size.unwrap_or_else(|| self.encoded_size())
    }

    /// The size of what was sent, as it is shown. Where the configuration differs, a decoded picture and a JPEG's header are right.
    fn encoded_size(&self) -> (u32, u32) {
        if let Some(picture) = &self.picture {
            return (picture.width(), picture.height());
        }
        let header = (self.config.codec == Codec::Jpeg).then(|| proto::jpeg::size(&self.encoded.data).ok()).flatten();
        let (width, height) = header.unwrap_or_else(|| self.config.shown_size());
        (width.into(), height.into())
    }
}

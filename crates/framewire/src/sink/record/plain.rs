//! A recording for a program that reads: every picture in one format and size.

use std::{io::Write, time::Instant};

use bytes::Bytes;
use framewire_proto::{Codec, Config, Frame};

use super::{Outcome, QUALITY, rate::Rate};
use crate::error::{Error, OrError as _, Result, bail};
use crate::{
    media::{decode::Decoder, jpeg, scale::Scaler},
    sink::raw::{Format, Raw, Reader},
};

/// Nothing was written, and nothing is wrong.
const NOTHING: Outcome = Outcome::Written { frames: 0, bytes: 0 };

/// A recording for a program that reads.
pub(super) struct Plain {
    raw: Raw<Box<dyn Write + Send>>,
    /// What H.264 is decoded to.
    pixels: Codec,
    /// For frames whose pictures come later, and in another order.
    decoder: Decoder,
    convert: Convert,
    /// Of pictures whose rate is unknown and must stand before the first; `None` once it was written.
    rate: Option<Rate>,
}

impl Plain {
    pub(super) fn new(out: Box<dyn Write + Send>, format: Format, size: Option<(u16, u16)>) -> Self {
        Self {
            raw: Raw::new(out, format, size),
            pixels: if format.codec() == Codec::Jpeg { Codec::I420 } else { format.codec() },
            decoder: Decoder::new(),
            convert: Convert {
                decoder: Decoder::new(),
                scaler: Scaler::new(),
                encoder: jpeg::JpegEncoder::new(QUALITY),
            },
            rate: (format == Format::Y4m).then(Rate::default),
        }
    }

    /// Writes the frame, or the pictures that there are once it was taken: with B-frames those of earlier ones.
    pub(super) fn write(&mut self, config: &Config, frame: &Frame) -> Result<Outcome> {
        if config.codec.independent() {
            return self.put(config, frame.clone());
        }
        let pushed = self.decoder.push(config, frame, Some(self.pixels));
        let outcome = self.pull(config)?;
        Ok(match pushed {
            Err(error) if !matches!(outcome, Outcome::Gone) => Outcome::Bad(error),
            _ => outcome,
        })
    }

    /// Writes the pictures that were held back.
    pub(super) fn finish(&mut self, config: &Config) -> Result<Outcome> {
        self.decoder.end();
        let pulled = self.pull(config)?;
        pulled.and(|| self.measured())
    }

    /// Writes the pictures that have waited long enough for the rate to be measured.
    pub(super) fn idle(&mut self, now: Instant) -> Result<Outcome> {
        if self.rate.as_ref().is_some_and(|rate| rate.is_overdue(now)) { self.measured() } else { Ok(NOTHING) }
    }

    fn pull(&mut self, config: &Config) -> Result<Outcome> {
        let mut sum = NOTHING;
        while let Some((frame, picture)) = self.decoder.pull() {
            self.raw.set_scan(self.decoder.scan());
            let (width, height) = (picture.width() as u16, picture.height() as u16);
            let plain = Config::new(picture.codec(), width, height, config.millifps);
            sum = sum.and(|| self.put(&plain, Frame { data: picture.into_data(), ..frame }))?;
        }
        Ok(sum)
    }

    /// Writes the picture, once the rate is known that stands before the first one.
    fn put(&mut self, config: &Config, frame: Frame) -> Result<Outcome> {
        // Where it is stated, nothing is measured.
        self.rate.take_if(|rate| config.millifps > 0 && rate.waiting.is_empty());
        let Some(rate) = &mut self.rate else { return self.give(config, &frame) };
        rate.take(config, frame, Instant::now());
        if rate.is_measured() { self.measured() } else { Ok(NOTHING) }
    }

    /// Writes the pictures that waited for the rate.
    fn measured(&mut self) -> Result<Outcome> {
        let Some(rate) = self.rate.take() else { return Ok(NOTHING) };
        let millifps = rate.millifps();
        let mut sum = NOTHING;
        for (config, frame) in rate.waiting {
            sum = sum.and(|| self.give(&Config { millifps, ..config }, &frame))?;
        }
        Ok(sum)
    }

    fn give(&mut self, config: &Config, frame: &Frame) -> Result<Outcome> {
        let (mut unfit, mut bytes) = (None, frame.data.len());
        let written = self.raw.write(config, frame, |config, frame, codec, size| {
            match self.convert.convert(config, frame, codec, size) {
                Ok(data) => {
                    bytes = data.len();
                    return Ok(data);
                }
                Err(error) => unfit = Some(error),
            }
            bail!(InvalidData, "there is no picture")
        });
        match (written, unfit) {
            (_, Some(error)) => Ok(Outcome::Bad(error)),
            (Ok(Reader::Reads), None) => Ok(Outcome::Written { frames: 1, bytes }),
            (Ok(Reader::Gone), None) => Ok(Outcome::Gone),
            (Err(error), None) => Err(error),
        }
    }
}

/// Makes pictures of any size and of any codec whose frames stand for themselves those that are wanted.
struct Convert {
    decoder: Decoder,
    scaler: Scaler,
    encoder: jpeg::JpegEncoder,
}

impl Convert {
    fn convert(&mut self, config: &Config, frame: &Frame, codec: Codec, (width, height): (u16, u16)) -> Result<Bytes> {
        let pixels = if codec == Codec::Jpeg { Codec::I420 } else { codec };
        let (_, picture) =
            self.decoder.decode(config, frame, pixels)?.or_error(Error::InvalidData, || "there is no picture in it")?;
        let picture = self.scaler.scale(&picture, (width.into(), height.into()), pixels)?;
        if codec == Codec::Jpeg { self.encoder.encode(&picture) } else { Ok(picture.into_data()) }
    }
}

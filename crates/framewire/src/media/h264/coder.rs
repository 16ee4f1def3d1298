//! One of FFmpeg's encoders of H.264.

use std::ffi::CStr;

use bytes::Bytes;
use ffmpeg_the_third::ffi;

use super::{Config, Encoded};
use crate::error::Result;
use crate::media::{
    Picture,
    av::{self, Budget, EncoderConfig, Layout, Pace},
};

/// Frames per second, in thousandths, where they are not known.
const MILLIFPS: u32 = 30_000;
/// The most bits per second; x264 counts those of a frame in 31 bits.
pub(super) const BITRATE: u64 = 1_000_000_000;
/// The buffer in hundredths of a frame. x264 plans each frame by itself up to 110 and warns below 100, which rounding must not
/// reach.
const BUFFER: u64 = 105;

/// How one of them is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static CStr,
    pub(super) options: &'static [(&'static CStr, &'static CStr)],
    pub(super) layout: Layout,
    pub(super) pace: Pace,
    /// Its bitrate is read when it is opened, and never again.
    pub(super) reopens: bool,
}

/// What does it everywhere.
pub(super) static SOFTWARE: Kind = Kind {
    name: c"libx264",
    options: &[
        (c"preset", c"superfast"),
        (c"tune", c"zerolatency"),
        // What is asked for is a keyframe that decoding can begin at, not only a picture coded by itself.
        (c"forced-idr", c"1"),
        // Better than this nobody sees: an easy picture takes fewer bits than it may have.
        (c"crf", c"18"),
        // No keyframe at a cut: one frame holds no more than another here, and nobody asked.
        (c"x264-params", c"scenecut=0"),
    ],
    layout: Layout::Planar,
    pace: Pace::AtMost,
    reopens: false,
};

/// An open encoder of one kind.
pub(super) struct Coder {
    kind: &'static Kind,
    config: Config,
    encoder: av::Encoder,
}

impl Coder {
    /// Opens it, for a size that H.264 can code.
    ///
    /// # Errors
    /// This FFmpeg or this machine has no such encoder, or it refuses what it is to do.
    pub(super) fn open(kind: &'static Kind, config: Config) -> Result<Self> {
        Ok(Self { kind, config, encoder: av::Encoder::open(&encoder_config(kind, config))? })
    }

    pub(super) fn is(&self, kind: &Kind) -> bool {
        std::ptr::eq(self.kind, kind)
    }

    pub(super) fn name(&self) -> std::borrow::Cow<'static, str> {
        self.kind.name.to_string_lossy()
    }

    /// The frame of a picture of I420 and the size that this was opened for.
    ///
    /// # Errors
    /// The encoder failed, or held the picture back.
    pub(super) fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<Encoded> {
        let packet = self.encoder.encode(picture.planes(), keyframe)?;
        let keyframe = packet.fields().flags & ffi::AV_PKT_FLAG_KEY != 0;
        Ok(Encoded { data: Bytes::from_owner(packet), keyframe })
    }

    /// The bitrate of the next frames.
    ///
    /// # Errors
    /// The encoder has to be opened again for it, and cannot.
    pub(super) fn set_bitrate(&mut self, bitrate: u64) -> Result<()> {
        let config = Config { bitrate, ..self.config };
        if self.kind.reopens && config != self.config {
            self.encoder = av::Encoder::open(&encoder_config(self.kind, config))?;
        }
        self.config = config;
        self.encoder.set_budget(budget(config));
        Ok(())
    }
}

fn encoder_config(kind: &'static Kind, config: Config) -> EncoderConfig<'static> {
    EncoderConfig {
        name: kind.name,
        options: kind.options,
        layout: kind.layout,
        pace: kind.pace,
        threads: 2,
        size: (config.width, config.height),
        millifps: millifps(config.millifps),
        budget: budget(config),
    }
}

/// The rate that frames' sizes are reckoned for: at least one frame a second, at most a thousand.
pub(super) fn millifps(given: u32) -> u32 {
    let known = if given == 0 { MILLIFPS } else { given };
    known.clamp(1_000, 1_000_000)
}

fn budget(config: Config) -> Budget {
    let millifps = u64::from(millifps(config.millifps));
    // x264 counts in thousands of bits: less than one a frame would switch the buffer off.
    let rate = config.bitrate.clamp(millifps, BITRATE);
    let buffer = (rate * 10 * BUFFER / millifps).max(1000);
    Budget { rate: rate as i64, buffer: i32::try_from(buffer).expect("bounded by the ranges above") }
}

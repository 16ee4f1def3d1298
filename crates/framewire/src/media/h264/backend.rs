//! One of FFmpeg's H.264 encoders, opened for live video.

use std::{borrow::Cow, ffi::CStr};

use bytes::Bytes;
use ffmpeg_sys_the_third as ffi;

use super::config::{EncodedFrame, H264Config};
use crate::error::Result;
use crate::media::{
    av::{AvEncoder, AvEncoderConfig, PlaneLayout, RateControl, Vbv},
    picture::Picture,
};

/// Frames per second in thousandths, where they are unknown.
const DEFAULT_MILLIFPS: u32 = 30_000;
/// The highest bitrate in bits per second. x264 counts a frame's bits in 31 bits.
pub(super) const MAX_BITRATE: u64 = 1_000_000_000;
/// The VBV buffer in percent of a frame. x264 plans each frame by itself up to 110. It warns below 100, which rounding must not
/// reach.
const BUFFER_PERCENT: u64 = 105;

/// How one of FFmpeg's encoders is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackendKind {
    pub(super) name: &'static CStr,
    pub(super) options: &'static [(&'static CStr, &'static CStr)],
    pub(super) layout: PlaneLayout,
    pub(super) rate_control: RateControl,
    /// The encoder must be opened again for a new bitrate.
    pub(super) reopens: bool,
}

/// The encoder that works on every machine.
pub(super) static SOFTWARE: BackendKind = BackendKind {
    name: c"libx264",
    options: &[
        (c"preset", c"superfast"),
        (c"tune", c"zerolatency"),
        // Make each requested keyframe an IDR frame, at which decoding can start.
        (c"forced-idr", c"1"),
        // Better quality is invisible: an easy picture takes fewer bits than it may.
        (c"crf", c"18"),
        // No keyframe at a scene change: it could be no larger than any other frame here.
        (c"x264-params", c"scenecut=0"),
    ],
    layout: PlaneLayout::Planar,
    rate_control: RateControl::Capped,
    reopens: false,
};

/// An open encoder of one kind.
pub(super) struct Backend {
    kind: &'static BackendKind,
    config: H264Config,
    encoder: AvEncoder,
}

impl Backend {
    /// Opens the encoder, for an even size within the limits.
    ///
    /// # Errors
    /// This FFmpeg or this machine has no such encoder, or the encoder refuses its configuration.
    pub(super) fn open(kind: &'static BackendKind, config: H264Config) -> Result<Self> {
        Ok(Self { kind, config, encoder: AvEncoder::open(&encoder_config(kind, config))? })
    }

    pub(super) fn is(&self, kind: &BackendKind) -> bool {
        std::ptr::eq(self.kind, kind)
    }

    pub(super) fn name(&self) -> Cow<'static, str> {
        self.kind.name.to_string_lossy()
    }

    /// Encodes a picture of I420 and the size that the encoder was opened for.
    ///
    /// # Errors
    /// The encoder failed, or gave no frame for this picture yet.
    pub(super) fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<EncodedFrame> {
        let packet = self.encoder.encode(picture.planes(), keyframe)?;
        let keyframe = packet.fields().flags & ffi::AV_PKT_FLAG_KEY != 0;
        Ok(EncodedFrame { data: Bytes::from_owner(packet), keyframe })
    }

    /// Sets the bitrate of the next frames.
    ///
    /// # Errors
    /// The encoder must be opened again for it, and that fails.
    pub(super) fn set_bitrate(&mut self, bitrate: u64) -> Result<()> {
        let config = H264Config { bitrate, ..self.config };
        if self.kind.reopens && config != self.config {
            self.encoder = AvEncoder::open(&encoder_config(self.kind, config))?;
        }
        self.config = config;
        self.encoder.set_vbv(vbv(config));
        Ok(())
    }
}

fn encoder_config(kind: &'static BackendKind, config: H264Config) -> AvEncoderConfig<'static> {
    AvEncoderConfig {
        name: kind.name,
        options: kind.options,
        layout: kind.layout,
        rate_control: kind.rate_control,
        threads: 2,
        size: (config.width, config.height),
        millifps: millifps(config.millifps),
        vbv: vbv(config),
    }
}

/// The frame rate that frame sizes are computed for: 1 to 1000 frames per second.
pub(super) fn millifps(given: u32) -> u32 {
    let known = if given == 0 { DEFAULT_MILLIFPS } else { given };
    known.clamp(1_000, 1_000_000)
}

fn vbv(config: H264Config) -> Vbv {
    let millifps = u64::from(millifps(config.millifps));
    // x264 counts in thousands of bits: less than one per frame would switch the buffer off.
    let rate = config.bitrate.clamp(millifps, MAX_BITRATE);
    let buffer = (rate * 10 * BUFFER_PERCENT / millifps).max(1000);
    Vbv { rate: rate as i64, buffer: i32::try_from(buffer).expect("bounded by the ranges above") }
}

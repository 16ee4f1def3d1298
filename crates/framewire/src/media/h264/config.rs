//! What an H.264 encoder is opened for, and what it gives.

use bytes::Bytes;

/// What an H.264 encoder is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H264Config {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// Frames per second in thousandths; 0 when unknown or not constant.
    pub millifps: u32,
    /// Bits per second, see [`H264Encoder::set_bitrate`](super::H264Encoder::set_bitrate).
    pub bitrate: u64,
}

/// A frame of H.264.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// One access unit in Annex B form, with parameter sets if it is a keyframe.
    pub data: Bytes,
    /// Whether decoding can start here.
    pub keyframe: bool,
}

//! FFmpeg and libjpeg-turbo behind small safe types.
//!
//! What is raw here is a [`Picture`]: [`Codec::I420`] (full-range BT.601, as JPEG has it) or [`Codec::Bgr24`], pixels as
//! the [`Bytes`] of a [`Frame`](framewire_proto::Frame), without padding.
//!
//! ```text
//!   h264    pictures become H.264, each frame within a bitrate that may change at any time
//!   encode  a frame becomes what is sent: raw to JPEG, JPEG as it is or at another size and quality
//!   decode  a frame becomes a picture: JPEG, H.264, raw
//!   input   whatever FFmpeg opens: packets, and their decoder
//!   jpeg    libjpeg-turbo, with huffman for Motion-JPEG without tables
//!   scale   a picture in another size; FFmpeg's frames as pictures
//!   colour  between I420 and BGR, and from video's matrices and ranges to ours
//!   planes  YUV4MPEG2's planes as pictures
//!   canvas  drawing into pictures, with text and stamp
//!   v4l2    which cameras there are, and what they offer
//!   lanes   helpers that do parts of one picture side by side
//!   pool    memory, used again
//! ```

mod av;
pub mod canvas;
pub mod colour;
pub mod decode;
pub mod h264;
pub mod huffman;
pub mod input;
pub mod jpeg;
pub mod mux;
pub mod planes;
pub mod pool;
pub mod scale;
mod strip_pool;
pub mod text;
#[cfg(target_os = "linux")]
pub mod v4l2;

use crate::error::{Result, ensure, error};
use bytes::Bytes;
use framewire_proto::{Codec, limits};

pub use pool::Pool;

/// A picture of plain pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    codec: Codec,
    width: u32,
    height: u32,
    data: Bytes,
}

impl Picture {
    /// A picture of these pixels, laid out as [`Codec::I420`] or [`Codec::Bgr24`] say.
    ///
    /// # Errors
    /// The codec compresses, the size is over the limit, or there are not just as many bytes as it takes.
    pub fn new(codec: Codec, width: u32, height: u32, data: Bytes) -> Result<Self> {
        let expected = raw_length(codec, width, height)?;
        ensure!(
            data.len() == expected,
            InvalidInput,
            "a {} picture of {width}x{height} takes {expected} bytes, not {}",
            codec.name(),
            data.len()
        );
        Ok(Self { codec, width, height, data })
    }

    /// How the pixels are laid out: [`Codec::I420`] or [`Codec::Bgr24`].
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The pixels, without the picture.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Y, U and V of an I420 picture.
    fn planes(&self) -> [&[u8]; 3] {
        debug_assert_eq!(self.codec, Codec::I420);
        planes(&self.data, self.width, self.height)
    }
}

/// The bytes of a raw picture, checked before memory is taken for it.
fn raw_length(codec: Codec, width: u32, height: u32) -> Result<usize> {
    limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
    let length = codec.raw_length(width, height);
    length.ok_or_else(|| error!(InvalidInput, "{} is no layout of plain pixels: i420 or bgr24", codec.name()))
}

/// Y, U and V within the bytes of an I420 picture of this size.
fn planes(data: &[u8], width: u32, height: u32) -> [&[u8]; 3] {
    let (luma, chroma) = data.split_at(width as usize * height as usize);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    [luma, u, v]
}

/// The same, to be written.
fn planes_mut(data: &mut [u8], width: u32, height: u32) -> [&mut [u8]; 3] {
    let (luma, chroma) = data.split_at_mut(width as usize * height as usize);
    let (u, v) = chroma.split_at_mut(chroma.len() / 2);
    [luma, u, v]
}

//! Raw pictures.

use bytes::Bytes;
use framewire_proto::{Codec, limits};

use crate::error::{Result, ensure, error};

/// A raw picture.
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
    /// The codec is not raw, the size is over the limit, or the number of bytes does not match the size.
    pub fn new(codec: Codec, width: u32, height: u32, data: Bytes) -> Result<Self> {
        let expected = raw_length(codec, width, height)?;
        ensure!(
            data.len() == expected,
            InvalidInput,
            "a {} picture of {width}x{height} has {expected} bytes, not {}",
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

    /// Takes the pixels out of the picture.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Y, U and V of an I420 picture.
    pub(super) fn planes(&self) -> [&[u8]; 3] {
        debug_assert_eq!(self.codec, Codec::I420);
        planes(&self.data, self.width, self.height)
    }
}

/// The bytes of a raw picture, checked before memory is taken for it.
pub(super) fn raw_length(codec: Codec, width: u32, height: u32) -> Result<usize> {
    limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
    let length = codec.raw_length(width, height);
    length.ok_or_else(|| error!(InvalidInput, "{} is not a raw pixel layout: use i420 or bgr24", codec.name()))
}

/// Checks that a raw picture takes exactly these bytes.
pub(super) fn check_room(codec: Codec, (width, height): (u32, u32), room: &[u8]) -> Result<()> {
    let (expected, found) = (raw_length(codec, width, height)?, room.len());
    ensure!(
        found == expected,
        InvalidInput,
        "a picture of {width}x{height} takes {expected} bytes, and there are {found}"
    );
    Ok(())
}

/// Y, U and V within the bytes of an I420 picture of this size.
pub(super) fn planes(data: &[u8], width: u32, height: u32) -> [&[u8]; 3] {
    let (luma, chroma) = data.split_at(width as usize * height as usize);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    [luma, u, v]
}

/// Y, U and V within the bytes of an I420 picture of this size, to be written.
pub(super) fn planes_mut(data: &mut [u8], width: u32, height: u32) -> [&mut [u8]; 3] {
    let (luma, chroma) = data.split_at_mut(width as usize * height as usize);
    let (u, v) = chroma.split_at_mut(chroma.len() / 2);
    [luma, u, v]
}

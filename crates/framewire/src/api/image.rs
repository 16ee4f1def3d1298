//! Pixels or a JPEG, as programs give and get them.

use std::time::Instant;

use bytes::Bytes;
use framewire_proto::{Codec, Config, Micros, limits};

use crate::{
    clock,
    error::{Result, ensure, error},
    media::jpeg::{Jpeg, JpegEntry},
};

/// How an [`Image`]'s bytes stand for its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Rows of blue, green, red, one byte each, without padding: what OpenCV uses.
    Bgr,
    /// Rows of red, green, blue, one byte each, without padding.
    Rgb,
    /// Rows of one byte a pixel, 0 is black and 255 white.
    Gray,
    /// A full plane of Y, then U and V at half the width and height (rounded up), full-range BT.601 as JPEG has it.
    I420,
    /// One JPEG (ITU-T T.81), baseline or progressive.
    Jpeg,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: u16,
    height: u16,
    format: PixelFormat,
    data: Bytes,
    captured: Option<Instant>,
}

impl Image {
    /// A picture of these bytes, which are shared and not copied.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput): the size is out of bounds, or the bytes are more or fewer than
    /// it needs.
    pub fn new(format: PixelFormat, width: u32, height: u32, data: impl Into<Bytes>) -> Result<Self> {
        let data = data.into();
        if format == PixelFormat::Jpeg {
            return Self::jpeg(data);
        }
        Self::check_size(width, height)?;
        let expected = format.length(width, height);
        let found = data.len();
        ensure!(
            found == expected,
            InvalidInput,
            "{width}x{height} {format:?} takes {expected} bytes, but {found} were given"
        );
        // The limit of a side fits 16 bits.
        Ok(Self { width: width as u16, height: height as u16, format, data, captured: None })
    }

    /// Whether pictures of this size are handled at all.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput): the size is out of bounds.
    pub fn check_size(width: u32, height: u32) -> Result<()> {
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))
    }

    /// A JPEG; its header says its size. What other programs need and it lacks is added (Huffman tables, the end marker), and one
    /// that lies on its side by its EXIF data is turned.
    ///
    /// # Errors
    /// [`Error::InvalidData`](crate::Error::InvalidData): the header is not that of a JPEG that can be decoded here.
    pub fn jpeg(data: impl Into<Bytes>) -> Result<Self> {
        let Jpeg { data, width, height } = JpegEntry::default().admit(&data.into())?;
        Ok(Self { width, height, format: PixelFormat::Jpeg, data, captured: None })
    }

    /// The moment at which the picture was captured. Without it, that is when the picture is sent.
    #[must_use]
    pub fn captured_at(mut self, moment: Instant) -> Self {
        self.captured = Some(moment);
        self
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width.into()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height.into()
    }

    /// What the bytes stand for.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// The bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The bytes, without a copy.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// When the picture was captured, on the clock of this process.
    pub(super) fn captured(&self) -> Micros {
        let ago = self.captured.map_or(0, |moment| moment.elapsed().as_micros() as Micros);
        clock::now().saturating_sub(ago).max(1)
    }

    /// The same picture in a format that the hub knows.
    pub(super) fn for_hub(self, millifps: u32) -> (Config, Bytes) {
        let Self { width, height, format, data, .. } = self;
        let (codec, data) = match format {
            PixelFormat::Bgr => (Codec::Bgr24, data),
            PixelFormat::Rgb => {
                let mut pixels = data.to_vec();
                swap_red_and_blue(&mut pixels);
                (Codec::Bgr24, pixels.into())
            }
            PixelFormat::Gray => (Codec::I420, with_gray_chroma(&data, width.into(), height.into())),
            PixelFormat::I420 => (Codec::I420, data),
            PixelFormat::Jpeg => (Codec::Jpeg, data),
        };
        (Config::new(codec, width, height, millifps), data)
    }
}

impl PixelFormat {
    /// The format in which a decoder makes pictures for this one.
    pub(super) fn decoded(self) -> Codec {
        match self {
            Self::Bgr | Self::Rgb => Codec::Bgr24,
            Self::Gray | Self::I420 | Self::Jpeg => Codec::I420,
        }
    }

    /// The bytes of a picture of this size; 0 for a JPEG, whose length its content decides.
    pub fn length(self, width: u32, height: u32) -> usize {
        let pixels = width as usize * height as usize;
        match self {
            Self::Bgr | Self::Rgb => 3 * pixels,
            Self::Gray => pixels,
            Self::I420 => pixels + 2 * width.div_ceil(2) as usize * height.div_ceil(2) as usize,
            Self::Jpeg => 0,
        }
    }
}

/// BGR becomes RGB, and the other way round.
pub(super) fn swap_red_and_blue(pixels: &mut [u8]) {
    pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
}

fn with_gray_chroma(luma: &[u8], width: u32, height: u32) -> Bytes {
    let mut planes = Vec::with_capacity(PixelFormat::I420.length(width, height));
    planes.extend_from_slice(luma);
    planes.resize(planes.capacity(), 128);
    planes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn an_image_has_as_many_bytes_as_its_size_needs() {
        assert!(Image::new(PixelFormat::Bgr, 4, 2, vec![0; 24]).is_ok());
        assert!(Image::new(PixelFormat::I420, 3, 3, vec![0; 9 + 2 * 4]).is_ok());
        for (format, width, height, length) in [
            (PixelFormat::Bgr, 4, 2, 23),
            (PixelFormat::Gray, 4, 2, 9),
            (PixelFormat::Rgb, 0, 2, 0),
            (PixelFormat::Gray, 9000, 1, 9000),
        ] {
            let refused = Image::new(format, width, height, vec![0; length]);
            assert!(matches!(refused, Err(Error::InvalidInput(_))), "{format:?}: {refused:?}");
        }
        assert!(matches!(Image::jpeg(&b"not a jpeg"[..]), Err(Error::InvalidData(_))));
    }

    #[test]
    fn every_format_becomes_one_that_the_hub_knows() {
        let rgb = Image::new(PixelFormat::Rgb, 1, 1, vec![1, 2, 3]).unwrap();
        let (config, data) = rgb.for_hub(30_000);
        assert_eq!((config.codec, &data[..]), (Codec::Bgr24, &[3, 2, 1][..]));
        let (config, data) = Image::new(PixelFormat::Gray, 2, 2, vec![7; 4]).unwrap().for_hub(0);
        assert_eq!((config.codec, &data[..]), (Codec::I420, &[7, 7, 7, 7, 128, 128][..]));
    }
}

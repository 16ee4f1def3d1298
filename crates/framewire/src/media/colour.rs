//! I420 to BGR and back, both full-range BT.601.

use anyhow::Result;
use framewire_proto::Codec;
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

use super::{Picture, Pool, planes, planes_mut};

/// The same picture in this layout: itself where it has it already.
///
/// # Errors
/// `codec` is no layout of plain pixels.
pub fn convert(picture: &Picture, codec: Codec, pool: &Pool) -> Result<Picture> {
    if picture.codec == codec {
        return Ok(picture.clone());
    }
    let (width, height) = (picture.width, picture.height);
    let mut buffer = pool.take(super::raw_length(codec, width, height)?);
    match codec {
        Codec::Bgr24 => i420_to_bgr(&picture.data, &mut buffer, width, height)?,
        _ => bgr_to_i420(&picture.data, &mut buffer, width, height)?,
    }
    Picture::new(codec, width, height, buffer.freeze())
}

/// Fills the bytes of an I420 picture from those of a BGR picture of the same size.
pub(super) fn bgr_to_i420(bgr: &[u8], i420: &mut [u8], width: u32, height: u32) -> Result<()> {
    let [y, u, v] = planes_mut(i420, width, height);
    let chroma = width.div_ceil(2);
    let mut image = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width,
        height,
    };
    let mode = YuvConversionMode::Balanced;
    yuv::bgr_to_yuv420(&mut image, bgr, width * 3, YuvRange::Full, YuvStandardMatrix::Bt601, mode)?;
    Ok(())
}

/// Fills the bytes of a BGR picture from those of an I420 picture of the same size.
pub(super) fn i420_to_bgr(i420: &[u8], bgr: &mut [u8], width: u32, height: u32) -> Result<()> {
    let [y, u, v] = planes(i420, width, height);
    let chroma = width.div_ceil(2);
    let image = YuvPlanarImage {
        y_plane: y,
        y_stride: width,
        u_plane: u,
        u_stride: chroma,
        v_plane: v,
        v_stride: chroma,
        width,
        height,
    };
    yuv::yuv420_to_bgr(&image, bgr, width * 3, YuvRange::Full, YuvStandardMatrix::Bt601)?;
    Ok(())
}

//! I420 to BGR and back, both full-range BT.601; and video of other colour matrices and ranges to full-range BT.601.

use framewire_proto::Codec;
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

use super::{
    picture::{Picture, check_room, planes, planes_mut, raw_length},
    pool::Pool,
};
use crate::error::Result;

/// The picture in this pixel layout: the same picture where it has that layout already.
///
/// # Errors
/// `codec` is not a raw pixel layout.
pub fn convert(picture: &Picture, codec: Codec, pool: &Pool) -> Result<Picture> {
    if picture.codec() == codec {
        return Ok(picture.clone());
    }
    let (width, height) = (picture.width(), picture.height());
    let mut buffer = pool.take(raw_length(codec, width, height)?);
    match codec {
        Codec::Bgr24 => i420_to_bgr(picture.data(), &mut buffer, width, height)?,
        _ => bgr_to_i420(picture.data(), &mut buffer, width, height)?,
    }
    Picture::new(codec, width, height, buffer.freeze())
}

/// Fills these bytes with the picture in this pixel layout.
///
/// # Errors
/// `codec` is not a raw pixel layout, or the picture takes more or fewer bytes.
pub fn convert_into(picture: &Picture, codec: Codec, out: &mut [u8]) -> Result<()> {
    let (width, height) = (picture.width(), picture.height());
    check_room(codec, (width, height), out)?;
    match codec {
        same if same == picture.codec() => out.copy_from_slice(picture.data()),
        Codec::Bgr24 => i420_to_bgr(picture.data(), out, width, height)?,
        _ => bgr_to_i420(picture.data(), out, width, height)?,
    }
    Ok(())
}

/// Fills the bytes of an I420 picture from those of a BGR picture of the same size.
pub(super) fn bgr_to_i420(bgr: &[u8], i420: &mut [u8], width: u32, height: u32) -> Result<()> {
    let mut image = image_mut(i420, width, height);
    let mode = YuvConversionMode::Balanced;
    yuv::bgr_to_yuv420(&mut image, bgr, width * 3, YuvRange::Full, YuvStandardMatrix::Bt601, mode)?;
    Ok(())
}

/// Fills the bytes of an I420 picture from pixels of blue, green, red and an unused byte.
pub(super) fn bgra_to_i420(from: Plane<'_>, i420: &mut [u8], width: u32, height: u32) -> Result<()> {
    let stride = 4 * width;
    let mut tight = Vec::new();
    let bgra = if from.stride == stride as usize {
        from.data
    } else {
        // The yuv crate ignores a last row that is shorter than the stride.
        tight.resize(stride as usize * height as usize, 0);
        copy(from, &mut tight, stride as usize);
        &tight
    };
    let mut image = image_mut(i420, width, height);
    let mode = YuvConversionMode::Balanced;
    yuv::bgra_to_yuv420(&mut image, bgra, stride, YuvRange::Full, YuvStandardMatrix::Bt601, mode)?;
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

fn image_mut(i420: &mut [u8], width: u32, height: u32) -> YuvPlanarImageMut<'_, u8> {
    let [y, u, v] = planes_mut(i420, width, height);
    let chroma = width.div_ceil(2);
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width,
        height,
    }
}

/// Which colours the samples of a video stand for (ITU-T H.273, table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matrix {
    /// ITU-R BT.601, used by JPEG.
    Bt601,
    /// ITU-R BT.709, used by HD video.
    Bt709,
    /// ITU-R BT.2020.
    Bt2020,
    /// United States Federal Regulations of 2003.
    Fcc,
    /// SMPTE 240M.
    Smpte240,
}

/// A plane whose rows lie `stride` bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) data: &'a [u8],
    pub(super) stride: usize,
}

/// Fills the bytes of a full-range BT.601 I420 picture from 4:2:0 planes of this matrix and range.
pub(super) fn import(
    (matrix, full_range): (Matrix, bool),
    from: [Plane<'_>; 3],
    i420: &mut [u8],
    width: u32,
    height: u32,
) {
    let run = match (matrix, full_range) {
        (Matrix::Bt601, true) => copy_planes,
        (Matrix::Bt601, false) => VideoConverter::<2990, 1140, false>::convert,
        (Matrix::Bt709, true) => VideoConverter::<2126, 722, true>::convert,
        (Matrix::Bt709, false) => VideoConverter::<2126, 722, false>::convert,
        (Matrix::Bt2020, true) => VideoConverter::<2627, 593, true>::convert,
        (Matrix::Bt2020, false) => VideoConverter::<2627, 593, false>::convert,
        (Matrix::Fcc, true) => VideoConverter::<3000, 1100, true>::convert,
        (Matrix::Fcc, false) => VideoConverter::<3000, 1100, false>::convert,
        (Matrix::Smpte240, true) => VideoConverter::<2120, 870, true>::convert,
        (Matrix::Smpte240, false) => VideoConverter::<2120, 870, false>::convert,
    };
    run(from, i420, width, height);
}

fn copy_planes(from: [Plane<'_>; 3], i420: &mut [u8], width: u32, height: u32) {
    let half = width.div_ceil(2);
    for ((from, to), width) in from.into_iter().zip(planes_mut(i420, width, height)).zip([width, half, half]) {
        copy(from, to, width as usize);
    }
}

/// Converts video to full-range BT.601. `RED` and `BLUE` are the shares of red and blue in its luma, in ten-thousandths.
///
/// In 4:2:0 the new chroma depends only on the old chroma, and the new luma is the old luma plus a weighted sum of its chroma.
/// So one pass over the planes is enough. All numbers have 16 bits and the compiler knows the factors, so it multiplies eight
/// samples at a time on every machine: 0.15 ms at 1280x720, four times faster than with factors unknown to it.
struct VideoConverter<const RED: u32, const BLUE: u32, const FULL: bool>;

impl<const RED: u32, const BLUE: u32, const FULL: bool> VideoConverter<RED, BLUE, FULL> {
    const RANGE: f64 = if FULL { 1.0 } else { 255.0 / 219.0 };
    const SPAN: f64 = if FULL { 1.0 } else { 255.0 / 224.0 };
    const BLACK: i16 = if FULL { 0 } else { 16 };
    // What U and V add to blue, green and red, then to the luma of BT.601.
    const U_BLUE: f64 = 2.0 - 2.0 * BLUE as f64 / 1e4;
    const V_RED: f64 = 2.0 - 2.0 * RED as f64 / 1e4;
    const U_GREEN: f64 = -Self::U_BLUE * BLUE as f64 / (10_000 - RED - BLUE) as f64;
    const V_GREEN: f64 = -Self::V_RED * RED as f64 / (10_000 - RED - BLUE) as f64;
    const U_LUMA: f64 = 0.587 * Self::U_GREEN + 0.114 * Self::U_BLUE;
    const V_LUMA: f64 = 0.587 * Self::V_GREEN + 0.299 * Self::V_RED;
    const LUMA: i16 = fixed(Self::RANGE);
    const TO_LUMA: [i16; 2] = [fixed(Self::U_LUMA * Self::SPAN), fixed(Self::V_LUMA * Self::SPAN)];
    const TO_U: [i16; 2] =
        [fixed((Self::U_BLUE - Self::U_LUMA) * Self::SPAN / 1.772), fixed(-Self::V_LUMA * Self::SPAN / 1.772)];
    const TO_V: [i16; 2] =
        [fixed(-Self::U_LUMA * Self::SPAN / 1.402), fixed((Self::V_RED - Self::V_LUMA) * Self::SPAN / 1.402)];

    fn convert(from: [Plane<'_>; 3], i420: &mut [u8], width: u32, height: u32) {
        let [y, u, v] = planes_mut(i420, width, height);
        let (width, half) = (width as usize, width.div_ceil(2) as usize);
        let mut offsets = vec![0; 2 * half];
        let rows = u.chunks_exact_mut(half).zip(v.chunks_exact_mut(half));
        for (row, ((u, v), y)) in rows.zip(y.chunks_mut(2 * width)).enumerate() {
            Self::chroma(from[1].row(row, half), from[2].row(row, half), u, v, &mut offsets);
            for (line, y) in y.chunks_exact_mut(width).enumerate() {
                Self::luma(from[0].row(2 * row + line, width), &offsets, y);
            }
        }
    }

    // Not inlined: the compiler then knows that the slices do not overlap, and vectorizes.
    #[inline(never)]
    fn chroma(from_u: &[u8], from_v: &[u8], to_u: &mut [u8], to_v: &mut [u8], offsets: &mut [i16]) {
        let from = from_u.iter().zip(from_v);
        for (((to_u, to_v), offset), (u, v)) in to_u.iter_mut().zip(to_v).zip(offsets.chunks_exact_mut(2)).zip(from) {
            let (u, v) = (i16::from(*u).wrapping_sub(128) << 7, i16::from(*v).wrapping_sub(128) << 7);
            let sum = |[by_u, by_v]: [i16; 2]| high(u, by_u).wrapping_add(high(v, by_v));
            *to_u = sample(sum(Self::TO_U).wrapping_add(128 << 5));
            *to_v = sample(sum(Self::TO_V).wrapping_add(128 << 5));
            offset.fill(sum(Self::TO_LUMA));
        }
    }

    #[inline(never)]
    fn luma(from: &[u8], offsets: &[i16], to: &mut [u8]) {
        for ((to, y), offset) in to.iter_mut().zip(from).zip(offsets) {
            let y = i16::from(*y).wrapping_sub(Self::BLACK) << 7;
            *to = sample(high(y, Self::LUMA).wrapping_add(*offset));
        }
    }
}

impl<'a> Plane<'a> {
    fn row(&self, row: usize, width: usize) -> &'a [u8] {
        &self.data[row * self.stride..][..width]
    }
}

fn copy(from: Plane<'_>, to: &mut [u8], width: usize) {
    if from.stride == width {
        to.copy_from_slice(&from.data[..to.len()]);
        return;
    }
    for (row, to) in to.chunks_exact_mut(width).enumerate() {
        to.copy_from_slice(from.row(row, width));
    }
}

/// A factor in 1/16384, rounded.
const fn fixed(factor: f64) -> i16 {
    (factor * 16384.0 + if factor < 0.0 { -0.5 } else { 0.5 }) as i16
}

/// A value in 1/128 times a factor in 1/16384, in 1/32.
fn high(value: i16, factor: i16) -> i16 {
    (i32::from(value).wrapping_mul(i32::from(factor)) >> 16) as i16
}

/// A value in 1/32 as a sample. To round, 17 instead of 16 is added, because each product was rounded down.
fn sample(value: i16) -> u8 {
    (value.wrapping_add(17) >> 5).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use framewire_proto::Codec;

    use super::*;

    const MATRICES: [Matrix; 5] = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020, Matrix::Fcc, Matrix::Smpte240];

    /// Y, U and V of a colour, in this matrix and range.
    fn encoded([r, g, b]: [f64; 3], matrix: Matrix, full_range: bool) -> [u8; 3] {
        let (red, blue) = match matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
            Matrix::Fcc => (0.3, 0.11),
            Matrix::Smpte240 => (0.212, 0.087),
        };
        let y = red * r + (1.0 - red - blue) * g + blue * b;
        let (u, v) = ((b - y) / (2.0 * (1.0 - blue)), (r - y) / (2.0 * (1.0 - red)));
        let (black, luma, chroma) = if full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
        [black + y * luma, 128.0 + u * chroma, 128.0 + v * chroma].map(|value: f64| value.round() as u8)
    }

    #[test]
    fn every_matrix_and_range_becomes_full_range_bt601() {
        let levels = [0.0, 0.25, 0.5, 0.8, 1.0];
        for (matrix, full) in MATRICES.into_iter().flat_map(|matrix| [(matrix, true), (matrix, false)]) {
            for colour in 0..125 {
                let colour = [levels[colour % 5], levels[colour / 5 % 5], levels[colour / 25]];
                let [y, u, v] = encoded(colour, matrix, full);
                // 35x3, to test odd sizes, strides and the remainders of vectors.
                let (y, u, v) = ([y; 120], [u; 40], [v; 40]);
                let plane = |data, stride| Plane { data, stride };
                let mut out = vec![0; Codec::I420.raw_length(35, 3).unwrap()];
                let planes = [plane(&y[..], 40), plane(&u[..], 20), plane(&v[..], 20)];
                import((matrix, full), planes, &mut out, 35, 3);
                let expected = encoded(colour, Matrix::Bt601, true);
                for (plane, expected) in planes_mut(&mut out, 35, 3).into_iter().zip(expected) {
                    let off = plane.iter().map(|value| value.abs_diff(expected)).max().unwrap();
                    assert!(off <= 2, "{colour:?} in {matrix:?}, full range {full}: {off} off");
                }
            }
        }
    }

    #[test]
    fn colours_survive_bgr() {
        let pool = Pool::default();
        for colour in [[0, 0, 0], [255, 255, 255], [0, 0, 255], [0, 255, 0], [255, 0, 0], [40, 120, 200]] {
            let bgr = Picture::new(Codec::Bgr24, 6, 4, colour.repeat(24).into()).unwrap();
            let back = convert(&convert(&bgr, Codec::I420, &pool).unwrap(), Codec::Bgr24, &pool).unwrap();
            let off = bgr.data().iter().zip(back.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(off <= 3, "{colour:?}: {off} off");
        }
    }
}

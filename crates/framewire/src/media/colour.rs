//! I420 to BGR and back, both full-range BT.601, and video of other matrices and ranges to it.

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
    let mut image = image_mut(i420, width, height);
    let mode = YuvConversionMode::Balanced;
    yuv::bgr_to_yuv420(&mut image, bgr, width * 3, YuvRange::Full, YuvStandardMatrix::Bt601, mode)?;
    Ok(())
}

/// Fills the bytes of an I420 picture from rows of blue, green, red and one more byte, `stride` bytes apart.
pub(super) fn bgra_to_i420(bgra: &[u8], stride: u32, i420: &mut [u8], width: u32, height: u32) -> Result<()> {
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

/// Which colours the numbers of a video stand for: the shares of red and blue in its luma (ITU-T H.273, table 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix {
    pub(super) red: f64,
    pub(super) blue: f64,
}

/// ITU-R BT.601, which JPEG has.
pub(super) const BT601: Matrix = Matrix { red: 0.299, blue: 0.114 };
/// ITU-R BT.709, which HD video has.
pub(super) const BT709: Matrix = Matrix { red: 0.2126, blue: 0.0722 };
/// ITU-R BT.2020.
pub(super) const BT2020: Matrix = Matrix { red: 0.2627, blue: 0.0593 };

/// Turns 4:2:0 planes of some matrix and range into full-range BT.601.
///
/// In 4:2:0 the new chroma depends on the old chroma alone, and the new luma is the old one plus a sum of the chroma that
/// lies over it, so one pass without leaving the planes does it. All numbers are 16 bits wide, so that the compiler makes
/// vectors of them on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transform {
    black: i16,
    /// Factors in 1/16384: luma to luma, then U and V to luma, U and V to U, U and V to V.
    luma: i16,
    to_luma: [i16; 2],
    to_u: [i16; 2],
    to_v: [i16; 2],
}

/// A plane whose rows lie `stride` bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) data: &'a [u8],
    pub(super) stride: usize,
}

impl Transform {
    pub(super) fn new(from: Matrix, full_range: bool) -> Self {
        let (range, span) = if full_range { (1.0, 1.0) } else { (255.0 / 219.0, 255.0 / 224.0) };
        let Matrix { red, blue } = from;
        let green = 1.0 - red - blue;
        // What U and V add to red, green and blue, then to the luma of BT.601.
        let (u_blue, v_red) = (2.0 * (1.0 - blue), 2.0 * (1.0 - red));
        let (u_green, v_green) = (-u_blue * blue / green, -v_red * red / green);
        let our_green = 1.0 - BT601.red - BT601.blue;
        let u_luma = our_green * u_green + BT601.blue * u_blue;
        let v_luma = our_green * v_green + BT601.red * v_red;
        let (to_u, to_v) = (2.0 * (1.0 - BT601.blue), 2.0 * (1.0 - BT601.red));
        let fixed = |factor: f64| (factor * 16384.0).round() as i16;
        Self {
            black: if full_range { 0 } else { 16 },
            luma: fixed(range),
            to_luma: [u_luma, v_luma].map(|factor| fixed(factor * span)),
            to_u: [u_blue - u_luma, -v_luma].map(|factor| fixed(factor * span / to_u)),
            to_v: [-u_luma, v_red - v_luma].map(|factor| fixed(factor * span / to_v)),
        }
    }

    /// Fills the bytes of an I420 picture from these planes.
    pub(super) fn apply(&self, from: [Plane<'_>; 3], i420: &mut [u8], width: u32, height: u32) {
        let [y, u, v] = planes_mut(i420, width, height);
        let (width, half) = (width as usize, width.div_ceil(2) as usize);
        if *self == Self::new(BT601, true) {
            copy(from[0], y, width);
            copy(from[1], u, half);
            copy(from[2], v, half);
            return;
        }
        let mut offsets = vec![0; 2 * half];
        let rows = u.chunks_exact_mut(half).zip(v.chunks_exact_mut(half));
        for (row, ((u, v), y)) in rows.zip(y.chunks_mut(2 * width)).enumerate() {
            let (from_u, from_v) = (from[1].row(row, half), from[2].row(row, half));
            self.chroma(from_u, from_v, u, v, &mut offsets);
            for (line, y) in y.chunks_exact_mut(width).enumerate() {
                self.luma(from[0].row(2 * row + line, width), &offsets, y);
            }
        }
    }

    fn chroma(&self, from_u: &[u8], from_v: &[u8], to_u: &mut [u8], to_v: &mut [u8], offsets: &mut [i16]) {
        let from = from_u.iter().zip(from_v);
        for (((to_u, to_v), offset), (u, v)) in to_u.iter_mut().zip(to_v).zip(offsets.chunks_exact_mut(2)).zip(from) {
            let (u, v) = (i16::from(*u).wrapping_sub(128) << 7, i16::from(*v).wrapping_sub(128) << 7);
            let sum = |[by_u, by_v]: [i16; 2]| high(u, by_u).wrapping_add(high(v, by_v));
            *to_u = sample(sum(self.to_u).wrapping_add(128 << 5));
            *to_v = sample(sum(self.to_v).wrapping_add(128 << 5));
            offset.fill(sum(self.to_luma));
        }
    }

    fn luma(&self, from: &[u8], offsets: &[i16], to: &mut [u8]) {
        for ((to, y), offset) in to.iter_mut().zip(from).zip(offsets) {
            let y = i16::from(*y).wrapping_sub(self.black) << 7;
            *to = sample(high(y, self.luma).wrapping_add(*offset));
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

/// A value in 1/128 times a factor in 1/16384, in 1/32.
fn high(value: i16, factor: i16) -> i16 {
    (i32::from(value).wrapping_mul(i32::from(factor)) >> 16) as i16
}

/// A value in 1/32 as a sample. 17 and not 16 are added, since each product before was rounded down.
fn sample(value: i16) -> u8 {
    (value.wrapping_add(17) >> 5).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use framewire_proto::Codec;

    use super::*;

    /// Y, U and V of a colour, in this matrix and range.
    fn coded([r, g, b]: [f64; 3], Matrix { red, blue }: Matrix, full_range: bool) -> [u8; 3] {
        let y = red * r + (1.0 - red - blue) * g + blue * b;
        let (u, v) = ((b - y) / (2.0 * (1.0 - blue)), (r - y) / (2.0 * (1.0 - red)));
        let (black, luma, chroma) = if full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
        [black + y * luma, 128.0 + u * chroma, 128.0 + v * chroma].map(|value: f64| value.round() as u8)
    }

    #[test]
    fn every_matrix_and_range_becomes_full_range_bt601() {
        let levels = [0.0, 0.25, 0.5, 0.8, 1.0];
        for (matrix, full) in [(BT601, true), (BT601, false), (BT709, true), (BT709, false), (BT2020, false)] {
            for colour in 0..125 {
                let colour = [levels[colour % 5], levels[colour / 5 % 5], levels[colour / 25]];
                let [y, u, v] = coded(colour, matrix, full);
                // 35x3, so that odd sizes, strides and the vectors' remainders take part.
                let (y, u, v) = ([y; 120], [u; 40], [v; 40]);
                let plane = |data, stride| Plane { data, stride };
                let mut out = vec![0; Codec::I420.raw_length(35, 3).unwrap()];
                let planes = [plane(&y[..], 40), plane(&u[..], 20), plane(&v[..], 20)];
                Transform::new(matrix, full).apply(planes, &mut out, 35, 3);
                let expected = coded(colour, BT601, true);
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

//! Pictures in other sizes, and FFmpeg's frames of any kind as pictures.
#![allow(unsafe_code, reason = "FFmpeg's scaler behind an owned type")]

use std::{ffi::c_int, ptr};

use ffmpeg_the_third::ffi::{self, AVColorRange, AVColorSpace, AVPixelFormat};
use framewire_proto::{Codec, limits};

use super::{
    Picture, Pool, av,
    colour::{self, Matrix, Plane},
};
use crate::error::{Result, ensure, error};

/// Rows of swscale's pictures begin at multiples of this, and it may write and read so far past their ends.
const ALIGN: usize = 64;
/// Video at least this high or wide that does not say its matrix is taken for HD.
const HD: (u32, u32) = (1280, 577);

/// Brings pictures to another size and layout.
#[derive(Default)]
pub struct Scaler {
    software: Software,
    padded: Vec<u8>,
    pool: Pool,
}

/// Makes pictures of FFmpeg's frames: full-range BT.601 I420, whatever they were.
#[derive(Default)]
pub(super) struct Importer {
    software: Software,
    pool: Pool,
}

impl Scaler {
    /// A scaler.
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture in this size and layout; itself where it has both.
    ///
    /// # Errors
    /// The size is over the limit, or `codec` is no layout of plain pixels.
    pub fn scale(&mut self, picture: &Picture, (width, height): (u32, u32), codec: Codec) -> Result<Picture> {
        if (picture.width, picture.height) == (width, height) {
            return colour::convert(picture, codec, &self.pool);
        }
        let length = super::raw_length(Codec::I420, width, height)?;
        let picture = colour::convert(picture, Codec::I420, &self.pool)?;
        let [y, u, v] = picture.planes();
        // What follows the last plane is not ours to be read.
        self.padded.clear();
        self.padded.extend_from_slice(v);
        self.padded.resize(v.len() + ALIGN, 0);
        let half = picture.width.div_ceil(2) as c_int;
        let from = Source {
            format: AVPixelFormat::YUV420P,
            size: (picture.width as c_int, picture.height as c_int),
            data: [y.as_ptr(), u.as_ptr(), self.padded.as_ptr(), ptr::null()],
            stride: [picture.width as c_int, half, half, 0],
        };
        let planes = self.software.run(&from, (width, height), AVPixelFormat::YUV420P)?;
        let mut buffer = self.pool.take(length);
        colour::import((Matrix::Bt601, true), planes, &mut buffer, width, height);
        let scaled = Picture::new(Codec::I420, width, height, buffer.freeze())?;
        colour::convert(&scaled, codec, &self.pool)
    }
}

impl Importer {
    /// The frame as a picture. What does not say its matrix is taken for BT.709 in HD sizes and BT.601 below, but always for
    /// BT.601 when it is `raw`: as cameras and programs give it.
    pub(super) fn import(&mut self, frame: &av::Frame, raw: bool) -> Result<Picture> {
        let fields = frame.fields();
        let (width, height) = (fields.width.unsigned_abs(), fields.height.unsigned_abs());
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        let mut buffer = self.pool.take(super::raw_length(Codec::I420, width, height)?);
        let (plain, full) = plain(AVPixelFormat(fields.format));
        let stride = fields.linesize[0];
        if [AVPixelFormat::BGR0, AVPixelFormat::BGRA].contains(&plain) && stride > 0 {
            // SAFETY: a frame of this format has `height` rows of 4 x width bytes, `stride` apart.
            let data = unsafe { rows(fields.data[0], stride, 4 * width as usize, height as usize) };
            colour::bgra_to_i420(data, &mut buffer, width, height)?;
            return Picture::new(Codec::I420, width, height, buffer.freeze());
        }
        let kind = Kind::of(plain);
        let full = match fields.color_range {
            _ if kind == Kind::Rgb => true,
            AVColorRange::UNSPECIFIED => full || kind == Kind::Grey,
            range => range == AVColorRange::JPEG,
        };
        let matrix = match fields.colorspace {
            _ if kind != Kind::Yuv => Matrix::Bt601,
            AVColorSpace::BT709 => Matrix::Bt709,
            AVColorSpace::BT2020_NCL | AVColorSpace::BT2020_CL => Matrix::Bt2020,
            AVColorSpace::SMPTE240M => Matrix::Smpte240,
            AVColorSpace::FCC => Matrix::Fcc,
            AVColorSpace::UNSPECIFIED if !raw && (width >= HD.0 || height >= HD.1) => Matrix::Bt709,
            _ => Matrix::Bt601,
        };
        colour::import((matrix, full), self.planes(fields, plain, kind)?, &mut buffer, width, height);
        Picture::new(Codec::I420, width, height, buffer.freeze())
    }

    /// The frame's planes in 4:2:0 and 8 bits, in its own matrix and range.
    fn planes<'a>(&'a mut self, fields: &'a ffi::AVFrame, plain: AVPixelFormat, kind: Kind) -> Result<[Plane<'a>; 3]> {
        let (width, height) = (fields.width as usize, fields.height as usize);
        let (half, strides) = ((width.div_ceil(2), height.div_ceil(2)), &fields.linesize);
        if plain == AVPixelFormat::YUV420P && strides[..3].iter().all(|stride| *stride > 0) {
            // SAFETY: a frame of this format has planes of this size, its rows `stride` apart.
            return Ok(unsafe {
                [
                    rows(fields.data[0], strides[0], width, height),
                    rows(fields.data[1], strides[1], half.0, half.1),
                    rows(fields.data[2], strides[2], half.0, half.1),
                ]
            });
        }
        let from = Source {
            format: plain,
            size: (fields.width, fields.height),
            data: [fields.data[0], fields.data[1], fields.data[2], fields.data[3]].map(<*mut u8>::cast_const),
            stride: [strides[0], strides[1], strides[2], strides[3]],
        };
        // To swscale grey and RGB are full-range, and what is to stay so must become full-range.
        let to = if kind == Kind::Yuv { AVPixelFormat::YUV420P } else { AVPixelFormat::YUVJ420P };
        self.software.run(&from, (width as u32, height as u32), to)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Yuv,
    Grey,
    Rgb,
}

impl Kind {
    fn of(format: AVPixelFormat) -> Self {
        // SAFETY: looks into a constant table; null for what is not in it.
        let Some(description) = (unsafe { ffi::av_pix_fmt_desc_get(format).as_ref() }) else { return Self::Yuv };
        let is = |flag: c_int| description.flags & flag as u64 != 0;
        if is(ffi::AV_PIX_FMT_FLAG_RGB as c_int) || is(ffi::AV_PIX_FMT_FLAG_PAL as c_int) {
            Self::Rgb
        } else if description.nb_components < 3 {
            Self::Grey
        } else {
            Self::Yuv
        }
    }
}

/// A format without the old names for full range, and whether it had one.
fn plain(format: AVPixelFormat) -> (AVPixelFormat, bool) {
    match format {
        AVPixelFormat::YUVJ420P => (AVPixelFormat::YUV420P, true),
        AVPixelFormat::YUVJ422P => (AVPixelFormat::YUV422P, true),
        AVPixelFormat::YUVJ444P => (AVPixelFormat::YUV444P, true),
        AVPixelFormat::YUVJ440P => (AVPixelFormat::YUV440P, true),
        AVPixelFormat::YUVJ411P => (AVPixelFormat::YUV411P, true),
        other => (other, false),
    }
}

/// # Safety
/// `data` points to `height` rows of `width` bytes, `stride` apart, that live and stay as they are for `'a`.
unsafe fn rows<'a>(data: *const u8, stride: c_int, width: usize, height: usize) -> Plane<'a> {
    let stride = stride as usize;
    // SAFETY: as the caller promises; the last row need not be as long as the stride.
    Plane { data: unsafe { std::slice::from_raw_parts(data, stride * (height - 1) + width) }, stride }
}

/// What swscale reads.
struct Source {
    format: AVPixelFormat,
    size: (c_int, c_int),
    data: [*const u8; 4],
    stride: [c_int; 4],
}

/// swscale, and the picture it writes.
struct Software {
    context: *mut ffi::SwsContext,
    out: Vec<u8>,
}

// SAFETY: a context is bound to no thread; it is used by whoever holds it, one at a time.
unsafe impl Send for Software {}

impl Default for Software {
    fn default() -> Self {
        Self { context: ptr::null_mut(), out: Vec::new() }
    }
}

impl Software {
    /// Writes the source in this size as 4:2:0 planes.
    fn run(&mut self, from: &Source, (width, height): (u32, u32), to: AVPixelFormat) -> Result<[Plane<'_>; 3]> {
        av::quiet();
        let (size, none) = ((width as c_int, height as c_int), ptr::null_mut());
        // SAFETY: the context is null or ours, and is freed or used again by this.
        self.context = unsafe {
            ffi::sws_getCachedContext(
                self.context,
                from.size.0,
                from.size.1,
                from.format,
                size.0,
                size.1,
                to,
                ffi::SWS_BILINEAR,
                none,
                none,
                ptr::null(),
            )
        };
        ensure!(
            !self.context.is_null(),
            Unsupported,
            "a picture of FFmpeg's format {} cannot be converted",
            from.format.0
        );
        let stride = (width as usize).next_multiple_of(2 * ALIGN);
        let (luma, chroma) = (stride * height as usize, stride / 2 * height.div_ceil(2) as usize);
        self.out.resize(luma + 2 * chroma + ALIGN, 0);
        let start = self.out.as_mut_ptr();
        // SAFETY: within the buffer that was just made so long.
        let planes = unsafe { [start, start.add(luma), start.add(luma + chroma), ptr::null_mut()] };
        let strides = [stride as c_int, stride as c_int / 2, stride as c_int / 2, 0];
        let (data, pitch) = (from.data.as_ptr(), from.stride.as_ptr());
        // SAFETY: the context was made for these sizes and formats; the source's planes are as its maker promises.
        let code =
            unsafe { ffi::sws_scale(self.context, data, pitch, 0, from.size.1, planes.as_ptr(), strides.as_ptr()) };
        av::check(code, "a picture cannot be scaled")?;
        let (luma, rest) = self.out.split_at(luma);
        let plane = |data, stride| Plane { data, stride };
        Ok([plane(luma, stride), plane(&rest[..chroma], stride / 2), plane(&rest[chroma..], stride / 2)])
    }
}

impl Drop for Software {
    fn drop(&mut self) {
        // SAFETY: the context is ours, or null.
        unsafe { ffi::sws_freeContext(self.context) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_colours_and_edges_at_any_size() {
        let mut data = vec![0; Codec::I420.raw_length(65, 49).unwrap()];
        let [y, u, v] = crate::media::planes_mut(&mut data, 65, 49);
        for row in y.chunks_exact_mut(65) {
            row[..32].fill(200);
            row[32..].fill(50);
        }
        u.fill(90);
        v.fill(170);
        let picture = Picture::new(Codec::I420, 65, 49, data.into()).unwrap();
        let mut scaler = Scaler::new();
        for size in [(1, 1), (2, 2), (33, 17), (64, 64), (127, 253), (1280, 720), (65, 49)] {
            let scaled = scaler.scale(&picture, size, Codec::I420).unwrap();
            assert_eq!((scaled.width(), scaled.height()), size);
            let [y, u, v] = scaled.planes();
            if size.0 > 8 {
                let row = &y[..size.0 as usize];
                assert!(row[size.0 as usize / 4].abs_diff(200) <= 1 && row[size.0 as usize * 3 / 4].abs_diff(50) <= 1);
            }
            assert!(u.iter().all(|value| value.abs_diff(90) <= 1) && v.iter().all(|value| value.abs_diff(170) <= 1));
            let bgr = scaler.scale(&picture, size, Codec::Bgr24).unwrap();
            assert_eq!(bgr.data().len(), 3 * (size.0 * size.1) as usize);
        }
        assert!(scaler.scale(&picture, (9000, 1), Codec::I420).is_err());
        assert!(scaler.scale(&picture, (8, 8), Codec::Jpeg).is_err());
    }
}

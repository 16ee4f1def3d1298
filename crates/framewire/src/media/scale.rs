//! Pictures to other sizes, and FFmpeg's frames of any pixel format to pictures.
#![allow(unsafe_code, reason = "FFmpeg's scaler behind an owned type")]

use std::{ffi::c_int, ptr};

use ffmpeg_sys_the_third::{self as ffi, AVColorRange, AVColorSpace, AVPixelFormat};
use framewire_proto::{Codec, Orientation, PixelAspect, Presentation, limits};

use super::{
    av::{self, AvFrame},
    colour::{self, Matrix, Plane},
    picture::{Picture, raw_length},
    pool::Pool,
    turn,
};
use crate::error::{Result, ensure, error};

/// swscale's alignment of rows in bytes. It may also read and write this far past a row's end.
const ALIGN: usize = 64;
/// Video at least this wide or this high is HD: without a stated colour matrix it is taken for BT.709.
const HD: (u32, u32) = (1280, 577);

/// Scales pictures, and converts their pixel layout.
#[derive(Default)]
pub struct Scaler {
    scale: Swscale,
    padded: Vec<u8>,
    pool: Pool,
}

/// Converts FFmpeg's frames of any pixel format to full-range BT.601 I420.
#[derive(Default)]
pub(super) struct Importer {
    scale: Swscale,
    pool: Pool,
}

impl Scaler {
    /// Creates a scaler.
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture in this size and pixel layout: the same picture where it has both already.
    ///
    /// # Errors
    /// The size is over the limit, or `codec` is not a raw pixel layout.
    pub fn scale(&mut self, picture: &Picture, (width, height): (u32, u32), codec: Codec) -> Result<Picture> {
        if (picture.width(), picture.height()) == (width, height) {
            return colour::convert(picture, codec, &self.pool);
        }
        let length = raw_length(Codec::I420, width, height)?;
        let picture = colour::convert(picture, Codec::I420, &self.pool)?;
        let [y, u, v] = picture.planes();
        // swscale may read past the end of the last plane.
        self.padded.clear();
        self.padded.extend_from_slice(v);
        self.padded.resize(v.len() + ALIGN, 0);
        let half = picture.width().div_ceil(2) as c_int;
        let from = SwscaleInput {
            format: AVPixelFormat::YUV420P,
            size: (picture.width() as c_int, picture.height() as c_int),
            data: [y.as_ptr(), u.as_ptr(), self.padded.as_ptr(), ptr::null()],
            stride: [picture.width() as c_int, half, half, 0],
        };
        let planes = self.scale.run(&from, (width, height), AVPixelFormat::YUV420P)?;
        let mut buffer = self.pool.take(length);
        colour::import((Matrix::Bt601, true), planes, &mut buffer, width, height);
        let scaled = Picture::new(Codec::I420, width, height, buffer.freeze())?;
        colour::convert(&scaled, codec, &self.pool)
    }
}

impl Importer {
    /// The frame as a picture that is upright and has square pixels. What `stated` leaves open, the frame's own data say. A frame
    /// without a stated colour matrix is taken for BT.709 in HD sizes, else for BT.601; a `raw` one, from a camera or screen, always
    /// for BT.601.
    pub(super) fn import(&mut self, frame: &AvFrame, raw: bool, stated: Presentation) -> Result<Picture> {
        let own = frame.presentation();
        let either = |stated: Orientation, own| if stated == Orientation::UPRIGHT { own } else { stated };
        let orientation = either(stated.orientation, own.orientation);
        let square = if stated.pixel_aspect == PixelAspect::SQUARE { own.pixel_aspect } else { stated.pixel_aspect };
        let picture = self.convert(frame, raw, square)?;
        turn::turn(&picture, orientation, &self.pool)
    }

    fn convert(&mut self, frame: &AvFrame, raw: bool, pixel_aspect: PixelAspect) -> Result<Picture> {
        let fields = frame.fields();
        let coded = (fields.width.unsigned_abs(), fields.height.unsigned_abs());
        limits::check_size(coded.0, coded.1).map_err(|why| error!(InvalidInput, "{why}"))?;
        let (width, height) = pixel_aspect.square_size(coded);
        let mut buffer = self.pool.take(raw_length(Codec::I420, width, height)?);
        let (format, full) = without_range(AVPixelFormat(fields.format));
        let stride = fields.linesize[0];
        if [AVPixelFormat::BGR0, AVPixelFormat::BGRA].contains(&format) && stride > 0 && (width, height) == coded {
            // SAFETY: a frame of this format has `height` rows of 4 x width bytes, `stride` apart.
            let data = unsafe { rows(fields.data[0], stride, 4 * width as usize, height as usize) };
            colour::bgra_to_i420(data, &mut buffer, width, height)?;
            return Picture::new(Codec::I420, width, height, buffer.freeze());
        }
        let model = ColourModel::of(format);
        let full = match fields.color_range {
            _ if model == ColourModel::Rgb => true,
            AVColorRange::UNSPECIFIED => full || model == ColourModel::Grey,
            range => range == AVColorRange::JPEG,
        };
        let matrix = match fields.colorspace {
            _ if model != ColourModel::Yuv => Matrix::Bt601,
            AVColorSpace::BT709 => Matrix::Bt709,
            AVColorSpace::BT2020_NCL | AVColorSpace::BT2020_CL => Matrix::Bt2020,
            AVColorSpace::SMPTE240M => Matrix::Smpte240,
            AVColorSpace::FCC => Matrix::Fcc,
            AVColorSpace::UNSPECIFIED if !raw && (coded.0 >= HD.0 || coded.1 >= HD.1) => Matrix::Bt709,
            _ => Matrix::Bt601,
        };
        colour::import(
            (matrix, full),
            self.planes(fields, format, model, (width, height))?,
            &mut buffer,
            width,
            height,
        );
        Picture::new(Codec::I420, width, height, buffer.freeze())
    }

    /// The frame's planes as 4:2:0 of 8 bits in this size, in its own colour matrix and range.
    fn planes<'a>(
        &'a mut self,
        fields: &'a ffi::AVFrame,
        format: AVPixelFormat,
        model: ColourModel,
        size: (u32, u32),
    ) -> Result<[Plane<'a>; 3]> {
        let (width, height) = (fields.width as usize, fields.height as usize);
        let same_size = size == (fields.width as u32, fields.height as u32);
        let (half, strides) = ((width.div_ceil(2), height.div_ceil(2)), &fields.linesize);
        if same_size && format == AVPixelFormat::YUV420P && strides[..3].iter().all(|stride| *stride > 0) {
            // SAFETY: a frame of this format has planes of this size, with rows `stride` apart.
            return Ok(unsafe {
                [
                    rows(fields.data[0], strides[0], width, height),
                    rows(fields.data[1], strides[1], half.0, half.1),
                    rows(fields.data[2], strides[2], half.0, half.1),
                ]
            });
        }
        let from = SwscaleInput {
            format,
            size: (fields.width, fields.height),
            data: [fields.data[0], fields.data[1], fields.data[2], fields.data[3]].map(<*mut u8>::cast_const),
            stride: [strides[0], strides[1], strides[2], strides[3]],
        };
        // swscale treats grey and RGB as full-range. To keep that range, the result must be full-range too.
        let to = if model == ColourModel::Yuv { AVPixelFormat::YUV420P } else { AVPixelFormat::YUVJ420P };
        self.scale.run(&from, size, to)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ColourModel {
    Yuv,
    Grey,
    Rgb,
}

impl ColourModel {
    fn of(format: AVPixelFormat) -> Self {
        // SAFETY: reads a constant table. The result is null for an unknown format.
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

/// A format under its name without a range, and whether its old name stands for full range.
fn without_range(format: AVPixelFormat) -> (AVPixelFormat, bool) {
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
/// `data` points to `height` rows of `width` bytes, `stride` apart, that live and do not change for `'a`.
unsafe fn rows<'a>(data: *const u8, stride: c_int, width: usize, height: usize) -> Plane<'a> {
    let stride = stride as usize;
    // SAFETY: the caller guarantees it. The last row may be shorter than the stride.
    Plane { data: unsafe { std::slice::from_raw_parts(data, stride * (height - 1) + width) }, stride }
}

/// The picture that swscale reads.
struct SwscaleInput {
    format: AVPixelFormat,
    size: (c_int, c_int),
    data: [*const u8; 4],
    stride: [c_int; 4],
}

/// FFmpeg's swscale, and the picture that it writes.
struct Swscale {
    context: *mut ffi::SwsContext,
    out: Vec<u8>,
}

// SAFETY: a context is bound to no thread, and only its owner uses it.
unsafe impl Send for Swscale {}

impl Default for Swscale {
    fn default() -> Self {
        Self { context: ptr::null_mut(), out: Vec::new() }
    }
}

impl Swscale {
    /// Converts the source to 4:2:0 planes of this size.
    fn run(&mut self, from: &SwscaleInput, (width, height): (u32, u32), to: AVPixelFormat) -> Result<[Plane<'_>; 3]> {
        av::quiet();
        let (size, none) = ((width as c_int, height as c_int), ptr::null_mut());
        // SAFETY: the context is null or ours. The call frees it or returns it again.
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
            "pictures of FFmpeg's pixel format {} cannot be converted",
            from.format.0
        );
        let stride = (width as usize).next_multiple_of(2 * ALIGN);
        let (luma, chroma) = (stride * height as usize, stride / 2 * height.div_ceil(2) as usize);
        self.out.resize(luma + 2 * chroma + ALIGN, 0);
        let start = self.out.as_mut_ptr();
        // SAFETY: within the buffer, which was just resized for it.
        let planes = unsafe { [start, start.add(luma), start.add(luma + chroma), ptr::null_mut()] };
        let strides = [stride as c_int, stride as c_int / 2, stride as c_int / 2, 0];
        let (data, pitch) = (from.data.as_ptr(), from.stride.as_ptr());
        // SAFETY: the context was made for these sizes and formats, and so were the planes on both sides.
        let code =
            unsafe { ffi::sws_scale(self.context, data, pitch, 0, from.size.1, planes.as_ptr(), strides.as_ptr()) };
        av::check(code, "a picture cannot be scaled")?;
        let (luma, rest) = self.out.split_at(luma);
        let plane = |data, stride| Plane { data, stride };
        Ok([plane(luma, stride), plane(&rest[..chroma], stride / 2), plane(&rest[chroma..], stride / 2)])
    }
}

impl Drop for Swscale {
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
        let [y, u, v] = crate::media::picture::planes_mut(&mut data, 65, 49);
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

//! The C functions of libjpeg-turbo behind a safe type.
#![allow(unsafe_code, reason = "libjpeg-turbo's handle behind an owned type")]

use std::{ffi::CStr, ptr};

use framewire_proto::{Orientation, limits};
use turbojpeg::raw;

use crate::error::{Context as _, Result, bail, ensure, error};

/// The most scans of a progressive JPEG. Real ones have about ten, and each costs time for every pixel.
const MAX_SCANS: i32 = 64;
/// How far from the end of the data a JPEG's end marker may be, in bytes: cameras pad their buffers.
const MAX_PADDING: usize = 64 << 10;

/// What a JPEG's header states.
pub(super) struct JpegHeader {
    pub(super) width: u32,
    pub(super) height: u32,
    /// `None` where the planes are not Y, U and V, or their subsampling is rare.
    pub(super) subsampling: Option<Subsampling>,
}

/// How many pixels share one sample of chroma.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subsampling {
    /// There is no chroma.
    Grey,
    /// `across` pixels side by side and `down` pixels one above the other.
    Shared { across: usize, down: usize },
}

impl Subsampling {
    /// 4:2:0, which almost all video JPEGs use.
    pub(super) const C420: Self = Self::Shared { across: 2, down: 2 };

    /// Width and height of the luma plane and of the chroma planes. libjpeg-turbo pads luma to whole samples of chroma.
    pub(super) fn plane_sizes(self, width: u32, height: u32) -> ((usize, usize), (usize, usize)) {
        let (width, height) = (width as usize, height as usize);
        let Self::Shared { across, down } = self else { return ((width, height), (0, 0)) };
        let luma = (width.next_multiple_of(across), height.next_multiple_of(down));
        (luma, (luma.0 / across, luma.1 / down))
    }
}

/// A compressor or a decompressor.
pub(super) struct Turbo(raw::tjhandle);

// SAFETY: an instance is bound to no thread, and only its owner uses it.
unsafe impl Send for Turbo {}

impl Turbo {
    /// A compressor of 4:2:0.
    pub(super) fn compressor() -> Self {
        let mut turbo = Self::new(raw::TJINIT_TJINIT_COMPRESS);
        turbo.set(raw::TJPARAM_TJPARAM_SUBSAMP, raw::TJSAMP_TJSAMP_420);
        turbo.set(raw::TJPARAM_TJPARAM_NOREALLOC, 1);
        turbo
    }

    pub(super) fn decompressor() -> Self {
        let mut turbo = Self::new(raw::TJINIT_TJINIT_DECOMPRESS);
        turbo.set(raw::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS);
        turbo
    }

    pub(super) fn transformer() -> Self {
        let mut turbo = Self::new(raw::TJINIT_TJINIT_TRANSFORM);
        turbo.set(raw::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS);
        turbo.set(raw::TJPARAM_TJPARAM_NOREALLOC, 1);
        turbo
    }

    fn new(kind: raw::TJINIT) -> Self {
        // SAFETY: takes only a number.
        let handle = unsafe { raw::tj3Init(kind as i32) };
        assert!(!handle.is_null(), "no memory for libjpeg-turbo");
        Self(handle)
    }

    /// Sets a compressor's quality, 1 to 100.
    pub(super) fn set_quality(&mut self, quality: u8) {
        self.set(raw::TJPARAM_TJPARAM_QUALITY, quality.into());
    }

    /// Compresses planes of 4:2:0 into `output`. The luma plane has this stride, and an even width and height.
    pub(super) fn compress(
        &mut self,
        [y, u, v]: [&[u8]; 3],
        stride: usize,
        width: u32,
        height: u32,
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let (width, height) = (width as i32, height as i32);
        assert!(y.len() >= stride * height as usize && stride.is_multiple_of(2));
        assert!(u.len().min(v.len()) >= (stride / 2) * (height as usize).div_ceil(2));
        // SAFETY: reads only its arguments.
        let largest = unsafe { raw::tj3JPEGBufSize(width, height, raw::TJSAMP_TJSAMP_420) };
        // This reserves addresses for the largest JPEG. The system provides memory only for the part that is ever written.
        output.clear();
        output.reserve(largest as usize);
        let (mut out, mut length) = (output.as_mut_ptr(), output.capacity() as raw::size_t);
        let (planes, strides) =
            ([y.as_ptr(), u.as_ptr(), v.as_ptr()], [stride, stride / 2, stride / 2].map(|n| n as i32));
        let (planes, strides) = (planes.as_ptr(), strides.as_ptr());
        // SAFETY: the luma plane has an even width and height, as the library reads it, and U and V have half of that. `out`
        // has room for the largest JPEG, which the library relies on.
        let code = unsafe {
            raw::tj3CompressFromYUVPlanes8(self.0, planes, width, strides, height, &raw mut out, &raw mut length)
        };
        ensure!(code == 0, InvalidData, "a picture of {width}x{height} cannot be encoded as JPEG: {}", self.message());
        // SAFETY: the library has written this many bytes, within the capacity.
        unsafe { output.set_len(length as usize) };
        Ok(())
    }

    /// Reads the JPEG's header and checks its size against the limits.
    pub(super) fn header(&mut self, jpeg: &[u8]) -> Result<JpegHeader> {
        // SAFETY: reads the slice within its length.
        let code = unsafe { raw::tj3DecompressHeader(self.0, jpeg.as_ptr(), jpeg.len() as raw::size_t) };
        self.check(code, jpeg)?;
        let side = |value: i32| u32::try_from(value).context("the JPEG's header states no size");
        let width = side(self.parameter(raw::TJPARAM_TJPARAM_JPEGWIDTH))?;
        let height = side(self.parameter(raw::TJPARAM_TJPARAM_JPEGHEIGHT))?;
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        let space = self.parameter(raw::TJPARAM_TJPARAM_COLORSPACE);
        let yuv = [raw::TJCS_TJCS_YCbCr, raw::TJCS_TJCS_GRAY].contains(&(space as u32));
        let subsampling = match self.parameter(raw::TJPARAM_TJPARAM_SUBSAMP) {
            _ if !yuv => None,
            raw::TJSAMP_TJSAMP_444 => Some(Subsampling::Shared { across: 1, down: 1 }),
            raw::TJSAMP_TJSAMP_422 => Some(Subsampling::Shared { across: 2, down: 1 }),
            raw::TJSAMP_TJSAMP_440 => Some(Subsampling::Shared { across: 1, down: 2 }),
            raw::TJSAMP_TJSAMP_420 => Some(Subsampling::C420),
            raw::TJSAMP_TJSAMP_GRAY => Some(Subsampling::Grey),
            _ => None,
        };
        Ok(JpegHeader { width, height, subsampling })
    }

    /// Decompresses into planes of [`Subsampling::plane_sizes`], with these strides; empty ones where there is no chroma. `header`
    /// is that of the same JPEG.
    pub(super) fn decompress_planes(
        &mut self,
        jpeg: &[u8],
        header: &JpegHeader,
        planes: [&mut [u8]; 3],
        strides: [usize; 3],
    ) -> Result<()> {
        let subsampling = header.subsampling.expect("a JPEG of Y, U and V");
        let (luma, chroma) = subsampling.plane_sizes(header.width, header.height);
        for ((plane, stride), (width, height)) in planes.iter().zip(strides).zip([luma, chroma, chroma]) {
            assert!(stride >= width && plane.len() >= stride * height, "a plane is too small for its JPEG");
        }
        let mut planes = planes.map(|plane| if plane.is_empty() { ptr::null_mut() } else { plane.as_mut_ptr() });
        let mut strides = strides.map(|stride| stride as i32);
        let (length, planes, strides) = (jpeg.len() as raw::size_t, planes.as_mut_ptr(), strides.as_mut_ptr());
        // SAFETY: reads the slice within its length. The planes have room for the size and subsampling that the header of the
        // same slice states.
        let code = unsafe { raw::tj3DecompressToYUVPlanes8(self.0, jpeg.as_ptr(), length, planes, strides) };
        self.check(code, jpeg)
    }

    /// Decompresses into rows of blue, green and red. `header` is that of the same JPEG.
    pub(super) fn decompress_bgr(&mut self, jpeg: &[u8], header: &JpegHeader, out: &mut [u8]) -> Result<()> {
        assert!(out.len() >= 3 * header.width as usize * header.height as usize, "too small for its JPEG");
        let (length, pitch, format) = (jpeg.len() as raw::size_t, 3 * header.width as i32, raw::TJPF_TJPF_BGR);
        // SAFETY: reads the slice within its length. `out` has room for the size that the header of the same slice states.
        let code = unsafe { raw::tj3Decompress8(self.0, jpeg.as_ptr(), length, out.as_mut_ptr(), pitch, format) };
        self.check(code, jpeg)
    }

    /// Turns a JPEG into `output` without loss: its coefficients are put in another order. An error where the parts at its edges
    /// are no whole blocks, because those cannot be turned.
    pub(super) fn transform(&mut self, jpeg: &[u8], orientation: Orientation, output: &mut Vec<u8>) -> Result<()> {
        self.header(jpeg)?;
        let operation = match orientation.exif() {
            2 => raw::TJXOP_TJXOP_HFLIP,
            3 => raw::TJXOP_TJXOP_ROT180,
            4 => raw::TJXOP_TJXOP_VFLIP,
            5 => raw::TJXOP_TJXOP_TRANSPOSE,
            6 => raw::TJXOP_TJXOP_ROT90,
            7 => raw::TJXOP_TJXOP_TRANSVERSE,
            8 => raw::TJXOP_TJXOP_ROT270,
            _ => raw::TJXOP_TJXOP_NONE,
        };
        let transform = raw::tjtransform {
            r: raw::tjregion { x: 0, y: 0, w: 0, h: 0 },
            op: operation as i32,
            options: raw::TJXOPT_PERFECT as i32,
            data: ptr::null_mut(),
            customFilter: None,
        };
        // SAFETY: reads only its arguments, and the header that was just read.
        let largest = unsafe { raw::tj3TransformBufSize(self.0, &raw const transform) };
        ensure!(largest > 0, InvalidData, "a JPEG cannot be turned: {}", self.message());
        // This reserves addresses for the largest JPEG. The system provides memory only for the part that is ever written.
        output.clear();
        output.reserve(largest as usize);
        let (mut out, mut length) = (output.as_mut_ptr(), output.capacity() as raw::size_t);
        let size = jpeg.len() as raw::size_t;
        // SAFETY: reads the slice within its length. `out` has room for the largest result, which the library relies on.
        let code = unsafe {
            raw::tj3Transform(self.0, jpeg.as_ptr(), size, 1, &raw mut out, &raw mut length, &raw const transform)
        };
        ensure!(code == 0, InvalidData, "a JPEG of {} bytes cannot be turned: {}", jpeg.len(), self.message());
        // SAFETY: the library has written this many bytes, within the capacity.
        unsafe { output.set_len(length as usize) };
        Ok(())
    }

    /// A warning counts as an error: the picture is incomplete or wrong. The exception is a cheap camera's stray bytes between
    /// segments, which are harmless.
    fn check(&mut self, code: i32, jpeg: &[u8]) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        let message = self.message();
        let complete = || jpeg.windows(2).rev().take(MAX_PADDING).any(|pair| pair == [0xff, 0xd9]);
        if self.is_warning() && message.contains("extraneous bytes") && complete() {
            return Ok(());
        }
        // After an incomplete header the library would read the next JPEG as its continuation.
        *self = Self::decompressor();
        bail!(InvalidData, "a JPEG of {} bytes is broken: {message}", jpeg.len())
    }

    fn set(&mut self, parameter: raw::TJPARAM, value: i32) {
        // SAFETY: the handle is live.
        let code = unsafe { raw::tj3Set(self.0, parameter as i32, value) };
        assert_eq!(code, 0, "libjpeg-turbo does not accept {value} for its parameter {parameter}");
    }

    fn parameter(&mut self, parameter: raw::TJPARAM) -> i32 {
        // SAFETY: the handle is live.
        unsafe { raw::tj3Get(self.0, parameter as i32) }
    }

    fn is_warning(&mut self) -> bool {
        // SAFETY: the handle is live.
        unsafe { raw::tj3GetErrorCode(self.0) == raw::TJERR_TJERR_WARNING as i32 }
    }

    /// The library's message for its last failure.
    fn message(&mut self) -> String {
        // SAFETY: the string lives until the next call with this handle or on this thread.
        let text = unsafe { CStr::from_ptr(raw::tj3GetErrorStr(self.0)) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for Turbo {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nothing uses it after this.
        unsafe { raw::tj3Destroy(self.0) }
    }
}

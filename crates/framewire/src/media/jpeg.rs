//! JPEG by libjpeg-turbo, from and to plain pixels.
//!
//! Where processors would be idle anyway a picture is coded, and what allows it decoded, in strips side by side, which halves
//! the time on two; where pictures come as fast as they can be coded it is not, since that would only cost.
//!
//! The `turbojpeg` crate's safe types reach neither every parameter nor a reused buffer of any size, and take
//! a camera's harmless warnings for errors, so this speaks to the library itself. The accurate transform is used: the fast one
//! gains 0.02 ms of 1.4 encoding and 0.09 ms of 1.4 decoding at 1280x720, and costs 0.15 dB.
#![allow(unsafe_code, reason = "libjpeg-turbo's handle behind an owned type: see above")]

use std::{
    ffi::CStr,
    ptr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framewire_proto::{
    Codec,
    jpeg::strips::{self, BLOCK, Strip},
    limits,
};
use turbojpeg::raw;

use super::{
    Picture, Pool, colour, planes_mut,
    strip_pool::{Part, StripPool},
};
use crate::error::{Context as _, Error, OrError as _, Result, bail, ensure, error};

/// Scans of a progressive JPEG; real ones have about ten, and each costs time for every pixel.
const SCANS: i32 = 64;
/// How far from its end a JPEG's end marker may be, in bytes: cameras fill up their buffers.
const STRAY: usize = 64 << 10;

/// Rows of blocks that a strip has at least: less is coded before another thread has woken.
const LEAST_ROWS: usize = 8;

/// Makes JPEGs: baseline, 4:2:0, full-range BT.601. Those that were made in strips have restart markers between them.
pub struct Encoder {
    coders: Vec<Coder>,
    lanes: StripPool,
    pace: Pace,
    scratch: Vec<u8>,
    pool: Pool,
}

/// One of those that code side by side.
struct Coder {
    handle: Handle,
    output: Vec<u8>,
}

/// Reads JPEGs of any subsampling, baseline or progressive, in colour or grey.
pub struct Decoder {
    handle: Handle,
    /// Those that decode strips.
    readers: Vec<Handle>,
    lanes: StripPool,
    pace: Pace,
    scratch: Vec<u8>,
    pool: Pool,
}

impl Encoder {
    /// An encoder of this quality, 1 to 100.
    pub fn new(quality: u8) -> Self {
        let pace = Pace::new();
        let coders = (0..pace.processors).map(|_| Coder::new()).collect();
        let mut encoder = Self { coders, lanes: StripPool::new(), pace, scratch: Vec::new(), pool: Pool::default() };
        encoder.set_quality(quality);
        encoder
    }

    /// The quality of the pictures that follow, 1 to 100; what is outside is taken for the nearest.
    pub fn set_quality(&mut self, quality: u8) {
        for coder in &mut self.coders {
            coder.handle.set(raw::TJPARAM_TJPARAM_QUALITY, i32::from(quality.clamp(1, 100)));
        }
    }

    /// The picture as a JPEG.
    ///
    /// # Errors
    /// The library refuses it, in its own words.
    pub fn encode(&mut self, picture: &Picture) -> Result<Bytes> {
        if picture.codec == Codec::Bgr24 {
            let picture = colour::convert(picture, Codec::I420, &self.pool)?;
            return self.encode(&picture);
        }
        let strips = self.pace.strips(picture.width, picture.height);
        let begun = Instant::now();
        let jpeg = if strips > 1 { self.in_strips(picture, strips) } else { self.whole(picture) };
        self.pace.done(begun);
        jpeg
    }

    fn whole(&mut self, picture: &Picture) -> Result<Bytes> {
        let [y, u, v] = picture.planes();
        let (y, stride) = even(y, picture.width, picture.height, &mut self.scratch);
        let coder = &mut self.coders[0];
        coder.code([y, u, v], stride, picture.width, picture.height)?;
        let mut buffer = self.pool.take(coder.output.len());
        buffer.copy_from_slice(&coder.output);
        Ok(buffer.freeze())
    }

    /// Codes strips side by side and joins them.
    fn in_strips(&mut self, picture: &Picture, strips: usize) -> Result<Bytes> {
        let rows = (picture.height as usize).div_ceil(BLOCK).div_ceil(strips) * BLOCK;
        let mut parts = Vec::new();
        for (number, mut coder) in self.coders.drain(1..strips).enumerate() {
            let picture = picture.clone();
            parts.push(self.lanes.begin(number, move || {
                let coded = coder.strip(&picture, (number + 1) * rows, rows);
                (coder, coded)
            }));
        }
        let own = self.coders[0].strip(picture, 0, rows);
        let others: Option<Vec<_>> = parts.into_iter().map(Part::wait).collect();
        // Whoever has lost a helper works alone from now on.
        self.pace.processors = if others.is_some() { self.pace.processors } else { 1 };
        let (coders, coded): (Vec<_>, Vec<_>) =
            others.or_error(Error::System, || "a strip's thread panicked")?.into_iter().unzip();
        self.coders.splice(1..1, coders);
        own.and(coded.into_iter().collect::<Result<()>>())?;
        let coded: Vec<_> = self.coders.iter().take(strips).map(|coder| &coder.output[..]).collect();
        strips::join(&coded, picture.height as u16)
            .map(Bytes::from)
            .or_error(Error::System, || "the strips of a JPEG do not fit together")
    }
}

impl Coder {
    fn new() -> Self {
        let mut handle = Handle::new(raw::TJINIT_TJINIT_COMPRESS);
        handle.set(raw::TJPARAM_TJPARAM_SUBSAMP, raw::TJSAMP_TJSAMP_420);
        handle.set(raw::TJPARAM_TJPARAM_NOREALLOC, 1);
        Self { handle, output: Vec::new() }
    }

    /// Codes this many rows of an even picture from this one on, or as many as there are.
    fn strip(&mut self, picture: &Picture, top: usize, rows: usize) -> Result<()> {
        let width = picture.width as usize;
        let end = (top + rows).min(picture.height as usize);
        let [y, u, v] = picture.planes();
        let (luma, chroma) = (top * width..end * width, top / 2 * (width / 2)..end / 2 * (width / 2));
        let planes = [&y[luma], &u[chroma.clone()], &v[chroma]];
        self.code(planes, width, picture.width, (end - top) as u32)
    }

    /// Codes a picture, or a strip of one, whose luma has this stride and an even width and height.
    fn code(&mut self, [y, u, v]: [&[u8]; 3], stride: usize, width: u32, height: u32) -> Result<()> {
        let (width, height) = (width as i32, height as i32);
        assert!(y.len() >= stride * height as usize && stride.is_multiple_of(2));
        assert!(u.len().min(v.len()) >= (stride / 2) * (height as usize).div_ceil(2));
        // SAFETY: a function of its arguments alone.
        let worst = unsafe { raw::tj3JPEGBufSize(width, height, raw::TJSAMP_TJSAMP_420) };
        // The worst case is addresses only: memory is taken where a JPEG has once reached.
        self.output.clear();
        self.output.reserve(worst as usize);
        let (mut out, mut length) = (self.output.as_mut_ptr(), self.output.capacity() as raw::size_t);
        let (planes, strides) =
            ([y.as_ptr(), u.as_ptr(), v.as_ptr()], [stride, stride / 2, stride / 2].map(|n| n as i32));
        let (planes, strides) = (planes.as_ptr(), strides.as_ptr());
        // SAFETY: the luma plane has an even width and height, as the library reads it, U and V are half of that; `out` has
        // room for the worst case, which the library relies on.
        let code = unsafe {
            raw::tj3CompressFromYUVPlanes8(self.handle.0, planes, width, strides, height, &raw mut out, &raw mut length)
        };
        ensure!(
            code == 0,
            InvalidData,
            "a picture of {width}x{height} cannot be coded as JPEG: {}",
            self.handle.message()
        );
        // SAFETY: the library has written this many bytes, within the capacity.
        unsafe { self.output.set_len(length as usize) };
        Ok(())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        let pace = Pace::new();
        let readers = (1..pace.processors).map(|_| reader()).collect();
        Self { handle: reader(), readers, lanes: StripPool::new(), pace, scratch: Vec::new(), pool: Pool::default() }
    }

    /// The picture in a JPEG, as [`Codec::I420`] or [`Codec::Bgr24`].
    ///
    /// # Errors
    /// It is no JPEG, its picture is over the limit (told by its header, before memory is taken), it ends early, or it is
    /// of a kind that is not decoded (CMYK, lossless, 12 bits).
    pub fn decode(&mut self, jpeg: &[u8], want: Codec) -> Result<Picture> {
        let header = self.handle.header(jpeg)?;
        let (width, height) = (header.width, header.height);
        let begun = Instant::now();
        let mut buffer = self.pool.take(super::raw_length(want, width, height)?);
        match header.chroma {
            Some(chroma) if want == Codec::I420 => self.planes(jpeg, &header, chroma, &mut buffer)?,
            // By way of the planes, which is faster than the library's own way where both share the chroma alike.
            Some(chroma) if chroma == QUARTER => {
                let mut planes = self.pool.take(super::raw_length(Codec::I420, width, height)?);
                self.planes(jpeg, &header, chroma, &mut planes)?;
                colour::i420_to_bgr(&planes, &mut buffer, width, height)?;
            }
            _ if want == Codec::Bgr24 => self.bgr(jpeg, width, &mut buffer)?,
            _ => {
                let mut bgr = self.pool.take(super::raw_length(Codec::Bgr24, width, height)?);
                self.bgr(jpeg, width, &mut bgr)?;
                colour::bgr_to_i420(&bgr, &mut buffer, width, height)?;
            }
        }
        self.pace.done(begun);
        Picture::new(want, width, height, buffer.freeze())
    }

    fn bgr(&mut self, jpeg: &[u8], width: u32, out: &mut [u8]) -> Result<()> {
        let (length, pitch, format) = (jpeg.len() as raw::size_t, 3 * width as i32, raw::TJPF_TJPF_BGR);
        // SAFETY: reads the slice within its length, and writes as many rows of 3 x width bytes as the header of the same
        // slice has told, for which `out` was made.
        let code =
            unsafe { raw::tj3Decompress8(self.handle.0, jpeg.as_ptr(), length, out.as_mut_ptr(), pitch, format) };
        self.handle.check(code, jpeg)
    }

    /// Fills an I420 picture with strips that are decoded side by side; whether that could be done.
    fn in_strips(&mut self, jpeg: &[u8], header: &Header, out: &mut [u8]) -> bool {
        let strips = self.pace.strips(header.width, header.height);
        let Some(strips) = strips::cut(jpeg, strips) else {
            self.pace.strips = 1;
            return false;
        };
        let width = header.width;
        let mut strips = strips.into_iter();
        let Some(own) = strips.next() else { return false };
        let mut parts = Vec::new();
        for ((number, mut handle), strip) in self.readers.drain(..strips.len()).enumerate().zip(strips) {
            let mut buffer = self.pool.take(strip_length(width, &strip));
            parts.push(self.lanes.begin(number, move || {
                let read = read_strip(&mut handle, &strip, width, planes_mut(&mut buffer, width, strip.height as u32));
                (handle, strip, buffer, read.is_ok())
            }));
        }
        let mut whole = planes_mut(out, width, header.height);
        let mut read = read_strip(&mut self.handle, &own, width, part(&mut whole, &own, width)).is_ok();
        for strip in parts {
            let Some((handle, strip, buffer, decoded)) = strip.wait() else {
                self.readers.push(reader());
                read = false;
                continue;
            };
            self.readers.push(handle);
            read &= decoded;
            let to = part(&mut whole, &strip, width);
            for (to, from) in to.into_iter().zip(super::planes(&buffer, width, strip.height as u32)) {
                to.copy_from_slice(from);
            }
        }
        read
    }

    /// Fills an I420 picture, by way of the scratch where the JPEG's planes have another size than its.
    fn planes(&mut self, jpeg: &[u8], header: &Header, chroma: Chroma, out: &mut [u8]) -> Result<()> {
        let (width, height) = (header.width as usize, header.height as usize);
        let [y, u, v] = planes_mut(out, header.width, header.height);
        let Chroma::Shared { across, down } = chroma else {
            u.fill(128);
            v.fill(128);
            return self.handle.read_planes(jpeg, [y.as_mut_ptr(), ptr::null_mut(), ptr::null_mut()], [width, 0, 0]);
        };
        // The library fills a plane up to whole samples of chroma.
        let luma = (width.next_multiple_of(across), height.next_multiple_of(down));
        let small = (luma.0 / across, luma.1 / down);
        let whole = luma == (width, height);
        if whole && (across, down) == (2, 2) {
            if self.in_strips(jpeg, header, out) {
                return Ok(());
            }
            let [y, u, v] = planes_mut(out, header.width, header.height);
            return self.handle.read_planes(
                jpeg,
                [y.as_mut_ptr(), u.as_mut_ptr(), v.as_mut_ptr()],
                [width, small.0, small.0],
            );
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let luma_length = if whole { 0 } else { luma.0 * luma.1 };
        scratch.resize(luma_length + 2 * small.0 * small.1, 0);
        let (full, rest) = scratch.split_at_mut(luma_length);
        let (wide_u, wide_v) = rest.split_at_mut(small.0 * small.1);
        let first = if whole { y.as_mut_ptr() } else { full.as_mut_ptr() };
        let read = self.handle.read_planes(
            jpeg,
            [first, wide_u.as_mut_ptr(), wide_v.as_mut_ptr()],
            [luma.0, small.0, small.0],
        );
        if !whole {
            for (row, from) in y.chunks_exact_mut(width).zip(full.chunks_exact(luma.0)) {
                row.copy_from_slice(&from[..width]);
            }
        }
        for (plane, from) in [(u, &*wide_u), (v, &*wide_v)] {
            shrink(from, small.0, plane, width.div_ceil(2), 2 / across, 2 / down);
        }
        self.scratch = scratch;
        read
    }
}

/// Decodes a strip into its part of a picture's planes.
fn read_strip(handle: &mut Handle, strip: &Strip, width: u32, [y, u, v]: [&mut [u8]; 3]) -> Result<()> {
    let header = handle.header(&strip.jpeg)?;
    let fits = (header.width, header.height as usize) == (width, strip.height) && header.chroma == Some(QUARTER);
    let (wide, narrow) = (width as usize, width as usize / 2);
    ensure!(
        fits && y.len() == wide * strip.height && u.len().min(v.len()) == narrow * (strip.height / 2),
        InvalidData,
        "no strip"
    );
    handle.read_planes(&strip.jpeg, [y.as_mut_ptr(), u.as_mut_ptr(), v.as_mut_ptr()], [wide, narrow, narrow])
}

/// A strip's part of a picture's planes.
fn part<'a>(whole: &'a mut [&mut [u8]; 3], strip: &Strip, width: u32) -> [&'a mut [u8]; 3] {
    let (width, end) = (width as usize, strip.top + strip.height);
    let [y, u, v] = whole;
    let (luma, chroma) = (strip.top * width..end * width, strip.top / 2 * (width / 2)..end / 2 * (width / 2));
    [&mut y[luma], &mut u[chroma.clone()], &mut v[chroma]]
}

/// Bytes of a strip as I420, whose width and height are even.
fn strip_length(width: u32, strip: &Strip) -> usize {
    width as usize * strip.height * 3 / 2
}

/// 4:2:0, as almost every JPEG of a video has it.
const QUARTER: Chroma = Chroma::Shared { across: 2, down: 2 };

/// Tells whether pictures come so slowly that processors would be idle while one works.
struct Pace {
    processors: usize,
    /// Strips of the picture at work, or the last one.
    strips: usize,
    /// When the last picture was done, and the processor time that it took.
    last: Option<(Instant, Duration)>,
}

impl Pace {
    fn new() -> Self {
        Self { processors: StripPool::processors(), strips: 1, last: None }
    }

    /// How many strips of the picture that begins now are worth it.
    fn strips(&mut self, width: u32, height: u32) -> usize {
        let idle = self.last.is_none_or(|(done, took)| done.elapsed() > took);
        let most = self.processors.min(height as usize / BLOCK / LEAST_ROWS).max(1);
        self.strips = if idle && width.is_multiple_of(2) && height.is_multiple_of(2) { most } else { 1 };
        self.strips
    }

    fn done(&mut self, begun: Instant) {
        self.last = Some((Instant::now(), begun.elapsed() * self.strips as u32));
    }
}

fn reader() -> Handle {
    let mut handle = Handle::new(raw::TJINIT_TJINIT_DECOMPRESS);
    handle.set(raw::TJPARAM_TJPARAM_SCANLIMIT, SCANS);
    handle
}

/// What a JPEG's header says.
struct Header {
    width: u32,
    height: u32,
    /// `None` where the planes are not those of a picture in Y, U and V, or are in a seldom proportion.
    chroma: Option<Chroma>,
}

/// How many pixels share one sample of chroma.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chroma {
    /// Grey.
    None,
    /// This many pixels side by side, and one above the other.
    Shared { across: usize, down: usize },
}

/// An instance of the library.
struct Handle(raw::tjhandle);

// SAFETY: an instance is bound to no thread; it is used by whoever holds it, one at a time.
unsafe impl Send for Handle {}

impl Handle {
    fn new(kind: raw::TJINIT) -> Self {
        // SAFETY: takes a number only.
        let handle = unsafe { raw::tj3Init(kind as i32) };
        assert!(!handle.is_null(), "no memory for libjpeg-turbo");
        Self(handle)
    }

    /// What the JPEG's header says, within the limits.
    fn header(&mut self, jpeg: &[u8]) -> Result<Header> {
        // SAFETY: reads the slice within its length.
        let code = unsafe { raw::tj3DecompressHeader(self.0, jpeg.as_ptr(), jpeg.len() as raw::size_t) };
        self.check(code, jpeg)?;
        let side = |value: i32| u32::try_from(value).context("the JPEG holds no picture");
        let width = side(self.ask(raw::TJPARAM_TJPARAM_JPEGWIDTH))?;
        let height = side(self.ask(raw::TJPARAM_TJPARAM_JPEGHEIGHT))?;
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        let space = self.ask(raw::TJPARAM_TJPARAM_COLORSPACE);
        let planar = [raw::TJCS_TJCS_YCbCr, raw::TJCS_TJCS_GRAY].contains(&(space as u32));
        let chroma = match self.ask(raw::TJPARAM_TJPARAM_SUBSAMP) {
            _ if !planar => None,
            raw::TJSAMP_TJSAMP_444 => Some(Chroma::Shared { across: 1, down: 1 }),
            raw::TJSAMP_TJSAMP_422 => Some(Chroma::Shared { across: 2, down: 1 }),
            raw::TJSAMP_TJSAMP_440 => Some(Chroma::Shared { across: 1, down: 2 }),
            raw::TJSAMP_TJSAMP_420 => Some(Chroma::Shared { across: 2, down: 2 }),
            raw::TJSAMP_TJSAMP_GRAY => Some(Chroma::None),
            _ => None,
        };
        Ok(Header { width, height, chroma })
    }

    fn read_planes(&mut self, jpeg: &[u8], mut planes: [*mut u8; 3], strides: [usize; 3]) -> Result<()> {
        let mut strides = strides.map(|stride| stride as i32);
        let (length, planes, strides) = (jpeg.len() as raw::size_t, planes.as_mut_ptr(), strides.as_mut_ptr());
        // SAFETY: reads the slice within its length; the caller made the planes for the size and subsampling that the header
        // of the same slice has told.
        let code = unsafe { raw::tj3DecompressToYUVPlanes8(self.0, jpeg.as_ptr(), length, planes, strides) };
        self.check(code, jpeg)
    }

    /// A warning is an error too (the picture is cut short or wrong), save that cheap cameras leave stray bytes between
    /// segments, which harm nothing.
    fn check(&mut self, code: i32, jpeg: &[u8]) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        let message = self.message();
        let whole = || jpeg.windows(2).rev().take(STRAY).any(|pair| pair == [0xff, 0xd9]);
        if self.warned() && message.contains("extraneous bytes") && whole() {
            return Ok(());
        }
        // The library stays in the middle of a header that broke off, and would take the next JPEG for its rest.
        *self = reader();
        bail!(InvalidData, "a JPEG of {} bytes is broken: {message}", jpeg.len())
    }

    fn set(&mut self, parameter: raw::TJPARAM, value: i32) {
        // SAFETY: the handle is live.
        let code = unsafe { raw::tj3Set(self.0, parameter as i32, value) };
        assert_eq!(code, 0, "libjpeg-turbo takes no {value} for its parameter {parameter}");
    }

    fn ask(&mut self, parameter: raw::TJPARAM) -> i32 {
        // SAFETY: the handle is live.
        unsafe { raw::tj3Get(self.0, parameter as i32) }
    }

    fn warned(&mut self) -> bool {
        // SAFETY: the handle is live.
        unsafe { raw::tj3GetErrorCode(self.0) == raw::TJERR_TJERR_WARNING as i32 }
    }

    /// What the library says of its last failure.
    fn message(&mut self) -> String {
        // SAFETY: a string that lives until the next call with this handle or on this thread.
        let text = unsafe { CStr::from_ptr(raw::tj3GetErrorStr(self.0)) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nobody uses it after this.
        unsafe { raw::tj3Destroy(self.0) }
    }
}

/// A plane with an even width and height, as the library reads it, and its stride; the last column and row are repeated
/// where it has not.
fn even<'a>(plane: &'a [u8], width: u32, height: u32, scratch: &'a mut Vec<u8>) -> (&'a [u8], usize) {
    let (width, height) = (width as usize, height as usize);
    if width % 2 == 0 && height % 2 == 0 {
        return (plane, width);
    }
    let stride = width.next_multiple_of(2);
    scratch.clear();
    for row in plane.chunks_exact(width) {
        scratch.extend_from_slice(row);
        scratch.resize(scratch.len().next_multiple_of(stride), row[width - 1]);
    }
    if height % 2 == 1 {
        scratch.extend_from_within(scratch.len() - stride..);
    }
    (scratch, stride)
}

/// Averages `across` x `down` samples (each 1 or 2) of a plane into one; beyond its edge the last counts again.
fn shrink(from: &[u8], stride: usize, to: &mut [u8], width: usize, across: usize, down: usize) {
    let last = from.len() / stride - 1;
    for (line, out) in to.chunks_exact_mut(width).enumerate() {
        let row = |line: usize| &from[line.min(last) * stride..][..stride];
        let (upper, lower) = (row(line * down), row(line * down + down - 1));
        if across == 1 {
            for ((out, a), b) in out.iter_mut().zip(upper).zip(lower) {
                *out = (u16::from(*a) + u16::from(*b)).div_ceil(2) as u8;
            }
            continue;
        }
        for ((out, a), b) in out.iter_mut().zip(upper.chunks_exact(2)).zip(lower.chunks_exact(2)) {
            *out = ((u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]) + 2) / 4) as u8;
        }
        if stride % 2 == 1 {
            out[width - 1] = (u16::from(upper[stride - 1]) + u16::from(lower[stride - 1])).div_ceil(2) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth picture with edges, as I420.
    fn scene(width: u32, height: u32) -> Picture {
        let mut data = vec![0; Codec::I420.raw_length(width, height).unwrap()];
        let [y, u, v] = planes_mut(&mut data, width, height);
        let fill = |plane: &mut [u8], width: usize, (a, b): (usize, usize)| {
            for (place, sample) in plane.iter_mut().enumerate() {
                *sample = (100 + place % width * a / width + place / width * b / width) as u8;
            }
        };
        fill(y, width as usize, (40, 30));
        fill(u, width.div_ceil(2) as usize, (20, 30));
        fill(v, width.div_ceil(2) as usize, (30, 10));
        Picture::new(Codec::I420, width, height, data.into()).unwrap()
    }

    fn worst(a: &[u8], b: &[u8]) -> u8 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    #[test]
    fn pictures_of_any_size_survive() {
        let (mut encoder, mut decoder) = (Encoder::new(95), Decoder::new());
        for (width, height) in [(64, 48), (1, 1), (2, 2), (17, 31), (33, 16), (16, 33), (1920, 1080), (65, 3)] {
            let picture = scene(width, height);
            let jpeg = encoder.encode(&picture).unwrap();
            let back = decoder.decode(&jpeg, Codec::I420).unwrap();
            let off = worst(picture.data(), back.data());
            assert!(off <= 6, "{width}x{height}: {off}");
            let bgr = decoder.decode(&jpeg, Codec::Bgr24).unwrap();
            let again = decoder.decode(&encoder.encode(&bgr).unwrap(), Codec::I420).unwrap();
            let off = worst(picture.data(), again.data());
            assert!(off <= 16, "{width}x{height} by bgr: {off}");
        }
    }

    /// What another coder makes of a scene at this subsampling, by the library's own way from BGR.
    fn foreign(subsampling: turbojpeg::Subsamp, width: u32, height: u32, progressive: bool) -> Vec<u8> {
        let bgr = colour::convert(&scene(width, height), Codec::Bgr24, &Pool::default()).unwrap();
        let mut coder = turbojpeg::Compressor::new().unwrap();
        coder.set_quality(97).unwrap();
        coder.set_subsamp(subsampling).unwrap();
        coder.set_progressive(progressive).unwrap();
        let (width, height) = (width as usize, height as usize);
        let (pixels, pitch, format) = (&bgr.data()[..], 3 * width, turbojpeg::PixelFormat::BGR);
        coder.compress_to_vec(turbojpeg::Image { pixels, width, pitch, height, format }).unwrap()
    }

    #[test]
    fn every_subsampling_decodes_to_the_same_picture() {
        use turbojpeg::Subsamp;
        let mut decoder = Decoder::new();
        for (width, height) in [(64, 48), (67, 45)] {
            let [expected_y, expected_u, expected_v] = scene(width, height).planes().map(<[u8]>::to_vec);
            for kind in [
                Subsamp::None,
                Subsamp::Sub2x1,
                Subsamp::Sub2x2,
                Subsamp::Sub1x2,
                Subsamp::Sub4x1,
                Subsamp::Sub1x4,
                Subsamp::Gray,
            ] {
                for progressive in [false, true] {
                    let jpeg = foreign(kind, width, height, progressive);
                    let picture = decoder.decode(&jpeg, Codec::I420).unwrap();
                    let [y, u, v] = picture.planes();
                    assert!(worst(y, &expected_y) <= 8, "{kind:?} {width}x{height} luma {}", worst(y, &expected_y));
                    if kind == Subsamp::Gray {
                        assert!(u.iter().chain(v).all(|sample| *sample == 128));
                    } else {
                        let off = worst(u, &expected_u).max(worst(v, &expected_v));
                        assert!(off <= 9, "{kind:?} {width}x{height} chroma {off}");
                    }
                    assert_eq!(decoder.decode(&jpeg, Codec::Bgr24).unwrap().width(), width);
                }
            }
        }
    }

    #[test]
    fn strips_make_the_same_picture() {
        let alone = || Pace { processors: 1, ..Pace::new() };
        let several = || Pace { processors: 3, ..Pace::new() };
        for (width, height) in [(640, 480), (320, 400), (322, 410), (64, 4096)] {
            let picture = scene(width, height);
            let mut encoder = Encoder::new(80);
            encoder.coders.resize_with(3, Coder::new);
            encoder.set_quality(80);
            encoder.pace = several();
            let jpeg = encoder.encode(&picture).unwrap();
            assert_eq!(encoder.pace.strips, 3, "{width}x{height}");
            assert!(strips::cut(&jpeg, 3).is_some_and(|strips| strips.len() == 3), "{width}x{height}");
            let mut whole = Decoder { pace: alone(), ..Decoder::new() };
            let readers = (0..2).map(|_| reader()).collect();
            let mut strips = Decoder { pace: several(), readers, ..Decoder::new() };
            let expected = whole.decode(&jpeg, Codec::I420).unwrap();
            assert!(strips.decode(&jpeg, Codec::I420).unwrap() == expected, "{width}x{height}");
            assert_eq!((whole.pace.strips, strips.pace.strips), (1, 3));
            encoder.pace = alone();
            let once = encoder.encode(&picture).unwrap();
            assert!(whole.decode(&once, Codec::I420).unwrap() == expected, "{width}x{height}: coded whole");
            assert!(turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGB).is_ok());
        }
    }

    #[test]
    fn who_has_no_idle_processor_codes_whole() {
        let mut pace = Pace { processors: 4, ..Pace::new() };
        assert_eq!(pace.strips(1280, 720), 4);
        pace.last = Some((Instant::now(), Duration::from_secs(60)));
        assert_eq!(pace.strips(1280, 720), 1);
        pace.last = None;
        assert_eq!([pace.strips(1281, 720), pace.strips(1280, 120), pace.strips(640, 480)], [1, 1, 3]);
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_an_error() {
        let jpeg = Encoder::new(80).encode(&scene(160, 120)).unwrap();
        let mut decoder = Decoder::new();
        for cut in 0..jpeg.len() - 1 {
            assert!(decoder.decode(&jpeg[..cut], Codec::I420).is_err(), "cut at {cut} of {}", jpeg.len());
        }
        assert!(decoder.decode(&jpeg, Codec::I420).is_ok());
    }

    #[test]
    fn flipped_bits_never_panic() {
        let jpeg = Encoder::new(80).encode(&scene(97, 63)).unwrap();
        let mut decoder = Decoder::new();
        for place in 0..jpeg.len() * 8 {
            let mut bad = jpeg.to_vec();
            bad[place / 8] ^= 1 << (place % 8);
            for want in [Codec::I420, Codec::Bgr24] {
                if let Ok(picture) = decoder.decode(&bad, want) {
                    assert_eq!(picture.data().len(), want.raw_length(picture.width(), picture.height()).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut jpeg = Encoder::new(80).encode(&scene(64, 64)).unwrap().to_vec();
        let start = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[start + 5..start + 9].copy_from_slice(&[0xfd, 0xe8, 0xfd, 0xe8]);
        let message = Decoder::new().decode(&jpeg, Codec::I420).unwrap_err().to_string();
        assert!(message.contains("65000x65000"), "{message}");
    }

    #[test]
    fn stray_bytes_of_a_cheap_camera_do_no_harm() {
        let mut jpeg = Encoder::new(80).encode(&scene(64, 64)).unwrap().to_vec();
        jpeg.truncate(jpeg.len() - 2);
        jpeg.extend([0, 0, 0, 0xff, 0xd9, 0, 0, 0]);
        assert!(Decoder::new().decode(&jpeg, Codec::I420).is_ok());
    }
}

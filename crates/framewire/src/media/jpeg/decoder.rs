//! JPEG to raw pictures.

use std::time::Instant;

use framewire_proto::{
    Codec,
    jpeg::strips::{self, Strip},
};

use super::{
    strip_planner::StripPlanner,
    turbo::{JpegHeader, Subsampling, Turbo},
};
use crate::error::{Result, ensure};
use crate::media::{
    colour,
    picture::{Picture, check_room, planes, planes_mut, raw_length},
    pool::Pool,
    strip_pool::StripPool,
};

/// Decodes JPEGs of any subsampling, baseline or progressive, in colour or grey.
pub struct JpegDecoder {
    turbo: Turbo,
    /// Decode strips on other threads.
    pub(super) strip_decoders: Vec<Turbo>,
    threads: StripPool,
    pub(super) planner: StripPlanner,
    scratch: Vec<u8>,
    pool: Pool,
}

impl Default for JpegDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl JpegDecoder {
    /// Creates a decoder.
    pub fn new() -> Self {
        let planner = StripPlanner::new();
        Self {
            turbo: Turbo::decompressor(),
            strip_decoders: (1..planner.processors).map(|_| Turbo::decompressor()).collect(),
            threads: StripPool::new(),
            planner,
            scratch: Vec::new(),
            pool: Pool::default(),
        }
    }

    /// The picture in a JPEG, as [`Codec::I420`] or [`Codec::Bgr24`].
    ///
    /// # Errors
    /// The data is no JPEG, ends early, or is of an unsupported kind (CMYK, lossless, 12 bits). The picture is over the size
    /// limit: checked in the header, before memory is taken.
    pub fn decode(&mut self, jpeg: &[u8], want: Codec) -> Result<Picture> {
        let header = self.turbo.header(jpeg)?;
        let mut buffer = self.pool.take(raw_length(want, header.width, header.height)?);
        self.fill(jpeg, &header, want, &mut buffer)?;
        Picture::new(want, header.width, header.height, buffer.freeze())
    }

    /// Decodes as [`JpegDecoder::decode`] does, into these bytes.
    ///
    /// # Errors
    /// As there; and the picture takes more or fewer bytes.
    pub fn decode_into(&mut self, jpeg: &[u8], want: Codec, out: &mut [u8]) -> Result<()> {
        let header = self.turbo.header(jpeg)?;
        check_room(want, (header.width, header.height), out)?;
        self.fill(jpeg, &header, want, out)
    }

    fn fill(&mut self, jpeg: &[u8], header: &JpegHeader, want: Codec, out: &mut [u8]) -> Result<()> {
        let (width, height) = (header.width, header.height);
        let started = Instant::now();
        match header.subsampling {
            Some(subsampling) if want == Codec::I420 => self.decode_planes(jpeg, header, subsampling, out)?,
            // By way of I420, which is faster than libjpeg-turbo's own conversion.
            Some(Subsampling::C420) => {
                let mut planes = self.pool.take(raw_length(Codec::I420, width, height)?);
                self.decode_planes(jpeg, header, Subsampling::C420, &mut planes)?;
                colour::i420_to_bgr(&planes, out, width, height)?;
            }
            _ if want == Codec::Bgr24 => self.turbo.decompress_bgr(jpeg, header, out)?,
            _ => {
                let mut bgr = self.pool.take(raw_length(Codec::Bgr24, width, height)?);
                self.turbo.decompress_bgr(jpeg, header, &mut bgr)?;
                colour::bgr_to_i420(&bgr, out, width, height)?;
            }
        }
        self.planner.finished(started);
        Ok(())
    }

    /// Fills an I420 picture from strips that are decoded in parallel. Returns whether that worked.
    fn decode_strips(&mut self, jpeg: &[u8], header: &JpegHeader, out: &mut [u8]) -> bool {
        let strips = self.planner.strips(header.width, header.height);
        let Some(strips) = strips::cut(jpeg, strips) else {
            self.planner.strips = 1;
            return false;
        };
        let width = header.width;
        let mut strips = strips.into_iter();
        let Some(first) = strips.next() else { return false };
        let mut parts = Vec::new();
        for ((number, mut turbo), strip) in self.strip_decoders.drain(..strips.len()).enumerate().zip(strips) {
            let mut buffer = self.pool.take(strip_length(width, &strip));
            parts.push(self.threads.start(number, move || {
                let decoded =
                    decode_strip(&mut turbo, &strip, width, planes_mut(&mut buffer, width, strip.height as u32));
                (turbo, strip, buffer, decoded.is_ok())
            }));
        }
        let mut whole = planes_mut(out, width, header.height);
        let mut good = decode_strip(&mut self.turbo, &first, width, strip_planes(&mut whole, &first, width)).is_ok();
        for part in parts {
            let Some((turbo, strip, buffer, decoded)) = part.wait() else {
                self.strip_decoders.push(Turbo::decompressor());
                good = false;
                continue;
            };
            self.strip_decoders.push(turbo);
            good &= decoded;
            let to = strip_planes(&mut whole, &strip, width);
            for (to, from) in to.into_iter().zip(planes(&buffer, width, strip.height as u32)) {
                to.copy_from_slice(from);
            }
        }
        good
    }

    /// Fills an I420 picture.
    fn decode_planes(
        &mut self,
        jpeg: &[u8],
        header: &JpegHeader,
        subsampling: Subsampling,
        out: &mut [u8],
    ) -> Result<()> {
        let width = header.width as usize;
        let [y, u, v] = planes_mut(out, header.width, header.height);
        let Subsampling::Shared { across, down } = subsampling else {
            u.fill(128);
            v.fill(128);
            return self.turbo.decompress_planes(jpeg, header, [y, &mut [], &mut []], [width, 0, 0]);
        };
        let (luma, chroma) = subsampling.plane_sizes(header.width, header.height);
        if (subsampling, luma) == (Subsampling::C420, (width, header.height as usize)) {
            if self.decode_strips(jpeg, header, out) {
                return Ok(());
            }
            let planes = planes_mut(out, header.width, header.height);
            return self.turbo.decompress_planes(jpeg, header, planes, [width, chroma.0, chroma.0]);
        }
        self.decode_by_scratch(jpeg, header, (luma, chroma), (2 / across, 2 / down), [y, u, v])
    }

    /// Fills an I420 picture whose planes differ in size from the JPEG's: `luma` and `chroma` samples there, of which `across` x
    /// `down` become one sample of chroma here.
    fn decode_by_scratch(
        &mut self,
        jpeg: &[u8],
        header: &JpegHeader,
        (luma, chroma): ((usize, usize), (usize, usize)),
        (across, down): (usize, usize),
        [y, u, v]: [&mut [u8]; 3],
    ) -> Result<()> {
        let (width, height) = (header.width as usize, header.height as usize);
        let direct = luma == (width, height);
        let mut scratch = std::mem::take(&mut self.scratch);
        let luma_length = if direct { 0 } else { luma.0 * luma.1 };
        scratch.resize(luma_length + 2 * chroma.0 * chroma.1, 0);
        let (padded_y, rest) = scratch.split_at_mut(luma_length);
        let (large_u, large_v) = rest.split_at_mut(chroma.0 * chroma.1);
        let planes = [if direct { &mut *y } else { &mut *padded_y }, &mut *large_u, &mut *large_v];
        let decoded = self.turbo.decompress_planes(jpeg, header, planes, [luma.0, chroma.0, chroma.0]);
        if !direct {
            for (row, from) in y.chunks_exact_mut(width).zip(padded_y.chunks_exact(luma.0)) {
                row.copy_from_slice(&from[..width]);
            }
        }
        for (plane, from) in [(u, &*large_u), (v, &*large_v)] {
            average(from, chroma.0, plane, width.div_ceil(2), across, down);
        }
        self.scratch = scratch;
        decoded
    }
}

/// Decodes a strip into its part of a picture's planes.
fn decode_strip(turbo: &mut Turbo, strip: &Strip, width: u32, planes: [&mut [u8]; 3]) -> Result<()> {
    let header = turbo.header(&strip.jpeg)?;
    let fits = (header.width, header.height as usize) == (width, strip.height)
        && header.subsampling == Some(Subsampling::C420);
    let (luma, chroma) = (width as usize, width as usize / 2);
    let [y, u, v] = &planes;
    ensure!(
        fits && y.len() == luma * strip.height && u.len().min(v.len()) == chroma * (strip.height / 2),
        InvalidData,
        "a strip does not have the size that its JPEG states"
    );
    turbo.decompress_planes(&strip.jpeg, &header, planes, [luma, chroma, chroma])
}

/// A strip's part of a picture's planes.
fn strip_planes<'a>(whole: &'a mut [&mut [u8]; 3], strip: &Strip, width: u32) -> [&'a mut [u8]; 3] {
    let (width, end) = (width as usize, strip.top + strip.height);
    let [y, u, v] = whole;
    let (luma, chroma) = (strip.top * width..end * width, strip.top / 2 * (width / 2)..end / 2 * (width / 2));
    [&mut y[luma], &mut u[chroma.clone()], &mut v[chroma]]
}

/// Bytes of a strip as I420. Its width and height are even.
fn strip_length(width: u32, strip: &Strip) -> usize {
    width as usize * strip.height * 3 / 2
}

/// Averages `across` x `down` samples (each 1 or 2) of a plane into one. Beyond the plane's edge its last sample counts again.
fn average(from: &[u8], stride: usize, to: &mut [u8], width: usize, across: usize, down: usize) {
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

//! Raw pictures to JPEG.

use std::time::Instant;

use bytes::Bytes;
use framewire_proto::{
    Codec,
    jpeg::strips::{self, BLOCK},
};

use super::{strip_planner::StripPlanner, turbo::Turbo};
use crate::error::{Error, OrError as _, Result};
use crate::media::{
    colour,
    picture::Picture,
    pool::Pool,
    strip_pool::{PendingPart, StripPool},
};

/// Encodes JPEGs: baseline, 4:2:0, full-range BT.601. Strips are separated by restart markers.
pub struct JpegEncoder {
    /// One for each thread.
    pub(super) strip_encoders: Vec<StripEncoder>,
    threads: StripPool,
    pub(super) planner: StripPlanner,
    scratch: Vec<u8>,
    pool: Pool,
}

/// Encodes one strip at a time.
pub(super) struct StripEncoder {
    turbo: Turbo,
    output: Vec<u8>,
}

impl JpegEncoder {
    /// Creates an encoder of this quality, 1 to 100.
    pub fn new(quality: u8) -> Self {
        let planner = StripPlanner::new();
        let strip_encoders = (0..planner.processors).map(|_| StripEncoder::new()).collect();
        let threads = StripPool::new();
        let mut encoder = Self { strip_encoders, threads, planner, scratch: Vec::new(), pool: Pool::default() };
        encoder.set_quality(quality);
        encoder
    }

    /// Sets the quality of the next pictures, clamped to 1 to 100.
    pub fn set_quality(&mut self, quality: u8) {
        for encoder in &mut self.strip_encoders {
            encoder.turbo.set_quality(quality.clamp(1, 100));
        }
    }

    /// The picture as a JPEG.
    ///
    /// # Errors
    /// libjpeg-turbo fails; the error holds its message.
    pub fn encode(&mut self, picture: &Picture) -> Result<Bytes> {
        if picture.codec() == Codec::Bgr24 {
            let picture = colour::convert(picture, Codec::I420, &self.pool)?;
            return self.encode(&picture);
        }
        let strips = self.planner.strips(picture.width(), picture.height());
        let started = Instant::now();
        let jpeg = if strips > 1 { self.encode_strips(picture, strips) } else { self.encode_whole(picture) };
        self.planner.finished(started);
        jpeg
    }

    fn encode_whole(&mut self, picture: &Picture) -> Result<Bytes> {
        let (width, height) = (picture.width(), picture.height());
        let [y, u, v] = picture.planes();
        let (y, stride) = pad_to_even(y, width, height, &mut self.scratch);
        let StripEncoder { turbo, output } = &mut self.strip_encoders[0];
        turbo.compress([y, u, v], stride, width, height, output)?;
        let mut buffer = self.pool.take(output.len());
        buffer.copy_from_slice(output);
        Ok(buffer.freeze())
    }

    /// Encodes strips in parallel and joins them.
    fn encode_strips(&mut self, picture: &Picture, strips: usize) -> Result<Bytes> {
        let rows = (picture.height() as usize).div_ceil(BLOCK).div_ceil(strips) * BLOCK;
        let mut parts = Vec::new();
        for (number, mut encoder) in self.strip_encoders.drain(1..strips).enumerate() {
            let picture = picture.clone();
            parts.push(self.threads.start(number, move || {
                let encoded = encoder.encode(&picture, (number + 1) * rows, rows);
                (encoder, encoded)
            }));
        }
        let first = self.strip_encoders[0].encode(picture, 0, rows);
        let others: Option<Vec<_>> = parts.into_iter().map(PendingPart::wait).collect();
        // After a thread was lost, whole pictures are encoded on this one.
        self.planner.processors = if others.is_some() { self.planner.processors } else { 1 };
        let (encoders, encoded): (Vec<_>, Vec<_>) =
            others.or_error(Error::System, || "a strip's thread panicked")?.into_iter().unzip();
        self.strip_encoders.splice(1..1, encoders);
        first.and(encoded.into_iter().collect::<Result<()>>())?;
        let outputs: Vec<_> = self.strip_encoders.iter().take(strips).map(|encoder| &encoder.output[..]).collect();
        strips::join(&outputs, picture.height() as u16)
            .map(Bytes::from)
            .or_error(Error::System, || "the strips of a JPEG do not fit together")
    }
}

impl StripEncoder {
    pub(super) fn new() -> Self {
        Self { turbo: Turbo::compressor(), output: Vec::new() }
    }

    /// Encodes at most `rows` rows from `top` on, of a picture with an even width and height.
    fn encode(&mut self, picture: &Picture, top: usize, rows: usize) -> Result<()> {
        let width = picture.width() as usize;
        let end = (top + rows).min(picture.height() as usize);
        let [y, u, v] = picture.planes();
        let (luma, chroma) = (top * width..end * width, top / 2 * (width / 2)..end / 2 * (width / 2));
        let planes = [&y[luma], &u[chroma.clone()], &v[chroma]];
        self.turbo.compress(planes, width, picture.width(), (end - top) as u32, &mut self.output)
    }
}

/// A plane with an even width and height, as libjpeg-turbo reads it, and its stride. An odd side gets its last column or row
/// twice.
fn pad_to_even<'a>(plane: &'a [u8], width: u32, height: u32, scratch: &'a mut Vec<u8>) -> (&'a [u8], usize) {
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

//! Planes of raw video from other programs to full-range I420.

use bytes::Bytes;
use framewire_proto::{
    Codec,
    wire::y4m::{Chroma, Header},
};

use super::pool::Pool;

/// Converts pictures of a YUV4MPEG2 stream to full-range I420.
pub struct Converter {
    header: Header,
    luma: [u8; 256],
    chroma: [u8; 256],
    pool: Pool,
}

impl Converter {
    /// Creates a converter for the pictures after this header.
    pub fn new(header: Header) -> Self {
        let (luma, chroma) = if header.full_range {
            (identity(), identity())
        } else {
            (expand(16.0, 219.0, 0.0), expand(128.0, 224.0, 128.0))
        };
        Self { header, luma, chroma, pool: Pool::default() }
    }

    /// Width and height of the pictures.
    pub fn size(&self) -> (u32, u32) {
        (self.header.width, self.header.height)
    }

    /// Converts one picture. Full-range I420 is returned without a copy.
    ///
    /// # Panics
    /// The planes do not have the length that the header states.
    pub fn convert(&self, planes: Bytes) -> Bytes {
        let Header { width, height, chroma, full_range, .. } = self.header;
        assert_eq!(planes.len(), self.header.frame_length(), "a picture of this header");
        if full_range && chroma == Chroma::C420 {
            return planes;
        }
        let mut out = self.pool.take(Codec::I420.raw_length(width, height).expect("I420 is raw"));
        let (luma, colours) = planes.split_at(width as usize * height as usize);
        let (out_luma, out_colours) = out.split_at_mut(luma.len());
        for (out, value) in out_luma.iter_mut().zip(luma) {
            *out = self.luma[usize::from(*value)];
        }
        if chroma == Chroma::Mono {
            out_colours.fill(128);
            return out.freeze();
        }
        let half = out_colours.len() / 2;
        for (out, plane) in out_colours.chunks_exact_mut(half).zip(colours.chunks_exact(colours.len() / 2)) {
            self.halve(plane, out);
        }
        out.freeze()
    }

    /// Scales a chroma plane to half the picture's width and height. Each value is the mean of those that it replaces.
    fn halve(&self, plane: &[u8], out: &mut [u8]) {
        let Header { width, height, chroma, .. } = self.header;
        let (from_width, from_height) = chroma.size(width, height);
        let (from_width, from_height) = (from_width as usize, from_height as usize);
        let (to_width, _) = Chroma::C420.size(width, height);
        let (across, down) = match chroma {
            Chroma::C444 => (2, 2),
            Chroma::C422 => (1, 2),
            Chroma::C420 | Chroma::Mono => (1, 1),
        };
        for (row, out) in out.chunks_exact_mut(to_width as usize).enumerate() {
            let top = &plane[row * down * from_width..][..from_width];
            let bottom = &plane[(row * down + down - 1).min(from_height - 1) * from_width..][..from_width];
            for (column, out) in out.iter_mut().enumerate() {
                let (left, right) = (column * across, (column * across + across - 1).min(from_width - 1));
                let sum = [top[left], top[right], bottom[left], bottom[right]].into_iter().map(u16::from).sum::<u16>();
                *out = self.chroma[usize::from((sum + 2) / 4)];
            }
        }
    }
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

/// Limited range to full range: `span` values from `origin` become 255 from `to` (ITU-T H.273, section 8.3).
fn expand(origin: f32, span: f32, to: f32) -> [u8; 256] {
    std::array::from_fn(|value| ((value as f32 - origin) * 255.0 / span + to).round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(chroma: Chroma, full_range: bool, planes: &[u8]) -> Bytes {
        let header = Header { width: 3, height: 3, millifps: 0, chroma, full_range };
        Converter::new(header).convert(Bytes::copy_from_slice(planes))
    }

    #[test]
    fn limited_range_becomes_full() {
        let limited = [16, 235, 126, 16, 16, 16, 0, 255, 16, 16, 128, 240, 128, 240, 16, 16, 16];
        let full = [0, 255, 128, 0, 0, 0, 0, 255, 0, 1, 128, 255, 128, 255, 1, 1, 1];
        assert_eq!(convert(Chroma::C420, false, &limited), full.as_slice());
        assert_eq!(convert(Chroma::C420, true, &limited), limited.as_slice());
    }

    #[test]
    fn finer_chroma_is_averaged_and_missing_chroma_is_grey() {
        let y = [9; 9];
        let halves = [10, 20, 30, 40, 50, 60];
        let c422 = [&y[..], &halves, &halves].concat();
        let averaged = [20, 30, 50, 60];
        assert_eq!(convert(Chroma::C422, true, &c422), [&y[..], &averaged, &averaged].concat());
        let full = [10, 20, 30, 40, 50, 60, 70, 80, 90];
        let c444 = [&y[..], &full, &full].concat();
        let averaged = [30, 45, 75, 90];
        assert_eq!(convert(Chroma::C444, true, &c444), [&y[..], &averaged, &averaged].concat());
        assert_eq!(convert(Chroma::Mono, true, &y), [&y[..], &[128; 8]].concat());
    }
}

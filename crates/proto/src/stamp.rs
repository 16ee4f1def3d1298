//! A frame's number and capture time as a block code in its pixels, so that the age of a picture can be measured at any point,
//! whatever was done to the picture on the way.
//!
//! The code is a row of [`CELLS`] squares at the top of the picture, black for 0 and white for 1: 32 bits of the number, 40 of
//! the time, 8 of a CRC, each with the highest bit first. The squares scale with the picture.

use crate::Micros;

/// Squares in the row.
pub const CELLS: u32 = 80;
/// The time wraps around to 0 here: after twelve days of microseconds.
pub const WRAP: Micros = 1 << 40;

/// The contents of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The frame's number, modulo 2^32.
    pub number: u32,
    /// When it was captured, in µs modulo [`WRAP`].
    pub captured: Micros,
}

impl Stamp {
    /// The age of the frame at this time of the same clock, in µs.
    pub fn age(&self, now: Micros) -> Micros {
        (now % WRAP + WRAP - self.captured) % WRAP
    }

    fn bits(self) -> u128 {
        let data = u128::from(self.number) << 40 | u128::from(self.captured % WRAP);
        data << 8 | u128::from(crc(data))
    }
}

/// Rows of the picture that the code covers; 0 when the picture is too narrow for it.
pub fn height(width: u32) -> u32 {
    if width < 2 * CELLS { 0 } else { (width / CELLS).next_multiple_of(2) }
}

/// Writes the code into a luma plane, rows without padding. A picture that is too small stays unchanged.
pub fn write(luma: &mut [u8], width: u32, stamp: Stamp) {
    let (rows, bits) = (height(width), stamp.bits());
    let length = (rows * width) as usize;
    if rows == 0 || luma.len() < length {
        return;
    }
    let (first, rest) = luma[..length].split_at_mut(width as usize);
    for cell in 0..CELLS {
        let white = bits >> (CELLS - 1 - cell) & 1 == 1;
        first[edge(cell, width)..edge(cell + 1, width)].fill(if white { 255 } else { 0 });
    }
    for row in rest.chunks_exact_mut(width as usize) {
        row.copy_from_slice(first);
    }
}

/// Reads the code from a luma plane with rows `pitch` bytes apart; `None` when there is no code or it cannot be read.
pub fn read(luma: &[u8], width: u32, pitch: usize) -> Option<Stamp> {
    let rows = height(width) as usize;
    if rows == 0 || luma.len() < (rows - 1) * pitch + width as usize || pitch < width as usize {
        return None;
    }
    // Only the middle of each square counts: compression and scaling blur its edges.
    let bit = |cell| {
        let (left, right) = (edge(cell, width), edge(cell + 1, width));
        let (inset, lines) = ((right - left) / 4, rows / 4..rows - rows / 4);
        let values = lines.flat_map(|row| &luma[row * pitch..][left + inset..right - inset]);
        let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + u32::from(*value), count + 1));
        u128::from(sum > 128 * count)
    };
    let bits = (0..CELLS).fold(0_u128, |bits, cell| bits << 1 | bit(cell));
    let data = bits >> 8;
    let stamp = Stamp { number: (data >> 40) as u32, captured: data as u64 % WRAP };
    (crc(data) == bits as u8).then_some(stamp)
}

/// The left edge of a square.
fn edge(cell: u32, width: u32) -> usize {
    (cell * width / CELLS) as usize
}

/// CRC-8 (polynomial 0x07) with the initial value 0xFF, so that neither a black nor a white row is a valid code.
fn crc(data: u128) -> u8 {
    (0..72).rev().fold(0xFF_u8, |crc, place| {
        let top = crc >> 7 ^ (data >> place & 1) as u8;
        (crc << 1) ^ (0x07 * top)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jpeg_and_back(luma: &[u8], width: usize, height: usize, quality: i32) -> Vec<u8> {
        let image =
            turbojpeg::Image { pixels: luma, width, pitch: width, height, format: turbojpeg::PixelFormat::GRAY };
        let jpeg = turbojpeg::compress(image, quality, turbojpeg::Subsamp::Gray).unwrap();
        turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::GRAY).unwrap().pixels
    }

    #[test]
    fn a_row_of_one_colour_is_no_code() {
        for value in [0, 64, 128, 255] {
            assert_eq!(read(&[value; 640 * 8], 640, 640), None, "{value}");
        }
    }

    #[test]
    fn ages_are_counted_across_the_wrap() {
        let stamp = Stamp { number: 0, captured: WRAP - 5 };
        assert_eq!(stamp.age(WRAP * 3 + 10), 15);
    }

    #[test]
    fn a_picture_without_room_stays_unchanged() {
        let stamp = Stamp { number: 1, captured: 1 };
        let mut narrow = [7; 159 * 4];
        write(&mut narrow, 159, stamp);
        let mut short = [7; 640 * 7];
        write(&mut short, 640, stamp);
        assert!(narrow.iter().chain(&short).all(|value| *value == 7));
        assert_eq!(read(&short, 640, 640), None);
        assert_eq!(read(&short, 640, 0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_code_survives_coarse_jpeg(
            number: u32, captured in 0..WRAP, width in prop::sample::select(vec![160_u32, 320, 333, 640, 1280, 1919])
        ) {
            let mut luma = vec![90; (width * 64) as usize];
            let stamp = Stamp { number, captured };
            write(&mut luma, width, stamp);
            prop_assert_eq!(read(&luma, width, width as usize), Some(stamp));
            let encoded = jpeg_and_back(&luma, width as usize, 64, 15);
            prop_assert_eq!(read(&encoded, width, width as usize), Some(stamp));
        }

        #[test]
        fn any_pixels_can_be_read(luma in prop::collection::vec(any::<u8>(), 0..4000), width in 0..700_u32, pitch in 0..700_usize) {
            let _ = read(&luma, width, pitch);
        }
    }
}

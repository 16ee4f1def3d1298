//! Drawing into an I420 picture.

use framewire_proto::Codec;

/// A colour in full-range BT.601.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    y: u8,
    u: u8,
    v: u8,
}

impl Colour {
    /// From red, green and blue in one number, `0xRRGGBB` (JFIF 1.02's equations).
    pub const fn rgb(rgb: u32) -> Self {
        let (red, green, blue) = ((rgb >> 16) as i32 & 255, (rgb >> 8) as i32 & 255, rgb as i32 & 255);
        Self {
            y: ((29_900 * red + 58_700 * green + 11_400 * blue + 50_000) / 100_000) as u8,
            // Rounded down: the highest value would be 255.5.
            u: ((50_000 * blue - 16_874 * red - 33_126 * green + 12_849_999) / 100_000) as u8,
            v: ((50_000 * red - 41_869 * green - 8_131 * blue + 12_849_999) / 100_000) as u8,
        }
    }

    /// A grey.
    pub const fn grey(y: u8) -> Self {
        Self { y, u: 128, v: 128 }
    }
}

/// A rectangle in pixels. The part outside the picture is not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Its left edge.
    pub x: i32,
    /// Its upper edge.
    pub y: i32,
    /// Its width.
    pub width: i32,
    /// Its height.
    pub height: i32,
}

/// An I420 picture to draw into.
pub struct Canvas<'a> {
    luma: &'a mut [u8],
    colours: [&'a mut [u8]; 2],
    width: usize,
    height: usize,
}

impl<'a> Canvas<'a> {
    /// A canvas over the bytes of a picture of this size.
    ///
    /// # Panics
    /// The number of bytes is not [`Codec::raw_length`].
    pub fn new(picture: &'a mut [u8], width: u32, height: u32) -> Self {
        assert_eq!(Some(picture.len()), Codec::I420.raw_length(width, height), "a picture of {width}x{height}");
        let (width, height) = (width as usize, height as usize);
        let (luma, rest) = picture.split_at_mut(width * height);
        let (u, v) = rest.split_at_mut(rest.len() / 2);
        Self { luma, colours: [u, v], width, height }
    }

    /// The luma plane, rows without padding.
    pub fn luma(&mut self) -> &mut [u8] {
        self.luma
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, rect: Rect, colour: Colour) {
        let (columns, rows) = self.clip(rect);
        for row in rows.clone() {
            self.luma[row * self.width..][columns.clone()].fill(colour.y);
        }
        let stride = self.width.div_ceil(2);
        for (plane, value) in self.colours.iter_mut().zip([colour.u, colour.v]) {
            for row in halves(&rows) {
                plane[row * stride..][halves(&columns)].fill(value);
            }
        }
    }

    /// Draws a colour through a mask of opacities (0 to 255, rows without padding) of this rectangle's size.
    pub fn blend(&mut self, rect: Rect, mask: &[u8], colour: Colour) {
        let (columns, rows) = self.clip(rect);
        if columns.is_empty() || rows.is_empty() {
            return;
        }
        let pitch = rect.width.max(0) as usize;
        let at = |column: usize, row: usize| {
            usize::try_from(row as i32 - rect.y).unwrap_or(0) * pitch
                + usize::try_from(column as i32 - rect.x).unwrap_or(0)
        };
        for row in rows.clone() {
            let mask = &mask[at(columns.start, row)..][..columns.len()];
            for (value, alpha) in self.luma[row * self.width..][columns.clone()].iter_mut().zip(mask) {
                *value = mix(*value, colour.y, u16::from(*alpha) + u16::from(*alpha >> 7));
            }
        }
        let stride = self.width.div_ceil(2);
        let line = |row: usize| {
            if rows.contains(&row) { &mask[at(columns.start, row)..][..columns.len()] } else { &[] }
        };
        // A chroma sample covers four pixels, so its opacity is their mean. At the edges some of the four lie outside.
        let odd = columns.start % 2;
        for row in halves(&rows) {
            let lines = [line(2 * row), line(2 * row + 1)];
            for (place, column) in halves(&columns).enumerate() {
                let pair = (2 * place).saturating_sub(odd)..2 * place + 2 - odd;
                let alphas = lines.iter().filter_map(|line| line.get(pair.clone()).or(line.get(pair.start..)));
                let sum: u16 = alphas.flatten().map(|alpha| u16::from(*alpha)).sum();
                if sum > 0 {
                    for (plane, value) in self.colours.iter_mut().zip([colour.u, colour.v]) {
                        let place = &mut plane[row * stride + column];
                        *place = mix(*place, value, (sum + 2) / 4 + (sum >> 9));
                    }
                }
            }
        }
    }

    /// The columns and rows of a rectangle that lie inside the picture.
    fn clip(&self, rect: Rect) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let range = |from: i32, length: i32, limit: usize| {
            let clamp = |place: i64| place.clamp(0, limit as i64) as usize;
            clamp(from.into())..clamp(i64::from(from) + i64::from(length.max(0)))
        };
        (range(rect.x, rect.width, self.width), range(rect.y, rect.height, self.height))
    }
}

/// The range of a chroma plane that covers a range of the luma plane.
fn halves(range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / 2..range.end.div_ceil(2) }
}

/// Moves a value towards another by `alpha` of 256.
fn mix(from: u8, to: u8, alpha: u16) -> u8 {
    let (from, to, alpha) = (u32::from(from), u32::from(to), u32::from(alpha));
    ((from * (256 - alpha) + to * alpha) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_colours_follow_jfif() {
        assert_eq!(Colour::rgb(0x00_00_00), Colour::grey(0));
        assert_eq!(Colour::rgb(0xFF_FF_FF), Colour::grey(255));
        assert_eq!(Colour::rgb(0xFF_00_00), Colour { y: 76, u: 85, v: 255 });
        assert_eq!(Colour::rgb(0x00_00_FF), Colour { y: 29, u: 255, v: 107 });
    }

    #[test]
    fn the_part_outside_the_picture_is_not_drawn() {
        let mut picture = vec![7; 3 * 3 + 2 * 4];
        let mut canvas = Canvas::new(&mut picture, 3, 3);
        let red = Colour::rgb(0xFF_00_00);
        for (x, y) in [(-4, 0), (3, 0), (0, i32::MIN), (i32::MAX, 1)] {
            let rect = Rect { x, y, width: 4, height: 3 };
            canvas.fill(rect, red);
            canvas.blend(rect, &[255; 12], red);
        }
        assert!(picture.iter().all(|value| *value == 7));
        Canvas::new(&mut picture, 3, 3).blend(Rect { x: -1, y: 2, width: 3, height: 5 }, &[255; 15], red);
        assert_eq!(picture[..9], [7, 7, 7, 7, 7, 7, red.y, red.y, 7]);
        assert_eq!(picture[9..13].iter().filter(|value| **value != 7).count(), 1);
    }
}

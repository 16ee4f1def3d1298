//! Text drawn into pictures.

use font8x8::legacy::BASIC_LEGACY;

use super::canvas::{Canvas, Colour, Rect};

/// Side of a letter in the font's data, in pixels.
const CELL: usize = 8;
const FIRST: u8 = b' ';
const LAST: u8 = b'~';

/// ASCII letters of one size, drawn once and then copied. Any other character is shown as `?`.
pub struct Font {
    /// Side of a letter.
    side: usize,
    /// Opacities of each letter's pixels, one letter after another.
    masks: Vec<u8>,
}

impl Font {
    /// A font whose letters are squares with sides of this many pixels, 8 to 256.
    pub fn new(side: u32) -> Self {
        let side = side.clamp(8, 256) as usize;
        let masks = (FIRST..=LAST).flat_map(|letter| mask(letter, side)).collect();
        Self { side, masks }
    }

    /// Height of a line, in pixels.
    pub fn height(&self) -> i32 {
        self.side as i32
    }

    /// Width of a text, in pixels.
    pub fn width(&self, text: &str) -> i32 {
        (self.side * text.chars().count()) as i32
    }

    /// Draws a text with its upper left corner at `x` and `y`.
    pub fn draw(&self, canvas: &mut Canvas<'_>, x: i32, y: i32, text: &str, colour: Colour) {
        let side = self.side as i32;
        for (place, letter) in text.chars().enumerate() {
            let rect = Rect { x: x + place as i32 * side, y, width: side, height: side };
            if letter != ' ' {
                canvas.blend(rect, self.mask(letter), colour);
            }
        }
    }

    fn mask(&self, letter: char) -> &[u8] {
        let letter = u8::try_from(letter).ok().filter(|letter| (FIRST..=LAST).contains(letter)).unwrap_or(b'?');
        let size = self.side * self.side;
        &self.masks[usize::from(letter - FIRST) * size..][..size]
    }
}

/// A letter's opacities. The font's eight by eight dots become smooth outlines: opacity is interpolated between dots, and the
/// outline is where it is a little under one half, so that dots that touch at a corner stay connected.
fn mask(letter: u8, side: usize) -> Vec<u8> {
    let dots = BASIC_LEGACY[usize::from(letter)];
    if side.is_multiple_of(CELL) && side <= 2 * CELL {
        let scale = side / CELL;
        let dot = |place: usize| (dots[place / side / scale] >> (place % side / scale)) & 1;
        return (0..side * side).map(|place| dot(place) * 255).collect();
    }
    let scale = side as f32 / CELL as f32;
    let dot = |column: i32, row: i32| {
        let inside = (0..CELL as i32).contains(&column) && (0..CELL as i32).contains(&row);
        if inside { f32::from((dots[row as usize] >> column) & 1) } else { 0.0 }
    };
    let opacity = |place: usize| {
        let at = |place: usize| (place as f32 + 0.5) / scale - 0.5;
        let (x, y) = (at(place % side), at(place / side));
        let (left, top) = (x.floor(), y.floor());
        let (right_share, low_share) = (x - left, y - top);
        let (left, top) = (left as i32, top as i32);
        let row = |row: i32| dot(left, row) * (1.0 - right_share) + dot(left + 1, row) * right_share;
        let level = row(top) * (1.0 - low_share) + row(top + 1) * low_share;
        // One pixel of soft edge.
        (((level - 0.45) * scale + 0.5).clamp(0.0, 1.0) * 255.0) as u8
    };
    (0..side * side).map(opacity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the letters of a drawing by comparing each place with every letter of the font.
    fn read(font: &Font, luma: &[u8], width: usize, count: usize) -> String {
        let side = font.side;
        let differs = |letter: char, place: usize| -> u64 {
            let mask = font.mask(letter);
            let seen = |at: usize| luma[at / side * width + place * side + at % side];
            (0..side * side).map(|at| u64::from(seen(at).abs_diff(mask[at]))).sum()
        };
        (0..count).map(|place| (' '..='~').min_by_key(|letter| differs(*letter, place)).unwrap()).collect()
    }

    #[test]
    fn text_can_be_read_at_every_size() {
        for side in [8, 16, 21, 40] {
            let font = Font::new(side);
            let text = "08:15:42.917 fw";
            let (width, height) = (font.width(text) as u32, side);
            let mut picture = vec![0; framewire_proto::Codec::I420.raw_length(width, height).unwrap()];
            font.draw(&mut Canvas::new(&mut picture, width, height), 0, 0, text, Colour::grey(255));
            assert_eq!(read(&font, &picture, width as usize, text.len()), text, "{side}");
        }
    }

    #[test]
    fn unknown_letters_and_text_that_does_not_fit_are_handled() {
        let font = Font::new(8);
        let mut picture = vec![0; 8 * 8 + 2 * 16];
        font.draw(&mut Canvas::new(&mut picture, 8, 8), 0, 0, "\u{1F3A5}xx", Colour::grey(255));
        assert_eq!(picture[..64], *font.mask('?'));
    }
}

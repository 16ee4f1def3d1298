//! Text in the window, drawn as a mask: the brightness of each pixel of a dark plate.

use framewire_proto::Codec;

use crate::media::{
    canvas::{Canvas, Colour},
    text::Font,
};

/// A plate with text on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The brightness of each pixel, row by row, from 0 (the plate) to 255 (a letter).
    pub(super) light: Vec<u8>,
}

impl Label {
    /// Draws lines of text, wrapped at `width` and cut off at `height`.
    pub(super) fn new(text: &str, font: &Font, width: u32, height: u32) -> Self {
        let side = font.height() as u32;
        let (margin, step) = (side / 2, side + side / 4);
        let columns = width.saturating_sub(2 * margin) / side;
        let rows = height.saturating_sub(2 * margin) / step;
        let lines = wrap(text, columns as usize, rows as usize);
        let longest = lines.iter().map(|line| font.width(line)).max().unwrap_or(0) as u32;
        if longest == 0 {
            return Self { width: 0, height: 0, light: Vec::new() };
        }
        let (width, height) = (longest + 2 * margin, lines.len() as u32 * step - side / 4 + 2 * margin);
        let mut light = vec![0; Codec::I420.raw_length(width, height).unwrap_or(0)];
        let mut canvas = Canvas::new(&mut light, width, height);
        for (row, line) in lines.iter().enumerate() {
            let top = margin + row as u32 * step;
            font.draw(&mut canvas, margin as i32, top as i32, line, Colour::grey(255));
        }
        light.truncate(width as usize * height as usize);
        Self { width, height, light }
    }
}

/// The first rows of a text, wrapped at this many letters.
fn wrap(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let letters: Vec<char> = line.chars().collect();
        lines.extend(letters.chunks(columns.max(1)).map(|part| part.iter().collect::<String>()));
    }
    lines.truncate(if columns == 0 { 0 } else { rows });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_at_its_size() {
        let (small, large) = (Font::new(8), Font::new(16));
        let (small, large) = (Label::new("Il", &small, 500, 500), Label::new("Il", &large, 500, 500));
        assert_eq!((small.width, small.height), (24, 16));
        assert_eq!((large.width, large.height), (48, 32));
        let lit = |label: &Label| label.light.iter().filter(|light| **light == 255).count();
        assert!(lit(&small) > 20);
        assert_eq!(lit(&large), 4 * lit(&small));
        assert_eq!(large.light.len(), 48 * 32);
    }

    #[test]
    fn long_text_is_wrapped_and_cut_off_and_empty_text_has_no_plate() {
        let font = Font::new(8);
        let label = Label::new("a long line indeed\nand\nmany\nmore", &font, 60, 30);
        assert!(label.width <= 60 && label.height <= 30, "{label:?}");
        assert_eq!(wrap("abcdef\ng", 4, 9), ["abcd", "ef", "g"]);
        for (text, width) in [("", 500), ("x", 3), ("\n\n", 500)] {
            assert_eq!(Label::new(text, &font, width, 500), Label { width: 0, height: 0, light: vec![] });
        }
    }
}

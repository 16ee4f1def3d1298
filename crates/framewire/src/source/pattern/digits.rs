//! Large seven-segment digits, as on a digital clock.

use crate::media::canvas::{Canvas, Colour, Rect};

/// Digits of one height, drawn once and then copied.
pub(super) struct Digits {
    height: i32,
    /// Opacities of each sign, and its width.
    signs: Vec<(Vec<u8>, i32)>,
}

/// The characters that can be shown.
const SIGNS: &str = "0123456789:.";
/// The segments of each digit, from the lowest bit: top, upper right, lower right, bottom, lower left, upper left, middle.
const LIT: [u8; 10] = [0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F];
/// Sizes as shares of the height.
const DIGIT: f32 = 0.6;
const POINT: f32 = 0.14;
const SPACE: f32 = 0.2;
const STROKE: f32 = 0.13;

type Point = (f32, f32);

impl Digits {
    /// Digits of this height in pixels.
    pub(super) fn new(height: i32) -> Self {
        let height = height.max(5);
        Self { height, signs: SIGNS.chars().map(|sign| draw(sign, height as f32)).collect() }
    }

    /// Width of a text, in pixels.
    pub(super) fn width(&self, text: &str) -> i32 {
        text.chars().map(|sign| self.sign(sign).1).sum()
    }

    /// Draws a text with its upper left corner at `x` and `y`.
    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, mut x: i32, y: i32, text: &str, colour: Colour) {
        for sign in text.chars() {
            let (mask, width) = self.sign(sign);
            canvas.blend(Rect { x, y, width: *width, height: self.height }, mask, colour);
            x += width;
        }
    }

    fn sign(&self, sign: char) -> &(Vec<u8>, i32) {
        &self.signs[SIGNS.find(sign).expect("a sign that can be shown")]
    }
}

/// A sign's opacities, row by row, and its width.
fn draw(sign: char, height: f32) -> (Vec<u8>, i32) {
    let digit = sign.to_digit(10);
    let width = (height * (SPACE + if digit.is_some() { DIGIT } else { POINT })).round() as i32;
    let strokes = match digit {
        Some(digit) => segments(LIT[digit as usize], height),
        None => points(sign, height),
    };
    let radius = height * STROKE / 2.0;
    let opacity = |column: i32, row: i32| {
        let place = (column as f32 + 0.5, row as f32 + 0.5);
        let near = strokes.iter().map(|(from, to)| distance(place, *from, *to)).fold(f32::MAX, f32::min);
        ((radius - near + 0.5).clamp(0.0, 1.0) * 255.0) as u8
    };
    let places = (0..height as i32).flat_map(|row| (0..width).map(move |column| (column, row)));
    (places.map(|(column, row)| opacity(column, row)).collect(), width)
}

/// The strokes of a digit, with small gaps between them.
fn segments(lit: u8, height: f32) -> Vec<(Point, Point)> {
    let radius = height * STROKE / 2.0;
    let (left, right) = (height * SPACE / 2.0 + radius, height * (SPACE / 2.0 + DIGIT) - radius);
    let (top, middle, bottom) = (radius, height / 2.0, height - radius);
    let gap = radius * 1.2;
    let across = |y: f32| ((left + gap, y), (right - gap, y));
    let down = |x: f32, from: f32, to: f32| ((x, from + gap), (x, to - gap));
    let all = [
        across(top),
        down(right, top, middle),
        down(right, middle, bottom),
        across(bottom),
        down(left, middle, bottom),
        down(left, top, middle),
        across(middle),
    ];
    all.into_iter().enumerate().filter(|(place, _)| (lit >> place) & 1 == 1).map(|(_, stroke)| stroke).collect()
}

fn points(sign: char, height: f32) -> Vec<(Point, Point)> {
    let x = height * (SPACE + POINT) / 2.0;
    let rows = if sign == ':' { vec![0.3, 0.7] } else { vec![1.0 - STROKE / 2.0] };
    rows.into_iter().map(|share| ((x, share * height), (x, share * height))).collect()
}

/// The distance from a place to the nearest point of a stroke.
fn distance(place: Point, from: Point, to: Point) -> f32 {
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let (x, y) = (place.0 - from.0, place.1 - from.1);
    let length = along_x * along_x + along_y * along_y;
    let share = if length > 0.0 { ((x * along_x + y * along_y) / length).clamp(0.0, 1.0) } else { 0.0 };
    (x - share * along_x).hypot(y - share * along_y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_looks_different() {
        let digits = Digits::new(40);
        for (place, (mask, _)) in digits.signs.iter().enumerate() {
            assert!(mask.contains(&255), "sign {place}");
            for (other, _) in &digits.signs[..place] {
                let differ = mask.iter().zip(other).filter(|(one, two)| one.abs_diff(**two) > 128).count();
                assert!(mask.len() != other.len() || differ > 30, "sign {place}: {differ}");
            }
        }
        assert_eq!(digits.width("12:3"), 3 * 32 + 14);
    }
}

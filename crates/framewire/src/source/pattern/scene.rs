//! The contents of the test scene.
//!
//! Everything has its place on a sheet of 1280x720, which is scaled and centred in the picture. The still part is drawn once. Each
//! frame is a copy of it, with the moving part drawn on top.

use std::{f32::consts::PI, time::Duration};

use framewire_proto::{
    Codec, Micros,
    stamp::{self, Stamp},
};

use super::digits::Digits;
use crate::media::{
    canvas::{Canvas, Colour, Rect},
    text::Font,
};

const SHEET: (f32, f32) = (1280.0, 720.0);
const MARGIN: f32 = 48.0;

const BACKGROUND: Colour = Colour::rgb(0x0F_14_1C);
const CARD: Colour = Colour::rgb(0x1A_22_2F);
const LINE: Colour = Colour::rgb(0x33_40_54);
const DIM: Colour = Colour::rgb(0x8A_97_A8);
const BRIGHT: Colour = Colour::rgb(0xF2_F5_F9);
const BRAND: Colour = Colour::rgb(0x5C_CF_E6);
const MOVING: Colour = Colour::rgb(0xFF_B4_54);

/// The places and sizes of the sheet's parts.
const CLOCK: (f32, f32) = (78.0, 88.0);
const COUNTER: (f32, f32) = (184.0, 36.0);
const PANELS: [f32; 3] = [MARGIN, 452.0, 856.0];
const PANEL: (f32, f32, f32) = (240.0, 376.0, 220.0);
const RULER: f32 = 514.0;
const LANE: (f32, f32) = (550.0, 110.0);
const FOOT: f32 = 682.0;

/// The moment that a frame shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The frame's number.
    pub(super) number: u64,
    /// When the frame is captured, on the clock of all capture times.
    pub(super) captured: Micros,
    /// The time of day, since 1970 (UTC).
    pub(super) wall: Duration,
}

/// The scene in one size.
pub(super) struct Scene {
    sheet: Sheet,
    still: Vec<u8>,
    clock: Digits,
    counter: Digits,
    small: Font,
    ball: Vec<u8>,
}

impl Scene {
    /// Draws the still part.
    pub(super) fn new(width: u32, height: u32, rate: &str) -> Self {
        let sheet = Sheet::new(width, height);
        let mut still = vec![0; Codec::I420.raw_length(width, height).expect("I420 is raw")];
        let mut canvas = Canvas::new(&mut still, width, height);
        canvas.fill(Rect { x: 0, y: 0, width: width as i32, height: height as i32 }, BACKGROUND);
        sheet.titles(&mut canvas, rate);
        sheet.colours(&mut canvas);
        sheet.zone_plate(&mut canvas);
        sheet.hair_lines(&mut canvas);
        sheet.lane(&mut canvas);
        let side = sheet.length(BALL);
        let ball = rounded(side, side, side as f32 / 2.0);
        let (clock, counter) = (Digits::new(sheet.length(CLOCK.1)), Digits::new(sheet.length(COUNTER.1)));
        Self { sheet, still, clock, counter, small: sheet.font(16.0), ball }
    }

    /// Bytes of a picture.
    pub(super) fn length(&self) -> usize {
        self.still.len()
    }

    /// Draws a frame into `out`.
    pub(super) fn draw(&self, out: &mut [u8], moment: Moment) {
        out.copy_from_slice(&self.still);
        let (width, height) = (self.sheet.width, self.sheet.height);
        let mut canvas = Canvas::new(out, width, height);
        let (seconds, millis) = (moment.wall.as_secs(), moment.wall.subsec_millis());
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let time = format!("{hour:02}:{minute:02}:{second:02}.{millis:03}");
        self.numbers(&mut canvas, &time, &format!("{:07}", moment.number));
        self.sweep(&mut canvas, moment.wall.subsec_micros() as f32 / 1e6);
        let Moment { number, captured, .. } = moment;
        stamp::write(canvas.luma(), width, Stamp { number: number as u32, captured: captured % stamp::WRAP });
    }

    fn numbers(&self, canvas: &mut Canvas<'_>, time: &str, number: &str) {
        let place = self.sheet.rect(0.0, CLOCK.0, SHEET.0, 1.0);
        let left = |width: i32| place.x + (place.width - width) / 2;
        self.clock.draw(canvas, left(self.clock.width(time)), place.y, time, BRIGHT);
        let (label, top) = ("frame ", self.sheet.rect(0.0, COUNTER.0, 1.0, COUNTER.1));
        let label_width = self.small.width(label);
        let x = left(label_width + self.counter.width(number));
        self.small.draw(canvas, x, top.y + top.height - self.small.height(), label, DIM);
        self.counter.draw(canvas, x + label_width, top.y, number, MOVING);
    }

    /// The bar and its ball, at this share of the way. They cross once a second, so their place shows the time.
    fn sweep(&self, canvas: &mut Canvas<'_>, share: f32) {
        let centre = MARGIN + share * (SHEET.0 - 2.0 * MARGIN);
        let (top, height) = LANE;
        canvas.fill(self.sheet.rect(centre - 3.0, top, 6.0, height), MOVING);
        let mut ball = self.sheet.rect(centre - BALL / 2.0, top + (height - BALL) / 2.0, BALL, BALL);
        (ball.width, ball.height) = (self.sheet.length(BALL), self.sheet.length(BALL));
        canvas.blend(ball, &self.ball, MOVING);
    }
}

const BALL: f32 = 56.0;

/// The sheet's place in the picture.
#[derive(Debug, Clone, Copy)]
struct Sheet {
    width: u32,
    height: u32,
    scale: f32,
    left: f32,
    top: f32,
}

impl Sheet {
    fn new(width: u32, height: u32) -> Self {
        let scale = (width as f32 / SHEET.0).min(height as f32 / SHEET.1);
        let centre = |pixels: u32, length: f32| (pixels as f32 - length * scale) / 2.0;
        Self { width, height, scale, left: centre(width, SHEET.0), top: centre(height, SHEET.1) }
    }

    fn length(&self, length: f32) -> i32 {
        (length * self.scale).round() as i32
    }

    fn rect(&self, x: f32, y: f32, width: f32, height: f32) -> Rect {
        let (left, top) = ((self.left + x * self.scale).round(), (self.top + y * self.scale).round());
        let (right, bottom) = ((self.left + (x + width) * self.scale), (self.top + (y + height) * self.scale));
        let length = |from: f32, to: f32| (to.round() - from).max(1.0) as i32;
        Rect { x: left as i32, y: top as i32, width: length(left, right), height: length(top, bottom) }
    }

    fn font(&self, side: f32) -> Font {
        Font::new(self.length(side).max(8) as u32)
    }

    fn centred(&self, canvas: &mut Canvas<'_>, font: &Font, y: f32, text: &str, colour: Colour) {
        let place = self.rect(0.0, y, SHEET.0, 1.0);
        font.draw(canvas, place.x + (place.width - font.width(text)) / 2, place.y, text, colour);
    }

    fn titles(&self, canvas: &mut Canvas<'_>, rate: &str) {
        let place = self.rect(MARGIN, 36.0, SHEET.0 - 2.0 * MARGIN, 24.0);
        self.font(24.0).draw(canvas, place.x, place.y, "framewire", BRAND);
        let (small, text) = (self.font(16.0), format!("{}x{} {rate} UTC", self.width, self.height));
        let down = self.length(4.0);
        small.draw(canvas, place.x + place.width - small.width(&text), place.y + down, &text, DIM);
        self.centred(canvas, &small, FOOT, "side by side with the source, the ruler shows the delay in ms", DIM);
        let captions = ["colour", "fine rings", "hair lines"];
        for (left, caption) in PANELS.into_iter().zip(captions) {
            let place = self.rect(left, PANEL.0 + PANEL.2 + 10.0, PANEL.1, 1.0);
            small.draw(canvas, place.x, place.y, caption, DIM);
        }
    }

    /// Colour bars at 75 % saturation, and a ramp of greys.
    fn colours(&self, canvas: &mut Canvas<'_>) {
        const BARS: [u32; 7] = [0xBF_BF_BF, 0xBF_BF_00, 0x00_BF_BF, 0x00_BF_00, 0xBF_00_BF, 0xBF_00_00, 0x00_00_BF];
        let (top, width, height) = PANEL;
        let bar = width / BARS.len() as f32;
        for (place, rgb) in (0_u8..).zip(BARS) {
            canvas.fill(self.rect(PANELS[0] + f32::from(place) * bar, top, bar, height * 0.7), Colour::rgb(rgb));
        }
        let ramp = self.rect(PANELS[0], top + height * 0.7, width, height * 0.3);
        for column in 0..ramp.width {
            let grey = Colour::grey((column * 255 / (ramp.width - 1).max(1)) as u8);
            canvas.fill(Rect { x: ramp.x + column, width: 1, ..ramp }, grey);
        }
    }

    /// Rings that get finer towards the outside, nearly down to single pixels: blurring or scaling causes moiré.
    fn zone_plate(&self, canvas: &mut Canvas<'_>) {
        let (top, width, height) = PANEL;
        let panel = self.rect(PANELS[1], top, width, height);
        let (half_width, half_height) = (panel.width as f32 / 2.0, panel.height as f32 / 2.0);
        let bend = 0.45 * PI / half_width;
        paint(canvas, panel, |column, row| {
            let (x, y) = (column as f32 + 0.5 - half_width, row as f32 + 0.5 - half_height);
            128.0 - 100.0 * (bend * (x * x + y * y)).cos()
        });
    }

    /// Lines and squares of one and two pixels, and a star of spokes.
    fn hair_lines(&self, canvas: &mut Canvas<'_>) {
        let (top, width, height) = PANEL;
        let panel = self.rect(PANELS[2], top, width, height);
        let (half_width, half_height) = (panel.width / 2, panel.height / 2);
        paint(canvas, panel, |column, row| {
            let lit = match (column < half_width / 2, row < half_height, column < half_width) {
                (true, true, _) => column % 2 == 0,
                (false, true, true) => row % 2 == 0,
                (true, false, _) => (column + row) % 2 == 0,
                (false, false, true) => (column / 2 + row / 2) % 2 == 0,
                _ => {
                    let x = (column - half_width - half_width / 2) as f32 + 0.5;
                    let y = (row - half_height) as f32 + 0.5;
                    return 128.0 + (y.atan2(x) * 24.0).sin() * 100.0;
                }
            };
            if lit { 210.0 } else { 30.0 }
        });
    }

    /// The path of the moving bar, and a ruler of a second in milliseconds.
    fn lane(&self, canvas: &mut Canvas<'_>) {
        let (top, height) = LANE;
        let length = SHEET.0 - 2.0 * MARGIN;
        let card = self.rect(MARGIN - 28.0, top, length + 56.0, height);
        canvas.blend(card, &rounded(card.width, card.height, 14.0 * self.scale), CARD);
        let font = self.font(16.0);
        for step in 0_u16..=20 {
            let x = MARGIN + f32::from(step) / 20.0 * length;
            let (long, text) = (step.is_multiple_of(2), (step * 50).to_string());
            let tick = if long { 10.0 } else { 5.0 };
            canvas.fill(self.rect(x - 1.0, top - 4.0 - tick, 2.0, tick), if long { DIM } else { LINE });
            if long {
                let place = self.rect(x, RULER, 1.0, 1.0);
                font.draw(canvas, place.x - font.width(&text) / 2, place.y, &text, DIM);
            }
        }
        canvas.fill(self.rect(MARGIN, top + height / 2.0 - 1.0, length, 2.0), LINE);
    }
}

/// Draws a rectangle whose grey is a function of the place in it.
fn paint(canvas: &mut Canvas<'_>, rect: Rect, grey: impl Fn(i32, i32) -> f32) {
    let places = (0..rect.height).flat_map(|row| (0..rect.width).map(move |column| (column, row)));
    let mask: Vec<u8> = places.map(|(column, row)| grey(column, row).clamp(0.0, 255.0) as u8).collect();
    canvas.fill(rect, Colour::grey(0));
    canvas.blend(rect, &mask, Colour::grey(255));
}

/// The opacities of a rectangle with rounded corners.
fn rounded(width: i32, height: i32, radius: f32) -> Vec<u8> {
    let beyond = |place: i32, length: i32| {
        let from_centre = (place as f32 + 0.5 - length as f32 / 2.0).abs();
        (from_centre - (length as f32 / 2.0 - radius)).max(0.0)
    };
    let places = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
    let opacity = |(column, row)| {
        let distance = beyond(column, width).hypot(beyond(row, height));
        ((radius - distance + 0.5).clamp(0.0, 1.0) * 255.0) as u8
    };
    places.map(opacity).collect()
}

//! Moving scenes whose pictures carry their numbers, in any size and in spite of JPEG.

use std::{fs, path::Path, sync::OnceLock};

use crate::{
    harness::{ffmpeg, output_fed},
    picture::Rgb,
};

/// One of two scenes, which differ in their colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    Day,
    Night,
}

/// Pictures at least this close, in dB, look the same.
pub(super) const ALIKE: f64 = 30.0;
/// Pictures at least this close are identical: a single difference of one gives 102 dB.
pub(super) const SAME: f64 = 110.0;

/// Squares in the row that encodes a picture's number, the lowest bit first.
const SQUARES: usize = 10;

impl Scene {
    /// Pictures of its film.
    pub(super) const LENGTH: usize = 300;
    /// Their width and height.
    pub(super) const SIZE: (usize, usize) = (320, 240);

    /// A picture in this size: shades that move too fast for two neighbours to look the same, and the number in the upper
    /// eighth.
    pub(super) fn picture(self, number: usize, (width, height): (usize, usize)) -> Rgb {
        let night = if self == Self::Night { 3 } else { 1 };
        let shades: Vec<u8> = (0..1024).map(|place| shade(place) / night).collect();
        let columns: Vec<usize> = (0..width).map(|x| x * 256 / width).collect();
        let [red, green, blue] = [37, 53, 71].map(|speed| speed * number % 512);
        let code = (0..width).flat_map(|x| [[48, 208][number >> (x * SQUARES / width) & 1]; 3]);
        let mut pixels = code.collect::<Vec<u8>>().repeat(height / 8);
        for y in (height / 8..height).map(|y| y * 256 / height) {
            pixels.extend(columns.iter().flat_map(|x| [shades[x + red], shades[y + green], shades[x + y + blue]]));
        }
        Rgb { width, height, pixels }
    }

    /// The number in a picture.
    pub(super) fn number(picture: &Rgb) -> usize {
        let bit = |square: usize| {
            let x = (2 * square + 1) * picture.width / (2 * SQUARES);
            let pixel = (picture.height / 16 * picture.width + x) * 3;
            usize::from(picture.pixels[pixel + 1] > 128) << square
        };
        (0..SQUARES).map(bit).sum()
    }

    /// How close a picture is to the original of its number, in dB.
    pub(super) fn psnr(self, picture: &Rgb) -> f64 {
        picture.psnr(&self.picture(Self::number(picture), (picture.width, picture.height)))
    }

    /// Whether a picture shows this scene.
    pub(super) fn is_on(self, picture: &Rgb) -> bool {
        self.psnr(picture) > ALIKE
    }

    /// Its film, plain pixels, 60 pictures a second.
    pub(super) fn film(self) -> String {
        static FILMS: [OnceLock<String>; 2] = [const { OnceLock::new() }; 2];
        FILMS[self as usize].get_or_init(|| self.shoot()).clone()
    }

    fn shoot(self) -> String {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{self:?}.avi"));
        let unfinished = file.with_extension(format!("{}.avi", std::process::id()));
        let (file, unfinished) = (file.to_str().expect("a UTF-8 path"), unfinished.to_str().expect("a UTF-8 path"));
        let size = format!("{}x{}", Self::SIZE.0, Self::SIZE.1);
        let pixels = (0..Self::LENGTH).flat_map(|number| self.picture(number, Self::SIZE).pixels).collect();
        let input = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", "60", "-i", "-"];
        output_fed(ffmpeg(&[&input[..], &["-c:v", "rawvideo", "-pix_fmt", "bgr24", unfinished]].concat()), pixels);
        // Another run may be reading what the last one has left.
        fs::rename(unfinished, file).expect("a film");
        file.into()
    }
}

/// Up and down between 32 and 224, again from 512 on.
fn shade(place: usize) -> u8 {
    (32 + (place % 512).abs_diff(256) * 3 / 4) as u8
}

//! Moving scenes whose pictures tell their numbers, in any size and in spite of JPEG.

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

/// Squares in the row that tells a picture's number, the lowest bit first.
const SQUARES: usize = 10;

impl Scene {
    /// Pictures of its film.
    pub(super) const LENGTH: usize = 300;
    /// Their width and height.
    pub(super) const SIZE: (usize, usize) = (320, 240);

    /// A picture as it would be filmed in this size: shades that move too fast for two neighbours to look the same, and in
    /// the upper eighth the number.
    pub(super) fn picture(self, number: usize, (width, height): (usize, usize)) -> Rgb {
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                if y < height / 8 {
                    let bit = number >> (x * SQUARES / width) & 1;
                    pixels.extend([if bit == 1 { 208 } else { 48 }; 3]);
                    continue;
                }
                let (x, y) = (x * 256 / width, y * 256 / height);
                let mut shades = [shade(x + 37 * number), shade(y + 53 * number), shade(x + y + 71 * number)];
                if self == Self::Night {
                    shades = shades.map(|shade| shade / 3);
                }
                pixels.extend(shades);
            }
        }
        Rgb { width, height, pixels }
    }

    /// The number that a picture tells.
    pub(super) fn number(picture: &Rgb) -> usize {
        let bit = |square: usize| {
            let x = (2 * square + 1) * picture.width / (2 * SQUARES);
            let pixel = (picture.height / 16 * picture.width + x) * 3;
            usize::from(picture.pixels[pixel + 1] > 128) << square
        };
        (0..SQUARES).map(bit).sum()
    }

    /// Its film, without loss, 60 pictures a second.
    pub(super) fn film(self) -> String {
        static FILMS: [OnceLock<String>; 2] = [const { OnceLock::new() }; 2];
        FILMS[self as usize].get_or_init(|| self.shoot()).clone()
    }

    fn shoot(self) -> String {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{self:?}.mkv"));
        let unfinished = file.with_extension(format!("{}.mkv", std::process::id()));
        let (file, unfinished) = (file.to_str().expect("a UTF-8 path"), unfinished.to_str().expect("a UTF-8 path"));
        let size = format!("{}x{}", Self::SIZE.0, Self::SIZE.1);
        let pixels = (0..Self::LENGTH).flat_map(|number| self.picture(number, Self::SIZE).pixels).collect();
        let input = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", "60", "-i", "-"];
        output_fed(ffmpeg(&[&input[..], &["-c:v", "ffv1", "-pix_fmt", "bgr0", unfinished]].concat()), pixels);
        // Another run may be reading what the last one has left.
        fs::rename(unfinished, file).expect("a film");
        file.into()
    }
}

/// Up and down between 32 and 224.
fn shade(place: usize) -> u8 {
    (32 + (place % 512).abs_diff(256) * 3 / 4) as u8
}

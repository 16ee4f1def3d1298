//! Pictures and recordings, compared.

use crate::harness::{ffmpeg, output, tool};

/// A picture as rows of red, green, blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rgb {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

/// Part of a picture, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Rgb {
    /// Four quadrants with shades, in colours that any wrong conversion changes.
    pub(crate) fn quadrants(width: usize, height: usize) -> Self {
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let colours = [[200, 30, 30], [30, 160, 40], [30, 50, 200], [200, 190, 40]];
                let place = 2 * usize::from(y >= height / 2) + usize::from(x >= width / 2);
                let shade = (48 * x / width) as u8;
                pixels.extend(colours[place].map(|value: u8| value + shade));
            }
        }
        Self { width, height, pixels }
    }

    /// Decodes a JPEG.
    pub(crate) fn of_jpeg(jpeg: &[u8]) -> Self {
        let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).expect("a JPEG");
        assert_eq!(image.pitch, image.width * 3);
        Self { width: image.width, height: image.height, pixels: image.pixels }
    }

    /// As a JPEG of good quality.
    pub(crate) fn jpeg(&self) -> Vec<u8> {
        let image = turbojpeg::Image {
            pixels: self.pixels.as_slice(),
            width: self.width,
            height: self.height,
            pitch: self.width * 3,
            format: turbojpeg::PixelFormat::RGB,
        };
        turbojpeg::compress(image, 95, turbojpeg::Subsamp::Sub2x2).expect("a JPEG").to_vec()
    }

    /// A part of it.
    pub(crate) fn part(&self, part: Part) -> Self {
        let row = |y: usize| &self.pixels[((part.y + y) * self.width + part.x) * 3..][..part.width * 3];
        let pixels = (0..part.height).flat_map(row).copied().collect();
        Self { width: part.width, height: part.height, pixels }
    }

    /// The nearest pixels in another size.
    pub(crate) fn scaled(&self, width: usize, height: usize) -> Self {
        let pixel = |x: usize, y: usize| {
            &self.pixels[(y * self.height / height * self.width + x * self.width / width) * 3..][..3]
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).copied().collect();
        Self { width, height, pixels }
    }

    /// How close two pictures are, in dB: from 30 on they look the same.
    pub(crate) fn psnr(&self, other: &Self) -> f64 {
        assert_eq!((self.width, self.height), (other.width, other.height));
        let squares = self.pixels.iter().zip(&other.pixels).map(|(one, two)| f64::from(one.abs_diff(*two)).powi(2));
        10.0 * (255.0_f64.powi(2) / (squares.sum::<f64>() / self.pixels.len() as f64).max(1e-9)).log10()
    }
}

/// A frame of a video, by its number, as FFmpeg shows it.
pub(crate) fn frame_by_ffmpeg(file: &str, number: usize) -> Rgb {
    let probed = probe(&["-i", file]);
    let select = format!("select=eq(n\\,{number})");
    let pixels =
        output(ffmpeg(&["-i", file, "-vf", &select, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]));
    let (width, height) = (probed.width, probed.height);
    assert_eq!(pixels.len(), width * height * 3, "{file} has a frame {number}");
    Rgb { width, height, pixels }
}

/// A video's properties by ffprobe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) codec: String,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Its packets, counted.
    pub(crate) frames: usize,
}

/// Has ffprobe read a video through; `input` is `-i` and the file, and how to read it before that.
pub(crate) fn probe(input: &[&str]) -> Probed {
    let mut command = tool("ffprobe");
    command.args(["-v", "error", "-count_packets", "-select_streams", "v:0", "-of", "json"]);
    command.args(["-show_entries", "stream=codec_name,width,height,nb_read_packets"]).args(input);
    let found: serde_json::Value = serde_json::from_slice(&output(command)).expect("JSON");
    let stream = &found["streams"][0];
    let number = |field: &str| {
        let value = &stream[field];
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{field}: {found}")) as usize
    };
    Probed {
        codec: stream["codec_name"].as_str().unwrap_or_default().into(),
        width: number("width"),
        height: number("height"),
        frames: number("nb_read_packets"),
    }
}

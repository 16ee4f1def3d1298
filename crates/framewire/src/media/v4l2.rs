//! The cameras of a Linux machine and what they offer, asked of the kernel (Video for Linux, version 2).
#![allow(unsafe_code, reason = "V4L2's ioctls, each with the type that the kernel fills")]

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::error::{Context as _, Result};
use rustix::{
    fs::OFlags,
    io::Errno,
    ioctl::{Opcode, Updater, ioctl, opcode},
};

/// A driver that never ends its lists is not listened to any longer.
const MOST: u32 = 64;
/// Sizes that are looked for in a camera that has any, as long as they lie in its bounds.
const USUAL: [(u32, u32); 8] =
    [(320, 180), (320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1920, 1080), (3840, 2160)];

/// A camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// `/dev/video0`.
    pub path: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// Where it is plugged in, in the kernel's words.
    pub place: String,
    /// What it offers.
    pub formats: Vec<Format>,
}

/// A pixel format that a camera offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    /// FFmpeg's name of it where it has one (`mjpeg`, `yuyv422`), else the kernel's four letters.
    pub name: String,
    /// Its sizes.
    pub sizes: Vec<Size>,
}

/// A size that a camera offers, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct Size {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Frames per second, the most first.
    pub fps: Vec<f64>,
}

/// The kernel's names of formats and FFmpeg's.
const NAMES: [(&[u8; 4], &str); 17] = [
    (b"MJPG", "mjpeg"),
    (b"JPEG", "mjpeg"),
    (b"H264", "h264"),
    (b"NV12", "nv12"),
    (b"NV21", "nv21"),
    (b"YU12", "yuv420p"),
    (b"YUYV", "yuyv422"),
    (b"UYVY", "uyvy422"),
    (b"YVYU", "yvyu422"),
    (b"422P", "yuv422p"),
    (b"NV16", "nv16"),
    (b"GREY", "gray"),
    (b"BGR3", "bgr24"),
    (b"RGB3", "rgb24"),
    (b"BGR4", "bgr0"),
    (b"XR24", "bgr0"),
    (b"YUV9", "yuv410p"),
];

/// Every camera that this user may ask, in the order of their numbers.
///
/// # Errors
/// The directory of devices cannot be read.
pub fn devices() -> Result<Vec<Device>> {
    let entries = fs::read_dir("/dev").context("/dev cannot be read")?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    paths.sort();
    // What is no camera, is in the middle of going away or belongs to others is not listed.
    Ok(paths.into_iter().filter_map(|(_, path)| device(&path).ok().flatten()).collect())
}

/// What this device says of itself; `None` when it is no camera.
///
/// # Errors
/// It cannot be opened or asked.
pub fn device(path: &Path) -> Result<Option<Device>, std::io::Error> {
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).write(true).custom_flags(nonblock).open(path)?;
    let mut about = Capability::default();
    ask::<{ opcode::read::<Capability>(b'V', 0) }, _>(&file, &mut about)?;
    let can = if about.capabilities & HAS_DEVICE_CAPS != 0 { about.device_caps } else { about.capabilities };
    if can & VIDEO_CAPTURE == 0 || can & STREAMING == 0 {
        return Ok(None);
    }
    let formats = formats(&file);
    Ok(Some(Device { path: path.into(), name: text(&about.card), place: text(&about.bus_info), formats }))
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path.display(), self.name)?;
        for Format { name, sizes } in &self.formats {
            for (row, Size { width, height, fps }) in sizes.iter().enumerate() {
                let size = format!("{width}x{height}");
                let rates = fps.iter().map(|fps| ((fps * 100.0).round() / 100.0).to_string());
                let rates = rates.collect::<Vec<_>>().join(", ");
                let name = if row == 0 { name } else { "" };
                let rates = if rates.is_empty() { rates } else { format!(" at {rates} fps") };
                write!(out, "\n  {name:10} {size:>9}{rates}")?;
            }
            if sizes.is_empty() {
                write!(out, "\n  {name}")?;
            }
        }
        Ok(())
    }
}

fn formats(file: &File) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for index in 0..MOST {
        let mut asked = FormatDescription { index, kind: CAPTURE, ..FormatDescription::default() };
        if ask::<{ opcode::read_write::<FormatDescription>(b'V', 2) }, _>(file, &mut asked).is_err() {
            break;
        }
        let letters = asked.pixel_format.to_le_bytes();
        let known = NAMES.iter().find(|(code, _)| **code == letters).map(|(_, name)| (*name).to_owned());
        let name = known.unwrap_or_else(|| text(&letters));
        if !formats.iter().any(|format| format.name == name) {
            formats.push(Format { name, sizes: sizes(file, asked.pixel_format) });
        }
    }
    formats
}

fn sizes(file: &File, pixel_format: u32) -> Vec<Size> {
    let mut sizes = Vec::new();
    for index in 0..MOST {
        let mut asked = FrameSize { index, pixel_format, ..FrameSize::default() };
        if ask::<{ opcode::read_write::<FrameSize>(b'V', 74) }, _>(file, &mut asked).is_err() {
            break;
        }
        let [least_width, most_width, step_width, least_height, most_height, step_height] = asked.numbers;
        if asked.kind == DISCRETE {
            sizes.push((least_width, most_width));
            continue;
        }
        let fits = |least: u32, most: u32, step: u32, side: u32| {
            (least..=most).contains(&side) && (side - least).is_multiple_of(step.max(1))
        };
        sizes.extend(USUAL.into_iter().filter(|(width, height)| {
            fits(least_width, most_width, step_width, *width) && fits(least_height, most_height, step_height, *height)
        }));
        break;
    }
    let size = |(width, height)| Size { width, height, fps: rates(file, pixel_format, width, height) };
    sizes.into_iter().map(size).collect()
}

fn rates(file: &File, pixel_format: u32, width: u32, height: u32) -> Vec<f64> {
    let mut rates = Vec::new();
    for index in 0..MOST {
        let mut asked = FrameInterval { index, pixel_format, width, height, ..FrameInterval::default() };
        if ask::<{ opcode::read_write::<FrameInterval>(b'V', 75) }, _>(file, &mut asked).is_err() {
            break;
        }
        // An interval of so many parts of a second; where any is possible, the shortest and the longest.
        let [part, whole, longest_part, longest_whole, ..] = asked.numbers;
        rates.push(f64::from(whole) / f64::from(part));
        if asked.kind != DISCRETE {
            rates.push(f64::from(longest_whole) / f64::from(longest_part));
            break;
        }
    }
    rates.retain(|rate| rate.is_finite() && *rate > 0.0);
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    rates
}

/// Text that the kernel has put into a field, up to its zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = String::from_utf8_lossy(&field[..end]);
    text.chars().filter(|letter| !letter.is_control()).collect::<String>().trim().to_owned()
}

fn ask<const OPCODE: Opcode, T>(file: &File, value: &mut T) -> Result<(), Errno> {
    // SAFETY: every opcode here is made of the structure that it is called with, whose layout is the kernel's.
    unsafe { ioctl(file, Updater::<OPCODE, T>::new(value)) }
}

const VIDEO_CAPTURE: u32 = 1;
const STREAMING: u32 = 0x0400_0000;
const HAS_DEVICE_CAPS: u32 = 0x8000_0000;
/// The kind of buffer that frames of a camera come in.
const CAPTURE: u32 = 1;
/// The kind of size or interval that is one value, not a span.
const DISCRETE: u32 = 1;

// The structures of the kernel's linux/videodev2.h; the asserted sizes are part of the ioctls' numbers.

#[repr(C)]
#[derive(Default)]
struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Default)]
struct FormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    pixel_format: u32,
    bus_code: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Default)]
struct FrameSize {
    index: u32,
    pixel_format: u32,
    kind: u32,
    /// Width and height; or the least, most and step of the width, then of the height.
    numbers: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
#[derive(Default)]
struct FrameInterval {
    index: u32,
    pixel_format: u32,
    width: u32,
    height: u32,
    kind: u32,
    /// Numerator and denominator; or those of the least, most and step.
    numbers: [u32; 6],
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<Capability>() == 104);
const _: () = assert!(size_of::<FormatDescription>() == 64);
const _: () = assert!(size_of::<FrameSize>() == 44);
const _: () = assert!(size_of::<FrameInterval>() == 52);

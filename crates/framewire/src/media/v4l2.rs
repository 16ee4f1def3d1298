//! The cameras of a Linux machine and their formats, from the kernel (Video for Linux, version 2).
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

/// The most entries that are read from a driver's list. A faulty driver's list may have no end.
const MAX_ENTRIES: u32 = 64;
/// The sizes that are listed for a camera with continuous sizes, where its bounds allow them.
const COMMON_SIZES: [(u32, u32); 8] =
    [(320, 180), (320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1920, 1080), (3840, 2160)];

/// A camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// `/dev/video0`.
    pub path: PathBuf,
    /// The camera's own name.
    pub name: String,
    /// Where the camera is plugged in, in the kernel's notation: `usb-0000:00:14.0-2`.
    pub bus: String,
    /// The formats that the camera offers.
    pub formats: Vec<OfferedFormat>,
}

/// A pixel format that a camera offers.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedFormat {
    /// FFmpeg's name of the format where it has one (`mjpeg`, `yuyv422`), else the kernel's four letters.
    pub name: String,
    /// The sizes of this format.
    pub sizes: Vec<OfferedSize>,
}

/// A size that a camera offers, and its frame rates.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedSize {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Frames per second, the highest first.
    pub fps: Vec<f64>,
}

/// The kernel's and FFmpeg's names of pixel formats.
const FORMAT_NAMES: [(&[u8; 4], &str); 17] = [
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

/// Every camera that this user may open, in the order of the device numbers.
///
/// # Errors
/// The directory `/dev` cannot be read.
pub fn devices() -> Result<Vec<Device>> {
    let entries = fs::read_dir("/dev").context("/dev cannot be read")?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    paths.sort();
    // Devices that are no cameras, that were just unplugged, or that this user may not open are not listed.
    Ok(paths.into_iter().filter_map(|(_, path)| device(&path).ok().flatten()).collect())
}

/// The camera at this path; `None` when the device is not a camera.
///
/// # Errors
/// The device cannot be opened or queried.
pub fn device(path: &Path) -> Result<Option<Device>, std::io::Error> {
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).write(true).custom_flags(nonblock).open(path)?;
    let mut device = Capability::default();
    query::<{ opcode::read::<Capability>(b'V', 0) }, _>(&file, &mut device)?;
    let flags = if device.capabilities & HAS_DEVICE_CAPS != 0 { device.device_caps } else { device.capabilities };
    if flags & VIDEO_CAPTURE == 0 || flags & STREAMING == 0 {
        return Ok(None);
    }
    let formats = formats(&file);
    Ok(Some(Device { path: path.into(), name: text(&device.card), bus: text(&device.bus_info), formats }))
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path.display(), self.name)?;
        for OfferedFormat { name, sizes } in &self.formats {
            for (row, OfferedSize { width, height, fps }) in sizes.iter().enumerate() {
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

fn formats(file: &File) -> Vec<OfferedFormat> {
    let mut formats: Vec<OfferedFormat> = Vec::new();
    for index in 0..MAX_ENTRIES {
        let mut entry = FormatQuery { index, kind: CAPTURE, ..FormatQuery::default() };
        if query::<{ opcode::read_write::<FormatQuery>(b'V', 2) }, _>(file, &mut entry).is_err() {
            break;
        }
        let letters = entry.pixel_format.to_le_bytes();
        let known = FORMAT_NAMES.iter().find(|(code, _)| **code == letters).map(|(_, name)| (*name).to_owned());
        let name = known.unwrap_or_else(|| text(&letters));
        if !formats.iter().any(|format| format.name == name) {
            formats.push(OfferedFormat { name, sizes: sizes(file, entry.pixel_format) });
        }
    }
    formats
}

fn sizes(file: &File, pixel_format: u32) -> Vec<OfferedSize> {
    let mut sizes = Vec::new();
    for index in 0..MAX_ENTRIES {
        let mut entry = FrameSizeQuery { index, pixel_format, ..FrameSizeQuery::default() };
        if query::<{ opcode::read_write::<FrameSizeQuery>(b'V', 74) }, _>(file, &mut entry).is_err() {
            break;
        }
        let [least_width, most_width, step_width, least_height, most_height, step_height] = entry.numbers;
        if entry.kind == DISCRETE {
            let (width, height) = (least_width, most_width);
            sizes.push((width, height));
            continue;
        }
        let fits = |least: u32, most: u32, step: u32, side: u32| {
            (least..=most).contains(&side) && (side - least).is_multiple_of(step.max(1))
        };
        sizes.extend(COMMON_SIZES.into_iter().filter(|(width, height)| {
            fits(least_width, most_width, step_width, *width) && fits(least_height, most_height, step_height, *height)
        }));
        break;
    }
    let size = |(width, height)| OfferedSize { width, height, fps: rates(file, pixel_format, width, height) };
    sizes.into_iter().map(size).collect()
}

fn rates(file: &File, pixel_format: u32, width: u32, height: u32) -> Vec<f64> {
    let mut rates = Vec::new();
    for index in 0..MAX_ENTRIES {
        let mut entry = FrameIntervalQuery { index, pixel_format, width, height, ..FrameIntervalQuery::default() };
        if query::<{ opcode::read_write::<FrameIntervalQuery>(b'V', 75) }, _>(file, &mut entry).is_err() {
            break;
        }
        // A frame interval as a fraction of a second; where any interval is possible, the shortest and the longest.
        let [numerator, denominator, longest_numerator, longest_denominator, ..] = entry.numbers;
        rates.push(f64::from(denominator) / f64::from(numerator));
        if entry.kind != DISCRETE {
            rates.push(f64::from(longest_denominator) / f64::from(longest_numerator));
            break;
        }
    }
    rates.retain(|rate| rate.is_finite() && *rate > 0.0);
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    rates
}

/// The text in a field of the kernel, up to its terminating zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = String::from_utf8_lossy(&field[..end]);
    text.chars().filter(|letter| !letter.is_control()).collect::<String>().trim().to_owned()
}

fn query<const OPCODE: Opcode, T>(file: &File, value: &mut T) -> Result<(), Errno> {
    // SAFETY: every opcode here is built from the structure that it is called with, which has the kernel's layout.
    unsafe { ioctl(file, Updater::<OPCODE, T>::new(value)) }
}

const VIDEO_CAPTURE: u32 = 1;
const STREAMING: u32 = 0x0400_0000;
const HAS_DEVICE_CAPS: u32 = 0x8000_0000;
/// The buffer type of captured frames.
const CAPTURE: u32 = 1;
/// The type of a size or interval with one value, not a range.
const DISCRETE: u32 = 1;

// The structures of the kernel's linux/videodev2.h. The asserted sizes are part of the ioctl numbers.

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
struct FormatQuery {
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
struct FrameSizeQuery {
    index: u32,
    pixel_format: u32,
    kind: u32,
    /// Width and height; or the minimum, maximum and step of the width, then of the height.
    numbers: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
#[derive(Default)]
struct FrameIntervalQuery {
    index: u32,
    pixel_format: u32,
    width: u32,
    height: u32,
    kind: u32,
    /// Numerator and denominator; or those of the minimum, maximum and step.
    numbers: [u32; 6],
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<Capability>() == 104);
const _: () = assert!(size_of::<FormatQuery>() == 64);
const _: () = assert!(size_of::<FrameSizeQuery>() == 44);
const _: () = assert!(size_of::<FrameIntervalQuery>() == 52);

//! Cameras as sources.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use framewire_proto::{Codec, Config, Frame, Micros, Times, limits, wire::native::State};
use tracing::{info, warn};

use super::{Item, Kind, Options, Source, Spec};
use crate::error::{Error, OrError as _, Result, ensure, error};
use crate::{
    clock,
    media::{
        Pool,
        decode::Decoder,
        input::{AccessUnits, Input, Packet, Threads, Video, VideoDecoder},
        jpeg::{Jpeg, JpegEntry},
        v4l2,
    },
    stop::Stop,
    transcode::encode::CodecChoice,
};

pub use v4l2::{Device, devices};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "camera, /dev/videoN, N",
    summary: "the first camera, or the one of this path or number",
    live: true,
    sized: true,
    honours: &["fps", "format", "deinterlace", "codec=copy"],
    matches: |source| source == "camera" || path(source).is_some(),
    open: |spec, stop| Ok(Box::new(Camera::open(spec, stop)?)),
};

/// A camera without a frame for this long is lost. A slow camera has the time of three frames, if that is longer.
const FRAME_TIMEOUT: Duration = Duration::from_millis(1500);
/// The timeout of the first frame: a camera may need to warm up.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest wait before a lost camera is opened again.
const REOPEN_BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// The size where none is asked for.
const DEFAULT_SIZE: (u32, u32) = (1280, 720);
/// The largest plausible age, in µs, of a driver's capture time.
const MAX_CAPTURE_AGE: Micros = 1_000_000;
/// H.264 frames are taken for lost when a frame comes this many times later than usual, and than the frame before it. Frame
/// numbers do not show every loss: a GOP without its keyframe can be missing without a gap.
const PAUSE_FACTOR: Micros = 8;
/// Raw pixel formats, from the cheapest to convert to the most expensive.
const RAW_FORMATS: [&str; 10] =
    ["yuv420p", "nv12", "yuyv422", "uyvy422", "yuv422p", "nv16", "yvyu422", "bgr0", "bgr24", "rgb24"];

/// A camera, which may be unplugged and plugged in again.
pub struct Camera {
    source: String,
    options: Options,
    stop: Stop,
    open: Option<OpenCamera>,
    /// The camera that was opened first. It is opened again after a loss, even under another path.
    identity: Device,
    /// The camera was lost, and has given no frame since.
    lost: bool,
    backoff: Duration,
    queue: VecDeque<Item>,
    config: Option<Config>,
    sequence: u64,
    /// Bad frames that were dropped.
    bad: u64,
    pool: Pool,
}

/// An open camera. `output` comes first, because it must be dropped before the memory of `input` that it may use.
struct OpenCamera {
    output: CameraOutput,
    input: Input,
    video: Video,
    path: PathBuf,
    pauses: Pauses,
}

/// Finds pauses of a camera, after which frames may be missing.
#[derive(Default)]
struct Pauses {
    /// When the last frame was captured, and how long after the one before it.
    last: Option<(Micros, Micros)>,
}

/// What a camera's packets are converted to.
enum CameraOutput {
    /// JPEGs, passed through.
    Jpeg(JpegEntry),
    /// H.264: passed through, or decoded where there is a decoder.
    H264 { units: AccessUnits, decoder: Option<Box<Decoder>> },
    /// I420 from a raw or any other format.
    Decoded(VideoDecoder),
}

/// A packet's frame without its data.
struct FrameHeader {
    sequence: u64,
    times: Times,
    millifps: u32,
}

impl Camera {
    /// Opens the camera.
    ///
    /// # Errors
    /// The camera does not exist, is in use, or this user may not open it.
    pub fn open(spec: &Spec, stop: &Stop) -> Result<Self> {
        let (source, options) = (spec.source.expose(), &spec.options);
        let identity = find(source)?;
        let open = OpenCamera::new(&identity, options, stop)?;
        Ok(Self {
            source: source.into(),
            options: options.clone(),
            stop: stop.clone(),
            open: Some(open),
            identity,
            lost: false,
            backoff: REOPEN_BACKOFF[0],
            queue: VecDeque::new(),
            config: None,
            sequence: 0,
            bad: 0,
            pool: Pool::default(),
        })
    }

    /// Closes a camera that was lost, and reports that once.
    fn close_lost(&mut self, error: Error) {
        self.open = None;
        if self.lost {
            tracing::debug!("camera {}: {error}", self.identity.path.display());
            return;
        }
        warn!("camera {} was lost ({error}); trying to open it again", self.identity.path.display());
        self.lost = true;
        self.backoff = REOPEN_BACKOFF[0];
        self.queue.push_back(Item::Fault(error));
    }

    /// Waits, then tries to open the camera again.
    fn reopen(&mut self) {
        if self.stop.wait(self.backoff) {
            return;
        }
        self.backoff = (self.backoff * 2).min(REOPEN_BACKOFF[1]);
        let found = self.identity.find_again();
        match found.and_then(|device| Ok((OpenCamera::new(&device, &self.options, &self.stop)?, device))) {
            Ok((open, device)) => (self.open, self.identity) = (Some(open), device),
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// Handles the first frame of a camera that was lost. Its configuration is sent again.
    fn recover(&mut self) {
        info!("camera {} is back", self.identity.path.display());
        self.lost = false;
        self.config = None;
        self.queue.push_back(Item::State(State::Live));
    }

    /// Reads and queues the open camera's next frame, unless the stop was raised.
    fn read(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some((packet, dropped)) = open.packet()? else {
            ensure!(self.stop.stopped(), ConnectionLost, "the camera gives no more frames");
            return Ok(());
        };
        let now = clock::now();
        self.sequence += dropped;
        let captured = packet.shown.and_then(|time| Micros::try_from(time).ok());
        let captured = captured.filter(|time| *time <= now && now - time <= MAX_CAPTURE_AGE).unwrap_or(now);
        open.input.set_timeout(FRAME_TIMEOUT.max(open.interval() * 3));
        let millifps = open.video.fps.map_or(0, |fps| (fps * 1000.0).round() as u32);
        let times = Times { captured, ..Times::default() };
        let frame = open.frame(packet, &FrameHeader { sequence: self.sequence, times, millifps }, &self.pool);
        self.sequence += 1;
        match frame {
            Ok(Some((config, frame))) => {
                if self.lost {
                    self.recover();
                }
                if self.config.as_ref() != Some(&config) {
                    self.config = Some(config.clone());
                    self.queue.push_back(Item::Config(config));
                }
                self.queue.push_back(Item::Frame(frame));
            }
            Ok(None) => {}
            Err(error) => self.drop_bad(&error),
        }
        Ok(())
    }

    /// Counts a bad frame. Viewers see a gap in the frame numbers.
    fn drop_bad(&mut self, error: &Error) {
        // A warning only for H.264, which is lost until its next keyframe. Cheap cameras give some bad JPEGs when they start.
        if self.bad == 0 && self.open.as_ref().is_some_and(|open| matches!(open.output, CameraOutput::H264 { .. })) {
            warn!("{}: frames dropped: {error}", self.source);
        } else {
            tracing::debug!("{}: frame dropped: {error}", self.source);
        }
        self.bad += 1;
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            if let Some(item) = self.queue.pop_front() {
                return Ok(Some(item));
            }
            if self.open.is_none() {
                self.reopen();
            } else if let Err(error) = self.read() {
                self.close_lost(error);
            }
        }
        if self.bad > 0 {
            info!("{}: {} bad frames were dropped", self.source, self.bad);
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        let Some(open) = &self.open else { return format!("{}: lost", self.identity.path.display()) };
        let Video { width, height, codec, fps, .. } = &open.video;
        let rate = fps.map_or(String::new(), |fps| format!(" at {} fps", (fps * 100.0).round() / 100.0));
        format!("{}: {width}x{height} {codec}{rate} ({})", open.path.display(), self.identity.name)
    }
}

impl OpenCamera {
    fn new(device: &Device, options: &Options, stop: &Stop) -> Result<Self> {
        let path = &device.path;
        let shown = path.display().to_string();
        let (format, size) = device.choose(options);
        let size = size.map(|(width, height)| format!("{width}x{height}"));
        let rate = options.fps.filter(|fps| *fps > 0.0).map(|fps| fps.to_string());
        let settings = [("input_format", &format), ("video_size", &size), ("framerate", &rate)];
        let settings: Vec<_> = settings.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
        let input = Input::open(&shown, Some("v4l2"), &settings, stop, FIRST_FRAME_TIMEOUT);
        let input = input.map_err(|error| open_error(path, error))?;
        let video = input.video();
        let output = match video.codec.as_str() {
            "mjpeg" if !options.deinterlaced => CameraOutput::Jpeg(JpegEntry::default()),
            "h264" => {
                let decoder = (options.codec != CodecChoice::Copy).then(Box::default);
                CameraOutput::H264 { units: input.access_units()?, decoder }
            }
            _ => CameraOutput::Decoded(input.decoder(Threads::LowDelay)?.deinterlaced(options.deinterlace())),
        };
        Ok(Self { output, input, video, path: path.clone(), pauses: Pauses::default() })
    }

    /// The next packet, and how many older ones were dropped for it. Where frames are independent, it is the newest packet.
    fn packet(&mut self) -> Result<Option<(Packet, u64)>> {
        if matches!(self.video.codec.as_str(), "mjpeg" | "rawvideo") {
            return self.input.read_newest();
        }
        Ok(self.input.read()?.map(|packet| (packet, 0)))
    }

    fn interval(&self) -> Duration {
        self.video.fps.map_or(Duration::ZERO, |fps| Duration::from_secs_f64(1.0 / fps))
    }

    /// The frame of a packet, and its configuration; `None` where there is none yet.
    fn frame(&mut self, packet: Packet, header: &FrameHeader, pool: &Pool) -> Result<Option<(Config, Frame)>> {
        ensure!(!packet.data().is_empty(), InvalidData, "the camera could not transfer the whole frame");
        let paused = self.pauses.pause_before(header.times.captured, self.interval());
        match &mut self.output {
            CameraOutput::Jpeg(entry) => {
                let Jpeg { data, width, height } = entry.admit(&copy(packet.data(), pool))?;
                Ok(Some((header.config(Codec::Jpeg, (width, height)), header.frame(data))))
            }
            CameraOutput::H264 { units, decoder } => {
                if paused {
                    units.assume_gap();
                }
                let Some(unit) = units.convert(packet)? else { return Ok(None) };
                if let Some((width, height)) = unit.size {
                    (self.video.width, self.video.height) = (width.into(), height.into());
                }
                let Video { width, height, .. } = self.video;
                limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
                let config = header.config(Codec::H264, (width as u16, height as u16));
                let frame = Frame { keyframe: unit.keyframe, ..header.frame(copy(&unit.data, pool)) };
                let Some(decoder) = decoder else { return Ok(Some((config, frame))) };
                let decoded = decoder.decode(&config, &frame, Codec::I420)?;
                Ok(decoded.map(|(frame, picture)| {
                    let config = header.config(Codec::I420, (picture.width() as u16, picture.height() as u16));
                    (config, Frame { keyframe: true, data: picture.into_data(), ..frame })
                }))
            }
            CameraOutput::Decoded(decoder) => {
                decoder.push(Some(&packet))?;
                let mut newest = None;
                while let Some((picture, _)) = decoder.pull()? {
                    let config = header.config(Codec::I420, (picture.width() as u16, picture.height() as u16));
                    newest = Some((config, header.frame(picture.into_data())));
                }
                Ok(newest)
            }
        }
    }
}

/// Copies a packet's data: its memory belongs to the driver, and is gone when the camera is closed.
fn copy(bytes: &[u8], pool: &Pool) -> Bytes {
    let mut data = pool.take(bytes.len());
    data.copy_from_slice(bytes);
    data.freeze()
}

impl FrameHeader {
    fn config(&self, codec: Codec, (width, height): (u16, u16)) -> Config {
        Config::new(codec, width, height, self.millifps)
    }

    /// A frame that needs no other frame.
    fn frame(&self, data: Bytes) -> Frame {
        Frame { sequence: self.sequence, keyframe: true, times: self.times, data }
    }
}

impl Pauses {
    /// Whether the camera paused before this frame. `usual` is its usual frame interval.
    fn pause_before(&mut self, captured: Micros, usual: Duration) -> bool {
        let (last, interval) = self.last.unwrap_or((captured, 0));
        let since = captured.saturating_sub(last);
        self.last = Some((captured, since));
        let usual = interval.max(usual.as_micros() as Micros);
        usual > 0 && since > PAUSE_FACTOR * usual
    }
}

impl Device {
    /// FFmpeg's name of the pixel format to ask the driver for, and the size; `None` leaves the choice to the driver.
    fn choose(&self, options: &Options) -> (Option<String>, Option<(u32, u32)>) {
        let offers = |name: &str| self.formats.iter().find(|format| format.name == name);
        let has =
            |format: &v4l2::OfferedFormat, size| format.sizes.iter().any(|offer| (offer.width, offer.height) == size);
        if let Some(name) = &options.format {
            return (Some(name.clone()), options.size.or_else(|| offers(name).and_then(usual_size)));
        }
        // For passthrough H.264 is best, because it has the lowest bitrate. Else JPEG, whose frames are independent.
        let encoded = if options.codec == CodecChoice::Copy { &["h264", "mjpeg"][..] } else { &["mjpeg"] };
        let encoded: Vec<_> = encoded.iter().filter_map(|name| offers(name)).collect();
        let raw = || RAW_FORMATS.into_iter().filter_map(offers);
        let any = || encoded.first().copied().or_else(|| raw().next()).or(self.formats.first());
        let Some(size) = options.size else {
            return (any().map(|format| format.name.clone()), any().and_then(usual_size));
        };
        // Encoded at the size asked for, else raw at that size, else the driver's nearest size.
        let fits = |format: &&v4l2::OfferedFormat| has(format, size);
        let format = encoded.iter().copied().find(fits).or_else(|| raw().find(fits)).or_else(any);
        (format.map(|format| format.name.clone()), Some(size))
    }

    /// Finds the same camera again: at its path, or else by its name, at the same plug if possible.
    fn find_again(&self) -> Result<Self> {
        let same = |device: &Self| device.name == self.name;
        if let Some(device) = v4l2::device(&self.path).ok().flatten().filter(same) {
            return Ok(device);
        }
        let mut found: Vec<_> = devices()?.into_iter().filter(same).collect();
        found.sort_by_key(|device| device.bus != self.bus);
        let found = found.into_iter().next();
        found.or_error(Error::NotFound, || format!("camera {} is still missing", self.path.display()))
    }
}

/// 1280x720, else the largest size within it, else the first.
fn usual_size(format: &v4l2::OfferedFormat) -> Option<(u32, u32)> {
    let sizes = || format.sizes.iter().map(|size| (size.width, size.height));
    let within = sizes().filter(|(width, height)| *width <= DEFAULT_SIZE.0 && *height <= DEFAULT_SIZE.1);
    within.max_by_key(|(width, height)| width * height).or_else(|| sizes().next())
}

/// The path of the camera that a source names; `None` where it names the first camera, or no camera.
fn path(source: &str) -> Option<PathBuf> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if number(source) {
        return Some(format!("/dev/video{source}").into());
    }
    let named = source.starts_with("/dev/v4l/") || source.strip_prefix("/dev/video").is_some_and(number);
    named.then(|| source.into())
}

fn find(source: &str) -> Result<Device> {
    let Some(path) = path(source) else {
        let first = devices()?.into_iter().next();
        return first.or_error(
            Error::NotFound,
            || "no camera was found: plug one in, and let this user open /dev/video* (group 'video')",
        );
    };
    let device = v4l2::device(&path).map_err(|error| open_error(&path, error.into()))?;
    device.or_error(Error::NotFound, || format!("{} is not a camera: {}", path.display(), known_cameras()))
}

/// Why a camera cannot be opened, and what to try.
fn open_error(path: &Path, error: Error) -> Error {
    let shown = path.display();
    match error {
        Error::NotFound(_) => error!(NotFound, "camera {shown} does not exist: {}", known_cameras()),
        Error::PermissionDenied(_) => error!(
            PermissionDenied,
            "camera {shown}: this user may not open it (EACCES): add the user to the group 'video' and log in again"
        ),
        Error::Busy(_) => error!(
            Busy,
            "camera {shown} is in use by another program (EBUSY): stop it ('fuser -v {shown}' shows which), or pick \
             another camera with 'framewire devices'"
        ),
        _ => error.context(format!("camera {shown} cannot be opened")),
    }
}

fn known_cameras() -> impl fmt::Display {
    let found: Vec<_> = devices().unwrap_or_default().iter().map(|device| device.path.display().to_string()).collect();
    if found.is_empty() { "no camera was found".into() } else { format!("use one of {}", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera() -> Device {
        let size = |width, height| v4l2::OfferedSize { width, height, fps: vec![30.0] };
        let format = |name: &str, sizes: &[(u32, u32)]| v4l2::OfferedFormat {
            name: name.into(),
            sizes: sizes.iter().map(|(width, height)| size(*width, *height)).collect(),
        };
        Device {
            path: "/dev/video0".into(),
            name: "a camera".into(),
            bus: "usb-1".into(),
            formats: vec![
                format("yuyv422", &[(640, 480), (320, 240), (1600, 1200)]),
                format("mjpeg", &[(640, 480), (1280, 720), (1920, 1080)]),
            ],
        }
    }

    fn chosen(device: &Device, options: &str) -> (Option<String>, Option<(u32, u32)>) {
        device.choose(&format!("camera{options}").parse::<Spec>().unwrap().options)
    }

    #[test]
    fn jpeg_is_preferred_where_the_camera_offers_it_at_the_wanted_size() {
        let device = camera();
        let expect = |name: &str, size| (Some(name.to_owned()), Some(size));
        assert_eq!(chosen(&device, ""), expect("mjpeg", (1280, 720)));
        assert_eq!(chosen(&device, "#size=1920x1080"), expect("mjpeg", (1920, 1080)));
        assert_eq!(chosen(&device, "#size=320x240"), expect("yuyv422", (320, 240)));
        assert_eq!(chosen(&device, "#size=100x100"), expect("mjpeg", (100, 100)));
        assert_eq!(chosen(&device, "#format=yuyv422"), expect("yuyv422", (640, 480)));
        let unknown = Device { formats: Vec::new(), ..device };
        assert_eq!(chosen(&unknown, ""), (None, None));
    }

    #[test]
    fn h264_is_chosen_for_passthrough_or_where_nothing_else_is_offered() {
        let mut device = camera();
        let expect = |name: &str, size| (Some(name.to_owned()), Some(size));
        assert_eq!(chosen(&device, "#codec=copy"), expect("mjpeg", (1280, 720)));
        let h264 = v4l2::OfferedFormat { name: "h264".into(), ..device.formats[1].clone() };
        device.formats.push(h264.clone());
        assert_eq!(chosen(&device, "#codec=copy"), expect("h264", (1280, 720)));
        assert_eq!(chosen(&device, "#codec=copy#size=1920x1080"), expect("h264", (1920, 1080)));
        assert_eq!(chosen(&device, "#codec=copy#format=mjpeg"), expect("mjpeg", (1280, 720)));
        assert_eq!(chosen(&device, ""), expect("mjpeg", (1280, 720)));
        assert_eq!(chosen(&Device { formats: vec![h264], ..device }, ""), expect("h264", (1280, 720)));
    }

    #[test]
    fn a_pause_is_longer_than_usual_and_than_the_interval_before() {
        let paused = |usual: u64, times: &[Micros]| {
            let mut pauses = Pauses::default();
            times.iter().map(|time| pauses.pause_before(time * 1000, Duration::from_millis(usual))).collect::<Vec<_>>()
        };
        assert_eq!(paused(33, &[5000, 5033, 5233, 5266, 5600, 5633]), [false, false, false, false, true, false]);
        // In the dark each frame takes longer.
        assert_eq!(paused(33, &[5000, 5400, 5800, 6200]), [false, true, false, false]);
        assert_eq!(paused(0, &[5000, 5033, 5066, 5500, 5000]), [false, false, false, true, false]);
    }

    #[test]
    fn cameras_are_recognised_by_path_and_number() {
        for (source, expected) in [
            ("0", Some("/dev/video0")),
            ("12", Some("/dev/video12")),
            ("/dev/video3", Some("/dev/video3")),
            ("/dev/v4l/by-id/usb-cam", Some("/dev/v4l/by-id/usb-cam")),
            ("/dev/videos", None),
            ("video0", None),
            ("1a", None),
            ("", None),
        ] {
            assert_eq!(path(source), expected.map(PathBuf::from), "{source}");
        }
        assert!((KIND.matches)("camera"));
    }

    #[test]
    fn a_camera_that_cannot_be_opened_is_named_with_advice() {
        let message = format!("{:#}", find("/dev/video4711").err().unwrap());
        assert!(message.contains("camera /dev/video4711 does not exist"), "{message}");
        for (kind, words) in [
            (std::io::ErrorKind::PermissionDenied, "group 'video'"),
            (std::io::ErrorKind::ResourceBusy, "in use by another program (EBUSY)"),
        ] {
            let message = open_error(Path::new("/dev/video0"), Error::from(std::io::Error::from(kind)).context("x"));
            assert!(message.to_string().contains(words), "{message}");
        }
    }

    #[test]
    fn a_camera_is_listed_with_its_formats() {
        let text = camera().to_string();
        assert!(text.starts_with("/dev/video0: a camera\n  yuyv422      640x480 at 30 fps\n"), "{text}");
        assert!(text.contains("mjpeg") && text.contains("1920x1080"), "{text}");
    }
}

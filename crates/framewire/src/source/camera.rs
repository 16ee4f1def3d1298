//! Cameras as sources.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use framewire_proto::{Codec, Config, Frame, Micros, Times, jpeg, limits, wire::native::State};
use tracing::{info, warn};

use super::{Item, Kind, Options, Source, Spec};
use crate::error::{Error, OrError as _, Result, ensure, error};
use crate::{
    clock,
    media::{
        Pool,
        decode::Decoder,
        huffman,
        input::{AccessUnits, Input, Packet, Threads, Video, VideoDecoder},
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
    matches: |source| source == "camera" || path(source).is_some(),
    open: |spec, stop| Ok(Box::new(Camera::open(spec, stop)?)),
};

/// A camera without a frame for this long has gone; one that is slow by nature has three of its frames' time.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A camera that is opened may need to warm up.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// The waits before a camera that has gone is looked for again.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// The size that is looked for where none is asked for.
const SIZE: (u32, u32) = (1280, 720);
/// A driver's time of capture is believed when it lies so far back at most.
const OLDEST: Micros = 1_000_000;
/// Frames of H.264 are taken for lost when the next was captured so many times later than is usual for the camera, and than
/// the last was: as many as there are between two keyframes can be missing without a gap in their numbers.
const PAUSE: Micros = 8;
/// Raw formats, from the one that costs least to the one that costs most.
const RAW: [&str; 10] =
    ["yuv420p", "nv12", "yuyv422", "uyvy422", "yuv422p", "nv16", "yvyu422", "bgr0", "bgr24", "rgb24"];

/// A camera, which may go away and come back.
pub struct Camera {
    source: String,
    options: Options,
    stop: Stop,
    open: Option<Open>,
    /// The camera that was opened first: it is the one that may come back, under whatever path.
    identity: Device,
    /// It has gone and has not given a frame since.
    lost: bool,
    wait: Duration,
    waiting: VecDeque<Item>,
    config: Option<Config>,
    sequence: u64,
    /// Frames that were passed over.
    bad: u64,
    pool: Pool,
}

/// A camera that is open. The form comes first: what it holds is to be dropped before the memory that it may use.
struct Open {
    form: Form,
    input: Input,
    video: Video,
    path: PathBuf,
    pauses: Pauses,
}

/// Tells where a camera paused.
#[derive(Default)]
struct Pauses {
    /// When the last frame was captured, and how long after the one before.
    last: Option<(Micros, Micros)>,
}

/// What a camera's packets become.
enum Form {
    /// JPEGs as they are.
    Jpegs,
    /// H.264 as it is, or with a decoder its pictures.
    AccessUnits { units: AccessUnits, decoder: Option<Box<Decoder>> },
    /// I420.
    Pictures(VideoDecoder),
}

impl Camera {
    /// Opens the camera.
    ///
    /// # Errors
    /// It is not there, in use, or not for this user.
    pub fn open(spec: &Spec, stop: &Stop) -> Result<Self> {
        let Spec { source, options } = spec;
        let identity = find(source)?;
        let open = Open::new(&identity, options, stop)?;
        Ok(Self {
            source: source.clone(),
            options: options.clone(),
            stop: stop.clone(),
            open: Some(open),
            identity,
            lost: false,
            wait: WAITS[0],
            waiting: VecDeque::new(),
            config: None,
            sequence: 0,
            bad: 0,
            pool: Pool::default(),
        })
    }

    /// The camera has gone: closes it, and says so once.
    fn lose(&mut self, error: &Error) {
        self.open = None;
        if self.lost {
            tracing::debug!("{}: {error}", self.identity.path.display());
            return;
        }
        warn!("{}: the camera has gone ({error}): it is opened again when it is back", self.identity.path.display());
        self.lost = true;
        self.wait = WAITS[0];
        self.waiting.push_back(Item::State(State::Stalled));
    }

    /// Waits, then looks for the camera again.
    fn reopen(&mut self) {
        if self.stop.wait(self.wait) {
            return;
        }
        self.wait = (self.wait * 2).min(WAITS[1]);
        let found = self.identity.find_again();
        match found.and_then(|device| Ok((Open::new(&device, &self.options, &self.stop)?, device))) {
            Ok((open, device)) => (self.open, self.identity) = (Some(open), device),
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// A camera that was lost gives frames again: whatever it gives now is announced.
    fn recover(&mut self) {
        info!("{}: the camera is back", self.identity.path.display());
        self.lost = false;
        self.config = None;
        self.waiting.push_back(Item::State(State::Live));
    }

    /// Reads and queues the open camera's next frame, unless the stop was raised.
    fn read(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some((packet, passed)) = open.packet()? else {
            ensure!(self.stop.stopped(), ConnectionLost, "its frames have ended");
            return Ok(());
        };
        let now = clock::now();
        self.sequence += passed;
        let captured = packet.shown.and_then(|time| Micros::try_from(time).ok());
        let captured = captured.filter(|time| *time <= now && now - time <= OLDEST).unwrap_or(now);
        open.input.set_timeout(PATIENCE.max(open.interval() * 3));
        let millifps = open.video.fps.map_or(0, |fps| (fps * 1000.0).round() as u32);
        let shape = |codec, (width, height)| Config { codec, width, height, millifps, extra: Bytes::new() };
        let times = Times { captured, ..Times::default() };
        let ready = open.frame(packet, self.sequence, times, shape, &self.pool);
        self.sequence += 1;
        match ready {
            Ok(Some((config, frame))) => {
                if self.lost {
                    self.recover();
                }
                if self.config.as_ref() != Some(&config) {
                    self.config = Some(config.clone());
                    self.waiting.push_back(Item::Config(config));
                }
                self.waiting.push_back(Item::Frame(frame));
            }
            Ok(None) => {}
            Err(error) => self.skip(&error),
        }
        Ok(())
    }

    /// A frame is bad: a gap.
    fn skip(&mut self, error: &Error) {
        // JPEGs and raw pictures stand for themselves, and cheap cameras give some bad ones when they start. H.264 is gone until
        // its next keyframe.
        if self.bad == 0 && self.open.as_ref().is_some_and(|open| matches!(open.form, Form::AccessUnits { .. })) {
            warn!("{}: frames are passed over: {error}", self.source);
        } else {
            tracing::debug!("{}: a frame is passed over: {error}", self.source);
        }
        self.bad += 1;
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.stop.stopped() {
            if let Some(item) = self.waiting.pop_front() {
                return Ok(Some(item));
            }
            if self.open.is_none() {
                self.reopen();
            } else if let Err(error) = self.read() {
                self.lose(&error);
            }
        }
        if self.bad > 0 {
            info!("{}: {} frames were passed over", self.source, self.bad);
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        let Some(open) = &self.open else { return format!("{}: gone", self.identity.path.display()) };
        let Video { width, height, codec, fps, .. } = &open.video;
        let rate = fps.map_or(String::new(), |fps| format!(" at {} fps", (fps * 100.0).round() / 100.0));
        format!("{}: {width}x{height} {codec}{rate} ({})", open.path.display(), self.identity.name)
    }
}

impl Open {
    fn new(device: &Device, options: &Options, stop: &Stop) -> Result<Self> {
        let path = &device.path;
        let shown = path.display().to_string();
        let (format, size) = device.choose(options);
        let size = size.map(|(width, height)| format!("{width}x{height}"));
        let rate = options.fps.filter(|fps| *fps > 0.0).map(|fps| fps.to_string());
        let wishes = [("input_format", &format), ("video_size", &size), ("framerate", &rate)];
        let wishes: Vec<_> = wishes.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
        let input = Input::open(&shown, Some("v4l2"), &wishes, stop, FIRST_PATIENCE);
        let input = input.map_err(|error| refused(path, error))?;
        let video = input.video();
        let form = match video.codec.as_str() {
            "mjpeg" => Form::Jpegs,
            "h264" => {
                let decoder = (options.codec != CodecChoice::Copy).then(Box::default);
                Form::AccessUnits { units: input.access_units()?, decoder }
            }
            _ => Form::Pictures(input.decoder(Threads::LowDelay)?),
        };
        Ok(Self { form, input, video, path: path.clone(), pauses: Pauses::default() })
    }

    /// The next packet, and how many older ones it stands for: the newest where it needs none before it.
    fn packet(&mut self) -> Result<Option<(Packet, u64)>> {
        if matches!(self.video.codec.as_str(), "mjpeg" | "rawvideo") {
            return self.input.read_newest();
        }
        Ok(self.input.read()?.map(|packet| (packet, 0)))
    }

    fn interval(&self) -> Duration {
        self.video.fps.map_or(Duration::ZERO, |fps| Duration::from_secs_f64(1.0 / fps))
    }

    /// The frame that this packet gives, and its configuration; `None` where there is none yet.
    fn frame(
        &mut self,
        packet: Packet,
        sequence: u64,
        times: Times,
        shape: impl Fn(Codec, (u16, u16)) -> Config,
        pool: &Pool,
    ) -> Result<Option<(Config, Frame)>> {
        ensure!(!packet.data().is_empty(), InvalidData, "the camera could not transfer it whole");
        // The packet's memory is the driver's, and goes with the camera.
        let ours = |bytes: &[u8]| {
            let mut data = pool.take(bytes.len());
            data.copy_from_slice(bytes);
            data.freeze()
        };
        let paused = self.pauses.before(times.captured, self.interval());
        let whole = |data| Frame { sequence, keyframe: true, times, data };
        match &mut self.form {
            Form::Jpegs => {
                let size = jpeg::size(packet.data())?;
                Ok(Some((shape(Codec::Jpeg, size), whole(huffman::complete(ours(packet.data()))))))
            }
            Form::AccessUnits { units, decoder } => {
                if paused {
                    units.assume_gap();
                }
                let Some(unit) = units.convert(packet)? else { return Ok(None) };
                let Video { width, height, .. } = self.video;
                limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
                let config = shape(Codec::H264, (width as u16, height as u16));
                let frame = Frame { keyframe: unit.keyframe, ..whole(ours(&unit.data)) };
                let Some(decoder) = decoder else { return Ok(Some((config, frame))) };
                let decoded = decoder.decode(&config, &frame, Codec::I420)?;
                Ok(decoded.map(|(frame, picture)| {
                    let size = (picture.width() as u16, picture.height() as u16);
                    (shape(Codec::I420, size), Frame { keyframe: true, data: picture.into_data(), ..frame })
                }))
            }
            Form::Pictures(decoder) => {
                decoder.push(Some(&packet))?;
                let mut newest = None;
                while let Some((picture, _)) = decoder.pull()? {
                    let size = (picture.width() as u16, picture.height() as u16);
                    newest = Some((shape(Codec::I420, size), whole(picture.into_data())));
                }
                Ok(newest)
            }
        }
    }
}

impl Pauses {
    /// Whether there was one before this frame, of a camera with this usual distance between two.
    fn before(&mut self, captured: Micros, usual: Duration) -> bool {
        let (last, distance) = self.last.unwrap_or((captured, 0));
        let since = captured.saturating_sub(last);
        self.last = Some((captured, since));
        let usual = distance.max(usual.as_micros() as Micros);
        usual > 0 && since > PAUSE * usual
    }
}

impl Device {
    /// FFmpeg's names of the pixel format and the size to ask for; `None` leaves it to the driver.
    fn choose(&self, options: &Options) -> (Option<String>, Option<(u32, u32)>) {
        let offers = |name: &str| self.formats.iter().find(|format| format.name == name);
        let has = |format: &v4l2::Format, size| format.sizes.iter().any(|offer| (offer.width, offer.height) == size);
        if let Some(name) = &options.format {
            return (Some(name.clone()), options.size.or_else(|| offers(name).and_then(usual_size)));
        }
        // What is passed on as it is best takes the least of a link; else JPEGs, each of which stands for itself.
        let coded = if options.codec == CodecChoice::Copy { &["h264", "mjpeg"][..] } else { &["mjpeg"] };
        let coded: Vec<_> = coded.iter().filter_map(|name| offers(name)).collect();
        let raw = || RAW.into_iter().filter_map(offers);
        let any = || coded.first().copied().or_else(|| raw().next()).or(self.formats.first());
        let Some(size) = options.size else {
            return (any().map(|format| format.name.clone()), any().and_then(usual_size));
        };
        // Coded at the size asked for, else raw at that size, else what comes nearest, by the driver's judgement.
        let fits = |format: &&v4l2::Format| has(format, size);
        let format = coded.iter().copied().find(fits).or_else(|| raw().find(fits)).or_else(any);
        (format.map(|format| format.name.clone()), Some(size))
    }

    /// The same camera, wherever it is now: at its path, or at another one but of the same name and plug.
    fn find_again(&self) -> Result<Self> {
        let same = |device: &Self| device.name == self.name;
        if let Some(device) = v4l2::device(&self.path).ok().flatten().filter(same) {
            return Ok(device);
        }
        let mut found: Vec<_> = devices()?.into_iter().filter(same).collect();
        found.sort_by_key(|device| device.place != self.place);
        found.into_iter().next().or_error(Error::NotFound, || format!("{}: not back yet", self.path.display()))
    }
}

/// 1280x720, else the largest size within it, else the first.
fn usual_size(format: &v4l2::Format) -> Option<(u32, u32)> {
    let sizes = || format.sizes.iter().map(|size| (size.width, size.height));
    let within = sizes().filter(|(width, height)| *width <= SIZE.0 && *height <= SIZE.1);
    within.max_by_key(|(width, height)| width * height).or_else(|| sizes().next())
}

/// The path of a camera in a source's words, unless it is just the first.
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
            || "camera: there is none: is one plugged in, and may this user read /dev/video* (group video)?",
        );
    };
    let device = v4l2::device(&path).map_err(|error| refused(&path, error.into()))?;
    device.or_error(Error::NotFound, || format!("{}: is no camera{}", path.display(), others()))
}

/// Why a camera cannot be opened, and what to try.
fn refused(path: &Path, error: Error) -> Error {
    let shown = path.display();
    match error {
        Error::NotFound(_) => error!(PermissionDenied, "{shown}: there is no such camera{}", others()),
        Error::PermissionDenied(_) => {
            error!(
                PermissionDenied,
                "{shown}: this user may not open it: add them to the group `video` and log in again"
            )
        }
        Error::Busy(_) => {
            error!(Busy, "{shown}: is in use by another program: close that first (`fuser -v {shown}` names it)")
        }
        _ => error.context(format!("{shown}: the camera cannot be opened")),
    }
}

fn others() -> impl fmt::Display {
    let found: Vec<_> = devices().unwrap_or_default().iter().map(|device| device.path.display().to_string()).collect();
    if found.is_empty() { ", and no other".into() } else { format!(": there are {}", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera() -> Device {
        let size = |width, height| v4l2::Size { width, height, fps: vec![30.0] };
        let format = |name: &str, sizes: &[(u32, u32)]| v4l2::Format {
            name: name.into(),
            sizes: sizes.iter().map(|(width, height)| size(*width, *height)).collect(),
        };
        Device {
            path: "/dev/video0".into(),
            name: "a camera".into(),
            place: "usb-1".into(),
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
    fn jpeg_is_preferred_where_the_camera_has_it_at_the_size_asked_for() {
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
    fn h264_is_taken_where_it_is_passed_on_or_nothing_else_is_there() {
        let mut device = camera();
        let expect = |name: &str, size| (Some(name.to_owned()), Some(size));
        assert_eq!(chosen(&device, "#codec=copy"), expect("mjpeg", (1280, 720)));
        let h264 = v4l2::Format { name: "h264".into(), ..device.formats[1].clone() };
        device.formats.push(h264.clone());
        assert_eq!(chosen(&device, "#codec=copy"), expect("h264", (1280, 720)));
        assert_eq!(chosen(&device, "#codec=copy#size=1920x1080"), expect("h264", (1920, 1080)));
        assert_eq!(chosen(&device, "#codec=copy#format=mjpeg"), expect("mjpeg", (1280, 720)));
        assert_eq!(chosen(&device, ""), expect("mjpeg", (1280, 720)));
        assert_eq!(chosen(&Device { formats: vec![h264], ..device }, ""), expect("h264", (1280, 720)));
    }

    #[test]
    fn a_pause_is_longer_than_what_is_usual_and_what_was_before() {
        let paused = |usual: u64, times: &[Micros]| {
            let mut pauses = Pauses::default();
            times.iter().map(|time| pauses.before(time * 1000, Duration::from_millis(usual))).collect::<Vec<_>>()
        };
        assert_eq!(paused(33, &[5000, 5033, 5233, 5266, 5600, 5633]), [false, false, false, false, true, false]);
        // In the dark it takes longer for each.
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
    fn a_camera_that_is_not_there_is_named() {
        let message = format!("{:#}", find("/dev/video4711").err().unwrap());
        assert!(message.contains("/dev/video4711: there is no such camera"), "{message}");
        for (kind, words) in [
            (std::io::ErrorKind::PermissionDenied, "group `video`"),
            (std::io::ErrorKind::ResourceBusy, "in use by another program"),
        ] {
            let message = refused(Path::new("/dev/video0"), Error::from(std::io::Error::from(kind)).context("x"));
            assert!(message.to_string().contains(words), "{message}");
        }
    }

    #[test]
    fn a_camera_is_listed_with_what_it_offers() {
        let text = camera().to_string();
        assert!(text.starts_with("/dev/video0: a camera\n  yuyv422      640x480 at 30 fps\n"), "{text}");
        assert!(text.contains("mjpeg") && text.contains("1920x1080"), "{text}");
    }
}

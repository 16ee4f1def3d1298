//! What a user writes for a source: the source, then options, each after a `#`.
//!
//! Only what has the form of an option is one: `#key` or `#key=value`, where the key is made of letters and hyphens and the value
//! has no `/` and no blank. Anything else behind a `#` belongs to the source, as in `/films/take#2.mp4` or in a URL's password. In
//! a path `%23` stands for a `#` that would otherwise begin an option.

use std::{ops::RangeInclusive, path::Path, str::FromStr, time::Duration};

use framewire_proto::{Limits, Micros, Orientation, limits};

use super::location::Location;
use crate::error::{Context as _, Error, OrError as _, Result, bail, ensure, error};
use crate::media::input::Deinterlace;
use crate::secret;
use crate::transcode::encode::CodecChoice;

/// The rates that may be asked for, in frames a second.
const RATES: RangeInclusive<f64> = 0.0..=1000.0;
/// The bitrates that may be asked for, in bits a second.
const BITRATES: RangeInclusive<u64> = 50_000..=1_000_000_000;
/// The maximum ages that may be asked for, in µs.
const MAX_AGES: RangeInclusive<Micros> = 10_000..=60_000_000;

/// The most bytes of a frame that may be asked for.
const MAX_FRAMES: RangeInclusive<usize> = 64 << 10..=limits::LARGEST_FRAME;

/// A source and how to open it, as in `/dev/video0#size=1280x720#fps=30`.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The source: `camera`, a path, a URL, …
    pub source: Location,
    /// How to open it.
    pub options: Options,
}

/// How to open a source and code its frames. What is `None` is the source's own choice.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Width and height in pixels: asked of a camera or screen, scaled to elsewhere.
    pub size: Option<(u32, u32)>,
    /// Frames per second: asked of a camera or screen, paced to elsewhere. 0 is as fast as they are taken.
    pub fps: Option<f64>,
    /// A camera's pixel format by FFmpeg's name: `mjpeg`, `yuyv422`.
    pub format: Option<String>,
    /// Turn the pictures clockwise by so many quarters, 0 to 3.
    pub quarters: u8,
    /// Then mirror them left to right.
    pub mirrored: bool,
    /// Deinterlace all pictures, not only those that are flagged as interlaced.
    pub deinterlaced: bool,
    /// Begin again at the end.
    pub looped: bool,
    /// What to code frames in.
    pub codec: CodecChoice,
    /// JPEG quality, 1 to 100.
    pub quality: Option<u8>,
    /// Bits per second at most.
    pub bitrate: Option<u64>,
    /// Frames older than this, in µs, are dropped instead of sent or shown.
    pub max_age: Option<Micros>,
    /// Frames of more bytes are dropped: 8 MiB unless set.
    pub max_frame: Option<usize>,
    /// Of a hub's stream: wait for it if it is not there.
    pub wait: bool,
    /// Of a hub's stream: an error instead of connecting again when the hub goes away.
    pub once: bool,
    /// Of a hub's stream: every frame, queued within bounds, instead of the newest.
    pub every: bool,
}

/// An option: how it is written, and what sets it from its value. One without a `=` takes no value.
struct Row {
    usage: &'static str,
    set: fn(&mut Options, &str) -> Result<()>,
}

/// Every option.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { usage: "size=WxH", set: |options, value| set(&mut options.size, parse_size(value)) },
    Row { usage: "fps=N", set: |options, value| set(&mut options.fps, parse_fps(value)) },
    Row { usage: "format=NAME", set: |options, value| set(&mut options.format, Ok(value.into())) },
    Row { usage: "rotate=90|180|270", set: |options, value| { options.quarters = parse_quarters(value)?; Ok(()) } },
    Row { usage: "mirror", set: |options, _| { options.mirrored = true; Ok(()) } },
    Row { usage: "deinterlace", set: |options, _| { options.deinterlaced = true; Ok(()) } },
    Row { usage: "loop", set: |options, _| { options.looped = true; Ok(()) } },
    Row { usage: "codec=NAME", set: |options, value| { options.codec = value.parse()?; Ok(()) } },
    Row { usage: "quality=1..100", set: |options, value| set(&mut options.quality, parse_quality(value)) },
    Row { usage: "bitrate=BITS", set: |options, value| set(&mut options.bitrate, parse_bitrate(value)) },
    Row { usage: "max-age=MS", set: |options, value| set(&mut options.max_age, parse_max_age(value)) },
    Row { usage: "max-frame=SIZE", set: |options, value| set(&mut options.max_frame, parse_max_frame(value)) },
    Row { usage: "wait", set: |options, _| { options.wait = true; Ok(()) } },
    Row { usage: "once", set: |options, _| { options.once = true; Ok(()) } },
    Row { usage: "every", set: |options, _| { options.every = true; Ok(()) } },
];

impl Row {
    fn key(&self) -> &'static str {
        self.usage.split_once('=').map_or(self.usage, |(key, _)| key)
    }

    fn find(key: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.key() == key)
    }
}

fn set<T>(option: &mut Option<T>, value: Result<T>) -> Result<()> {
    *option = Some(value?);
    Ok(())
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (source, parts) = split(text);
        let source = Location::from(source.as_str());
        let mut options = Options::default();
        for part in parts {
            options.set(part).with_context(|| format!("in the source '{source}'"))?;
        }
        ensure!(
            !source.expose().is_empty(),
            InvalidInput,
            "a source is empty: name a camera, file, URL, `screen`, `pattern` or `-`"
        );
        ensure!(
            !source.is_ambiguous(),
            InvalidInput,
            "'{source}': there is an '@' behind the host: write it as %40, and one in a password too"
        );
        Ok(Self { source, options })
    }
}

/// The source and its options. A path that exists is taken as it is.
fn split(text: &str) -> (String, Vec<&str>) {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let is_path = address.len() == text.len();
    let userinfo = if is_path { 0 } else { text.len() - address.len() + secret::userinfo(address).unwrap_or(0) };
    let exists = |source: &str| is_path && Path::new(source).exists();
    let (mut source, mut parts) = (text, Vec::new());
    while !exists(source)
        && let Some((before, part)) = source.rsplit_once('#')
        && before.len() >= userinfo
        && is_option(part)
    {
        parts.insert(0, part);
        source = before;
    }
    let encoded = is_path && !exists(source);
    (if encoded { source.replace("%23", "#") } else { source.into() }, parts)
}

/// Whether this has the form of an option.
fn is_option(part: &str) -> bool {
    let (key, value) = part.split_once('=').unwrap_or((part, ""));
    let is_key = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '-');
    let is_value = !value.chars().any(|letter| letter == '/' || letter.is_whitespace());
    is_key && (is_value || Row::find(key).is_some())
}

impl Spec {
    /// The size that was asked for, of the pictures that come out: a source that gives a size itself is asked for it before its
    /// pictures are turned.
    pub(crate) fn shown_size(&self) -> Option<(u32, u32)> {
        let sized = super::kind(self).is_ok_and(|kind| kind.sized);
        self.options.size.map(|size| if sized { self.options.orientation().size(size) } else { size })
    }

    /// Whether its frames may be passed on as others coded them, who cannot be asked for a keyframe. Of another hub's stream
    /// that is not known.
    pub fn is_passthrough(&self) -> bool {
        self.source.expose().starts_with("fw://") || self.options.codec == CodecChoice::Copy
    }
}

impl Options {
    /// Sets one option from `key=value` or `key`.
    ///
    /// # Errors
    /// The key is not known or its value is no such thing.
    pub fn set(&mut self, part: &str) -> Result<()> {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
        let row = Row::find(key).or_error(Error::InvalidInput, || {
            let usages: Vec<&str> = ROWS.iter().map(|row| row.usage).collect();
            format!("'{key}' is no option of a source: {}; a # of a path or password is written %23", usages.join(", "))
        })?;
        match (row.usage.contains('='), value) {
            (true, None | Some("")) => bail!(InvalidInput, "'{key}' lacks its value: write it like {}", row.usage),
            (false, Some(value)) => bail!(InvalidInput, "'{key}' takes no value: leave '={value}' out"),
            (_, value) => (row.set)(self, value.unwrap_or_default()),
        }
    }

    /// The most bytes of a frame.
    pub(crate) fn max_frame(&self) -> usize {
        self.limits().frame
    }

    /// The bounds on what is received.
    pub(crate) fn limits(&self) -> Limits {
        self.max_frame.map_or_else(Limits::default, Limits::with_frame)
    }

    /// Checks what was set in a program, as [`Options::set`] does with what was written.
    ///
    /// # Errors
    /// A picture of that size is refused, or the bitrate or the age is out of bounds.
    pub(crate) fn check(&self) -> Result<()> {
        self.size.map_or(Ok(()), check_size)?;
        if let Some(fps) = self.fps.filter(|fps| !RATES.contains(fps)) {
            bail!(InvalidInput, "{fps} is no rate: frames per second from 0 to 1000");
        }
        if let Some(bitrate) = self.bitrate.filter(|bitrate| !BITRATES.contains(bitrate)) {
            bail!(InvalidInput, "{bitrate} is no bitrate: bits a second from 50000 to 1000000000");
        }
        if let Some(bytes) = self.max_frame.filter(|bytes| !MAX_FRAMES.contains(bytes)) {
            bail!(InvalidInput, "{bytes} is no size of a frame: bytes from 65536 to {}", limits::LARGEST_FRAME);
        }
        if let Some(age) = self.max_age.filter(|age| !MAX_AGES.contains(age)) {
            bail!(InvalidInput, "{:?} is no maximum age: from 10 ms to 60 s", Duration::from_micros(age));
        }
        Ok(())
    }

    /// How the source's pictures are turned before they are shown.
    pub fn orientation(&self) -> Orientation {
        let mirror = if self.mirrored { Orientation::MIRRORED } else { Orientation::UPRIGHT };
        Orientation::turned(self.quarters).then(mirror)
    }

    /// Which pictures are deinterlaced.
    pub fn deinterlace(&self) -> Deinterlace {
        if self.deinterlaced { Deinterlace::All } else { Deinterlace::Flagged }
    }

    /// Whether frames are given as fast as they are taken.
    pub fn unpaced(&self) -> bool {
        self.fps == Some(0.0)
    }

    /// These options, and where they are silent those of `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            size: self.size.or(other.size),
            fps: self.fps.or(other.fps),
            format: self.format.or_else(|| other.format.clone()),
            quarters: if self.quarters == 0 { other.quarters } else { self.quarters },
            mirrored: self.mirrored || other.mirrored,
            deinterlaced: self.deinterlaced || other.deinterlaced,
            looped: self.looped || other.looped,
            codec: if self.codec == CodecChoice::Auto { other.codec } else { self.codec },
            quality: self.quality.or(other.quality),
            bitrate: self.bitrate.or(other.bitrate),
            max_age: self.max_age.or(other.max_age),
            max_frame: self.max_frame.or(other.max_frame),
            wait: self.wait || other.wait,
            once: self.once || other.once,
            every: self.every || other.every,
        }
    }
}

/// Milliseconds, 10 to 60000, as µs.
///
/// # Errors
/// It is no such number.
pub fn parse_max_age(text: &str) -> Result<Micros> {
    let age = text.parse::<Micros>().ok().and_then(|milliseconds| milliseconds.checked_mul(1000));
    let age = age.filter(|age| MAX_AGES.contains(age));
    age.or_error(Error::InvalidInput, || format!("'{text}' is no age: a number of milliseconds from 10 to 60000"))
}

/// Bytes of a frame: `32M`, `500k` or `8388608`, in units of 1024.
///
/// # Errors
/// It is no such number, or out of bounds.
pub fn parse_max_frame(text: &str) -> Result<usize> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |number| (number, 1 << 20)),
    };
    let bytes = number.parse().ok().and_then(|number: usize| number.checked_mul(unit));
    let wanted = || format!("'{text}' is no size of a frame: bytes from 64k to 256M, as in 32M");
    bytes.filter(|bytes| MAX_FRAMES.contains(bytes)).or_error(Error::InvalidInput, wanted)
}

/// `1280x720` as width and height.
///
/// # Errors
/// It is written otherwise, or a picture of that size is refused.
pub fn parse_size(text: &str) -> Result<(u32, u32)> {
    let parts =
        text.split_once(['x', 'X']).and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let Some((width, height)) = parts else { bail!(InvalidInput, "'{text}' is no size: write it like 1280x720") };
    check_size((width, height))?;
    Ok((width, height))
}

/// # Errors
/// A picture of this size is refused.
pub fn check_size((width, height): (u32, u32)) -> Result<()> {
    framewire_proto::limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))
}

/// Degrees clockwise as quarters.
fn parse_quarters(text: &str) -> Result<u8> {
    match text {
        "90" => Ok(1),
        "180" => Ok(2),
        "270" => Ok(3),
        _ => bail!(InvalidInput, "'{text}' is no rotation: 90, 180 or 270, in degrees clockwise"),
    }
}

/// Frames per second, 0 to 1000.
///
/// # Errors
/// It is no such number.
pub fn parse_fps(text: &str) -> Result<f64> {
    let fps = text.parse().ok().filter(|fps| RATES.contains(fps));
    fps.or_error(Error::InvalidInput, || {
        format!("'{text}' is no rate: frames per second from 0 (as fast as they are taken) to 1000")
    })
}

/// JPEG quality, 1 to 100.
///
/// # Errors
/// It is no such number.
pub fn parse_quality(text: &str) -> Result<u8> {
    let quality = text.parse().ok().filter(|quality| (1..=100).contains(quality));
    quality.or_error(Error::InvalidInput, || format!("'{text}' is no quality: a number from 1 to 100"))
}

/// Bits per second: `2M`, `500k` or `1500000`.
///
/// # Errors
/// It is no such number, or below 50 000.
pub fn parse_bitrate(text: &str) -> Result<u64> {
    let (number, unit) = match text.trim_end_matches(['k', 'K', 'M']) {
        number if number.len() == text.len() => (number, 1.0),
        number => (number, if text.ends_with('M') { 1e6 } else { 1e3 }),
    };
    let bits = number.parse().ok().map(|number: f64| (number * unit) as u64).filter(|bits| BITRATES.contains(bits));
    let wanted = || format!("'{text}' is no bitrate: bits per second from 50k to 1000M, as in 2M or 500k");
    bits.or_error(Error::InvalidInput, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_source_after_hashes() {
        let spec: Spec = "/dev/video0#size=1280x720#fps=30#loop#codec=copy#max-age=200".parse().unwrap();
        assert_eq!(spec.source.expose(), "/dev/video0");
        assert_eq!(spec.options.size, Some((1280, 720)));
        assert_eq!(spec.options.fps, Some(30.0));
        assert!(spec.options.looped);
        assert_eq!(spec.options.codec, CodecChoice::Copy);
        assert_eq!(spec.options.max_age, Some(200_000));
    }

    #[test]
    fn only_what_has_the_form_of_an_option_is_one() {
        for (text, source, fps) in [
            ("/films/take#2.mp4", "/films/take#2.mp4", None),
            ("/films/C#/x.mp4#fps=5", "/films/C#/x.mp4", Some(5.0)),
            ("/films/a#b#.mkv", "/films/a#b#.mkv", None),
            ("/films/a%23loop#fps=5", "/films/a#loop", Some(5.0)),
            ("/films/a#", "/films/a#", None),
            ("rtsp://u:p#fps=1@h/x#fps=5", "rtsp://u:p%23fps%3D1@h/x", Some(5.0)),
            ("rtsp://u:p@ss#w/rd@h/x#fps=5", "rtsp://u:p%40ss%23w%2Frd@h/x", Some(5.0)),
            ("http://h/a%23b#fps=5", "http://h/a%23b", Some(5.0)),
            ("http://h/a#/b?c=d", "http://h/a#/b?c=d", None),
        ] {
            let spec: Spec = text.parse().unwrap();
            assert_eq!((spec.source.expose(), spec.options.fps), (source, fps), "{text}");
        }
    }

    #[test]
    fn a_path_that_exists_is_taken_as_it_is() {
        let folder = std::env::temp_dir().join(format!("framewire-spec-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        for name in ["a#loop", "a%23b", "a"] {
            std::fs::write(path(name), "").unwrap();
        }
        for (name, source, looped) in [
            ("a#loop", "a#loop", false),
            ("a#loop#loop", "a#loop", true),
            ("a%23b", "a%23b", false),
            ("a#fps=1", "a", false),
        ] {
            let spec: Spec = path(name).parse().unwrap();
            assert_eq!((spec.source.expose(), spec.options.looped), (path(source).as_str(), looped), "{name}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn pictures_are_turned_and_then_mirrored() {
        let turned = |text: &str| text.parse::<Spec>().unwrap().options.orientation().exif();
        for (text, exif) in [("a", 1), ("a#rotate=90", 6), ("a#rotate=180", 3), ("a#rotate=270", 8), ("a#mirror", 2)] {
            assert_eq!(turned(text), exif, "{text}");
        }
        // In EXIF's words: mirrored and then turned by 270 degrees.
        assert_eq!(turned("a#rotate=90#mirror"), 5);
        for (text, size) in [("pattern#size=320x240", (240, 320)), ("film.mp4#size=320x240", (320, 240))] {
            assert_eq!(format!("{text}#rotate=90").parse::<Spec>().unwrap().shown_size(), Some(size));
        }
        assert_eq!("a#deinterlace".parse::<Spec>().unwrap().options.deinterlace(), Deinterlace::All);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, fault) in [
            ("a#size=12", "'12'"),
            ("a#fps=-1", "'-1'"),
            ("a#nonsense", "'nonsense'"),
            ("a#rotate=45", "'45' is no rotation"),
            ("a#rotate", "rotate=90|180|270"),
            ("a#max-age=1", "'1' is no age"),
            ("", "empty"),
            ("a#size=9000x1", "9000x1"),
            ("a#size=12 x 5", "'12 x 5'"),
            ("a#fps", "'fps' lacks its value"),
            ("a#format=", "'format' lacks its value"),
            ("a#loop=3", "'loop' takes no value"),
            ("rtsp://u:pass@ss/w@h/x", "rtsp://u:***@h/x': there is an '@'"),
        ] {
            let message = text.parse::<Spec>().unwrap_err().to_string();
            assert!(message.contains(fault), "{text:?}: {message}");
        }
    }
}

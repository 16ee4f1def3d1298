//! What a user writes for a source: the source, then options, each after a `#`.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use framewire_proto::Micros;

use crate::error::{Context as _, Error, OrError as _, Result, bail, ensure, error};
use crate::transcode::encode::CodecChoice;

/// The rates that may be asked for, in frames a second.
const RATES: RangeInclusive<f64> = 0.0..=1000.0;
/// The bitrates that may be asked for, in bits a second.
const BITRATES: RangeInclusive<u64> = 50_000..=1_000_000_000;
/// The maximum ages that may be asked for, in µs.
const MAX_AGES: RangeInclusive<Micros> = 10_000..=60_000_000;

/// A source and how to open it, as in `/dev/video0#size=1280x720#fps=30`.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The source: `camera`, a path, a URL, …
    pub source: String,
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
    /// Of a hub's stream: wait for it if it is not there.
    pub wait: bool,
    /// Of a hub's stream: an error instead of connecting again when the hub goes away.
    pub once: bool,
    /// Of a hub's stream: every frame, queued within bounds, instead of the newest.
    pub every: bool,
}

impl FromStr for Spec {
    type Err = Error;

    /// Splits at every `#`. A path that itself holds a `#` and exists is taken as it is.
    fn from_str(text: &str) -> Result<Self> {
        let mut spec = Self { source: text.into(), options: Options::default() };
        if text.contains('#') && !std::path::Path::new(text).exists() {
            let mut parts = text.split('#');
            spec.source = parts.next().unwrap_or_default().into();
            for part in parts {
                spec.options.set(part).with_context(|| format!("in the source '{text}'"))?;
            }
        }
        ensure!(
            !spec.source.is_empty(),
            InvalidInput,
            "a source is empty: name a camera, file, URL, `screen`, `pattern` or `-`"
        );
        Ok(spec)
    }
}

impl Spec {
    /// Whether its frames may be passed on as others coded them, who cannot be asked for a keyframe. Of another hub's stream
    /// that is not known.
    pub fn is_passthrough(&self) -> bool {
        self.source.starts_with("fw://") || self.options.codec == CodecChoice::Copy
    }
}

impl Options {
    /// Sets one option from `key=value` or `key`.
    ///
    /// # Errors
    /// The key is not known or its value is no such thing.
    pub fn set(&mut self, part: &str) -> Result<()> {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "size" => self.size = Some(parse_size(value)?),
            "fps" => self.fps = Some(parse_fps(value)?),
            "format" => self.format = Some(value.into()),
            "loop" => self.looped = true,
            "wait" => self.wait = true,
            "once" => self.once = true,
            "every" => self.every = true,
            "codec" => self.codec = value.parse()?,
            "quality" => self.quality = Some(parse_quality(value)?),
            "bitrate" => self.bitrate = Some(parse_bitrate(value)?),
            "max-age" => self.max_age = Some(parse_max_age(value)?),
            _ => bail!(
                InvalidInput,
                "'{key}' is no option of a source: size=WxH, fps=N, format=NAME, loop, codec=NAME, quality=1..100, bitrate=BITS, max-age=MS, wait, once, every"
            ),
        }
        Ok(())
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
        if let Some(age) = self.max_age.filter(|age| !MAX_AGES.contains(age)) {
            bail!(InvalidInput, "{:?} is no maximum age: from 10 ms to 60 s", Duration::from_micros(age));
        }
        Ok(())
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
            looped: self.looped || other.looped,
            codec: if self.codec == CodecChoice::Auto { other.codec } else { self.codec },
            quality: self.quality.or(other.quality),
            bitrate: self.bitrate.or(other.bitrate),
            max_age: self.max_age.or(other.max_age),
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
        assert_eq!(spec.source, "/dev/video0");
        assert_eq!(spec.options.size, Some((1280, 720)));
        assert_eq!(spec.options.fps, Some(30.0));
        assert!(spec.options.looped);
        assert_eq!(spec.options.codec, CodecChoice::Copy);
        assert_eq!(spec.options.max_age, Some(200_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, fault) in [
            ("a#size=12", "'12'"),
            ("a#fps=-1", "'-1'"),
            ("a#nonsense", "'nonsense'"),
            ("a#max-age=1", "'1' is no age"),
            ("", "empty"),
            ("a#size=9000x1", "9000x1"),
        ] {
            let message = format!("{:#}", text.parse::<Spec>().unwrap_err());
            assert!(message.contains(fault), "{text:?}: {message}");
        }
    }
}

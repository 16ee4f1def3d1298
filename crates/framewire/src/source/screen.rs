//! An X11 screen as a source.

use std::time::Duration;

use framewire_proto::{Codec, Config, Frame, Times};

use super::{Item, Kind, Source, Spec, pace::Pace, reopen::Reopening};
use crate::error::{Context as _, Result, bail};
use crate::{
    clock,
    media::{
        input::{Input, Threads, Video, VideoDecoder},
        scale::Scaler,
    },
    stop::Stop,
};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "screen",
    summary: "this X11 screen; screen:DISPLAY another one",
    live: true,
    sized: true,
    honours: &["fps", "wait"],
    matches: |source| source == "screen" || source.starts_with("screen:"),
    open: |spec, stop| Reopening::open(spec, stop, |spec, stop| Ok(Box::new(Screen::open(spec, stop)?))),
};

/// Frames per second where no rate is asked for.
const DEFAULT_FPS: f64 = 30.0;
/// The frame rate that FFmpeg gets. FFmpeg sleeps between pictures and ignores a stop meanwhile, so at this rate it never sleeps,
/// and the real rate is kept here.
const NEVER_SLEEP: &str = "1000";
/// How long the X server may take to respond.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A screen. The decoder comes first, because it must be dropped before the memory of `input` that it may use.
pub struct Screen {
    decoder: VideoDecoder,
    input: Input,
    display: String,
    fps: f64,
    size: Option<(u32, u32)>,
    scaler: Scaler,
    pace: Option<Pace>,
    stop: Stop,
    config: Option<Config>,
    /// The frame after the configuration that was just returned.
    queued: Option<Frame>,
    sequence: u64,
}

impl Screen {
    /// Opens the display named after `screen:`, else that of `$DISPLAY`.
    ///
    /// # Errors
    /// The display does not exist, does not respond, or refuses access.
    pub fn open(spec: &Spec, stop: &Stop) -> Result<Self> {
        let display = match spec.source.expose().strip_prefix("screen:") {
            Some(display) => display.to_owned(),
            None => std::env::var("DISPLAY").unwrap_or_default(),
        };
        if display.is_empty() {
            bail!(NotFound, "screen: $DISPLAY is not set: name an X11 display, as in 'screen::0'");
        }
        let input = Input::open(&display, Some("x11grab"), &[("framerate", NEVER_SLEEP)], stop, TIMEOUT);
        let input = input.with_context(|| {
            format!(
                "screen: the X11 display '{display}' cannot be captured: check that it exists, and that this user has access \
                 (xhost)"
            )
        })?;
        let decoder = input.decoder(Threads::LowDelay)?;
        let fps = spec.options.fps.unwrap_or(DEFAULT_FPS);
        Ok(Self {
            decoder,
            input,
            display,
            fps,
            size: spec.options.size,
            scaler: Scaler::new(),
            pace: Pace::new(fps),
            stop: stop.clone(),
            config: None,
            queued: None,
            sequence: 0,
        })
    }

    /// Captures the screen; `None` when the stop was raised.
    fn grab(&mut self) -> Result<Option<(Config, Frame)>> {
        let picture = loop {
            let captured = clock::now();
            let Some(packet) = self.input.read()? else { return Ok(None) };
            self.decoder.push(Some(&packet))?;
            if let Some((picture, _)) = self.decoder.pull()? {
                break (picture, captured);
            }
        };
        let (mut picture, captured) = picture;
        if let Some(size) = self.size {
            picture = self.scaler.scale(&picture, size, Codec::I420)?;
        }
        let config = Config::new(
            Codec::I420,
            picture.width() as u16,
            picture.height() as u16,
            (self.fps * 1000.0).round() as u32,
        );
        let times = Times { captured, ..Times::default() };
        let frame = Frame { sequence: self.sequence, keyframe: true, times, data: picture.into_data() };
        self.sequence += 1;
        Ok(Some((config, frame)))
    }
}

impl Source for Screen {
    fn next(&mut self) -> Result<Option<Item>> {
        if let Some(frame) = self.queued.take() {
            return Ok(Some(Item::Frame(frame)));
        }
        let stopped = match &mut self.pace {
            Some(pace) => pace.wait(&self.stop),
            None => self.stop.stopped(),
        };
        if stopped {
            return Ok(None);
        }
        let grabbed = self.grab().with_context(|| format!("screen {} can no longer be captured", self.display))?;
        let Some((config, frame)) = grabbed else { return Ok(None) };
        if self.config.as_ref() == Some(&config) {
            return Ok(Some(Item::Frame(frame)));
        }
        self.queued = Some(frame);
        self.config = Some(config.clone());
        Ok(Some(Item::Config(config)))
    }

    fn describe(&self) -> String {
        let Video { width, height, .. } = self.input.video();
        format!("screen {}: {width}x{height} at {} fps", self.display, self.fps)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// An X server for one test, on a free display.
    struct Xvfb(Child, String);

    impl Xvfb {
        fn start() -> Self {
            let mut server = Command::new("Xvfb")
                .args(["-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the command Xvfb");
            let mut number = String::new();
            BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
            Self(server, format!(":{}", number.trim()))
        }
    }

    impl Drop for Xvfb {
        fn drop(&mut self) {
            // It may be gone already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn open(display: &str, options: &str, stop: &Stop) -> Result<Screen> {
        Screen::open(&format!("screen:{display}{options}").parse().unwrap(), stop)
    }

    #[test]
    fn a_screen_is_captured_in_its_size_and_at_the_rate_asked_for() {
        let server = Xvfb::start();
        let stop = Stop::default();
        let mut screen = open(&server.1, "#fps=50", &stop).unwrap();
        assert_eq!(screen.describe(), format!("screen {}: 320x240 at 50 fps", server.1));
        let Some(Item::Config(config)) = screen.next().unwrap() else { panic!("a configuration first") };
        assert_eq!((config.codec, config.width, config.height, config.millifps), (Codec::I420, 320, 240, 50_000));
        let mut times = Vec::new();
        while times.len() < 6 {
            let Some(Item::Frame(frame)) = screen.next().unwrap() else { panic!("frames follow") };
            // The root window of a new server is black.
            assert!(frame.data[100 * 320..101 * 320].iter().all(|luma| *luma <= 2));
            times.push(frame.times.captured);
        }
        assert!((80_000..400_000).contains(&(times[5] - times[0])), "{times:?}");
        stop.stop();
        assert!(screen.next().unwrap().is_none());
    }

    #[test]
    fn a_screen_is_scaled_to_the_size_asked_for() {
        let server = Xvfb::start();
        let mut screen = open(&server.1, "#size=160x120#fps=0", &Stop::default()).unwrap();
        let Some(Item::Config(config)) = screen.next().unwrap() else { panic!("a configuration first") };
        assert_eq!((config.width, config.height), (160, 120));
    }

    #[test]
    fn a_missing_display_is_named() {
        let error = format!("{:#}", open(":4711", "", &Stop::default()).err().unwrap());
        assert!(error.contains("':4711' cannot be captured"), "{error}");
    }
}

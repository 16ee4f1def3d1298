//! The test scene as a source: it needs no camera, and shows lag, tearing and bad quality.

mod digits;
mod scene;

use std::time::{SystemTime, UNIX_EPOCH};

use framewire_proto::{Codec, Config, Frame, Times, limits};

use self::scene::{Moment, Scene};
use super::{Item, Kind, Options, Source, Spec, pace::Pace};
use crate::error::{Context as _, Result, error};
use crate::{clock, media::pool::Pool, stop::Stop};

/// The row of [`super::SOURCES`].
pub const KIND: Kind = Kind {
    usage: "pattern",
    summary: "a moving test scene with a clock",
    live: true,
    sized: true,
    honours: &["fps"],
    matches: |source| source == "pattern",
    open: |Spec { options, .. }, stop| Ok(Box::new(Pattern::new(options, stop)?)),
};

/// The size where none is asked for.
const DEFAULT_SIZE: (u32, u32) = (1280, 720);
/// Frames per second where no rate is asked for.
const DEFAULT_FPS: f64 = 30.0;

/// The test scene as raw video.
pub struct Pattern {
    config: Config,
    announced: bool,
    scene: Scene,
    pace: Option<Pace>,
    pool: Pool,
    sequence: u64,
    stop: Stop,
}

impl Pattern {
    /// The scene in the size and at the rate of these options: by default 1280x720 at 30 fps.
    ///
    /// # Errors
    /// The size is outside the limits.
    pub fn new(options: &Options, stop: &Stop) -> Result<Self> {
        let (width, height) = options.size.unwrap_or(DEFAULT_SIZE);
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}")).context("pattern")?;
        let fps = options.fps.unwrap_or(DEFAULT_FPS);
        let config = Config::new(
            Codec::I420,
            u16::try_from(width).context("pattern: the picture is too wide")?,
            u16::try_from(height).context("pattern: the picture is too high")?,
            (fps * 1000.0).round() as u32,
        );
        let scene = Scene::new(width, height, &rate(fps));
        let (pace, pool, stop) = (Pace::new(fps), Pool::default(), stop.clone());
        Ok(Self { config, announced: false, scene, pace, pool, sequence: 0, stop })
    }
}

impl Source for Pattern {
    fn next(&mut self) -> Result<Option<Item>> {
        if !self.announced {
            self.announced = true;
            return Ok(Some(Item::Config(self.config.clone())));
        }
        let stopped = match &mut self.pace {
            Some(pace) => pace.wait(&self.stop),
            None => self.stop.stopped(),
        };
        if stopped {
            return Ok(None);
        }
        let captured = clock::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut picture = self.pool.take(self.scene.length());
        self.scene.draw(&mut picture, Moment { number: self.sequence, captured, wall });
        let times = Times { captured, ..Times::default() };
        let frame = Frame { sequence: self.sequence, keyframe: true, times, data: picture.freeze() };
        self.sequence += 1;
        Ok(Some(Item::Frame(frame)))
    }

    fn describe(&self) -> String {
        let Config { width, height, millifps, .. } = self.config;
        format!("pattern: {width}x{height} at {}", rate(f64::from(millifps) / 1000.0))
    }
}

fn rate(fps: f64) -> String {
    if fps == 0.0 { "full speed".into() } else { format!("{} fps", (fps * 1000.0).round() / 1000.0) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;
    use framewire_proto::stamp::{self, Stamp};

    fn pattern(size: (u32, u32), fps: f64) -> Pattern {
        Pattern::new(&Options { size: Some(size), fps: Some(fps), ..Options::default() }, &Stop::default()).unwrap()
    }

    fn frames(source: &mut Pattern, count: usize) -> Vec<Frame> {
        let frames = std::iter::from_fn(|| source.next().unwrap()).filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            _ => None,
        });
        frames.take(count).collect()
    }

    #[test]
    fn every_frame_carries_its_number_and_time() {
        let mut source = pattern((640, 360), 0.0);
        assert!(
            matches!(source.next().unwrap(), Some(Item::Config(config)) if (config.width, config.height) == (640, 360))
        );
        for (number, frame) in (0..).zip(frames(&mut source, 3)) {
            let expected = Stamp { number, captured: frame.times.captured % stamp::WRAP };
            assert_eq!(stamp::read(&frame.data, 640, 640), Some(expected));
            assert_eq!(frame.sequence, u64::from(number));
        }
    }

    #[test]
    fn a_small_part_of_the_scene_moves() {
        let mut source = pattern((1280, 720), 20.0);
        let frames = frames(&mut source, 2);
        let changed = frames[0].data.iter().zip(frames[1].data.iter()).filter(|(one, two)| one != two).count();
        assert!(changed > 2000, "{changed}");
        assert!(changed < frames[0].data.len() / 10, "{changed}");
    }

    #[test]
    fn every_size_can_be_drawn() {
        for size in [(1, 1), (2, 700), (700, 2), (161, 91), (319, 241), (1080, 1920), (4000, 300)] {
            let drawn = frames(&mut pattern(size, 0.0), 1);
            assert_eq!(Some(drawn[0].data.len()), Codec::I420.raw_length(size.0, size.1));
        }
    }

    #[test]
    fn the_rate_is_kept_and_a_stop_ends_it() {
        let stop = Stop::default();
        let mut source = Pattern::new(&Options { fps: Some(50.0), ..Options::default() }, &stop).unwrap();
        let started = Instant::now();
        assert_eq!(frames(&mut source, 6).len(), 6);
        assert!(started.elapsed() >= Duration::from_millis(100));
        stop.stop();
        assert!(source.next().unwrap().is_none());
        assert_eq!(source.describe(), "pattern: 1280x720 at 50 fps");
    }

    #[test]
    fn the_stamp_survives_h264_at_a_low_bitrate() {
        let drawn = frames(&mut pattern((640, 360), 0.0), 30);
        let script = "ffmpeg -v error -f rawvideo -pix_fmt yuv420p -s 640x360 -r 30 -i - -c:v libx264 -preset superfast \
            -b:v 150k -f h264 - | ffmpeg -v error -f h264 -i - -f rawvideo -pix_fmt yuv420p -";
        let mut encoder =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let raw: Vec<u8> = drawn.iter().flat_map(|frame| frame.data.iter().copied()).collect();
        let mut input = encoder.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&raw).unwrap());
        let decoded = encoder.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        let numbers: Vec<_> = decoded
            .chunks(drawn[0].data.len())
            .map(|picture| stamp::read(picture, 640, 640).map(|stamp| stamp.number))
            .collect();
        assert_eq!(numbers, (0..30).map(Some).collect::<Vec<_>>());
    }
}

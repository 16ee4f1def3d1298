//! Coded frames into a file, without coding them again: Matroska, MP4 or AVI by the file's name.
//!
//! What was written plays even when there is no end: at most a second of video is held back, and nothing that was written
//! needs what comes later. Matroska's clusters are a second long, MP4 is cut into fragments of a second, AVI is a row of frames.

mod order;
mod output;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ffmpeg_the_third::ffi::AVCodecID;
use framewire_proto::{Codec, Config, Frame, Micros, h264};

use self::{
    order::Order,
    output::{Output, Pixels, Place, Stream, TimeBase},
};
use super::av::{self, Threads};
use crate::error::{Context as _, Error, OrError as _, Result, ensure, error};

/// A kind of file.
struct Container {
    extension: &'static str,
    format: &'static str,
    options: &'static [(&'static str, &'static str)],
    /// Ticks of time per second; `None` counts frames.
    ticks: Option<u32>,
}

const CONTAINERS: &[Container] = &[
    Container { extension: "mkv", format: "matroska", options: &[("cluster_time_limit", "1000")], ticks: Some(1000) },
    Container {
        extension: "mp4",
        format: "mp4",
        options: &[
            ("movflags", "frag_keyframe+empty_moov+default_base_moof"),
            // In µs: a fragment ends at the first keyframe after half a second, or anywhere after a second.
            ("min_frag_duration", "500000"),
            ("frag_duration", "1000000"),
        ],
        ticks: Some(90_000),
    },
    Container { extension: "avi", format: "avi", options: &[], ticks: None },
];

/// Where frames count as 30 a second because their rate is not known.
const MILLIFPS: u32 = 30_000;
/// The longest pause between two frames, in µs; a longer one is cut to this. A clock that jumps is no pause.
const PAUSE: Micros = 24 * 3_600_000_000;
/// AVI fills pauses with empty frames, and FFmpeg refuses to write 65536 of them at once.
const AVI_PAUSE: Micros = 50_000;

/// A file that frames are written into. Dropping it finishes it, too.
pub struct Muxer {
    output: Output,
    container: &'static Container,
    config: Config,
    path: PathBuf,
    /// Of frames that may stand before ones that are shown earlier.
    order: Option<Order>,
    timeline: Timeline,
    written: u64,
    begun: bool,
}

impl Muxer {
    /// Creates the file, replacing one that is there. The name's extension decides what it becomes.
    ///
    /// # Errors
    /// The extension or the codec is none that can be written, or the file cannot be created.
    pub fn create(path: &Path, config: &Config) -> Result<Self> {
        let shown = path.display();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let container = CONTAINERS.iter().find(|container| container.extension.eq_ignore_ascii_case(extension));
        let container = container.or_error(Error::InvalidInput, || {
            format!("{shown}: recordings are .mkv, .mp4 or .avi files: end the name with one of these")
        })?;
        ensure!(
            matches!(config.codec, Codec::Jpeg | Codec::H264),
            System,
            "{shown}: {} frames cannot be recorded: code them as JPEG first",
            config.codec.name()
        );
        let output = Output::create(container.format, path).with_context(|| format!("{shown}: cannot be created"))?;
        let config = config.clone();
        let timeline = Timeline::new(rate(&config), container.ticks.is_none());
        Ok(Self { output, container, config, path: path.into(), order: None, timeline, written: 0, begun: false })
    }

    /// Writes one frame, at its time of capture after the first one's. H.264 begins with its first keyframe; frames before it
    /// are passed over.
    ///
    /// # Errors
    /// The disk is full, the file cannot be written or the frame is not what the configuration says. What was written before
    /// plays.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        if !self.begun {
            if !frame.keyframe {
                return Ok(());
            }
            let stream = self.stream(frame).with_context(|| format!("{}: cannot be begun", self.path.display()))?;
            self.output.begin(&stream, self.container.options).map_err(|error| self.failed(&error))?;
            self.begun = true;
            if self.config.codec == Codec::H264 {
                self.order = Some(Order::new(reorders(&frame.data).unwrap_or(0), self.timeline.interval));
            }
        }
        let base = self.output.time_base();
        let captured = frame.times.captured;
        let (decoded, ahead) = self.order.as_mut().map_or((captured, 0), |order| order.place(captured));
        // AVI has no times but the order of decoding.
        let ahead = if self.container.ticks.is_some() { ahead } else { 0 };
        let decoded = self.timeline.place(decoded, base);
        let place = Place { decoded, shown: decoded.saturating_add(base.ticks(ahead)) };
        let length = base.ticks(self.timeline.interval);
        self.output.write(&frame.data, place, length, frame.keyframe).map_err(|error| self.failed(&error))?;
        self.written += 1;
        Ok(())
    }

    /// Frames written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes the end of the file; returns how many frames it holds. A file that got none is removed.
    ///
    /// # Errors
    /// The end could not be written. What was written before plays.
    pub fn finish(mut self) -> Result<u64> {
        self.close()?;
        Ok(self.written)
    }

    fn close(&mut self) -> Result<()> {
        let was_open = self.output.is_open();
        self.output.finish().map_err(|error| self.failed(&error))?;
        let empty = || fs::metadata(&self.path).is_ok_and(|file| file.is_file() && file.len() == 0);
        if was_open && !self.begun && empty() {
            fs::remove_file(&self.path).with_context(|| format!("{}: cannot be removed", self.path.display()))?;
        }
        Ok(())
    }

    fn stream(&self, first: &Frame) -> Result<Stream> {
        let Config { codec, width, height, ref extra, .. } = self.config;
        let (pixels, extra) = match codec {
            Codec::Jpeg => (pixels(&first.data)?, Bytes::new()),
            Codec::H264 if extra.is_empty() => (Pixels::C420, parameter_sets(&first.data)?),
            _ => (Pixels::C420, extra.clone()),
        };
        let millifps = rate(&self.config);
        let base = match self.container.ticks {
            Some(ticks) => TimeBase { seconds: 1, ticks },
            None => TimeBase { seconds: 1000, ticks: millifps },
        };
        Ok(Stream { codec, width, height, pixels, extra, base, millifps: self.config.millifps })
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        let (path, written) = (self.path.display(), self.written);
        match error.kind() {
            std::io::ErrorKind::StorageFull => error!(
                System,
                "{path}: the disk is full after {written} frames; what was written plays: make room, or record elsewhere"
            ),
            _ => error!(
                System,
                "{path}: writing failed after {written} frames ({error}); what was written plays: record elsewhere"
            ),
        }
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!("{error}");
        }
    }
}

fn rate(config: &Config) -> u32 {
    if config.millifps == 0 { MILLIFPS } else { config.millifps }
}

/// Turns times of capture into places in the file that only ever rise.
struct Timeline {
    /// Between two frames of even pace, in µs.
    interval: Micros,
    /// The longest step, in µs.
    pause: Micros,
    captured: Micros,
    /// Since the first frame, in µs.
    elapsed: Micros,
    last: Option<i64>,
}

impl Timeline {
    fn new(millifps: u32, counts_frames: bool) -> Self {
        let interval = (1_000_000_000 / u64::from(millifps)).max(1);
        let pause = if counts_frames { AVI_PAUSE * interval } else { PAUSE };
        Self { interval, pause, captured: 0, elapsed: 0, last: None }
    }

    /// Where the next frame goes. A time that is not known, or that lies before the last one's (the publisher was
    /// restarted), continues at the frames' even pace.
    fn place(&mut self, captured: Micros, base: TimeBase) -> i64 {
        let at = match self.last {
            None => 0,
            Some(last) => {
                let known = captured > 0 && self.captured > 0;
                let step = captured.checked_sub(self.captured).filter(|_| known).unwrap_or(self.interval);
                self.elapsed = self.elapsed.saturating_add(step.min(self.pause));
                base.ticks(self.elapsed).max(last.saturating_add(1))
            }
        };
        self.captured = captured;
        self.last = Some(at);
        at
    }
}

fn pixels(jpeg: &[u8]) -> Result<Pixels> {
    use turbojpeg::Subsamp;
    framewire_proto::jpeg::size(jpeg)?;
    match turbojpeg::read_header(jpeg).context("the first JPEG's header")?.subsamp {
        Subsamp::None => Ok(Pixels::C444),
        Subsamp::Sub2x1 => Ok(Pixels::C422),
        Subsamp::Sub1x2 => Ok(Pixels::C440),
        Subsamp::Gray => Ok(Pixels::Grey),
        _ => Ok(Pixels::C420),
    }
}

fn parameter_sets(unit: &[u8]) -> Result<Bytes> {
    let sets = h264::parameter_sets(unit);
    ensure!(!sets.is_empty(), InvalidData, "the first H.264 keyframe carries no parameter sets");
    Ok(sets)
}

/// How many frames stand before one that is shown earlier in a stream that begins with this keyframe, as far as it says.
fn reorders(keyframe: &[u8]) -> Result<usize> {
    let mut decoder = av::Decoder::open(AVCodecID::H264, std::ptr::null(), Threads::LowDelay)?;
    let mut packet = av::Packet::new();
    packet.fill(keyframe)?;
    // It knows as soon as it has read the parameter sets that the picture is coded by.
    decoder.send(Some(&packet))?;
    Ok(decoder.reorders())
}

#[cfg(test)]
mod tests;

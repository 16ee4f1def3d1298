//! Muxes encoded frames into a file: Matroska, MP4 or AVI, by the file's extension.
//!
//! An unfinished file plays too. At most a second of video is buffered, and the written part does not depend on later parts:
//! Matroska's clusters and MP4's fragments are a second long, and AVI is a sequence of frames. A finished file tells its duration
//! and can be seeked in.

mod index;
mod order;
mod output;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ffmpeg_sys_the_third::AVCodecID;
use framewire_proto::{Codec, Config, Frame, Micros, Orientation, Presentation, h264};

use self::{
    index::Index,
    order::DecodeOrder,
    output::{FileWriter, PixelLayout, TimeBase, Timestamps, Track},
};
use super::av::{AvDecoder, AvPacket, Threads};
use crate::error::{Context as _, Error, OrError as _, Result, ensure, error};

/// A file format.
struct Container {
    extension: &'static str,
    format: &'static str,
    options: &'static [(&'static str, &'static str)],
    /// Ticks per second of its time stamps; `None` where it counts frames instead.
    ticks: Option<u32>,
    /// Consists of fragments, whose index is our part.
    fragmented: bool,
    /// Players expect pictures of any size in one track.
    any_size: bool,
    /// What its header states of how pictures are shown.
    presents: Presents,
}

/// How far a format's header states how pictures are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presents {
    Nothing,
    /// The shape of pixels.
    Shape,
    /// The shape of pixels, and turns without a mirror.
    ShapeAndTurns,
    All,
}

const CONTAINERS: &[Container] = &[
    Container {
        extension: "mkv",
        format: "matroska",
        options: &[("cluster_time_limit", "1000")],
        ticks: Some(1000),
        fragmented: false,
        any_size: true,
        // FFmpeg writes turns into Matroska from 6.1 on.
        presents: if cfg!(ffmpeg_6_1) { Presents::ShapeAndTurns } else { Presents::Shape },
    },
    Container {
        extension: "mp4",
        format: "mp4",
        options: &[
            ("movflags", "frag_keyframe+empty_moov+default_base_moof"),
            // In µs: a fragment ends at the first keyframe after half a second, or else after a second.
            ("min_frag_duration", "500000"),
            ("frag_duration", "1000000"),
        ],
        ticks: Some(90_000),
        fragmented: true,
        any_size: false,
        presents: Presents::All,
    },
    Container {
        extension: "avi",
        format: "avi",
        options: &[],
        ticks: None,
        fragmented: false,
        any_size: false,
        presents: Presents::Nothing,
    },
];

/// The most bytes before the first fragment: parameter sets take a few hundred.
const MAX_HEAD: u64 = 1 << 20;
/// Frames per second in thousandths, where the rate is unknown.
const DEFAULT_MILLIFPS: u32 = 30_000;
/// The longest pause between two frames, in µs. A longer one is shortened: the clock has jumped.
const MAX_PAUSE: Micros = 24 * 3_600_000_000;
/// The longest pause in AVI, in frames. AVI fills pauses with empty frames, and FFmpeg refuses to write 65536 of them at once.
const MAX_AVI_PAUSE: Micros = 50_000;

/// A file that frames are written to. Dropping the muxer finishes the file.
pub struct Muxer {
    output: FileWriter,
    container: &'static Container,
    config: Config,
    path: PathBuf,
    /// Present for H.264, which may have B-frames.
    order: Option<DecodeOrder>,
    timeline: TimestampSequence,
    /// Of a fragmented file.
    index: Option<Index>,
    written: u64,
    started: bool,
}

/// The container that a file's name asks for.
fn container(path: &Path) -> Result<&'static Container> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let container = CONTAINERS.iter().find(|container| container.extension.eq_ignore_ascii_case(extension));
    container.or_error(Error::InvalidInput, || {
        format!("{}: recordings are .mkv, .mp4 or .avi files: use one of these extensions", path.display())
    })
}

impl Muxer {
    /// Whether files of this name can be made.
    ///
    /// # Errors
    /// Its extension is not supported.
    pub fn check_name(path: &Path) -> Result<()> {
        container(path).map(drop)
    }

    /// Whether files of this name can state that their pictures are shown so. Others need pictures that are shown as they are.
    ///
    /// # Errors
    /// Its extension is not supported.
    pub fn presents(path: &Path, presentation: Presentation) -> Result<bool> {
        let container = container(path)?;
        Ok(match container.presents {
            _ if presentation.is_plain() => true,
            Presents::Nothing => false,
            Presents::Shape => presentation.orientation == Orientation::UPRIGHT,
            Presents::ShapeAndTurns => !presentation.orientation.is_mirrored(),
            Presents::All => true,
        })
    }

    /// Creates the file, or replaces an existing one. The name's extension selects the format.
    ///
    /// # Errors
    /// The extension or the codec is not supported, or the file cannot be created.
    pub fn create(path: &Path, config: &Config) -> Result<Self> {
        let shown = path.display();
        let container = container(path)?;
        ensure!(
            matches!(config.codec, Codec::Jpeg | Codec::H264),
            System,
            "{shown}: {} frames cannot be recorded: encode them as JPEG first",
            config.codec.name()
        );
        let output =
            FileWriter::create(container.format, path).with_context(|| format!("{shown}: cannot be created"))?;
        let config = config.clone();
        let timeline = TimestampSequence::new(rate(&config), container.ticks.is_none());
        Ok(Self {
            output,
            container,
            config,
            path: path.into(),
            order: None,
            timeline,
            index: None,
            written: 0,
            started: false,
        })
    }

    /// Writes one frame, at its capture time relative to the first frame. H.264 starts at the first keyframe; frames before it are
    /// dropped.
    ///
    /// # Errors
    /// The disk is full, the file cannot be written, or the frame does not match the configuration. The part that was written
    /// before plays.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        if !self.started {
            if !frame.keyframe {
                return Ok(());
            }
            let track =
                self.track(frame).with_context(|| format!("{}: recording cannot start", self.path.display()))?;
            self.output.begin(&track, self.container.options).map_err(|error| self.failed(&error))?;
            self.started = true;
            self.leave_room_for_index().map_err(|error| self.failed(&error))?;
            if self.config.codec == Codec::H264 {
                self.order = Some(DecodeOrder::new(reorder_depth(&frame.data).unwrap_or(0), self.timeline.interval));
            }
        }
        let base = self.output.time_base();
        let captured = frame.times.captured;
        let (decoded, ahead) = self.order.as_mut().map_or((captured, 0), |order| order.place(captured));
        // AVI has no display times.
        let ahead = if self.container.ticks.is_some() { ahead } else { 0 };
        let decoded = self.timeline.place(decoded, base);
        let times = Timestamps { decoded, shown: decoded.saturating_add(base.ticks(ahead)) };
        let duration = base.ticks(self.timeline.interval);
        self.output.write(&frame.data, times, duration, frame.keyframe).map_err(|error| self.failed(&error))?;
        if let Some(index) = &mut self.index {
            index.note(self.output.position(), frame.keyframe, times.shown, duration);
        }
        self.written += 1;
        Ok(())
    }

    /// Whether frames of another size may follow. Elsewhere players show them wrongly, or not at all.
    pub fn holds_any_size(&self) -> bool {
        self.container.any_size
    }

    /// Whether browsers open files of this format.
    pub fn is_for_browsers(&self) -> bool {
        self.container.extension == "mp4"
    }

    /// Frames written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes the end of the file, and returns how many frames the file holds. A file without frames is removed.
    ///
    /// # Errors
    /// The end cannot be written. The part that was written before plays.
    pub fn finish(mut self) -> Result<u64> {
        self.close()?;
        Ok(self.written)
    }

    fn close(&mut self) -> Result<()> {
        let was_open = self.output.is_open();
        let beginning = self.index.take().filter(|_| was_open).and_then(|index| {
            // An error shows again where the file's end is written.
            self.output.flush().ok()?;
            index.finished(self.output.position())
        });
        self.output.finish(beginning.as_deref()).map_err(|error| self.failed(&error))?;
        let empty = || fs::metadata(&self.path).is_ok_and(|file| file.is_file() && file.len() == 0);
        if was_open && !self.started && empty() {
            fs::remove_file(&self.path).with_context(|| format!("{}: cannot be removed", self.path.display()))?;
        }
        Ok(())
    }

    /// The index of a fragmented file is known at its end and belongs at its beginning.
    fn leave_room_for_index(&mut self) -> std::io::Result<()> {
        let head = usize::try_from(self.output.position()).unwrap_or(usize::MAX);
        if !self.container.fragmented || !self.output.is_seekable() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        fs::File::open(&self.path)?.take(MAX_HEAD).read_to_end(&mut bytes)?;
        if bytes.len() == head {
            self.output.append(&Index::room())?;
            self.index = Some(Index::new(bytes, self.output.time_base().ticks));
        }
        Ok(())
    }

    fn track(&self, first: &Frame) -> Result<Track> {
        let Config { codec, width, height, ref extra, .. } = self.config;
        let (pixels, extra) = match codec {
            Codec::Jpeg => (pixels(&first.data)?, Bytes::new()),
            Codec::H264 if extra.is_empty() => (PixelLayout::C420, parameter_sets(&first.data)?),
            _ => (PixelLayout::C420, extra.clone()),
        };
        let millifps = rate(&self.config);
        let time_base = match self.container.ticks {
            Some(ticks) => TimeBase { seconds: 1, ticks },
            None => TimeBase { seconds: 1000, ticks: millifps },
        };
        Ok(Track {
            codec,
            width,
            height,
            presentation: self.config.presentation,
            pixels,
            extra,
            time_base,
            millifps: self.config.millifps,
        })
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        let (path, written) = (self.path.display(), self.written);
        match error.kind() {
            std::io::ErrorKind::StorageFull => error!(
                System,
                "{path}: the disk is full after {written} frames, which play: free some space, or record to another disk"
            ),
            _ => error!(
                System,
                "{path}: writing failed after {written} frames, which play ({error}): record to another disk"
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
    if config.millifps == 0 { DEFAULT_MILLIFPS } else { config.millifps }
}

/// Turns capture times into time stamps that always increase.
struct TimestampSequence {
    /// Between two frames at a constant rate, in µs.
    interval: Micros,
    /// The longest distance between two frames, in µs.
    max_pause: Micros,
    captured: Micros,
    /// Since the first frame, in µs.
    elapsed: Micros,
    last: Option<i64>,
}

impl TimestampSequence {
    fn new(millifps: u32, counts_frames: bool) -> Self {
        let interval = (1_000_000_000 / u64::from(millifps)).max(1);
        let max_pause = if counts_frames { MAX_AVI_PAUSE * interval } else { MAX_PAUSE };
        Self { interval, max_pause, captured: 0, elapsed: 0, last: None }
    }

    /// The next frame's time stamp in ticks. After an unknown time, or one before the last (the publisher was restarted), the
    /// time stamps continue at the constant rate.
    fn place(&mut self, captured: Micros, base: TimeBase) -> i64 {
        let at = match self.last {
            None => 0,
            Some(last) => {
                let known = captured > 0 && self.captured > 0;
                let step = captured.checked_sub(self.captured).filter(|_| known).unwrap_or(self.interval);
                self.elapsed = self.elapsed.saturating_add(step.min(self.max_pause));
                base.ticks(self.elapsed).max(last.saturating_add(1))
            }
        };
        self.captured = captured;
        self.last = Some(at);
        at
    }
}

fn pixels(jpeg: &[u8]) -> Result<PixelLayout> {
    use turbojpeg::Subsamp;
    framewire_proto::jpeg::size(jpeg)?;
    match turbojpeg::read_header(jpeg).context("the first JPEG's header")?.subsamp {
        Subsamp::None => Ok(PixelLayout::C444),
        Subsamp::Sub2x1 => Ok(PixelLayout::C422),
        Subsamp::Sub1x2 => Ok(PixelLayout::C440),
        Subsamp::Gray => Ok(PixelLayout::Grey),
        _ => Ok(PixelLayout::C420),
    }
}

fn parameter_sets(unit: &[u8]) -> Result<Bytes> {
    let sets = h264::parameter_sets(unit);
    ensure!(!sets.is_empty(), InvalidData, "the first H.264 keyframe has no parameter sets");
    Ok(sets)
}

/// How many frames come before one that is displayed earlier, as far as this first keyframe states it.
fn reorder_depth(keyframe: &[u8]) -> Result<usize> {
    let mut decoder = AvDecoder::open(AVCodecID::H264, std::ptr::null(), Threads::LowDelay)?;
    let mut packet = AvPacket::new();
    packet.fill(keyframe)?;
    // The decoder knows the depth after it has read the keyframe's parameter sets.
    decoder.send(Some(&packet))?;
    Ok(decoder.reorder_depth())
}

#[cfg(test)]
mod tests;

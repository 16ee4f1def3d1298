//! A stream becomes a file, without coding it again, or plain frames for another program to read.

mod files;
mod plain;
mod rate;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use framewire_proto::{Codec, Config, Frame, Micros, jpeg::size, wire::native::Report};

pub use self::files::{check_file, following};
use self::{files::Files, plain::Plain};
use super::raw::{Format, Reader};
use crate::error::{Error, Result, bail};
use crate::{
    clock,
    hub::{Counts, Event, Reporter, Subscriber},
    stop::Stop,
};

/// The quality at which plain pixels are coded.
const QUALITY: u8 = 90;
/// How long a frame is waited for before the recorder looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long H.264 that is coded in this process goes without a keyframe in a file, in µs: a player seeks to one.
const KEYFRAMES: Micros = 2_000_000;
/// The same for another's, whose link carries keyframes to all that watch.
const OTHERS_KEYFRAMES: Micros = 10_000_000;

/// What to record into.
pub enum Target {
    /// A file whose name ends with .mkv, .mp4 or .avi; one that is there is replaced. Pictures whose size changes go on in it:
    /// as they are in .mkv, scaled to the first one's size in the others. Where the stream changes its codec, a file begins whose
    /// name has `-2` before its ending, or the first number that is free.
    File(PathBuf),
    /// A program that reads, usually standard output.
    Reader {
        /// Where it reads.
        out: Box<dyn Write + Send>,
        /// What it reads.
        format: Format,
        /// The pictures' width and height, to which others are scaled; `None` for the first one's.
        size: Option<(u16, u16)>,
    },
}

/// What a recording holds.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The files, in the order in which they were begun.
    pub files: Vec<PathBuf>,
    /// Frames that were written.
    pub frames: u64,
    /// Their bytes, as they were written.
    pub bytes: u64,
    /// Frames that could not be read, and so were left out.
    pub bad: u64,
    /// Frames that never came here: a hub had dropped them, or they were lost on the way.
    pub missed: u64,
    /// The reader has gone.
    pub left: bool,
    /// What became of the frames before they came here.
    pub counts: Counts,
}

impl Summary {
    /// Frames of the stream that are not in the recording, whatever the reason: dropped, missed or bad.
    pub fn left_out(&self) -> u64 {
        self.counts.all_dropped() + self.missed + self.bad
    }

    /// These recordings as one.
    pub fn of(recordings: &[Self]) -> Self {
        let mut all = Self::default();
        for recording in recordings {
            all.files.extend_from_slice(&recording.files);
            all.frames += recording.frames;
            all.bytes += recording.bytes;
            all.bad += recording.bad;
            all.missed += recording.missed;
            all.left |= recording.left;
            all.counts.add(&recording.counts);
        }
        all
    }
}

/// Records until the stream ends, the duration is over (by the times of capture where they are known, counted from the first
/// frame, for a reader not from before now; or from now where none comes so long), the reader leaves or the stop is raised; the file is always finished. The subscriber should want
/// [every](crate::hub::Policy::Every) frame. `progress` is called about ten times a second or more often.
///
/// # Errors
/// The file cannot be created or written, or standard output cannot: what, and what to try. What was written before plays.
pub fn run(
    mut subscriber: Subscriber,
    target: Target,
    duration: Option<Duration>,
    stop: &Stop,
    mut progress: impl FnMut(&Summary),
) -> Result<Summary> {
    // A reader may get one first that has waited in a hub for somebody to come.
    let started = if matches!(target, Target::Reader { .. }) { clock::now() } else { 0 };
    let mut recorder = Recorder { output: Output::new(target), config: None, summary: Summary::default() };
    let reporter = subscriber.reporter();
    let mut keyframes = matches!(recorder.output, Output::Files(_)).then(Keyframes::default);
    let mut begin = None;
    let mut deadline = duration.map(|duration| Instant::now() + duration);
    while !stop.stopped() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let event = subscriber.next_within(left.map_or(PATIENCE, |left| left.min(PATIENCE)), clock::now);
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        match event {
            Some(Event::Config(config)) => recorder.config = Some((*config).clone()),
            Some(Event::Frame(frame)) => {
                let begin = *begin.get_or_insert(frame.times.captured.max(started));
                if frame.times.captured != 0 && duration.is_some_and(|duration| past(&frame, begin, duration)) {
                    break;
                }
                if keyframes.as_mut().is_some_and(|keyframes| keyframes.want(&frame)) {
                    subscriber.request_keyframe();
                }
                let first = recorder.summary.frames == 0;
                if recorder.take(&frame, &reporter)? == Reader::Gone {
                    recorder.summary.left = true;
                    break;
                }
                if first && recorder.summary.frames > 0 {
                    deadline = duration.map(|duration| Instant::now() + duration);
                }
            }
            Some(Event::Ended) => break,
            Some(Event::State(_) | Event::Fault(_)) | None => {}
        }
        if recorder.idle()? == Reader::Gone {
            recorder.summary.left = true;
            break;
        }
        (recorder.summary.counts, recorder.summary.missed) = (subscriber.counts(), subscriber.missed());
        progress(&recorder.summary);
    }
    recorder.finish()
}

/// Whether the frame was captured this long after `begin`, or later: cameras give what they held back in a burst.
fn past(frame: &Frame, begin: Micros, duration: Duration) -> bool {
    u128::from(frame.times.captured.saturating_sub(begin)) >= duration.as_micros()
}

/// When the last keyframe of a recording was captured, or asked for.
#[derive(Default)]
struct Keyframes(Micros);

impl Keyframes {
    /// Whether to ask for one after this frame.
    fn want(&mut self, frame: &Frame) -> bool {
        let since = frame.times.captured.saturating_sub(self.0);
        let overdue = !frame.keyframe && since >= if frame.times.arrived == 0 { KEYFRAMES } else { OTHERS_KEYFRAMES };
        if frame.keyframe || overdue {
            self.0 = frame.times.captured;
        }
        overdue
    }
}

struct Recorder {
    output: Output,
    config: Option<Config>,
    summary: Summary,
}

impl Recorder {
    fn take(&mut self, frame: &Frame, reporter: &Reporter) -> Result<Reader> {
        let received = if frame.times.arrived == 0 { clock::now() } else { frame.times.arrived };
        let Some(config) = &self.config else { return Ok(Reader::Reads) };
        let outcome = match checked(config, frame) {
            Ok(config) => match &mut self.output {
                Output::Files(files) => files.write(&config, frame)?,
                Output::Reader(reader) => reader.write(&config, frame)?,
            },
            Err(error) => Outcome::Bad(error),
        };
        match outcome {
            Outcome::Written { frames: 0, .. } => {}
            Outcome::Written { .. } => {
                self.count(&outcome);
                let written = clock::now();
                let report = Report { sequence: frame.sequence, received, decoded: written, shown: written };
                reporter.report(&frame.times, &report, true);
            }
            Outcome::Bad(error) => {
                self.summary.bad += 1;
                tracing::warn!(frame = frame.sequence, "left out: {error}");
            }
            Outcome::Gone => return Ok(Reader::Gone),
        }
        Ok(Reader::Reads)
    }

    /// Writes what a reader shall not wait for any longer.
    fn idle(&mut self) -> Result<Reader> {
        let Output::Reader(reader) = &mut self.output else { return Ok(Reader::Reads) };
        let outcome = reader.idle(Instant::now())?;
        self.count(&outcome);
        Ok(if matches!(outcome, Outcome::Gone) { Reader::Gone } else { Reader::Reads })
    }

    fn count(&mut self, outcome: &Outcome) {
        if let Outcome::Written { frames, bytes } = outcome {
            self.summary.frames += frames;
            self.summary.bytes += *bytes as u64;
        }
    }

    fn finish(mut self) -> Result<Summary> {
        match &mut self.output {
            Output::Files(files) => {
                let (begun, late) = files.finish()?;
                self.summary.files = begun;
                self.summary.frames += late;
            }
            Output::Reader(reader) => {
                if let Some(config) = &self.config {
                    let outcome = reader.finish(config)?;
                    self.count(&outcome);
                }
            }
        }
        Ok(self.summary)
    }
}

/// What became of a frame.
enum Outcome {
    /// So many, this one or earlier ones, as this many bytes: none before a keyframe, or while B-frames are put in order.
    Written { frames: u64, bytes: usize },
    /// It cannot be read; the next may be.
    Bad(Error),
    /// The reader left.
    Gone,
}

impl Outcome {
    /// This, and what comes of the next step if nothing speaks against it.
    fn and(self, next: impl FnOnce() -> Result<Self>) -> Result<Self> {
        let Self::Written { frames, bytes } = self else { return Ok(self) };
        Ok(match next()? {
            Self::Written { frames: more, bytes: and } => Self::Written { frames: frames + more, bytes: bytes + and },
            other => other,
        })
    }
}

/// The coding of a frame, with the size that its own header tells; frames whose length belies their size are refused.
fn checked(config: &Config, frame: &Frame) -> Result<Config> {
    let (width, height) = match config.codec {
        Codec::Jpeg => size(&frame.data)?,
        _ => (config.width, config.height),
    };
    let found = frame.data.len();
    match config.codec.raw_length(width.into(), height.into()) {
        Some(length) if length != found => {
            bail!(
                InvalidData,
                "a {} picture of {width}x{height} takes {length} bytes, not {found}",
                config.codec.name()
            )
        }
        _ => Ok(Config { width, height, ..config.clone() }),
    }
}

enum Output {
    Files(Box<Files>),
    Reader(Box<Plain>),
}

impl Output {
    fn new(target: Target) -> Self {
        match target {
            Target::File(path) => Self::Files(Box::new(Files::new(path))),
            Target::Reader { out, format, size } => Self::Reader(Box::new(Plain::new(out, format, size))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc, Mutex,
            atomic::{AtomicU32, Ordering},
        },
    };

    use bytes::Bytes;
    use framewire_proto::{Name, Times, limits::Limits};

    use super::*;
    use crate::{
        hub::{Hub, Policy, Publisher},
        media::{Picture, jpeg},
    };

    /// A directory of its own for a test, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let name = format!("framewire-record-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn stream() -> (Publisher, Subscriber) {
        let (hub, name) = (Hub::default(), "door".parse::<Name>().unwrap());
        let subscriber = hub.subscribe(&name, Policy::Every, true, clock::now()).unwrap();
        (hub.publish(&name, clock::now()).unwrap(), subscriber)
    }

    fn grey(width: u16, height: u16) -> Bytes {
        vec![128; Codec::I420.raw_length(width.into(), height.into()).unwrap()].into()
    }

    fn jpeg_of(width: u16, height: u16) -> Bytes {
        let picture = Picture::new(Codec::I420, width.into(), height.into(), grey(width, height)).unwrap();
        jpeg::JpegEncoder::new(80).encode(&picture).unwrap()
    }

    /// Publishes frames of this coding, a thirtieth of a second apart.
    fn publish(publisher: &Publisher, codec: Codec, (width, height): (u16, u16), frames: &[Bytes]) {
        publisher.configure(Config::new(codec, width, height, 30_000)).unwrap();
        for (sequence, data) in (0..).zip(frames) {
            let times = Times { captured: 1_000_000 + sequence * 33_333, ..Times::default() };
            let frame = Frame { sequence, keyframe: true, times, data: data.clone() };
            publisher.publish(frame, clock::now()).unwrap();
        }
    }

    #[test]
    fn frames_go_into_one_file_and_broken_ones_are_left_out() {
        let (scratch, (publisher, subscriber)) = (Scratch::new(), stream());
        let file = scratch.0.join("door.mkv");
        let broken = jpeg_of(64, 48).slice(..30);
        publish(&publisher, Codec::Jpeg, (64, 48), &[broken.clone(), jpeg_of(64, 48), broken, jpeg_of(64, 48)]);
        publish(&publisher, Codec::Jpeg, (32, 32), &[jpeg_of(32, 32)]);
        publish(&publisher, Codec::I420, (32, 32), &[grey(32, 32), grey(16, 16)]);
        publisher.finish();
        let summary = run(subscriber, Target::File(file.clone()), None, &Stop::default(), |_| {}).unwrap();
        assert_eq!(summary.files, [file]);
        assert_eq!((summary.frames, summary.bad, summary.missed), (4, 3, 0));
        assert_eq!((summary.counts.offered, summary.left_out()), (7, 3));
    }

    #[test]
    fn a_keyframe_is_asked_for_where_a_player_could_not_seek() {
        let mut keyframes = Keyframes::default();
        let mut asked_after = |arrived: Micros| {
            let frame = |second: u64, keyframe| {
                let times = Times { captured: second * 1_000_000, arrived, ..Times::default() };
                Frame { sequence: second, keyframe, times, data: Bytes::new() }
            };
            keyframes.want(&frame(100, true));
            (101..125).filter(|second| keyframes.want(&frame(*second, *second == 121))).collect::<Vec<_>>()
        };
        assert_eq!(asked_after(0), [102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 123]);
        assert_eq!(asked_after(1), [110, 120]);
    }

    #[test]
    fn frames_that_never_came_are_told() {
        let (scratch, (publisher, subscriber)) = (Scratch::new(), stream());
        publish(&publisher, Codec::Jpeg, (64, 48), &[jpeg_of(64, 48)]);
        for sequence in [1, 4, 5] {
            let frame = Frame { sequence, keyframe: true, times: Times::default(), data: jpeg_of(64, 48) };
            publisher.publish(frame, clock::now()).unwrap();
        }
        publisher.finish();
        let target = Target::File(scratch.0.join("door.mkv"));
        let summary = run(subscriber, target, None, &Stop::default(), |_| {}).unwrap();
        assert_eq!((summary.frames, summary.missed, summary.left_out()), (4, 2, 2));
    }

    /// A reader that keeps what it reads, and leaves after so many bytes.
    #[derive(Clone)]
    struct Pipe {
        read: Arc<Mutex<Vec<u8>>>,
        room: usize,
    }

    impl Pipe {
        fn new(room: usize) -> Self {
            Self { read: Arc::default(), room }
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut read = self.read.lock().unwrap();
            if read.len() >= self.room {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            read.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(out: &Pipe, format: Format, size: Option<(u16, u16)>) -> Target {
        Target::Reader { out: Box::new(out.clone()), format, size }
    }

    #[test]
    fn a_reader_gets_one_size_whatever_comes() {
        let ((publisher, subscriber), out) = (stream(), Pipe::new(usize::MAX));
        publish(&publisher, Codec::Jpeg, (64, 48), &[jpeg_of(64, 48), Bytes::from_static(b"no JPEG")]);
        publish(&publisher, Codec::I420, (32, 32), &[grey(32, 32)]);
        publisher.finish();
        let stop = Stop::default();
        let summary = run(subscriber, pipe(&out, Format::Bgr24, None), None, &stop, |_| {}).unwrap();
        assert_eq!((summary.frames, summary.bad), (2, 1));
        let read = out.read.lock().unwrap();
        assert_eq!(read.len(), 2 * 64 * 48 * 3);
        assert!(read.iter().all(|part| part.abs_diff(128) <= 2));
    }

    #[test]
    fn jpegs_go_through_as_they_are_and_others_are_coded() {
        let ((publisher, subscriber), out) = (stream(), Pipe::new(usize::MAX));
        publish(&publisher, Codec::Jpeg, (64, 48), &[jpeg_of(64, 48)]);
        publish(&publisher, Codec::I420, (64, 48), &[grey(64, 48)]);
        publisher.finish();
        let stop = Stop::default();
        run(subscriber, pipe(&out, Format::Mjpeg, None), None, &stop, |_| {}).unwrap();
        let mut splitter = framewire_proto::jpeg::Splitter::new(&Limits::default());
        splitter.push(&out.read.lock().unwrap());
        let pictures: Vec<_> = std::iter::from_fn(|| splitter.pull().unwrap()).collect();
        assert_eq!(pictures.len(), 2);
        assert_eq!(pictures[0], jpeg_of(64, 48));
    }

    #[test]
    fn a_reader_that_leaves_ends_the_recording_well() {
        let ((publisher, subscriber), out) = (stream(), Pipe::new(2 * 16 * 16 * 3));
        publish(&publisher, Codec::I420, (16, 16), &vec![grey(16, 16); 9]);
        let stop = Stop::default();
        let summary = run(subscriber, pipe(&out, Format::Bgr24, None), None, &stop, |_| {}).unwrap();
        assert_eq!(summary.frames, 2);
    }

    #[test]
    fn what_waited_for_somebody_to_come_takes_nothing_of_the_duration() {
        let ((publisher, subscriber), out) = (stream(), Pipe::new(usize::MAX));
        publish(&publisher, Codec::I420, (16, 16), &[]);
        let now = clock::now();
        for (sequence, captured) in (0..).zip([now.saturating_sub(60_000_000).max(1), now + 1_000, now + 34_000]) {
            let times = Times { captured, ..Times::default() };
            publisher.publish(Frame { sequence, keyframe: true, times, data: grey(16, 16) }, now).unwrap();
        }
        publisher.finish();
        let (ten, stop) = (Some(Duration::from_secs(10)), Stop::default());
        let summary = run(subscriber, pipe(&out, Format::Bgr24, None), ten, &stop, |_| {}).unwrap();
        assert_eq!(summary.frames, 3);
    }

    #[test]
    fn a_recording_ends_in_time_though_nothing_comes_and_at_a_stop() {
        let (_publisher, subscriber) = stream();
        let (out, stop) = (Pipe::new(9), Stop::default());
        let moment = Some(Duration::from_millis(20));
        let summary = run(subscriber, pipe(&out, Format::Y4m, None), moment, &stop, |_| {}).unwrap();
        assert_eq!(summary.frames, 0);
        let (publisher, subscriber) = stream();
        publish(&publisher, Codec::I420, (16, 16), &[grey(16, 16)]);
        let target = pipe(&Pipe::new(usize::MAX), Format::Y4m, None);
        let summary = run(subscriber, target, None, &stop, |summary| {
            if summary.frames == 1 {
                stop.stop();
            }
        });
        assert_eq!(summary.unwrap().frames, 1);
    }
}

//! Recording a stream into a file, or giving it to another program as plain frames.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use super::{
    hub::encoding,
    local::{self, Feeding, From, LocalHub, Opened},
    stats,
};
use crate::{
    clock,
    error::{Result, ensure, error},
    hub::{Policy, Subscriber},
    net::endpoint::Endpoint,
    sink::record::{self, Target},
    source::{self, Spec as Source, honours::Use},
    stop::{Stop, StopOnDrop},
    transcode::encode::{self, CodecChoice},
};

pub use crate::sink::{raw::Format, record::Summary as Recording};

/// How often the thread that takes cameras checks whether to stop.
const CHECK_STOP: Duration = Duration::from_millis(100);

/// Records a stream in the background, without encoding again what is encoded already. Dropped, it finishes the file.
///
/// ```
/// use std::time::Duration;
///
/// # let folder = std::env::temp_dir().join(format!("framewire-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let file = folder.join("scene.mkv");
/// let source = "pattern#size=320x240".parse()?;
/// let recording = framewire::Recorder::builder(source, &file).duration(Duration::from_secs(1)).start()?.wait()?;
/// println!("{} frames in {}", recording.frames, recording.files[0].display());
/// # assert!(recording.frames > 5);
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), framewire::Error>(())
/// ```
pub struct Recorder {
    hub: LocalHub,
    progress: Progress,
    recording: Option<thread::JoinHandle<Result<Recording>>>,
    stop: StopOnDrop,
}

/// What is recorded so far: of several cameras, each by itself.
type Progress = Arc<Mutex<Vec<Recording>>>;

/// How to record, see [`Recorder::builder`] and [`Recorder::to_program`].
#[must_use]
pub struct RecorderBuilder {
    from: Source,
    to: To,
    duration: Option<Duration>,
    overwrite: bool,
    finished: Option<OnFinished>,
    stop: Stop,
}

/// Is called with each file's recording when it is finished.
type OnFinished = Arc<dyn Fn(&Recording) + Send + Sync>;

enum To {
    File(PathBuf),
    Program(Box<dyn Write + Send>, Format),
}

impl RecorderBuilder {
    /// For how long, counted from the first frame. By default until the stream ends.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration.min(local::LONGEST_WAIT));
        self
    }

    /// Whether to replace a file that is there already. By default that is an error.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Calls this whenever a recording is finished: where several tutorials' cameras connect, that is one for each.
    pub fn on_finished(mut self, call: impl Fn(&Recording) + Send + Sync + 'static) -> Self {
        self.finished = Some(Arc::new(call));
        self
    }

    /// Raising this flag finishes the recording, from any thread.
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Opens the stream and records in the background.
    ///
    /// # Errors
    /// The source cannot be opened; the file is there already, or its name or folder is wrong. That it cannot be written later is
    /// an error of [`Recorder::wait`].
    pub fn start(mut self) -> Result<Recorder> {
        if let To::File(file) = &self.to {
            record::check_file(file, self.from.source.expose(), self.overwrite)?;
        }
        let from = From::new(self.from.clone())?;
        self.from.options.check()?;
        self.from.check_options(match (&self.to, &from) {
            (To::File(_), From::Source(_)) => Use::RECORDED,
            (To::File(_), From::Cameras(..)) => Use::KEPT,
            (To::Program(_, Format::Mjpeg), From::Source(_)) => Use::READ_AS_JPEG,
            (To::Program(..), _) => Use::READ,
        })?;
        // A file shall hold every frame; a program that reads what happens now shall get the newest.
        self.from.options.every |= match (&self.to, &from) {
            (To::File(_), _) | (_, From::Cameras(..)) => true,
            (To::Program(..), From::Source(source)) => !source::kind(source)?.live,
        };
        let (hub, stop) = (LocalHub::new(), self.stop.child());
        let progress = Progress::default();
        let recording = match from {
            From::Cameras(_, at) if matches!(self.to, To::File(_)) => self.each_camera(&at, &hub, &progress, &stop)?,
            From::Cameras(..) => {
                let opened = from.open(&hub.hub, Policy::Every, &stop)?;
                self.one(opened, &hub, &progress, &stop)
            }
            From::Source(_) => {
                let opened = self.open(&hub, &stop)?;
                self.one(opened, &hub, &progress, &stop)
            }
        };
        Ok(Recorder { hub, progress, recording: Some(recording), stop: StopOnDrop(stop) })
    }

    fn open(&self, hub: &LocalHub, stop: &Stop) -> Result<Opened> {
        let policy = if self.from.options.every { Policy::Every } else { Policy::Newest };
        local::open(&hub.hub, &self.from, self.encoding()?, policy, stop)
    }

    /// How frames are coded; `None` keeps them as they are, where no other size, quality, bitrate or codec is asked for. It is
    /// one codec from the first frame on: a file holds no second.
    fn encoding(&self) -> Result<Option<encode::EncodeOptions>> {
        let mut encode = encoding(&self.from)?;
        if let To::Program(..) = self.to {
            // The size is the reader's.
            encode.size = None;
        }
        encode.codec = match encode.codec {
            CodecChoice::Auto if encode.quality.is_some() => CodecChoice::Jpeg,
            CodecChoice::Auto if encode.bitrate.is_some() => CodecChoice::H264,
            codec => codec,
        };
        let coded = ![CodecChoice::Copy, CodecChoice::Auto].contains(&encode.codec) || encode.size.is_some();
        Ok(coded.then_some(encode))
    }

    fn one(
        self,
        opened: Opened,
        hub: &LocalHub,
        progress: &Progress,
        stop: &Stop,
    ) -> thread::JoinHandle<Result<Recording>> {
        let (size, from) = (self.from.shown_size(), self.from.source);
        let target = match self.to {
            To::File(path) => Target::File(path),
            // A size was checked when it was read: it fits 16 bits.
            To::Program(out, format) => {
                Target::Reader { out, format, size: size.map(|(width, height)| (width as u16, height as u16)) }
            }
        };
        let (duration, finished, progress, stop) = (self.duration, self.finished, progress.clone(), stop.clone());
        let (hub, name) = (hub.clone(), opened.subscriber.name().clone());
        thread::spawn(move || {
            let note = |recording: &Recording| {
                *lock(&progress) = vec![recording.clone()];
            };
            let outcome = record::run(opened.subscriber, target, duration, &stop, note);
            let ended = !stop.stopped();
            let why = hub.hub.stream(name.as_str(), clock::now()).ok().and_then(|stream| stream.fault);
            stop.stop();
            let recording = outcome?;
            local::join(opened.feeding)?;
            ensure!(
                recording.frames > 0 || recording.left || !ended,
                NotFound,
                "{from}: no frame came, so nothing is recorded: {}",
                why.as_deref().unwrap_or("`framewire doctor` tells why")
            );
            finished.iter().for_each(|finished| finished(&recording));
            Ok(recording)
        })
    }

    /// Records every camera that connects into a file of its own until `stop` is raised.
    fn each_camera(
        self,
        at: &Endpoint,
        hub: &LocalHub,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<thread::JoinHandle<Result<Recording>>> {
        let To::File(file) = self.to else { return Err(error!(InvalidInput, "{at}: records into files")) };
        let (found, cameras) = mpsc::channel();
        let found = move |subscriber| drop(found.send(subscriber));
        let listening = local::listen_for_each(at, &hub.hub, Policy::Every, self.from.options.limits(), found, stop)?;
        let (duration, finished, stop) = (self.duration, self.finished, stop.clone());
        let progress = progress.clone();
        Ok(thread::spawn(move || {
            let ending = duration.map(|duration| stop_after(duration, &stop));
            let each = EachCamera { file, finished, progress: progress.clone() };
            let outcome = each.record(&cameras, &stop);
            stop.stop();
            ending.into_iter().for_each(|ending| drop(ending.join()));
            local::join(listening)?;
            outcome.map(|()| Recording::of(&lock(&progress)))
        }))
    }
}

fn stop_after(duration: Duration, stop: &Stop) -> thread::JoinHandle<()> {
    let stop = stop.clone();
    thread::spawn(move || {
        if !stop.wait(duration) {
            stop.stop();
        }
    })
}

/// The recording of several cameras, each into a file of its own.
#[derive(Clone)]
struct EachCamera {
    /// The first camera's; the others' names follow from it.
    file: PathBuf,
    finished: Option<OnFinished>,
    progress: Progress,
}

impl EachCamera {
    fn record(&self, cameras: &Receiver<Subscriber>, stop: &Stop) -> Result<()> {
        let mut recordings: Vec<Feeding> = Vec::new();
        let mut started = 0;
        while !stop.stopped() {
            let Ok(subscriber) = cameras.recv_timeout(CHECK_STOP) else { continue };
            let (done, going) = recordings.into_iter().partition(thread::JoinHandle::is_finished);
            recordings = going;
            join_all(done)?;
            let file = if started == 0 { self.file.clone() } else { record::following(&self.file, started)? };
            started += 1;
            let (this, stop) = (self.clone(), stop.clone());
            // A disk that is full is full for all cameras.
            recordings.push(thread::spawn(move || this.one(subscriber, file, &stop).inspect_err(|_| stop.stop())));
        }
        join_all(recordings)
    }

    fn one(&self, subscriber: Subscriber, file: PathBuf, stop: &Stop) -> Result<()> {
        let place = {
            let mut progress = lock(&self.progress);
            progress.push(Recording::default());
            progress.len() - 1
        };
        let note = |recording: &Recording| lock(&self.progress)[place] = recording.clone();
        let recording = record::run(subscriber, Target::File(file), None, stop, note)?;
        note(&recording);
        self.finished.iter().for_each(|finished| finished(&recording));
        Ok(())
    }
}

fn lock(progress: &Mutex<Vec<Recording>>) -> MutexGuard<'_, Vec<Recording>> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for all of them, then returns the first error.
fn join_all(threads: Vec<Feeding>) -> Result<()> {
    let outcomes: Vec<_> = threads.into_iter().map(local::join).collect();
    outcomes.into_iter().collect()
}

impl Recorder {
    /// Records into a file whose name ends with .mkv, .mp4 or .avi.
    pub fn builder(from: Source, file: &Path) -> RecorderBuilder {
        Self::with(from, To::File(file.into()))
    }

    /// Gives the frames to another program, for instance by standard output.
    pub fn to_program(from: Source, out: impl Write + Send + 'static, format: Format) -> RecorderBuilder {
        Self::with(from, To::Program(Box::new(out), format))
    }

    fn with(from: Source, to: To) -> RecorderBuilder {
        RecorderBuilder { from, to, duration: None, overwrite: false, finished: None, stop: Stop::default() }
    }

    /// What is recorded so far.
    pub fn progress(&self) -> Recording {
        Recording::of(&lock(&self.progress))
    }

    /// Whether the recording is finished, or has failed.
    pub fn is_finished(&self) -> bool {
        self.recording.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// The figures of the streams that are recorded.
    pub fn stats(&self) -> Vec<stats::Stream> {
        self.hub.hub.streams(clock::now())
    }

    /// Waits until the stream has ended, the duration is over or the recorder was stopped.
    ///
    /// # Errors
    /// The file cannot be created or written, or the source failed. What was written before plays.
    pub fn wait(mut self) -> Result<Recording> {
        self.recording.take().map_or_else(|| Ok(Recording::default()), local::join)
    }

    /// Finishes the file now.
    ///
    /// # Errors
    /// As [`Recorder::wait`].
    pub fn finish(self) -> Result<Recording> {
        self.stop.0.stop();
        self.wait()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.0.stop();
        let Some(recording) = self.recording.take() else { return };
        if let Err(error) = local::join(recording) {
            tracing::warn!("{error}");
        }
    }
}

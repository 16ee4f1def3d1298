//! Watching a stream: always the newest frame.

use std::{
    future::poll_fn,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use framewire_proto::{self as proto, Codec, Config, Micros};

use super::{
    frame::{Frame, Tools},
    local::{self, Feeding, From, LocalHub, Opened},
    stats,
};
use crate::{
    clock,
    error::{Result, error},
    hub::{Event, Policy, Subscriber},
    latency::StaleFilter,
    media::decode::Decoder,
    source::{self, Spec as Source, honours::Use},
    stop::{Stop, StopOnDrop},
};

/// How long a frame is waited for unless [`ViewerBuilder::timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a thread waits for an event before it checks whether to stop.
const CHECK_STOP: Duration = Duration::from_millis(100);

/// Watches one stream and returns its newest frame, each at most once. Frames that come while nobody asks make way for newer
/// ones. A hub's stream that goes away is reconnected.
///
/// ```no_run
/// let mut viewer = framewire::Viewer::open("fw://127.0.0.1:7070/door")?;
/// while let Some(frame) = viewer.next()? {
///     let image = frame.bgr()?;
///     println!("{} x {}, {:?} old", image.width(), image.height(), frame.age());
/// }
/// # Ok::<(), framewire::Error>(())
/// ```
pub struct Viewer {
    hub: LocalHub,
    name: String,
    timeout: Duration,
    frames: Frames,
    feeding: Option<Feeding>,
    /// The number of the frame returned last.
    last: Option<u64>,
    ended: bool,
    stop: StopOnDrop,
}

/// How to watch a stream, see [`Viewer::builder`].
#[derive(Debug, Clone)]
pub struct ViewerBuilder {
    origin: Origin,
    max_age: Option<Duration>,
    wait: bool,
    timeout: Duration,
    size: Option<(u32, u32)>,
    reconnect: bool,
    stop: Stop,
}

/// Where a viewer's frames come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Source(Source),
    /// A stream of a hub in this process.
    Hub(LocalHub, String),
}

impl ViewerBuilder {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            max_age: None,
            wait: false,
            timeout: TIMEOUT,
            size: None,
            reconnect: true,
            stop: Stop::default(),
        }
    }

    /// How long [`Viewer::next`] waits for a frame: 5 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(local::LONGEST_WAIT);
        self
    }

    /// Frames older than this are dropped. Without it, only frames that an outage held back are.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The size in pixels that images are scaled to. By default they keep their own.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = Some((width, height));
        self
    }

    /// Whether to connect again by itself when a hub's stream goes away: it does by default. Otherwise that is an error of
    /// [`Viewer::next`].
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Wait for a hub or a stream that does not exist yet, instead of an error from [`ViewerBuilder::open`]. A stream of a hub in
    /// this process is always waited for.
    #[must_use]
    pub fn wait(mut self) -> Self {
        self.wait = true;
        self
    }

    /// Raising this flag ends waiting and watching, from any thread.
    #[must_use]
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// The source is not there, refuses, or is no video: see the kinds of [`Error`](crate::Error).
    pub fn open(self) -> Result<Viewer> {
        self.size.map_or(Ok(()), source::check_size)?;
        let stop = self.stop.child();
        let max_age = self.max_age.map(|age| age.as_micros() as u64);
        match self.origin.clone() {
            Origin::Source(mut source) => {
                source.check_options(Use::SHOWN)?;
                source.options.max_age = max_age.or(source.options.max_age);
                source.options.wait |= self.wait;
                source.options.once |= !self.reconnect;
                source.options.check()?;
                let (hub, max_age) = (LocalHub::new(), source.options.max_age);
                let Opened { subscriber, feeding } = From::new(source)?.open(&hub.hub, Policy::Newest, &stop)?;
                Ok(self.watch(hub, subscriber, max_age, Some(feeding), stop))
            }
            Origin::Hub(hub, name) => {
                let mut subscriber = hub.hub.subscribe(&name.parse()?, Policy::Newest, true, clock::now())?;
                subscriber.set_max_age(max_age);
                Ok(self.watch(hub, subscriber, max_age, None, stop))
            }
        }
    }

    /// Watches what this subscriber gets.
    fn watch(
        self,
        hub: LocalHub,
        subscriber: Subscriber,
        max_age: Option<Micros>,
        feeding: Option<Feeding>,
        stop: Stop,
    ) -> Viewer {
        let name = subscriber.name().to_string();
        let tools = Arc::new(Tools::new(subscriber.reporter()));
        let bound = StaleFilter::new(max_age);
        let reader = Reader { subscriber, config: None, bound, size: self.size, tools };
        Viewer {
            hub,
            name,
            timeout: self.timeout,
            frames: Frames::Direct(Box::new(reader)),
            feeding,
            last: None,
            ended: false,
            stop: StopOnDrop(stop),
        }
    }
}

impl Viewer {
    /// Watches a stream with the defaults. `from` is `fw://HOST:PORT/NAME`, or any source that the command line takes: a
    /// camera, a file, a URL, a tutorial's address.
    ///
    /// # Errors
    /// As [`ViewerBuilder::open`]; and the text is no source.
    pub fn open(from: &str) -> Result<Self> {
        Self::builder(from.parse()?).open()
    }

    /// Watches a stream as the builder says.
    pub fn builder(from: Source) -> ViewerBuilder {
        ViewerBuilder::new(Origin::Source(from))
    }

    /// Waits for a frame newer than the last one returned. `None`: the stream has ended. A stream of a hub elsewhere never
    /// ends: its publisher may return, and until then there are timeouts.
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout): none came in time; the next call may succeed. Any other error: the source
    /// failed and nothing more will come.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot tell the end from an error; see `frames`")]
    pub fn next(&mut self) -> Result<Option<Frame>> {
        self.next_within(self.timeout)
    }

    /// As [`Viewer::next`], with a timeout for this time. Zero takes a frame that is there already.
    ///
    /// # Errors
    /// As [`Viewer::next`].
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Frame>> {
        if self.ended {
            return Ok(None);
        }
        let timeout = timeout.min(local::LONGEST_WAIT);
        let deadline = Instant::now() + timeout;
        loop {
            let look = deadline.min(Instant::now() + CHECK_STOP);
            let next = match &mut self.frames {
                Frames::Direct(reader) => match reader.next_before(look) {
                    Next::Dependent(config) => {
                        self.decode_ahead(Some(config));
                        continue;
                    }
                    next => next,
                },
                Frames::Ahead(shared) => shared.next_before(look),
            };
            match next {
                Next::Frame(frame) => return Ok(Some(self.taken(*frame))),
                Next::Ended => return self.ended(),
                Next::Dependent(_) | Next::Nothing if self.stop.0.stopped() => return self.ended(),
                Next::Dependent(_) | Next::Nothing => {}
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out(timeout));
            }
        }
    }

    /// The same for async programs; it needs no particular runtime. The timeout is kept to a tenth of a second.
    ///
    /// # Errors
    /// As [`Viewer::next`].
    pub async fn next_frame(&mut self) -> Result<Option<Frame>> {
        if self.ended {
            return Ok(None);
        }
        let deadline = Instant::now() + self.timeout;
        let shared = self.decode_ahead(None);
        let next = poll_fn(|context| {
            let mut slot = shared.lock();
            match slot.pop() {
                Next::Nothing if Instant::now() < deadline && !slot.stopped => {
                    slot.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
                next => Poll::Ready(next),
            }
        });
        match next.await {
            Next::Frame(frame) => Ok(Some(self.taken(*frame))),
            Next::Nothing if !self.stop.0.stopped() => Err(self.timed_out(self.timeout)),
            _ => self.ended(),
        }
    }

    /// The frames one after another. A frame that does not come in time is an error, after which the iterator goes on.
    pub fn frames(&mut self) -> impl Iterator<Item = Result<Frame>> {
        std::iter::from_fn(|| self.next().transpose())
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the stream is now: `live`, `stalled` (its frames stay away) or `idle` (its source sleeps).
    pub fn state(&self) -> &'static str {
        self.stats().map_or("idle", |stats| stats.state)
    }

    /// Why there is no picture, in a sentence: the last fault of the stream's source. `None` while frames flow.
    pub fn fault(&self) -> Option<String> {
        self.stats()?.fault
    }

    /// The stream's figures; `None` once the stream is gone.
    pub fn stats(&self) -> Option<stats::Stream> {
        self.hub.hub.stream(&self.name, clock::now()).ok()
    }

    fn timed_out(&self, timeout: Duration) -> crate::Error {
        let why = self.fault().map_or_else(String::new, |fault| format!(": {fault}"));
        error!(Timeout, "'{}': no frame came for {timeout:?}{why}", self.name)
    }

    fn taken(&mut self, mut frame: Frame) -> Frame {
        let before = self.last.replace(frame.encoded.sequence);
        frame.missed = before.map_or(0, |before| frame.encoded.sequence.saturating_sub(before + 1));
        frame
    }

    /// The stream's end, or why its source failed.
    fn ended(&mut self) -> Result<Option<Frame>> {
        self.ended = true;
        self.stop.0.stop();
        self.feeding.take().map_or(Ok(()), local::join).map(|()| None)
    }

    /// From now on a thread of its own takes the frames and decodes those that the next ones need.
    fn decode_ahead(&mut self, config: Option<Arc<Config>>) -> Arc<Shared> {
        if let Frames::Ahead(shared) = &self.frames {
            return shared.clone();
        }
        let shared = Arc::<Shared>::default();
        if let Frames::Direct(mut reader) = mem::replace(&mut self.frames, Frames::Ahead(shared.clone())) {
            reader.config = config.or(reader.config);
            let (ahead, stop) = (shared.clone(), self.stop.0.clone());
            thread::spawn(move || {
                let _ended = EndsOnDrop(&ahead);
                reader.run(&ahead, &stop);
            });
        }
        shared
    }
}

/// Where the frames come from.
enum Frames {
    /// This thread takes each from the mailbox: independent frames need no decoder that keeps up.
    Direct(Box<Reader>),
    /// Another thread has taken and decoded them.
    Ahead(Arc<Shared>),
}

/// What came.
enum Next {
    Frame(Box<Frame>),
    /// Frames that depend on each other follow: each has to be decoded.
    Dependent(Arc<Config>),
    Ended,
    Nothing,
}

/// Takes frames out of the mailbox.
struct Reader {
    subscriber: Subscriber,
    config: Option<Arc<Config>>,
    bound: StaleFilter,
    size: Option<(u32, u32)>,
    tools: Arc<Tools>,
}

impl Reader {
    /// The next frame before the deadline.
    fn next_before(&mut self, deadline: Instant) -> Next {
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Some(event) = self.subscriber.next_within(left(), clock::now) {
            match event {
                Event::Config(config) if !config.codec.independent() => return Next::Dependent(config),
                Event::Config(config) => self.config = Some(config),
                Event::Frame(frame) => {
                    if let Some(frame) = self.frame(frame, None) {
                        return Next::Frame(Box::new(frame));
                    }
                }
                Event::State(_) | Event::Fault(_) => {}
                Event::Ended => return Next::Ended,
            }
        }
        Next::Nothing
    }

    /// A frame to be shown, unless an outage held it back.
    fn frame(&mut self, frame: proto::Frame, picture: Option<crate::media::Picture>) -> Option<Frame> {
        let config = self.config.clone()?;
        let now = clock::now();
        if !self.bound.shows(frame.times.captured, now) {
            return None;
        }
        let decoded = picture.is_some().then_some(now).map_or_else(OnceLock::new, OnceLock::from);
        let (size, tools) = (self.size, self.tools.clone());
        Some(Frame { encoded: frame, config, picture, decoded, missed: 0, size, tools })
    }

    /// Takes and decodes frames until the stream ends or `stop` is raised.
    fn run(mut self, shared: &Shared, stop: &Stop) {
        let mut decoder = Decoder::new();
        while !stop.stopped() {
            let event = self.subscriber.next_within(CHECK_STOP, clock::now);
            let mut slot = shared.lock();
            slot.wake_late();
            drop(slot);
            match event {
                Some(Event::Config(config)) => self.config = Some(config),
                Some(Event::Frame(frame)) => {
                    if let Some(frame) = self.decoded(frame, &mut decoder) {
                        shared.put(Next::Frame(Box::new(frame)));
                    }
                }
                Some(Event::Ended) => {
                    shared.put(Next::Ended);
                    break;
                }
                Some(Event::State(_) | Event::Fault(_)) | None => {}
            }
        }
    }

    /// The frame with its picture, where the next frames need it to be decoded.
    fn decoded(&mut self, frame: proto::Frame, decoder: &mut Decoder) -> Option<Frame> {
        let config = self.config.clone()?;
        if config.codec.independent() {
            return self.frame(frame, None);
        }
        match decoder.decode(&config, &frame, Codec::I420) {
            Ok(Some((frame, picture))) => self.frame(frame, Some(picture)),
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(frame = frame.sequence, "cannot be decoded: {error}");
                self.subscriber.request_keyframe();
                None
            }
        }
    }
}

/// The newest frame, between the thread that decodes and the one that asks.
#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Default)]
struct Slot {
    newest: Option<Box<Frame>>,
    ended: bool,
    stopped: bool,
    waiting: Option<Waker>,
}

/// However the thread that decodes ends: nobody waits for it any more.
struct EndsOnDrop<'a>(&'a Shared);

impl Drop for EndsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.put(Next::Nothing);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, next: Next) {
        let mut slot = self.lock();
        match next {
            Next::Frame(frame) => slot.newest = Some(frame),
            Next::Ended => slot.ended = true,
            Next::Dependent(_) | Next::Nothing => {}
        }
        let waiting = slot.waiting.take();
        drop(slot);
        self.changed.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn next_before(&self, deadline: Instant) -> Next {
        let mut slot = self.lock();
        loop {
            let next = slot.pop();
            let left = deadline.saturating_duration_since(Instant::now());
            if !matches!(next, Next::Nothing) || left.is_zero() || slot.stopped {
                return next;
            }
            slot = self.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Slot {
    fn pop(&mut self) -> Next {
        match self.newest.take() {
            Some(frame) => Next::Frame(frame),
            None if self.ended => Next::Ended,
            None => Next::Nothing,
        }
    }

    /// Lets a task that waits look at its deadline.
    fn wake_late(&mut self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

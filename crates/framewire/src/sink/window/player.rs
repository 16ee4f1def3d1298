//! A thread for each tile: decodes the stream's frames and keeps the newest picture for the window.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framewire_proto::{
    Codec, Config, Frame, Micros,
    wire::native::{Service, State},
};
use sdl2::event::EventSender;

use crate::error::{Context as _, Result};
use crate::{
    clock, hub,
    latency::{Meter, StaleFilter},
    media::{Picture, decode::Decoder},
    stop::Stop,
};

/// How often a wait for a frame checks the stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// How often a picture is shown while a backlog of frames is decoded.
const BACKLOG_PICTURE_INTERVAL: Duration = Duration::from_millis(50);

/// A picture and its frame.
#[derive(Debug)]
pub(super) struct DecodedPicture {
    pub(super) picture: Picture,
    pub(super) config: Arc<Config>,
    pub(super) frame: Frame,
    pub(super) received: Micros,
    pub(super) decoded: Micros,
    /// The frame was captured before the tile started, and only catches up with the live stream.
    pub(super) catching_up: bool,
}

/// The status of a tile's stream.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamStatus {
    /// The hub's report of the stream's state.
    pub(super) state: Option<State>,
    /// Why there is no picture, where that is known.
    pub(super) no_picture: Option<Arc<str>>,
    /// The publisher has ended the stream.
    pub(super) ended: bool,
    pub(super) config: Option<Arc<Config>>,
    pub(super) meter: Meter,
    /// How many frames were delivered to this player, and how many were dropped before.
    pub(super) counts: hub::Counts,
    /// How the hub serves this viewer.
    pub(super) service: Option<Service>,
    /// Frames that were decoded, but replaced by a newer one before they could be shown.
    pub(super) before_show: u64,
    /// Frames that were decoded, but too old to be shown.
    pub(super) stale: u64,
    /// Frames that were decoded while the window was frozen.
    pub(super) frozen: u64,
    /// Frames that could not be decoded.
    pub(super) bad: u64,
    /// Why the last frame could not be decoded; `None` if it was decoded.
    pub(super) fault: Option<String>,
}

/// Wakes the windows' thread with an event. There is at most one event in the queue.
#[derive(Clone)]
pub(super) struct Waker(Arc<WakerState>);

struct WakerState {
    pending: AtomicBool,
    sender: Mutex<EventSender>,
}

/// The event of a [`Waker`].
#[derive(Debug)]
pub(super) struct WakeEvent;

/// The thread of one tile. Dropping the player ends the thread and waits for it.
pub(super) struct Player {
    state: Arc<Mutex<PlayerState>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct PlayerState {
    newest: Option<DecodedPicture>,
    status: StreamStatus,
    freeze: bool,
}

impl Waker {
    /// A waker with this sender. [`WakeEvent`] must be registered with SDL.
    pub(super) fn new(sender: EventSender) -> Self {
        Self(Arc::new(WakerState { pending: AtomicBool::new(false), sender: Mutex::new(sender) }))
    }

    /// Notes that the windows' thread is awake. Later news need another event.
    pub(super) fn clear(&self) {
        self.0.pending.store(false, Ordering::SeqCst);
    }

    /// Runs `work` while no player can send an event.
    pub(super) fn pause_while(&self, work: impl FnOnce()) {
        let _sender = lock(&self.0.sender);
        work();
    }

    fn wake(&self) {
        // If the event queue is full, its other events wake the thread.
        if !self.0.pending.swap(true, Ordering::SeqCst) {
            let _ = lock(&self.0.sender).push_custom_event(WakeEvent);
        }
    }
}

impl Player {
    /// Starts to decode the subscriber's frames.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(subscriber: hub::Subscriber, stale_filter: StaleFilter, waker: Waker) -> Result<Self> {
        let (state, stop) = (Arc::new(Mutex::new(PlayerState::default())), Stop::default());
        let name = subscriber.name().clone();
        let mut work = PlayerThread {
            state: state.clone(),
            waker,
            subscriber,
            decoder: Decoder::new(),
            stale_filter,
            started: clock::now(),
            config: None,
            next: None,
            last_wanted: None,
        };
        let ended = stop.clone();
        let thread = thread::Builder::new()
            .name(format!("decode {name}"))
            .spawn(move || {
                while !ended.stopped() {
                    work.step();
                }
            })
            .with_context(|| format!("stream '{name}': the decoding thread cannot start"))?;
        Ok(Self { state, stop, thread: Some(thread) })
    }

    /// Takes the newest picture, once.
    pub(super) fn take(&self) -> Option<DecodedPicture> {
        lock(&self.state).newest.take()
    }

    /// The status of the stream.
    pub(super) fn status(&self) -> StreamStatus {
        lock(&self.state).status.clone()
    }

    /// The stream's state, and whether it has ended and its last picture was taken: what the banner depends on.
    pub(super) fn state_and_end(&self) -> (Option<State>, bool) {
        let state = lock(&self.state);
        (state.status.state, state.status.ended && state.newest.is_none())
    }

    /// Counts pictures that are not shown as frozen from now on, or no longer.
    pub(super) fn freeze(&self, freeze: bool) {
        lock(&self.state).freeze = freeze;
    }

    /// Tells the thread to end, without waiting for it.
    pub(super) fn stop(&self) {
        self.stop.stop();
    }

    /// Ends the thread and waits for it.
    pub(super) fn join(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Whether the thread has ended and its subscriber was dropped.
    pub(super) fn finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.join();
    }
}

/// The data of the thread.
struct PlayerThread {
    state: Arc<Mutex<PlayerState>>,
    waker: Waker,
    subscriber: hub::Subscriber,
    decoder: Decoder,
    stale_filter: StaleFilter,
    /// When the player started.
    started: Micros,
    config: Option<Arc<Config>>,
    /// The event after the frame that is being decoded, if it has arrived already.
    next: Option<hub::Event>,
    /// When a picture was last wanted.
    last_wanted: Option<Instant>,
}

impl PlayerThread {
    fn step(&mut self) {
        let next = self.next.take().or_else(|| self.subscriber.next_within(CHECK_INTERVAL, clock::now));
        let Some(event) = next else { return self.count() };
        match event {
            hub::Event::State(state) => lock(&self.state).status.state = Some(state),
            hub::Event::Fault(fault) => {
                lock(&self.state).status.no_picture = (!fault.is_empty()).then_some(fault);
            }
            hub::Event::Config(config) => {
                lock(&self.state).status.config = Some(config.clone());
                self.config = Some(config);
            }
            hub::Event::Frame(frame) => self.decode(&frame),
            hub::Event::Ended => {
                self.decoder.end();
                self.show(clock::now());
                lock(&self.state).status.ended = true;
            }
        }
        self.count();
        self.waker.wake();
    }

    fn decode(&mut self, frame: &Frame) {
        let Some(config) = self.config.clone() else { return };
        let taken = clock::now();
        let wanted = config.codec.independent() || self.wants_picture();
        let result = self.decoder.push(&config, frame, wanted.then_some(Codec::I420));
        {
            let PlayerState { status, freeze, .. } = &mut *lock(&self.state);
            status.ended = false;
            status.meter.count(taken, frame.data.len());
            // A frame that only catches up does not count as dropped.
            if !wanted && result.is_ok() && !is_catching_up(frame, self.started) {
                *(if *freeze { &mut status.frozen } else { &mut status.before_show }) += 1;
            }
        }
        self.show(taken);
        let Err(error) = result else { return };
        if !config.codec.independent() {
            self.subscriber.request_keyframe();
        }
        let fault = format!("{error}");
        let status = &mut lock(&self.state).status;
        if status.fault.is_none() {
            tracing::warn!(stream = %self.subscriber.name(), frame = frame.sequence, "frame cannot be decoded: {fault}");
        }
        status.bad += 1;
        status.fault = Some(fault);
    }

    /// Whether to make a picture of the current frame. While a backlog waits behind it (the GOP that the hub stores for new viewers),
    /// most frames are only decoded.
    fn wants_picture(&mut self) -> bool {
        self.next = self.subscriber.next_within(Duration::ZERO, clock::now);
        let more = matches!(self.next, Some(hub::Event::Frame(_)));
        let wanted = !more || self.last_wanted.is_none_or(|last| last.elapsed() >= BACKLOG_PICTURE_INTERVAL);
        if wanted {
            self.last_wanted = Some(Instant::now());
        }
        wanted
    }

    /// Gives the decoder's pictures to the window. `taken` is when the last frame was taken from the subscriber.
    fn show(&mut self, taken: Micros) {
        let Some(config) = self.config.clone() else { return };
        while let Some((frame, picture)) = self.decoder.pull() {
            let received = if frame.times.arrived == 0 { taken } else { frame.times.arrived };
            let decoded = clock::now();
            let mut state = lock(&self.state);
            let PlayerState { newest, status, freeze } = &mut *state;
            status.fault = None;
            if !self.stale_filter.shows(frame.times.captured, decoded) {
                status.stale += 1;
                continue;
            }
            let catching_up = is_catching_up(&frame, self.started);
            let picture = DecodedPicture { picture, config: config.clone(), frame, received, decoded, catching_up };
            if newest.replace(picture).is_some_and(|before| !before.catching_up) {
                *(if *freeze { &mut status.frozen } else { &mut status.before_show }) += 1;
            }
        }
    }

    fn count(&self) {
        let (counts, service) = (self.subscriber.counts(), self.subscriber.service());
        let status = &mut lock(&self.state).status;
        (status.counts, status.service) = (counts, service);
    }
}

/// Whether a frame was captured before the player started. Such a frame was stored in the hub, so its age is not a latency.
fn is_catching_up(frame: &Frame, started: Micros) -> bool {
    (1..started).contains(&frame.times.captured_or_received())
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A thread for each tile: takes coded frames, decodes them, and keeps the newest picture for the window.

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
    latency::{Bound, Meter},
    media::{Picture, decode::Decoder},
    stop::Stop,
};

/// How long a thread waits for a frame before it looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(100);

/// While later frames wait already, a picture is shown this often.
const GLIMPSE: Duration = Duration::from_millis(50);

/// A picture and where it comes from.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) picture: Picture,
    pub(super) config: Arc<Config>,
    pub(super) frame: Frame,
    pub(super) received: Micros,
    pub(super) decoded: Micros,
    /// It was there before anybody watched here, and only leads up to the present.
    pub(super) led_up: bool,
}

/// How a tile's stream is.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    /// As its hub says.
    pub(super) state: Option<State>,
    /// The publisher said that nothing more will come.
    pub(super) ended: bool,
    pub(super) config: Option<Arc<Config>>,
    pub(super) meter: Meter,
    /// What became of the frames before they came here.
    pub(super) counts: hub::Counts,
    /// How the hub that they come from serves this viewer.
    pub(super) service: Option<Service>,
    /// Decoded, but a newer one came before it could be shown.
    pub(super) before_show: u64,
    /// Decoded, but too old to be shown.
    pub(super) stale: u64,
    /// Decoded while the window was frozen.
    pub(super) frozen: u64,
    /// Frames that could not be decoded.
    pub(super) bad: u64,
    /// Why the last frame could not be decoded; `None` once one could.
    pub(super) fault: Option<String>,
}

/// Tells the windows' thread that there is news; pushes no second event while one is on its way.
#[derive(Clone)]
pub(super) struct Bell(Arc<Inner>);

struct Inner {
    rung: AtomicBool,
    sender: Mutex<EventSender>,
}

/// The event that a [`Bell`] pushes.
#[derive(Debug)]
pub(super) struct News;

/// The thread of one tile. Dropped, it is ended and waited for.
pub(super) struct Player {
    inside: Arc<Mutex<Inside>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Inside {
    newest: Option<Ready>,
    condition: Condition,
    freeze: bool,
}

impl Bell {
    /// For a thread that may push [`News`], which has been registered.
    pub(super) fn new(sender: EventSender) -> Self {
        Self(Arc::new(Inner { rung: AtomicBool::new(false), sender: Mutex::new(sender) }))
    }

    /// The windows are about to be given what is new.
    pub(super) fn answered(&self) {
        self.0.rung.store(false, Ordering::SeqCst);
    }

    /// Does this while no player pushes an event.
    pub(super) fn hush(&self, work: impl FnOnce()) {
        let _sender = lock(&self.0.sender);
        work();
    }

    fn ring(&self) {
        // A full queue of events wakes the thread just as well.
        if !self.0.rung.swap(true, Ordering::SeqCst) {
            let _ = lock(&self.0.sender).push_custom_event(News);
        }
    }
}

impl Player {
    /// Starts to decode what the subscriber gets.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(subscriber: hub::Subscriber, bound: Bound, bell: Bell) -> Result<Self> {
        let (inside, stop) = (Arc::new(Mutex::new(Inside::default())), Stop::default());
        let name = subscriber.name().clone();
        let mut work = Work {
            inside: inside.clone(),
            bell,
            subscriber,
            decoder: Decoder::new(),
            bound,
            begun: clock::now(),
            config: None,
            next: None,
            wanted: None,
        };
        let ended = stop.clone();
        let thread = thread::Builder::new()
            .name(format!("decode {name}"))
            .spawn(move || {
                while !ended.stopped() {
                    work.step();
                }
            })
            .with_context(|| format!("{name}: cannot start a thread to decode it"))?;
        Ok(Self { inside, stop, thread: Some(thread) })
    }

    /// The newest picture that was not taken yet.
    pub(super) fn take(&self) -> Option<Ready> {
        lock(&self.inside).newest.take()
    }

    /// How the stream is.
    pub(super) fn condition(&self) -> Condition {
        lock(&self.inside).condition.clone()
    }

    /// The hub's word for how the stream is and whether it has ended: what changes its sign on the window.
    pub(super) fn standing(&self) -> (Option<State>, bool) {
        let inside = lock(&self.inside);
        (inside.condition.state, inside.condition.ended && inside.newest.is_none())
    }

    /// From now on pictures wait for the window on purpose, or no longer.
    pub(super) fn freeze(&self, freeze: bool) {
        lock(&self.inside).freeze = freeze;
    }

    /// Asks the thread to end, and does not wait for it.
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

    /// The thread has ended, and its subscriber is gone.
    pub(super) fn finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.join();
    }
}

/// What the thread holds.
struct Work {
    inside: Arc<Mutex<Inside>>,
    bell: Bell,
    subscriber: hub::Subscriber,
    decoder: Decoder,
    bound: Bound,
    /// Since when it is watched here.
    begun: Micros,
    config: Option<Arc<Config>>,
    /// What comes after the frame that is being decoded, where that is there already.
    next: Option<hub::Event>,
    /// When a picture was last wanted.
    wanted: Option<Instant>,
}

impl Work {
    fn step(&mut self) {
        let next = self.next.take().or_else(|| self.subscriber.next_within(PATIENCE, clock::now));
        let Some(event) = next else { return self.count() };
        match event {
            hub::Event::State(state) => lock(&self.inside).condition.state = Some(state),
            hub::Event::Config(config) => {
                lock(&self.inside).condition.config = Some(config.clone());
                self.config = Some(config);
            }
            hub::Event::Frame(frame) => self.decode(&frame),
            hub::Event::Ended => {
                self.decoder.end();
                self.show(clock::now());
                lock(&self.inside).condition.ended = true;
            }
        }
        self.count();
        self.bell.ring();
    }

    fn decode(&mut self, frame: &Frame) {
        let Some(config) = self.config.clone() else { return };
        let given = clock::now();
        let wanted = config.codec.independent() || self.wants();
        let result = self.decoder.push(&config, frame, wanted.then_some(Codec::I420));
        {
            let Inside { condition, freeze, .. } = &mut *lock(&self.inside);
            condition.ended = false;
            condition.meter.count(given, frame.data.len());
            // Nobody misses a glimpse less of what leads up to the present.
            if !wanted && result.is_ok() && !catching_up(frame, self.begun) {
                *(if *freeze { &mut condition.frozen } else { &mut condition.before_show }) += 1;
            }
        }
        self.show(given);
        let Err(error) = result else { return };
        if !config.codec.independent() {
            self.subscriber.request_keyframe();
        }
        let fault = format!("{error}");
        let condition = &mut lock(&self.inside).condition;
        if condition.fault.is_none() {
            tracing::warn!(stream = %self.subscriber.name(), frame = frame.sequence, "not shown: {fault}");
        }
        condition.bad += 1;
        condition.fault = Some(fault);
    }

    /// Whether the picture of a frame is to be made: behind what the hub kept for who joins waits the present, and what leads up
    /// to it is only decoded, but for a glimpse.
    fn wants(&mut self) -> bool {
        self.next = self.subscriber.next_within(Duration::ZERO, clock::now);
        let more = matches!(self.next, Some(hub::Event::Frame(_)));
        let wanted = !more || self.wanted.is_none_or(|wanted| wanted.elapsed() >= GLIMPSE);
        if wanted {
            self.wanted = Some(Instant::now());
        }
        wanted
    }

    /// Puts the pictures that are there before the window: those of this frame, or of earlier ones that came `given`.
    fn show(&mut self, given: Micros) {
        let Some(config) = self.config.clone() else { return };
        while let Some((frame, picture)) = self.decoder.pull() {
            let received = if frame.times.arrived == 0 { given } else { frame.times.arrived };
            let decoded = clock::now();
            let mut inside = lock(&self.inside);
            let Inside { newest, condition, freeze } = &mut *inside;
            condition.fault = None;
            if !self.bound.shows(frame.times.captured, decoded) {
                condition.stale += 1;
                continue;
            }
            let led_up = catching_up(&frame, self.begun);
            let ready = Ready { picture, config: config.clone(), frame, received, decoded, led_up };
            if newest.replace(ready).is_some_and(|before| !before.led_up) {
                *(if *freeze { &mut condition.frozen } else { &mut condition.before_show }) += 1;
            }
        }
    }

    fn count(&self) {
        let (counts, service) = (self.subscriber.counts(), self.subscriber.service());
        let condition = &mut lock(&self.inside).condition;
        (condition.counts, condition.service) = (counts, service);
    }
}

/// Whether a frame was there before anybody watched here: its age is not the latency of its way.
fn catching_up(frame: &Frame, begun: Micros) -> bool {
    (1..begun).contains(&frame.times.captured_or_received())
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

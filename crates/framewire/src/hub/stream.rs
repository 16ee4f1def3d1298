//! One stream: who feeds it, who watches it, and how it is.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use framewire_proto::{
    Config, Frame, Micros, Name, Times,
    wire::native::{Report, State},
};
use serde::Serialize;
use tokio::sync::watch;

use super::{Counts, FORGET_AFTER, Policy, Reason, mailbox::Mailbox};
use crate::latency::{Meter, Split};

/// Frames that stay away this long make a stream stalled, unless its own rate is slower.
const STALLED_AFTER: Micros = 1_000_000;
/// A publisher that was not heard of for this long may be replaced by another.
const LOST_AFTER: Micros = 3_000_000;

/// A named live video.
#[derive(Debug)]
pub(super) struct Stream {
    name: Name,
    inside: Mutex<Inside>,
    viewers: watch::Sender<u32>,
}

#[derive(Debug)]
struct Inside {
    /// Which publisher feeds the stream; numbers are never used again.
    publisher: Option<u64>,
    publishers: u64,
    heard: Micros,
    state: State,
    ended: bool,
    config: Option<Arc<Config>>,
    /// Where a new viewer begins: the last frame that can be decoded by itself.
    start: Option<Frame>,
    /// When frames were last due: the last one came, the first viewer came, the publisher came.
    fresh: Micros,
    /// Added to the publisher's sequence numbers so that viewers see one rising row across publishers; `None` until a
    /// publisher's first frame.
    renumber: Option<u64>,
    next_sequence: u64,
    published: u64,
    missed: u64,
    subscribers: BTreeMap<u64, Place>,
    /// Where reports of what was shown go, so that they reach the publisher's own sender.
    upstream: Option<Upstream>,
    /// The publisher's thread, which waits until somebody has room.
    hungry: Option<Thread>,
    joined: u64,
    /// What became of the frames of viewers that have left.
    left: Counts,
    meter: Meter,
    split: Split,
    /// When nobody was found to feed and nobody to watch.
    deserted_since: Option<Micros>,
}

/// A viewer's place in a stream.
#[derive(Debug)]
struct Place {
    mailbox: Mailbox,
    news: Option<State>,
    ended: bool,
    /// A frame was taken and is on its way.
    under_way: bool,
    waker: Option<Waker>,
}

/// A stream as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// `live`, `stalled` or `idle`.
    pub state: &'static str,
    /// What its frames are coded in; `None` before the first.
    pub codec: Option<&'static str>,
    /// Width in pixels, 0 before the first frame.
    pub width: u16,
    /// Height in pixels, 0 before the first frame.
    pub height: u16,
    /// Frames a second, measured.
    pub fps: f64,
    /// Bits a second, measured.
    pub bitrate: f64,
    /// How many watch.
    pub viewers: usize,
    /// Milliseconds since the newest frame was captured; `None` before the first or without an agreed clock.
    pub age_ms: Option<f64>,
    /// Frames that came from publishers.
    pub published: u64,
    /// Frames that publishers numbered but that never came.
    pub missed: u64,
    /// Frames that viewers got, over all viewers.
    pub delivered: u64,
    /// Frames that viewers did not get, by reason, over all viewers.
    pub dropped: Counts,
    /// The latency split in milliseconds.
    pub latency_ms: Split,
    /// Whether the stream ever had a publisher: one that is only waited for is not shown.
    #[serde(skip)]
    pub(super) known: bool,
}

/// What a viewer gets, in this order of urgency.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// How the stream is, at first and whenever it changes.
    State(State),
    /// How the frames that follow are coded.
    Config(Arc<Config>),
    /// A frame. The next call of [`Subscriber::poll`] says that it was sent whole; a subscriber dropped before lost it.
    Frame(Frame),
    /// The publisher said that nothing more will come. Another may still take the stream over.
    Ended,
}

/// Another publisher feeds the stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken the stream over")]
pub struct Replaced;

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfigured {
    /// No configuration came before the first frame.
    #[error("a frame came before its configuration")]
    NoConfig,
    /// Another publisher feeds the stream now.
    #[error(transparent)]
    Replaced(#[from] Replaced),
}

/// The one who feeds a stream. Dropped, it leaves the stream stalled.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    id: u64,
}

/// Says what became of a viewer's frames.
#[derive(Debug, Clone)]
pub struct Reporter {
    stream: Arc<Stream>,
    /// The picture that was there when the viewer came: its age is not the latency of its way.
    stored: Option<u64>,
}

/// One who watches a stream. Dropped, it has left.
#[derive(Debug)]
pub struct Subscriber {
    stream: Arc<Stream>,
    id: u64,
    config: Option<Arc<Config>>,
    reporter: Reporter,
}

impl Publisher {
    pub(super) fn new(stream: Arc<Stream>, now: Micros) -> Option<Self> {
        let mut inside = stream.lock();
        if inside.publisher.is_some() && inside.heard.saturating_add(LOST_AFTER) > now {
            return None;
        }
        inside.publishers += 1;
        let id = inside.publishers;
        inside.publisher = Some(id);
        inside.heard = now;
        inside.fresh = now;
        inside.ended = false;
        inside.upstream = None;
        inside.renumber = None;
        drop(inside);
        Some(Self { stream, id })
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        &self.stream.name
    }

    /// How many watch, to be waited on for changes.
    pub fn viewers(&self) -> watch::Receiver<u32> {
        self.stream.viewers.subscribe()
    }

    /// Hands what viewers report of this publisher's frames, by its own numbers, to whoever sent them here.
    pub fn on_report(&self, take: impl Fn(Report) + Send + Sync + 'static) {
        if let Ok(mut inside) = self.lock() {
            inside.upstream = Some(Upstream(Arc::new(take)));
        }
    }

    /// The publisher is alive, though no frame came.
    pub fn heard(&self, now: Micros) {
        self.stream.lock().heard = now;
    }

    /// How the frames that follow are coded.
    ///
    /// # Errors
    /// [`Replaced`].
    pub fn configure(&self, config: Config) -> Result<(), Replaced> {
        let mut inside = self.lock()?;
        if inside.config.as_deref() != Some(&config) {
            inside.config = Some(Arc::new(config));
            inside.start = None;
        }
        Ok(())
    }

    /// Gives a frame to all who watch.
    ///
    /// # Errors
    /// [`Unconfigured`].
    pub fn publish(&self, mut frame: Frame, now: Micros) -> Result<(), Unconfigured> {
        let mut wakers = Vec::new();
        let mut inside = self.lock()?;
        let config = inside.config.clone().ok_or(Unconfigured::NoConfig)?;
        frame.keyframe |= config.codec.independent();
        frame.sequence = inside.number(frame.sequence);
        inside.heard = now;
        inside.fresh = now;
        inside.published += 1;
        inside.meter.count(now, frame.data.len());
        inside.split.take_arrival(&frame.times);
        inside.enter(State::Live, &mut wakers);
        if frame.keyframe {
            inside.start = Some(frame.clone());
        }
        for place in inside.subscribers.values_mut() {
            place.mailbox.offer(&config, frame.clone());
            wakers.extend(place.waker.take());
        }
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Blocks this thread until some viewer has room for a frame, or the deadline; returns whether one has.
    pub fn room_before(&self, deadline: Instant) -> bool {
        loop {
            let Ok(mut inside) = self.lock() else { return false };
            if inside.subscribers.values().any(|place| place.mailbox.is_empty()) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inside.hungry = Some(thread::current());
            drop(inside);
            thread::park_timeout(left);
        }
    }

    /// The source knows how its stream is: it sleeps, or what it feeds from has stalled.
    pub fn enter(&self, state: State) {
        let mut wakers = Vec::new();
        if let Ok(mut inside) = self.lock() {
            inside.enter(state, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing more will come.
    pub fn finish(self) {
        let mut wakers = Vec::new();
        if let Ok(mut inside) = self.lock() {
            inside.ended = true;
            for place in inside.subscribers.values_mut() {
                place.ended = true;
                wakers.extend(place.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inside>, Replaced> {
        let inside = self.stream.lock();
        if inside.publisher == Some(self.id) { Ok(inside) } else { Err(Replaced) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        if let Ok(mut inside) = self.lock() {
            inside.publisher = None;
            inside.enter(State::Stalled, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Subscriber {
    pub(super) fn new(stream: Arc<Stream>, policy: Policy, now: Micros) -> Self {
        let mut inside = stream.lock();
        if inside.subscribers.is_empty() {
            inside.fresh = now;
        }
        let mut mailbox = Mailbox::new(policy);
        let stored = inside.start.as_ref().map(|start| start.sequence);
        if let (Some(config), Some(start)) = (&inside.config, &inside.start) {
            // Who wants every picture wants those from now on, not one that may be an hour old.
            if policy == Policy::Newest {
                mailbox.offer(config, start.clone());
            }
            if policy == Policy::Every || start.sequence.wrapping_add(1) != inside.next_sequence {
                mailbox.skipped(config);
            }
        }
        let place = Place { mailbox, news: Some(inside.state), ended: inside.ended, under_way: false, waker: None };
        inside.joined += 1;
        let id = inside.joined;
        inside.subscribers.insert(id, place);
        inside.hungry.take().iter().for_each(Thread::unpark);
        let viewers = inside.subscribers.len();
        drop(inside);
        stream.tell_viewers(viewers);
        let reporter = Reporter { stream: stream.clone(), stored };
        Self { stream, id, config: None, reporter }
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        &self.stream.name
    }

    /// The next event, when there is one; else `context`'s task is woken when there is. The frame got before counts
    /// as delivered from now on. Who is not `ready` for a frame gets only what is none.
    pub fn poll(&mut self, context: &Context<'_>, ready: bool) -> Poll<Event> {
        let mut inside = self.stream.lock();
        let Some(place) = inside.subscribers.get_mut(&self.id) else { return Poll::Pending };
        place.settle();
        if let Some(state) = place.news.take() {
            return Poll::Ready(Event::State(state));
        }
        if !ready {
            place.wake_later(context);
            return Poll::Pending;
        }
        if let Some(config) = place.mailbox.next_config()
            && self.config.as_ref().is_none_or(|known| !Arc::ptr_eq(known, config))
        {
            self.config = Some(config.clone());
            return Poll::Ready(Event::Config(config.clone()));
        }
        if let Some((_, frame)) = place.mailbox.take() {
            place.under_way = true;
            inside.hungry.take().iter().for_each(Thread::unpark);
            return Poll::Ready(Event::Frame(frame));
        }
        if mem::take(&mut place.ended) {
            return Poll::Ready(Event::Ended);
        }
        place.wake_later(context);
        Poll::Pending
    }

    /// Waits for the next event.
    pub async fn next(&mut self) -> Event {
        std::future::poll_fn(|context| self.poll(context, true)).await
    }

    /// Blocks this thread until the next event or the deadline.
    pub fn next_before(&mut self, deadline: Instant) -> Option<Event> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(event) = self.poll(&Context::from_waker(&waker), true) {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }

    /// What became of this viewer's frames so far.
    pub fn counts(&self) -> Counts {
        self.stream.lock().subscribers.get(&self.id).map(|place| place.mailbox.counts).unwrap_or_default()
    }

    /// Adds what a hub further on reports of a frame that went from here to there: the stages up to its arrival.
    pub fn report_arrival(&self, times: &Times) {
        self.stream.lock().split.take_upload(times);
    }

    /// Who says what becomes of this viewer's frames, from whatever thread.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }
}

impl Reporter {
    /// Adds what this viewer's receiver reports of a frame to the stream's latency, all on the hub's clock: when it was
    /// `first` heard of, and when it was shown.
    pub fn report(&self, times: &Times, report: &Report, first: bool) {
        let mut inside = self.stream.lock();
        let measured = self.stored != Some(report.sequence);
        if first && measured {
            inside.split.take_delivery(times, report);
        }
        if report.shown == 0 {
            return;
        }
        if measured {
            inside.split.take_showing(times, report);
        }
        let (Some(upstream), Some(renumber)) = (inside.upstream.clone(), inside.renumber) else { return };
        drop(inside);
        upstream.0(Report { sequence: report.sequence.wrapping_sub(renumber), ..*report });
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut inside = self.stream.lock();
        if let Some(mut place) = inside.subscribers.remove(&self.id) {
            if place.under_way {
                place.mailbox.counts.drop_one(Reason::Left);
            }
            place.mailbox.clear(Reason::Left);
            inside.left.add(&place.mailbox.counts);
        }
        let viewers = inside.subscribers.len();
        drop(inside);
        self.stream.tell_viewers(viewers);
    }
}

impl Stream {
    pub(super) fn new(name: Name, now: Micros) -> Self {
        let inside = Inside {
            publisher: None,
            publishers: 0,
            heard: now,
            state: State::Stalled,
            ended: false,
            config: None,
            start: None,
            fresh: now,
            renumber: None,
            next_sequence: 0,
            published: 0,
            missed: 0,
            subscribers: BTreeMap::new(),
            upstream: None,
            hungry: None,
            joined: 0,
            left: Counts::default(),
            meter: Meter::default(),
            split: Split::default(),
            deserted_since: None,
        };
        Self { name, inside: Mutex::new(inside), viewers: watch::Sender::new(0) }
    }

    /// Whether the stream ever had a publisher.
    pub(super) fn known(&self) -> bool {
        self.lock().publishers > 0
    }

    /// Whether the publisher said that nothing more will come.
    pub(super) fn ended(&self) -> bool {
        self.lock().ended
    }

    pub(super) fn info(&self, now: Micros) -> Info {
        let inside = self.lock();
        let config = inside.config.as_deref();
        let mut counts = inside.left;
        inside.subscribers.values().for_each(|place| counts.add(&place.mailbox.counts));
        let captured = inside.start.as_ref().map(|frame| frame.times.captured).filter(|time| *time != 0);
        Info {
            name: self.name.to_string(),
            state: inside.state.name(),
            codec: config.map(|config| config.codec.name()),
            width: config.map_or(0, |config| config.width),
            height: config.map_or(0, |config| config.height),
            fps: inside.meter.fps(now),
            bitrate: inside.meter.bitrate(now),
            viewers: inside.subscribers.len(),
            age_ms: captured.map(|captured| now.saturating_sub(captured) as f64 / 1000.0),
            published: inside.published,
            missed: inside.missed,
            delivered: counts.delivered,
            dropped: counts,
            latency_ms: inside.split.clone(),
            known: inside.publishers > 0,
        }
    }

    pub(super) fn tick(&self, now: Micros) {
        let mut wakers = Vec::new();
        let mut inside = self.lock();
        let deserted = inside.publisher.is_none() && inside.subscribers.is_empty();
        inside.deserted_since = deserted.then(|| inside.deserted_since.unwrap_or(now));
        if inside.state == State::Live && inside.overdue(now) {
            let asleep = inside.publisher.is_some() && inside.subscribers.is_empty();
            inside.enter(if asleep { State::Idle } else { State::Stalled }, &mut wakers);
        } else if inside.state == State::Idle && !inside.subscribers.is_empty() && inside.overdue(now) {
            inside.enter(State::Stalled, &mut wakers);
        }
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn forgotten(&self, now: Micros) -> bool {
        self.lock().deserted_since.is_some_and(|since| since.saturating_add(FORGET_AFTER) <= now)
    }

    fn tell_viewers(&self, viewers: usize) {
        self.viewers.send_if_modified(|told| mem::replace(told, viewers as u32) != viewers as u32);
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// The stream's number for a publisher's frame; counts what is missing before it.
    fn number(&mut self, sequence: u64) -> u64 {
        let here = self.next_sequence.wrapping_sub(sequence);
        let number = self.renumber.unwrap_or(here).wrapping_add(sequence);
        let ahead = number.wrapping_sub(self.next_sequence);
        if ahead > MISSED_AT_ONCE {
            // The publisher began to count anew (or somewhere else): go on where the stream is.
            self.renumber = None;
            return self.number(sequence);
        }
        self.renumber = Some(number.wrapping_sub(sequence));
        self.missed += ahead;
        self.next_sequence = number.wrapping_add(1);
        number
    }

    fn overdue(&self, now: Micros) -> bool {
        let millifps = self.config.as_ref().map_or(0, |config| u64::from(config.millifps));
        let slow = 3_000_000_000_u64.checked_div(millifps).unwrap_or(0);
        self.fresh.saturating_add(STALLED_AFTER.max(slow)) <= now
    }

    fn enter(&mut self, state: State, wakers: &mut Vec<Waker>) {
        if self.state == state {
            return;
        }
        self.state = state;
        for place in self.subscribers.values_mut() {
            place.news = Some(state);
            wakers.extend(place.waker.take());
        }
    }
}

/// A gap longer than this in a publisher's numbers is no loss but another way of counting.
const MISSED_AT_ONCE: u64 = 100_000;

impl Place {
    fn wake_later(&mut self, context: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
    }

    /// The frame that was on its way has arrived whole.
    fn settle(&mut self) {
        if mem::take(&mut self.under_way) {
            self.mailbox.counts.delivered += 1;
        }
    }
}

/// Takes reports of frames by their publisher's numbers.
#[derive(Clone)]
struct Upstream(Arc<dyn Fn(Report) + Send + Sync>);

impl fmt::Debug for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Upstream")
    }
}

/// Wakes a thread that waits in [`Subscriber::next_before`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

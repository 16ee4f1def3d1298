//! Who watches a stream.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use framewire_proto::{
    Codec, Config, Frame, Micros, Name, Rendition, Times,
    rendition::Chooser,
    wire::native::{Report, Service, State},
};

use super::{
    Accepts, Counts, Policy, Reason,
    stream::{Feedback, Place, Stream, wake_later},
};
use crate::clock;

/// How often it is reckoned which form a viewer's link carries, in µs.
const RECKON: Micros = 100_000;

/// One who watches a stream. Dropped, it has left.
#[derive(Debug)]
pub struct Subscriber {
    stream: Arc<Stream>,
    id: u64,
    config: Option<Arc<Config>>,
    chooser: Chooser,
    /// When its link is next reckoned with.
    reckoned: Micros,
    reporter: Reporter,
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

/// Says what became of a viewer's frames.
#[derive(Debug, Clone)]
pub struct Reporter {
    stream: Arc<Stream>,
    /// The newest frame that was there when the viewer came: up to it their age is not the latency of their way.
    stored: Option<u64>,
}

impl Subscriber {
    pub(super) fn new(stream: Arc<Stream>, policy: Policy, now: Micros) -> Self {
        let mut inside = stream.lock();
        if inside.subscribers.is_empty() {
            inside.fresh = now;
        }
        let mut mailbox = inside.begin(Rendition::Source, policy, now);
        let source = inside.form(Rendition::Source);
        let stored = source.run.begin().map(|_| source.newest.0);
        let broken = mailbox.wishes();
        let place = Place::new(mailbox, &inside);
        inside.joined += 1;
        let id = inside.joined;
        inside.subscribers.insert(id, place);
        inside.hungry.take().into_iter().for_each(Waker::wake);
        stream.tell_viewers(&inside);
        drop(inside);
        if broken {
            stream.request_keyframe(Rendition::Source);
        }
        let reporter = Reporter { stream: stream.clone(), stored };
        Self { stream, id, config: None, chooser: Chooser::default(), reckoned: 0, reporter }
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        &self.stream.name
    }

    /// This viewer can do with other forms than the source's: to be said before the first event is taken.
    pub fn set_accepts(&mut self, takes: Accepts) {
        if !self.stream.hire.any() {
            return;
        }
        let mut wakers = Vec::new();
        let mut inside = self.stream.lock();
        if let Some(place) = inside.subscribers.get_mut(&self.id) {
            place.wish = takes;
        }
        let codec = inside.form(Rendition::Source).config.as_ref().map(|config| config.codec);
        if takes == Accepts::Jpegs && codec.is_some_and(|codec| codec != Codec::Jpeg) {
            let now = inside.fresh;
            inside.switch(self.id, Rendition::Jpeg, &mut wakers, now);
        }
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
        self.stream.staff();
    }

    /// Frames that are older than this, in µs, shall be dropped, where their age is known.
    pub fn set_max_age(&mut self, max_age: Option<Micros>) {
        if let Some(place) = self.stream.lock().subscribers.get_mut(&self.id) {
            place.max_age = max_age;
        }
    }

    /// This viewer's link carries so many bits a second: it gets the form that fits.
    pub fn set_target(&mut self, target: Option<u64>, now: Micros) {
        if now < self.reckoned {
            return;
        }
        self.reckoned = now + RECKON;
        let mut wakers = Vec::new();
        let mut inside = self.stream.lock();
        let Some(place) = inside.subscribers.get_mut(&self.id) else { return };
        if place.wish == Accepts::Source {
            return;
        }
        place.target = target;
        let (wish, taken) = (place.wish, place.next.unwrap_or(place.rendition));
        let offer = inside.choice(wish, target, now);
        let to = self.chooser.choose(taken, target, &offer, now);
        if to == taken {
            return;
        }
        inside.switch(self.id, to, &mut wakers, now);
        let wished = inside.take_wish(Rendition::Source);
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
        if wished {
            self.stream.request_keyframe(Rendition::Source);
        }
        self.stream.staff();
    }

    /// This viewer's link is believed to carry so many bits a second; `None` while that is not known.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        if let Some(place) = self.stream.lock().subscribers.get_mut(&self.id) {
            place.capacity = capacity;
        }
    }

    /// How the hub that the stream comes from serves it; `None` where it comes from none.
    pub fn service(&self) -> Option<Service> {
        self.stream.lock().service
    }

    /// The form that this viewer gets.
    pub fn rendition(&self) -> Rendition {
        self.stream.lock().subscribers.get(&self.id).map(|place| place.rendition).unwrap_or_default()
    }

    /// The next event, when there is one; else `context`'s task is woken when there is. The frame got before counts
    /// as delivered from now on. Who is not `ready` for a frame gets only what is none.
    pub fn poll(&mut self, context: &Context<'_>, ready: bool, now: Micros) -> Poll<Event> {
        let mut inside = self.stream.lock();
        let Some(place) = inside.subscribers.get_mut(&self.id) else { return Poll::Pending };
        place.settle();
        place.ready = false;
        if let Some(state) = place.news.take() {
            return Poll::Ready(Event::State(state));
        }
        if !ready {
            wake_later(&mut place.waker, context);
            return Poll::Pending;
        }
        if place.max_age.is_some_and(|most| place.mailbox.expire(now.saturating_sub(most))) {
            let rendition = place.rendition;
            drop(inside);
            self.stream.request_keyframe(rendition);
            return self.poll(context, ready, now);
        }
        if let Some(config) = place.mailbox.next_config()
            && self.config.as_ref().is_none_or(|known| !Arc::ptr_eq(known, config))
        {
            self.config = Some(config.clone());
            return Poll::Ready(Event::Config(config.clone()));
        }
        if let Some((_, frame)) = place.mailbox.take() {
            place.under_way = true;
            inside.hungry.take().into_iter().for_each(Waker::wake);
            return Poll::Ready(Event::Frame(frame));
        }
        if mem::take(&mut place.ended) {
            return Poll::Ready(Event::Ended);
        }
        wake_later(&mut place.waker, context);
        place.ready = true;
        let mut wakers = Vec::new();
        inside.wake_coders(&mut wakers);
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Waits for the next event.
    pub async fn next(&mut self) -> Event {
        std::future::poll_fn(|context| self.poll(context, true, clock::now())).await
    }

    /// Blocks this thread until the next event or the deadline.
    pub fn next_before(&mut self, deadline: Instant) -> Option<Event> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(event) = self.poll(&Context::from_waker(&waker), true, clock::now()) {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }

    /// Whether the frame that was taken last only leads up to the present, for who has just come: nobody need see its picture.
    pub fn catching_up(&self) -> bool {
        self.stream.lock().subscribers.get(&self.id).is_some_and(|place| place.mailbox.catching_up())
    }

    /// This viewer cannot decode before a keyframe comes, for a reason of its own.
    pub fn request_keyframe(&self) {
        self.stream.request_keyframe(self.rendition());
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
        let measured = self.stored.is_none_or(|stored| report.sequence > stored);
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
        upstream.0(Feedback::Report(Report { sequence: report.sequence.wrapping_sub(renumber), ..*report }));
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
        self.stream.tell_viewers(&inside);
        let mut wakers = Vec::new();
        inside.wake_coders(&mut wakers);
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Wakes a thread that waits.
pub(super) struct Unpark(pub(super) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

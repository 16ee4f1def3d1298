//! One stream: who feeds it, who watches it, and how it is.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use framewire_proto::{
    Micros, Name, Rendition, Times,
    wire::native::{Report, Service, State, Token},
};
use serde::Serialize;
use tokio::sync::watch;

use super::{
    Counts, FORGET_AFTER, FORGET_RETIRED_AFTER,
    mailbox::Mailbox,
    rendition::{Accepts, Form, Hire, RenditionInfo},
};
use crate::latency::Split;

/// Frames that stay away this long make a stream stalled, unless its own rate is slower.
const STALLED_AFTER: Micros = 1_000_000;
/// A gap longer than this in a publisher's numbers is no loss but another way of counting.
const MISSED_AT_ONCE: u64 = 100_000;

/// A named live video.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Name,
    pub(super) inside: Mutex<Inside>,
    pub(super) viewers: watch::Sender<u32>,
    /// How often somebody has wished for a keyframe.
    pub(super) wishes: watch::Sender<u64>,
    /// Whether the publisher has finished the stream.
    pub(super) finished: watch::Sender<bool>,
    pub(super) hire: Hire,
}

#[derive(Debug)]
pub(super) struct Inside {
    /// Which publisher feeds the stream; numbers are never used again.
    pub(super) publisher: Option<u64>,
    pub(super) publishers: u64,
    /// The client that feeds or fed it last, where that said who it is.
    pub(super) owner: Option<Token>,
    pub(super) heard: Micros,
    pub(super) state: State,
    pub(super) ended: bool,
    /// Its name will not be fed again.
    pub(super) retired: bool,
    /// Its publisher cannot make a keyframe when one is wished for.
    pub(super) passthrough: bool,
    /// The source and what is made of it, by [`Rendition`].
    pub(super) forms: [Form; 1 + Rendition::CODED.len()],
    /// When frames were last due: the last one came, the first viewer came, the publisher came.
    pub(super) fresh: Micros,
    /// Added to the publisher's sequence numbers so that viewers see one rising row across publishers; `None` until a
    /// publisher's first frame.
    pub(super) renumber: Option<u64>,
    pub(super) next_sequence: u64,
    pub(super) published: u64,
    pub(super) missed: u64,
    pub(super) subscribers: BTreeMap<u64, Place>,
    /// Where reports of what was shown go, so that they reach the publisher's own sender.
    pub(super) upstream: Option<Upstream>,
    /// How the hub that the stream comes from serves it.
    pub(super) service: Option<Service>,
    /// Wakes the publisher, which waits until somebody has room.
    pub(super) hungry: Option<Waker>,
    pub(super) joined: u64,
    /// What became of the frames of viewers that have left.
    pub(super) left: Counts,
    pub(super) split: Split,
    /// When nobody was found to feed and nobody to watch.
    pub(super) deserted_since: Option<Micros>,
}

/// A viewer's place in a stream.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) mailbox: Mailbox,
    /// What other forms it can do with.
    pub(super) wish: Accepts,
    /// The form that it takes, and the one that it will from that one's next keyframe on.
    pub(super) rendition: Rendition,
    pub(super) next: Option<Rendition>,
    /// Bits a second that may be sent over its link; `None` while that is not known.
    pub(super) target: Option<u64>,
    /// Bits a second that its link is believed to carry; `None` while that is not known.
    pub(super) capacity: Option<u64>,
    /// Frames older than this, in µs, are not wanted.
    pub(super) max_age: Option<Micros>,
    /// It waits for a frame.
    pub(super) ready: bool,
    pub(super) news: Option<State>,
    pub(super) ended: bool,
    /// A frame was taken and is on its way.
    pub(super) under_way: bool,
    pub(super) waker: Option<Waker>,
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
    /// Bytes of those frames.
    pub bytes: u64,
    /// Frames that publishers numbered but that never came.
    pub missed: u64,
    /// Frames that viewers got, over all viewers.
    pub delivered: u64,
    /// Frames that viewers did not get, by reason, over all viewers.
    pub dropped: Counts,
    /// The source, and what is made of it for viewers that cannot take it.
    pub renditions: Vec<RenditionInfo>,
    /// The latency split in milliseconds.
    pub latency_ms: Split,
    /// How the hub that the stream comes from serves it; `None` where it comes from none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceInfo>,
    /// The times of the newest frame.
    #[serde(skip)]
    pub newest: Times,
    /// Whether the stream ever had a publisher: one that is only waited for is not shown.
    #[serde(skip)]
    pub(super) known: bool,
}

/// How a hub serves this process, which is its viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServiceInfo {
    /// `source`, `high`, `low` or `jpeg`.
    pub rendition: &'static str,
    /// Bits a second that the link from there is believed to carry; `None` while that is not known.
    pub capacity: Option<u64>,
    /// Frames that were sent here.
    pub delivered: u64,
    /// Frames that were not, by reason.
    pub dropped: Counts,
}

impl From<Service> for ServiceInfo {
    fn from(service: Service) -> Self {
        Self {
            rendition: service.rendition.name(),
            capacity: (service.capacity > 0).then_some(service.capacity),
            delivered: service.delivered,
            dropped: service.into(),
        }
    }
}

impl Stream {
    pub(super) fn new(name: Name, hire: Hire, now: Micros) -> Self {
        let inside = Inside {
            publisher: None,
            publishers: 0,
            owner: None,
            heard: now,
            state: State::Stalled,
            ended: false,
            retired: false,
            passthrough: false,
            forms: Default::default(),
            fresh: now,
            renumber: None,
            next_sequence: 0,
            published: 0,
            missed: 0,
            subscribers: BTreeMap::new(),
            upstream: None,
            service: None,
            hungry: None,
            joined: 0,
            left: Counts::default(),
            split: Split::default(),
            deserted_since: None,
        };
        let (viewers, wishes) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { name, inside: Mutex::new(inside), viewers, wishes, finished: watch::Sender::new(false), hire }
    }

    /// Whether the stream ever had a publisher.
    pub(super) fn known(&self) -> bool {
        self.lock().publishers > 0
    }

    pub(super) fn info(&self, now: Micros) -> Info {
        let inside = self.lock();
        let source = inside.form(Rendition::Source);
        let config = source.config.as_deref();
        let mut counts = inside.left;
        inside.subscribers.values().for_each(|place| counts.add(&place.mailbox.counts));
        let newest = source.newest.1;
        Info {
            name: self.name.to_string(),
            state: inside.state.name(),
            codec: config.map(|config| config.codec.name()),
            width: config.map_or(0, |config| config.width),
            height: config.map_or(0, |config| config.height),
            fps: source.meter.fps(now),
            bitrate: source.meter.bitrate(now),
            viewers: inside.subscribers.len(),
            age_ms: (newest.captured != 0).then(|| now.saturating_sub(newest.captured) as f64 / 1000.0),
            published: inside.published,
            bytes: source.meter.totals().1,
            missed: inside.missed,
            delivered: counts.delivered,
            dropped: counts,
            renditions: inside.forms(now),
            latency_ms: inside.split.clone(),
            service: inside.service.map(ServiceInfo::from),
            newest,
            known: inside.publishers > 0,
        }
    }

    pub(super) fn tick(&self, now: Micros) {
        let mut wakers = Vec::new();
        let mut inside = self.lock();
        let deserted = inside.publisher.is_none() && (inside.subscribers.is_empty() || inside.retired);
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
        let inside = self.lock();
        let after = if inside.retired { FORGET_RETIRED_AFTER } else { FORGET_AFTER };
        inside.deserted_since.is_some_and(|since| since.saturating_add(after) <= now)
    }

    /// Tells the publisher how many watch. Told with the state locked, so that no older count comes after a newer one.
    pub(super) fn tell_viewers(&self, inside: &Inside) {
        let viewers = inside.subscribers.len() as u32;
        self.viewers.send_if_modified(|told| mem::replace(told, viewers) != viewers);
    }

    /// Somebody who takes this form cannot decode before a keyframe comes. Not to be called with the state locked.
    pub(super) fn request_keyframe(&self, rendition: Rendition) {
        if rendition != Rendition::Source {
            self.lock().form_mut(rendition).request_keyframe();
            return;
        }
        self.wishes.send_modify(|wishes| *wishes += 1);
        let upstream = self.lock().upstream.clone();
        if let Some(upstream) = upstream {
            upstream.0(Feedback::Keyframe);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// The stream's number for a publisher's frame; counts what is missing before it.
    pub(super) fn number(&mut self, sequence: u64) -> u64 {
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
        let millifps = self.form(Rendition::Source).config.as_ref().map_or(0, |config| u64::from(config.millifps));
        let slow = 3_000_000_000_u64.checked_div(millifps).unwrap_or(0);
        self.fresh.saturating_add(STALLED_AFTER.max(slow)) <= now
    }

    pub(super) fn enter(&mut self, state: State, wakers: &mut Vec<Waker>) {
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

impl Place {
    pub(super) fn new(mailbox: Mailbox, inside: &Inside) -> Self {
        Self {
            mailbox,
            wish: Accepts::default(),
            rendition: Rendition::Source,
            next: None,
            target: None,
            capacity: None,
            max_age: None,
            ready: false,
            news: Some(inside.state),
            ended: inside.ended,
            under_way: false,
            waker: None,
        }
    }

    /// The frame that was on its way has arrived whole.
    pub(super) fn settle(&mut self) {
        if mem::take(&mut self.under_way) {
            self.mailbox.counts.delivered += 1;
        }
    }
}

/// Notes whose task is to be woken.
pub(super) fn wake_later(waker: &mut Option<Waker>, context: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}

/// What viewers tell whoever feeds their stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// What became of a frame, by its publisher's own number.
    Report(Report),
    /// Somebody cannot decode before a keyframe comes.
    Keyframe,
}

/// Takes what viewers tell.
#[derive(Clone)]
pub(super) struct Upstream(pub(super) Arc<dyn Fn(Feedback) + Send + Sync>);

impl fmt::Debug for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Upstream")
    }
}

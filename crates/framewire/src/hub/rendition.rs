//! Other forms of a stream's frames: coded once for all who take them, and only while somebody does.
//!
//! The hub has no codec. It knows who takes which form and what their links carry, and gives whoever [codes](Transcoder) a form
//! the frames and the bits a second for it. A coded frame keeps its source's number, so that a viewer sees one rising row
//! whatever it takes.

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use framewire_proto::{
    Codec, Config, Frame, Micros, Name, Rendition, Times,
    rendition::{self, Offer},
    wire::native::State,
};
use serde::Serialize;

use super::{
    Policy,
    gop::Run,
    mailbox::Mailbox,
    stream::{Inside, Place, Stream, wake_later},
};
use crate::latency::Meter;

/// Keyframes that are asked for are at least this far apart: each costs the frames around it their quality.
const KEYFRAMES: Micros = 1_000_000;
/// What was captured this long before it came, in µs, is the past where it is passed on: as many frames as fit in it wait anyway.
const PAST: Micros = 250_000;

/// What a viewer can do with other forms than the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accepts {
    /// The source as it comes and nothing else.
    #[default]
    Source,
    /// Whatever its link carries.
    Any,
    /// JPEGs only.
    Jpegs,
}

/// Who is called when a form has to be coded.
#[derive(Clone, Default)]
pub(super) struct Hire(Arc<OnceLock<Call>>);

type Call = Box<dyn Fn(Transcoder) + Send + Sync>;

impl Hire {
    /// The first call counts.
    pub(super) fn set(&self, hire: impl Fn(Transcoder) + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(hire));
    }

    /// Whether anybody codes at all.
    pub(super) fn any(&self) -> bool {
        self.0.get().is_some()
    }
}

impl fmt::Debug for Hire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hire")
    }
}

/// One form of a stream.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) config: Option<Arc<Config>>,
    /// Where a new viewer begins.
    pub(super) run: Run,
    /// The number and the times of the newest frame.
    pub(super) newest: (u64, Times),
    pub(super) meter: Meter,
    /// What waits for who codes it; `None` while nobody does.
    desk: Option<Desk>,
    /// Somebody cannot decode before a keyframe comes.
    wished: bool,
}

/// Where a form's coder gets the source's frames.
#[derive(Debug)]
struct Desk {
    mailbox: Mailbox,
    waker: Option<Waker>,
}

/// A form of a stream as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct RenditionInfo {
    /// `source`, `high`, `low` or `jpeg`.
    pub name: &'static str,
    /// What its frames are coded in; `None` before the first.
    pub codec: Option<&'static str>,
    /// Width in pixels, 0 before the first frame.
    pub width: u16,
    /// Height in pixels, 0 before the first frame.
    pub height: u16,
    /// How many take it.
    pub viewers: usize,
    /// Frames a second, measured.
    pub fps: f64,
    /// Bits a second, measured.
    pub bitrate: f64,
    /// Bits a second that the slowest of its viewers' links is believed to carry; `None` while no link was measured.
    pub capacity: Option<u64>,
}

/// Codes one form of a stream for as long as somebody takes it. Dropped before, it leaves those to the source.
#[derive(Debug)]
pub struct Transcoder {
    stream: Arc<Stream>,
    rendition: Rendition,
    done: bool,
}

/// A frame for a [`Transcoder`].
#[derive(Debug)]
pub struct TranscodeJob {
    /// How the frame is coded.
    pub config: Arc<Config>,
    /// The frame.
    pub frame: Frame,
    /// Whether anybody has room for it. If not, it only matters to the decoding of those after it.
    pub wanted: bool,
    /// Bits a second for this form; `None` while its viewers' links are not known.
    pub target: Option<u64>,
    /// Somebody cannot decode before a keyframe comes.
    pub keyframe: bool,
}

impl Transcoder {
    /// The stream's name.
    pub fn name(&self) -> &Name {
        &self.stream.name
    }

    /// The form.
    pub fn rendition(&self) -> Rendition {
        self.rendition
    }

    /// Waits for the next frame to be coded. `None`: nobody takes this form any more, and the work is done.
    pub async fn next(&mut self) -> Option<TranscodeJob> {
        poll_fn(|context| self.poll(context)).await
    }

    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Option<TranscodeJob>> {
        let mut inside = self.stream.lock();
        if inside.takers(self.rendition) == 0 {
            *inside.form_mut(self.rendition) = Form::default();
            self.done = true;
            return Poll::Ready(None);
        }
        let wanted = inside.subscribers.values().any(|place| place.takes(self.rendition) && place.hungry());
        let target = rendition::shared_target(inside.targets(self.rendition));
        let now = inside.fresh;
        let form = inside.form_mut(self.rendition);
        let due = form.run.begin().is_none_or(|(_, last)| last.saturating_add(KEYFRAMES) <= now);
        let Some(desk) = &mut form.desk else { return Poll::Ready(None) };
        // Nor what only leads up to the present.
        let wanted = wanted && !desk.mailbox.catching_up();
        // What nobody has room for need not be coded; but frames that later ones need are all taken.
        let take = desk.mailbox.next_config().is_some_and(|config| wanted || !config.codec.independent());
        let Some((config, frame)) = take.then(|| desk.mailbox.take()).flatten() else {
            wake_later(&mut desk.waker, context);
            return Poll::Pending;
        };
        let keyframe = wanted && due && std::mem::take(&mut form.wished);
        Poll::Ready(Some(TranscodeJob { config, frame, wanted, target, keyframe }))
    }

    /// Gives a coded frame to all who take this form.
    pub fn publish(&self, config: Config, frame: &Frame) {
        let mut wakers = Vec::new();
        let mut inside = self.stream.lock();
        let now = inside.fresh;
        let form = inside.form_mut(self.rendition);
        if form.config.as_deref() != Some(&config) {
            form.config = Some(Arc::new(config));
        }
        inside.give(self.rendition, frame, now, &mut wakers);
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The source's frames cannot be decoded before a keyframe comes.
    pub fn request_keyframe(&self) {
        self.stream.request_keyframe(Rendition::Source);
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut wakers = Vec::new();
        let mut inside = self.stream.lock();
        *inside.form_mut(self.rendition) = Form::default();
        inside.leave(self.rendition, &mut wakers);
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Stream {
    /// Sees to it that what somebody takes is coded. Not to be called with the state locked.
    pub(super) fn staff(self: &Arc<Self>) {
        let Some(hire) = self.hire.0.get() else { return };
        for rendition in Rendition::TRANSCODED {
            let mut inside = self.lock();
            if inside.form(rendition).desk.is_some() || inside.takers(rendition) == 0 {
                continue;
            }
            let now = inside.fresh;
            let mut mailbox = inside.begin(Rendition::Source, Policy::Newest, now);
            let broken = mailbox.wishes();
            inside.form_mut(rendition).desk = Some(Desk { mailbox, waker: None });
            drop(inside);
            if broken {
                self.request_keyframe(Rendition::Source);
            }
            hire(Transcoder { stream: self.clone(), rendition, done: false });
        }
    }
}

impl Inside {
    pub(super) fn form(&self, rendition: Rendition) -> &Form {
        &self.forms[rendition as usize]
    }

    pub(super) fn form_mut(&mut self, rendition: Rendition) -> &mut Form {
        &mut self.forms[rendition as usize]
    }

    pub(super) fn forms(&self, now: Micros) -> Vec<RenditionInfo> {
        let coded = Rendition::TRANSCODED.into_iter().filter(|rendition| self.form(*rendition).desk.is_some());
        let all = std::iter::once(Rendition::Source).chain(coded);
        all.map(|rendition| self.form_info(rendition, now)).collect()
    }

    fn form_info(&self, rendition: Rendition, now: Micros) -> RenditionInfo {
        let form = self.form(rendition);
        let config = form.config.as_deref();
        // Each viewer counts once, also while it waits for another form's keyframe.
        let viewers = || self.subscribers.values().filter(|place| place.rendition == rendition);
        RenditionInfo {
            name: rendition.name(),
            codec: config.map(|config| config.codec.name()),
            width: config.map_or(0, |config| config.width),
            height: config.map_or(0, |config| config.height),
            viewers: viewers().count(),
            fps: form.meter.fps(now),
            bitrate: form.meter.bitrate(now),
            capacity: viewers().filter_map(|place| place.capacity).min(),
        }
    }

    /// How many take a form, or are about to.
    fn takers(&self, rendition: Rendition) -> usize {
        self.subscribers.values().filter(|place| place.takes(rendition)).count()
    }

    /// What the links of those carry who take a form.
    fn targets(&self, rendition: Rendition) -> impl Iterator<Item = u64> {
        self.subscribers.values().filter(move |place| place.takes(rendition)).filter_map(|place| place.target)
    }

    /// What there is to choose from for a viewer whose link carries so much.
    pub(super) fn choice(&self, takes: Accepts, target: Option<u64>, now: Micros) -> Offer {
        let source = self.form(Rendition::Source);
        let codec = source.config.as_ref().map(|config| config.codec);
        let decodes = takes != Accepts::Jpegs || codec.is_none_or(|codec| codec == Codec::Jpeg);
        let slower = self.targets(Rendition::High).chain(self.targets(Rendition::Low));
        Offer {
            source: decodes.then(|| source.meter.bitrate(now) as u64),
            h264: takes == Accepts::Any,
            fastest: slower.chain(target).max().unwrap_or(0),
        }
    }

    /// A mailbox for who begins to take a form, with a picture at once where there is a fresh one.
    pub(super) fn begin(&self, rendition: Rendition, policy: Policy, now: Micros) -> Mailbox {
        let mut mailbox = Mailbox::new(policy);
        self.fill(&mut mailbox, rendition, now);
        mailbox
    }

    fn fill(&self, mailbox: &mut Mailbox, rendition: Rendition, now: Micros) {
        let form = self.form(rendition);
        let (Some(config), Some((first, came))) = (&form.config, form.run.begin()) else { return };
        if mailbox.policy() == Policy::Every {
            // Who wants every picture wants those from now on, not some that may be an hour old.
            return mailbox.skipped(config);
        }
        if form.run.whole() {
            return mailbox.replay(config, form.run.frames());
        }
        // Where the newest picture can be had soon, an old one is worse than none.
        if self.state != State::Live || came.saturating_add(KEYFRAMES) > now {
            mailbox.put(config, first.clone());
        }
        mailbox.skipped(config);
    }

    /// Gives a frame to all who take a form, and notes it; its configuration is known.
    pub(super) fn give(&mut self, rendition: Rendition, frame: &Frame, now: Micros, wakers: &mut Vec<Waker>) {
        let form = &mut self.forms[rendition as usize];
        let Some(config) = form.config.clone() else { return };
        form.newest = (frame.sequence, frame.times);
        form.meter.count(now, frame.data.len());
        // Of all else a keyframe comes when it is asked for.
        form.run.take(frame, self.passthrough && rendition == Rendition::Source, now);
        let catching_up = rendition == Rendition::Source && self.catching_up(frame);
        let mut broken = false;
        for place in self.subscribers.values_mut() {
            if place.next == Some(rendition) && frame.keyframe {
                (place.rendition, place.next) = (rendition, None);
            }
            if place.rendition == rendition {
                if catching_up {
                    place.mailbox.led_up();
                }
                broken |= place.mailbox.offer(&config, frame.clone());
                wakers.extend(place.waker.take());
            }
        }
        self.forms[rendition as usize].wished |= broken;
    }

    /// Whether a frame came only to lead up to the present: its publisher slept, and has somebody to send to again.
    fn catching_up(&self, frame: &Frame) -> bool {
        let Times { captured, received, arrived, .. } = frame.times;
        self.passthrough && captured != 0 && received.max(arrived) > captured.saturating_add(PAST)
    }

    /// Another publisher begins, with a frame that needs some that never came here.
    pub(super) fn begins_in_the_middle(&mut self, config: &Config) {
        self.form_mut(Rendition::Source).run.cut();
        let desks = self.forms.iter_mut().filter_map(|form| Some(&mut form.desk.as_mut()?.mailbox));
        let takers = self.subscribers.values_mut().filter(|place| place.rendition == Rendition::Source);
        desks.chain(takers.map(|place| &mut place.mailbox)).for_each(|mailbox| mailbox.skipped(config));
    }

    /// Puts a frame of the source on the desks of those who code it.
    pub(super) fn put(&mut self, config: &Arc<Config>, frame: &Frame, wakers: &mut Vec<Waker>) {
        let catching_up = self.catching_up(frame);
        let mut broken = false;
        for desk in self.forms.iter_mut().filter_map(|form| form.desk.as_mut()) {
            if catching_up {
                desk.mailbox.led_up();
            }
            broken |= desk.mailbox.offer(config, frame.clone());
            wakers.extend(desk.waker.take());
        }
        self.form_mut(Rendition::Source).wished |= broken;
    }

    /// Whether a form is in need of a keyframe that was not asked for yet.
    pub(super) fn take_wish(&mut self, rendition: Rendition) -> bool {
        std::mem::take(&mut self.form_mut(rendition).wished)
    }

    /// Lets a viewer take another form: a lesser one at once, a better one from its next keyframe on.
    pub(super) fn switch(&mut self, viewer: u64, to: Rendition, wakers: &mut Vec<Waker>, now: Micros) {
        let Some(mut place) = self.subscribers.remove(&viewer) else { return };
        if (to as u8) < place.rendition as u8 {
            place.next = Some(to);
            self.form_mut(to).wished = true;
        } else if to != place.rendition {
            (place.rendition, place.next) = (to, None);
            place.mailbox.restart();
            self.fill(&mut place.mailbox, to, now);
            self.form_mut(to).wished |= place.mailbox.wishes();
        } else {
            place.next = None;
        }
        wakers.extend(place.waker.take());
        self.subscribers.insert(viewer, place);
        self.wake_coders(wakers);
    }

    /// Whoever takes a form that is coded no longer gets the source.
    fn leave(&mut self, rendition: Rendition, wakers: &mut Vec<Waker>) {
        let takers = self.subscribers.iter().filter(|(_, place)| place.takes(rendition));
        let takers: Vec<_> = takers.map(|(id, place)| (*id, place.wish)).collect();
        for (id, wish) in takers {
            if wish != Accepts::Jpegs {
                self.switch(id, Rendition::Source, wakers, self.fresh);
            }
        }
    }

    /// The source is coded otherwise: who cannot decode that takes another form, and who now can the source.
    pub(super) fn suit(&mut self, codec: Codec, wakers: &mut Vec<Waker>) {
        let jpegs = self.subscribers.iter().filter(|(_, place)| place.wish == Accepts::Jpegs);
        let jpegs: Vec<_> = jpegs.map(|(id, _)| *id).collect();
        let to = if codec == Codec::Jpeg { Rendition::Source } else { Rendition::Jpeg };
        for id in jpegs {
            self.switch(id, to, wakers, self.fresh);
        }
    }

    /// Those who code look whether somebody has room now, or has left.
    pub(super) fn wake_coders(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.forms.iter_mut().filter_map(|form| form.desk.as_mut()?.waker.take()));
    }
}

impl Form {
    pub(super) fn request_keyframe(&mut self) {
        self.wished = true;
    }
}

impl Place {
    /// Whether this viewer takes a form, or is about to.
    fn takes(&self, rendition: Rendition) -> bool {
        self.rendition == rendition || self.next == Some(rendition)
    }

    /// Whether a frame would be taken at once.
    pub(super) fn hungry(&self) -> bool {
        self.ready && self.mailbox.is_empty()
    }
}

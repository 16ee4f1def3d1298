//! A viewer's end of a stream.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use framewire_proto::{
    Micros, Name, Rendition, Times,
    wire::native::{Report, Service},
};

use super::{
    mailbox::{Counts, Policy, Reason},
    stream::Stream,
    viewer_slot::{Accepts, Event},
    wait::block_within,
};

/// The shortest time between two choices of a viewer's rendition, in µs.
const CHOICE_INTERVAL: Micros = 100_000;

/// Watches a stream. When it is dropped, the viewer has left.
#[derive(Debug)]
pub struct Subscriber {
    stream: Arc<Stream>,
    id: u64,
    /// When the rendition may be chosen again.
    next_choice: Micros,
    reporter: Reporter,
}

/// Reports what became of a viewer's frames.
#[derive(Debug, Clone)]
pub struct Reporter {
    stream: Arc<Stream>,
    /// The newest frame when the viewer joined: up to this one, the age of a frame is not the latency of its way.
    newest_at_join: Option<u64>,
}

impl Subscriber {
    pub(super) fn new(stream: Arc<Stream>, policy: Policy, now: Micros) -> Self {
        let (id, newest_at_join) = stream.lock().join_viewer(policy, now);
        let reporter = Reporter { stream: stream.clone(), newest_at_join };
        Self { stream, id, next_choice: 0, reporter }
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        self.stream.name()
    }

    /// Sets which renditions this viewer can decode. To be called before the first event is taken.
    pub fn set_accepts(&mut self, accepts: Accepts) {
        if self.stream.can_transcode() {
            self.stream.lock().set_accepts(self.id, accepts);
        }
    }

    /// Sets the maximum age of this viewer's frames in µs. Older ones are dropped, where their age is known.
    pub fn set_max_age(&mut self, max_age: Option<Micros>) {
        self.stream.lock().set_max_age(self.id, max_age);
    }

    /// Drops what waits for this viewer from before the stream stalled or fell asleep. For wires that cannot tell a picture's age:
    /// on them it would look like one of now. To be called before the first event is taken.
    pub fn skip_stale(&mut self, now: Micros) {
        self.stream.lock().skip_stale(self.id, now);
    }

    /// Sets how many bits a second may be sent over this viewer's link; `None` while that is not known. The viewer gets
    /// the rendition that fits.
    pub fn set_target(&mut self, target: Option<u64>, now: Micros) {
        if now >= self.next_choice {
            self.next_choice = now + CHOICE_INTERVAL;
            self.stream.lock().set_target(self.id, target, now);
        }
    }

    /// Sets the measured rate of this viewer's link in bits a second; `None` while that is not known.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.stream.lock().set_capacity(self.id, capacity);
    }

    /// How the hub that the stream comes from serves it; `None` where it comes from no other hub.
    pub fn service(&self) -> Option<Service> {
        self.stream.lock().service()
    }

    /// The rendition that this viewer takes.
    pub fn rendition(&self) -> Rendition {
        self.stream.lock().rendition_of(self.id)
    }

    /// The next event; else `context`'s task is woken when there may be one. The frame that was returned before counts
    /// as delivered from now on. A viewer that has no room for a frame gets states only.
    pub fn poll(&mut self, context: &Context<'_>, has_room: bool, now: Micros) -> Poll<Event> {
        self.stream.lock().poll_viewer(self.id, context, has_room, now)
    }

    /// The frame that was returned last is not sent, for this reason: it counts as dropped, and so do those that need it.
    pub fn withhold(&self, reason: Reason) {
        self.stream.lock().withhold(self.id, reason);
    }

    /// Waits for the next event. `now` is the clock on which frames were captured.
    pub async fn next(&mut self, now: impl Fn() -> Micros) -> Event {
        poll_fn(|context| self.poll(context, true, now())).await
    }

    /// Blocks this thread until the next event; `None` when the timeout has passed on the clock `now`.
    pub fn next_within(&mut self, timeout: Duration, now: impl Fn() -> Micros) -> Option<Event> {
        block_within(timeout, now, |context, now| self.poll(context, true, now))
    }

    /// Whether the frame that was returned last only replays the GOP for a new viewer: its picture need not be shown.
    pub fn catching_up(&self) -> bool {
        self.stream.lock().is_catching_up(self.id)
    }

    /// This viewer cannot decode before a keyframe arrives.
    pub fn request_keyframe(&self) {
        self.stream.lock().request_keyframe_for(self.id);
    }

    /// What became of this viewer's frames so far.
    pub fn counts(&self) -> Counts {
        self.stream.lock().counts_of(self.id)
    }

    /// Frames that the stream's publishers numbered, but that never came here.
    pub fn missed(&self) -> u64 {
        self.stream.lock().missed()
    }

    /// Adds what the next hub reports about a frame that was sent there: the stages up to its arrival.
    pub fn report_arrival(&self, times: &Times) {
        self.stream.lock().report_arrival(times);
    }

    /// Reports what becomes of this viewer's frames, from any thread.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stream.lock().leave_viewer(self.id);
    }
}

impl Reporter {
    /// Adds what the viewer reports about a frame to the stream's latency, all on the hub's clock: at its `first`
    /// report, and when it was shown.
    pub fn report(&self, times: &Times, report: &Report, first: bool) {
        let measured = self.newest_at_join.is_none_or(|newest| report.sequence > newest);
        self.stream.lock().report(times, report, first, measured);
    }
}

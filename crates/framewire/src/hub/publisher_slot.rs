//! The publisher of a stream, as the stream knows it.

use std::task::{Context, Waker};

use framewire_proto::{
    Frame, Micros, Times,
    wire::native::{Service, Token},
};

use super::{
    effects::{Effects, Upstream},
    wait::store_waker,
};

/// Another publisher may take over from one that was silent for this long, in µs.
const LOST_AFTER: Micros = 3_000_000;
/// A passthrough frame that was this old when it arrived, in µs, replays the GOP. As many frames queue for a viewer
/// anyway.
const REPLAY_AGE: Micros = 250_000;

/// Another publisher publishes the stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken the stream over")]
pub struct Replaced;

/// Why a frame was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No configuration came before the first frame.
    #[error("a frame came before its configuration")]
    NoConfig,
    /// Another publisher publishes the stream now.
    #[error(transparent)]
    Replaced(#[from] Replaced),
}

/// Which publisher has the stream, and what it stated about its frames.
#[derive(Debug, Default)]
pub(super) struct PublisherSlot {
    current: Option<u64>,
    /// How many publishers there were. Each is identified by its number, which is never used again.
    joined: u64,
    /// The client of the current or last publisher, if it identified itself.
    owner: Option<Token>,
    last_seen: Micros,
    /// It is a source of this hub, which sleeps while nobody watches.
    reserved: bool,
    ended: bool,
    /// The source cannot make a keyframe on request.
    passthrough: bool,
    upstream: Option<Upstream>,
    /// How the hub that the stream comes from serves it.
    service: Option<Service>,
    /// Waits until a viewer has room for a frame.
    waker: Option<Waker>,
}

impl PublisherSlot {
    /// Takes the slot for a new publisher and returns its number. `None`: it has a live publisher, and that is another
    /// client.
    pub(super) fn join(&mut self, owner: Option<Token>, now: Micros) -> Option<u64> {
        let same_client = owner.is_some() && owner == self.owner;
        let alive = self.reserved || self.last_seen.saturating_add(LOST_AFTER) > now;
        if self.current.is_some() && !same_client && alive {
            return None;
        }
        let joined = self.joined + 1;
        *self = Self {
            current: Some(joined),
            joined,
            owner,
            last_seen: now,
            // A wait that began for the publisher before ends as it would have.
            waker: self.waker.take(),
            ..Self::default()
        };
        Some(joined)
    }

    pub(super) fn leave(&mut self) {
        self.current = None;
        self.reserved = false;
    }

    /// However long the publisher is silent, no other takes the slot.
    pub(super) fn reserve(&mut self) {
        self.reserved = true;
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.reserved
    }

    pub(super) fn is_current(&self, publisher: u64) -> bool {
        self.current == Some(publisher)
    }

    /// Whether there is a publisher.
    pub(super) fn is_taken(&self) -> bool {
        self.current.is_some()
    }

    /// Whether there ever was one.
    pub(super) fn was_taken(&self) -> bool {
        self.joined > 0
    }

    /// The publisher is alive.
    pub(super) fn touch(&mut self, now: Micros) {
        self.last_seen = now;
    }

    /// The publisher will send no more frames.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn set_passthrough(&mut self, passthrough: bool) {
        self.passthrough = passthrough;
    }

    pub(super) fn is_passthrough(&self) -> bool {
        self.passthrough
    }

    pub(super) fn set_upstream(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream);
    }

    pub(super) fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    pub(super) fn set_service(&mut self, service: Service) {
        self.service = Some(service);
    }

    pub(super) fn service(&self) -> Option<Service> {
        self.service
    }

    /// Whether a frame only replays the GOP: its passthrough publisher was idle, and has a viewer again.
    pub(super) fn replays(&self, frame: &Frame) -> bool {
        let Times { captured, received, arrived, .. } = frame.times;
        self.passthrough && captured != 0 && received.max(arrived) > captured.saturating_add(REPLAY_AGE)
    }

    /// Has the publisher's task woken when a viewer has room.
    pub(super) fn wait_for_room(&mut self, context: &Context<'_>) {
        store_waker(&mut self.waker, context);
    }

    /// A viewer may have room.
    pub(super) fn wake(&mut self, effects: &mut Effects) {
        effects.wake(&mut self.waker);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_the_same_client_replaces_a_live_publisher() {
        let mut slot = PublisherSlot::default();
        let [client, other] = [1, 2].map(|byte| Some(Token([byte; 16])));
        assert!(!slot.was_taken());
        assert_eq!(slot.join(client, 1), Some(1));
        assert_eq!([other, None].map(|owner| slot.join(owner, 2)), [None, None]);
        assert_eq!(slot.join(client, 3), Some(2));
        assert!(slot.is_current(2) && !slot.is_current(1));
        slot.touch(LOST_AFTER);
        assert_eq!(slot.join(other, 2 * LOST_AFTER - 1), None);
        assert_eq!(slot.join(other, 2 * LOST_AFTER), Some(3));
        slot.leave();
        assert!(!slot.is_taken() && slot.was_taken());
        assert_eq!(slot.join(None, 2 * LOST_AFTER), Some(4));
        assert_eq!(slot.join(None, 2 * LOST_AFTER), None, "without a token no client is the same");
    }

    #[test]
    fn a_publisher_inherits_nothing_from_the_one_before() {
        let mut slot = PublisherSlot::default();
        slot.join(None, 1);
        slot.set_passthrough(true);
        slot.set_service(Service::default());
        slot.set_upstream(Upstream::new(|_| {}));
        slot.end();
        slot.leave();
        assert!(slot.has_ended() && slot.service().is_some());
        slot.join(None, 1);
        assert!(!slot.has_ended() && !slot.is_passthrough());
        assert!(slot.service().is_none() && slot.upstream().is_none());
    }

    #[test]
    fn an_old_frame_replays_the_gop_of_a_passthrough_source_only() {
        let mut slot = PublisherSlot::default();
        let arrived_after = |age| {
            let times = Times { captured: 5, received: 5 + age, ..Times::default() };
            Frame { sequence: 0, keyframe: false, times, data: Bytes::new() }
        };
        assert!(!slot.replays(&arrived_after(REPLAY_AGE + 1)));
        slot.set_passthrough(true);
        assert!(slot.replays(&arrived_after(REPLAY_AGE + 1)));
        assert!(!slot.replays(&arrived_after(REPLAY_AGE)));
    }
}

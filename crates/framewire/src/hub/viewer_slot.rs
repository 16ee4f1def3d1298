//! The viewers of a stream, as the stream knows them.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    task::{Context, Waker},
};

use framewire_proto::{
    Config, Frame, Micros, Rendition,
    rendition::{Chooser, Offer},
    wire::native::State,
};

use super::{
    effects::Effects,
    mailbox::{Counts, Mailbox, Reason},
    rendition::RenditionState,
    wait::store_waker,
};

/// Which renditions a viewer can decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accepts {
    /// The source only, whatever its codec.
    #[default]
    Source,
    /// Any: the viewer gets the best one that fits its link.
    Any,
    /// JPEGs only.
    Jpegs,
}

/// What a viewer gets, the most urgent first.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The state of the stream, at first and after each change.
    State(State),
    /// Why there is no picture; empty: there is one again.
    Fault(Arc<str>),
    /// The configuration of the frames that follow.
    Config(Arc<Config>),
    /// A frame. The next call of [`Subscriber::poll`](super::Subscriber::poll) confirms that it was sent whole; if the
    /// subscriber is dropped before, the frame counts as lost.
    Frame(Frame),
    /// The publisher will send no more frames. Another may still take the stream over.
    Ended,
}

/// One viewer of a stream.
#[derive(Debug)]
pub(super) struct ViewerSlot {
    mailbox: Mailbox,
    accepts: Accepts,
    /// The rendition that the viewer takes, and the one that it will take from that one's next keyframe on.
    rendition: Rendition,
    next_rendition: Option<Rendition>,
    chooser: Chooser,
    /// Bits a second that may be sent over its link; `None` while that is not known.
    target: Option<u64>,
    /// The measured rate of its link in bits a second; `None` while that is not known.
    capacity: Option<u64>,
    /// Older frames, in µs, are dropped.
    max_age: Option<Micros>,
    /// The viewer waits for a frame.
    has_room: bool,
    /// A state that the viewer has not got yet.
    state: Option<State>,
    /// A fault, or its end, that the viewer has not got yet.
    fault: Option<Arc<str>>,
    /// The viewer has not got the end of the publisher yet.
    ended: bool,
    /// The configuration that the viewer got last.
    config: Option<Arc<Config>>,
    /// A frame was popped and is being sent.
    in_flight: bool,
    waker: Option<Waker>,
}

impl ViewerSlot {
    fn new(mailbox: Mailbox, state: State, fault: Option<Arc<str>>, ended: bool) -> Self {
        Self {
            mailbox,
            accepts: Accepts::default(),
            rendition: Rendition::Source,
            next_rendition: None,
            chooser: Chooser::default(),
            target: None,
            capacity: None,
            max_age: None,
            has_room: false,
            state: Some(state),
            fault,
            ended,
            config: None,
            in_flight: false,
            waker: None,
        }
    }

    pub(super) fn accepts(&self) -> Accepts {
        self.accepts
    }

    pub(super) fn set_accepts(&mut self, accepts: Accepts) {
        self.accepts = accepts;
    }

    pub(super) fn skip_before(&mut self, moment: Micros) {
        // Where frames depend on each other, a new viewer gets a keyframe anyway.
        let _ = self.mailbox.drop_captured_before(moment);
    }

    pub(super) fn set_max_age(&mut self, max_age: Option<Micros>) {
        self.max_age = max_age;
    }

    pub(super) fn set_target(&mut self, target: Option<u64>) {
        self.target = target;
    }

    pub(super) fn set_capacity(&mut self, capacity: Option<u64>) {
        self.capacity = capacity;
    }

    pub(super) fn rendition(&self) -> Rendition {
        self.rendition
    }

    pub(super) fn counts(&self) -> Counts {
        *self.mailbox.counts()
    }

    /// Whether the frame that was popped last only replays the GOP.
    pub(super) fn catching_up(&self) -> bool {
        self.mailbox.catching_up()
    }

    /// Whether the viewer takes a rendition, or will from its next keyframe on.
    fn takes(&self, rendition: Rendition) -> bool {
        self.rendition == rendition || self.next_rendition == Some(rendition)
    }

    /// The rendition that fits the viewer's link, if that is another one than it takes.
    pub(super) fn choose(&mut self, offer: &Offer, now: Micros) -> Option<Rendition> {
        let taken = self.next_rendition.unwrap_or(self.rendition);
        let best = self.chooser.choose(taken, self.target, offer, now);
        (best != taken).then_some(best)
    }

    /// Switches to another rendition, whose state is `to_state`: to a worse one at once, to a better one at its next
    /// keyframe.
    pub(super) fn switch(
        &mut self,
        to: Rendition,
        to_state: &mut RenditionState,
        live: bool,
        now: Micros,
        effects: &mut Effects,
    ) {
        // A better rendition has a smaller number.
        if (to as u8) < self.rendition as u8 {
            self.next_rendition = Some(to);
            to_state.request_keyframe();
        } else if to != self.rendition {
            (self.rendition, self.next_rendition) = (to, None);
            self.mailbox.restart();
            to_state.preload(&mut self.mailbox, live, now);
            if self.mailbox.take_keyframe_request() {
                to_state.request_keyframe();
            }
        } else {
            self.next_rendition = None;
        }
        effects.wake(&mut self.waker);
    }

    /// The frame that was popped before was sent whole.
    pub(super) fn confirm_delivery(&mut self) {
        self.has_room = false;
        if mem::take(&mut self.in_flight) {
            self.mailbox.count_delivered();
        }
    }

    /// The frame that was popped is not sent. Where later ones need it, they are dropped too; returns whether to request a keyframe.
    pub(super) fn withhold(&mut self, reason: Reason) -> bool {
        if mem::take(&mut self.in_flight) {
            self.mailbox.count_dropped(reason);
        }
        match &self.config {
            Some(config) if !config.codec.independent() => {
                self.mailbox.drop_all(Reason::Undecodable);
                self.mailbox.skip_to_keyframe(config);
                self.mailbox.take_keyframe_request()
            }
            _ => false,
        }
    }

    /// A state of the stream that the viewer has not got yet.
    pub(super) fn take_state(&mut self) -> Option<State> {
        self.state.take()
    }

    /// A fault of the stream, or its end, that the viewer has not got yet.
    pub(super) fn take_fault(&mut self) -> Option<Arc<str>> {
        self.fault.take()
    }

    /// Drops frames over the maximum age; returns whether to request a keyframe.
    pub(super) fn drop_stale(&mut self, now: Micros) -> bool {
        self.max_age.is_some_and(|most| self.mailbox.drop_captured_before(now.saturating_sub(most)))
    }

    /// The configuration of the next frame, if the viewer has not got it yet.
    pub(super) fn take_config(&mut self) -> Option<Arc<Config>> {
        let config = self.mailbox.next_config()?;
        if self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config)) {
            return None;
        }
        self.config = Some(config.clone());
        self.config.clone()
    }

    /// The next frame, which is in flight from now on.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let (_, frame) = self.mailbox.pop()?;
        self.in_flight = true;
        Some(frame)
    }

    /// Whether the publisher has ended and the viewer has not got that yet.
    pub(super) fn take_end(&mut self) -> bool {
        mem::take(&mut self.ended)
    }

    /// Has the viewer's task woken when there is something for it.
    pub(super) fn wait(&mut self, context: &Context<'_>, has_room: bool) {
        store_waker(&mut self.waker, context);
        self.has_room = has_room;
    }
}

/// The viewers of one stream, and what became of the frames of those that have left.
#[derive(Debug, Default)]
pub(super) struct ViewerSlots {
    slots: BTreeMap<u64, ViewerSlot>,
    joined: u64,
    left: Counts,
}

impl ViewerSlots {
    /// Adds a viewer of the source, whose mailbox this is; returns its number.
    pub(super) fn join(&mut self, mailbox: Mailbox, state: State, fault: Option<Arc<str>>, ended: bool) -> u64 {
        self.joined += 1;
        self.slots.insert(self.joined, ViewerSlot::new(mailbox, state, fault, ended));
        self.joined
    }

    /// Removes a viewer. Frames that it has not got whole count as dropped.
    pub(super) fn leave(&mut self, viewer: u64) {
        let Some(mut slot) = self.slots.remove(&viewer) else { return };
        if slot.in_flight {
            slot.mailbox.count_dropped(Reason::Left);
        }
        slot.mailbox.drop_all(Reason::Left);
        self.left.add(slot.mailbox.counts());
    }

    pub(super) fn get(&self, viewer: u64) -> Option<&ViewerSlot> {
        self.slots.get(&viewer)
    }

    pub(super) fn get_mut(&mut self, viewer: u64) -> Option<&mut ViewerSlot> {
        self.slots.get_mut(&viewer)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What became of all viewers' frames, including those of viewers that have left.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.left;
        self.slots.values().for_each(|slot| counts.add(slot.mailbox.counts()));
        counts
    }

    /// Offers a frame to the viewers of a rendition and wakes them; returns whether one of them needs a keyframe. A
    /// viewer that waits to switch to the rendition does so at a keyframe.
    pub(super) fn deliver(
        &mut self,
        rendition: Rendition,
        config: &Arc<Config>,
        frame: &Frame,
        replays: bool,
        effects: &mut Effects,
    ) -> bool {
        let mut needs_keyframe = false;
        for slot in self.slots.values_mut() {
            if slot.next_rendition == Some(rendition) && frame.keyframe {
                (slot.rendition, slot.next_rendition) = (rendition, None);
            }
            if slot.rendition == rendition {
                if replays {
                    slot.mailbox.extend_replay();
                }
                needs_keyframe |= slot.mailbox.offer(config, frame.clone());
                effects.wake(&mut slot.waker);
            }
        }
        needs_keyframe
    }

    /// The next frame of the source depends on frames that never arrived.
    pub(super) fn skip_source_to_keyframe(&mut self, config: &Config) {
        for slot in self.slots.values_mut().filter(|slot| slot.rendition == Rendition::Source) {
            slot.mailbox.skip_to_keyframe(config);
        }
    }

    pub(super) fn set_state(&mut self, state: State, effects: &mut Effects) {
        for slot in self.slots.values_mut() {
            slot.state = Some(state);
            effects.wake(&mut slot.waker);
        }
    }

    pub(super) fn set_fault(&mut self, fault: &Arc<str>, effects: &mut Effects) {
        for slot in self.slots.values_mut() {
            slot.fault = Some(fault.clone());
            effects.wake(&mut slot.waker);
        }
    }

    /// The publisher will send no more frames.
    pub(super) fn end(&mut self, effects: &mut Effects) {
        for slot in self.slots.values_mut() {
            slot.ended = true;
            effects.wake(&mut slot.waker);
        }
    }

    /// Whether any viewer's mailbox is empty.
    pub(super) fn any_drained(&self) -> bool {
        self.slots.values().any(|slot| slot.mailbox.is_empty())
    }

    /// Whether any viewer takes a rendition, or will from its next keyframe on.
    pub(super) fn any_taking(&self, rendition: Rendition) -> bool {
        self.slots.values().any(|slot| slot.takes(rendition))
    }

    /// Whether any viewer of a rendition would take a frame at once.
    pub(super) fn any_with_room(&self, rendition: Rendition) -> bool {
        self.slots.values().any(|slot| slot.takes(rendition) && slot.has_room && slot.mailbox.is_empty())
    }

    /// The known targets of a rendition's viewers, in bits a second.
    pub(super) fn targets(&self, rendition: Rendition) -> impl Iterator<Item = u64> {
        self.slots.values().filter(move |slot| slot.takes(rendition)).filter_map(|slot| slot.target)
    }

    /// How many viewers have a rendition, and the lowest capacity that is known among their links. A viewer that waits
    /// for another rendition's keyframe counts for the one that it has.
    pub(super) fn audience(&self, rendition: Rendition) -> (usize, Option<u64>) {
        let viewers = || self.slots.values().filter(|slot| slot.rendition == rendition);
        (viewers().count(), viewers().filter_map(|slot| slot.capacity).min())
    }

    /// The viewers of a rendition that can decode others too.
    pub(super) fn movable_from(&self, rendition: Rendition) -> Vec<u64> {
        self.numbers(|slot| slot.takes(rendition) && slot.accepts != Accepts::Jpegs)
    }

    /// The viewers that decode JPEGs only.
    pub(super) fn jpegs_only(&self) -> Vec<u64> {
        self.numbers(|slot| slot.accepts == Accepts::Jpegs)
    }

    fn numbers(&self, those: impl Fn(&ViewerSlot) -> bool) -> Vec<u64> {
        self.slots.iter().filter(|(_, slot)| those(slot)).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use framewire_proto::{Codec, Times};

    use super::{super::mailbox::Policy, *};

    fn config() -> Arc<Config> {
        Arc::new(Config::new(Codec::Jpeg, 8, 8, 0))
    }

    fn frame(sequence: u64) -> Frame {
        Frame { sequence, keyframe: true, times: Times::default(), data: Bytes::from_static(b"x") }
    }

    fn join(viewers: &mut ViewerSlots) -> u64 {
        viewers.join(Mailbox::new(Policy::Every), State::Live, None, false)
    }

    #[test]
    fn a_frame_in_flight_and_those_queued_count_as_dropped_when_their_viewer_leaves() {
        let (mut viewers, mut effects) = (ViewerSlots::default(), Effects::default());
        let [viewer, other] = [(); 2].map(|()| join(&mut viewers));
        (0..3).for_each(|sequence| {
            viewers.deliver(Rendition::Source, &config(), &frame(sequence), false, &mut effects);
        });
        let slot = viewers.get_mut(viewer).unwrap();
        assert_eq!(slot.pop().map(|frame| frame.sequence), Some(0));
        slot.confirm_delivery();
        slot.confirm_delivery();
        assert_eq!((slot.pop().map(|frame| frame.sequence), slot.counts().delivered), (Some(1), 1));
        viewers.leave(viewer);
        viewers.leave(viewer);
        assert_eq!((viewers.len(), viewers.get(other).is_some()), (1, true));
        let counts = viewers.counts();
        assert_eq!((counts.offered, counts.delivered, counts.dropped(Reason::Left)), (6, 1, 2));
    }

    #[test]
    fn a_viewer_moves_down_at_once_and_up_at_a_keyframe() {
        let (mut viewers, mut effects) = (ViewerSlots::default(), Effects::default());
        let [mut source, mut low] = [RenditionState::default(), RenditionState::default()];
        let viewer = join(&mut viewers);
        let slot = viewers.get_mut(viewer).unwrap();
        slot.switch(Rendition::Low, &mut low, true, 1, &mut effects);
        assert_eq!((slot.rendition(), low.take_keyframe_request()), (Rendition::Low, true));
        slot.switch(Rendition::Source, &mut source, true, 1, &mut effects);
        assert_eq!((slot.rendition(), source.take_keyframe_request()), (Rendition::Low, true));
        assert!(viewers.any_taking(Rendition::Low) && viewers.any_taking(Rendition::Source));
        assert_eq!((viewers.audience(Rendition::Low).0, viewers.audience(Rendition::Source).0), (1, 0));
        let dependent = Frame { keyframe: false, ..frame(5) };
        viewers.deliver(Rendition::Source, &config(), &dependent, false, &mut effects);
        assert_eq!(viewers.get(viewer).unwrap().rendition(), Rendition::Low);
        viewers.deliver(Rendition::Source, &config(), &frame(6), false, &mut effects);
        assert!(!viewers.any_taking(Rendition::Low));
        assert_eq!(viewers.get_mut(viewer).unwrap().pop().map(|frame| frame.sequence), Some(6));
    }

    #[test]
    fn a_configuration_is_given_once_before_its_first_frame() {
        let (mut viewers, mut effects) = (ViewerSlots::default(), Effects::default());
        let (viewer, [one, other]) = (join(&mut viewers), [config(), config()]);
        for (sequence, config) in [&one, &one, &other].into_iter().enumerate() {
            viewers.deliver(Rendition::Source, config, &frame(sequence as u64), false, &mut effects);
        }
        let slot = viewers.get_mut(viewer).unwrap();
        let given: Vec<_> = (0..3)
            .map(|_| {
                let given = slot.take_config().is_some();
                assert!(slot.take_config().is_none());
                slot.pop();
                given
            })
            .collect();
        assert_eq!(given, [true, false, true]);
    }
}

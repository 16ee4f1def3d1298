//! The queue of frames for one viewer, and the one place that decides which frame is dropped for which.

use std::{collections::VecDeque, fmt::Write as _, mem, sync::Arc};

use framewire_proto::{Config, Frame, Micros, wire::native::Service};
use serde::Serialize;

use super::gop;

/// What a viewer gets when frames arrive faster than it takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The newest frame: older ones are dropped.
    Newest,
    /// Every frame, within the bounds of a queue: for a recorder.
    Every,
}

/// Why a frame did not reach a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A newer frame arrived before this one was sent.
    Superseded,
    /// A frame that this one depends on was dropped, so no decoder could use it.
    Undecodable,
    /// The queue of a viewer that gets [every](Policy::Every) frame was full.
    Full,
    /// The viewer left while the frame was queued or in flight.
    Left,
    /// The frame was older than the viewer's maximum age.
    Stale,
    /// The frame was over the limit of a frame's bytes on the native wire.
    TooLarge,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Superseded, Self::Undecodable, Self::Full, Self::Left, Self::Stale, Self::TooLarge];

    /// The reason's name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Undecodable => "undecodable",
            Self::Full => "full",
            Self::Left => "left",
            Self::Stale => "stale",
            Self::TooLarge => "too_large",
        }
    }
}

/// What became of a viewer's frames: `offered` = `delivered` + the drops + frames that are queued or in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames for the viewer since it joined.
    pub offered: u64,
    /// Frames that were sent whole.
    pub delivered: u64,
    dropped: [u64; Reason::ALL.len()],
}

impl Counts {
    /// Frames dropped for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Frames dropped for any reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Every reason's name, with the number of frames dropped for it.
    pub fn by_reason(&self) -> [(&'static str, u64); Reason::ALL.len()] {
        Reason::ALL.map(|reason| (reason.name(), self.dropped(reason)))
    }

    fn drop_one(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    /// Adds what another viewer got.
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        for (sum, more) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += more;
        }
    }
}

/// The drops as a map from a reason's name to its count.
impl Serialize for Counts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_reason())
    }
}

/// What another hub reports about the frames that it sent here.
impl From<Service> for Counts {
    fn from(service: Service) -> Self {
        let Service { delivered, superseded, undecodable, full, .. } = service;
        let mut counts = Self { delivered, ..Self::default() };
        for (reason, dropped) in
            [(Reason::Superseded, superseded), (Reason::Undecodable, undecodable), (Reason::Full, full)]
        {
            counts.dropped[reason as usize] = dropped;
        }
        counts.offered = delivered.saturating_add(superseded).saturating_add(undecodable).saturating_add(full);
        counts
    }
}

/// Drops for a person: `3 superseded, 1 before show`, or `none`.
pub fn drops_in_words(drops: impl IntoIterator<Item = (&'static str, u64)>) -> String {
    let mut text = String::new();
    for (reason, count) in drops.into_iter().filter(|(_, count)| *count > 0) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{count} {}", reason.replace('_', " "));
    }
    if text.is_empty() { "none".into() } else { text }
}

/// Frames that may queue where each depends on the one before: a quarter of a second of jitter at 30 frames a second.
const MAX_DEPENDENT: usize = 8;
/// A queued frame of this age, in µs, is stale once later ones were dropped.
const STALE_AFTER: Micros = 500_000;
/// Frames that may queue for a viewer that gets every frame.
const MAX_FRAMES: usize = 256;
/// Bytes that may queue where more than a few frames may.
const MAX_BYTES: usize = 32 << 20;

/// The frames queued for one viewer.
#[derive(Debug)]
pub(super) struct Mailbox {
    policy: Policy,
    queue: VecDeque<(Arc<Config>, Frame)>,
    /// A frame was dropped that the next ones depend on: only a keyframe can be used.
    needs_keyframe: bool,
    /// The number of the last frame popped: older ones are of no use.
    last_popped: Option<u64>,
    /// New frames that may still queue behind a GOP replay, beyond the usual bound; 0 once the viewer has caught up.
    backlog: usize,
    /// Frames at the front of the queue that were published before the viewer joined.
    replayed: usize,
    /// A keyframe was requested and has not been popped since: a viewer that takes nothing requests no other.
    keyframe_requested: bool,
    /// The queue was dropped as stale, perhaps with the requested keyframe.
    stale_dropped: bool,
    counts: Counts,
}

impl Mailbox {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            queue: VecDeque::new(),
            needs_keyframe: false,
            last_popped: None,
            backlog: 0,
            replayed: 0,
            keyframe_requested: false,
            stale_dropped: false,
            counts: Counts::default(),
        }
    }

    /// Preloads the current GOP. While the viewer takes that, as many new frames may queue behind it; a keyframe
    /// replaces the rest of it.
    pub(super) fn replay(&mut self, config: &Arc<Config>, frames: &[Frame]) {
        self.counts.offered += frames.len() as u64;
        self.queue.extend(frames.iter().map(|frame| (config.clone(), frame.clone())));
        self.backlog = if frames.len() > 1 { frames.len() } else { 0 };
        self.replayed = self.queue.len();
    }

    /// The next frame offered belongs to the GOP replay too: it is queued, and as many may follow as are queued by
    /// then. A recorder wants every frame anyway: no later keyframe stands in for it.
    pub(super) fn extend_replay(&mut self) {
        if self.policy == Policy::Newest && self.queue.len() < gop::MAX_FRAMES {
            self.backlog = self.backlog.max(self.queue.len() + 2);
        }
    }

    /// Whether the next frame only replays the GOP, and more than a moment is queued behind it.
    pub(super) fn catching_up(&self) -> bool {
        self.backlog > 0 && self.queue.len() > MAX_DEPENDENT
    }

    /// [Pushes](Self::push) a frame; returns whether to [request a keyframe](Self::take_keyframe_request).
    pub(super) fn offer(&mut self, config: &Arc<Config>, frame: Frame) -> bool {
        self.push(config, frame);
        self.take_keyframe_request()
    }

    /// Queues a frame for the viewer and drops the frames that it replaces, or drops the frame itself.
    pub(super) fn push(&mut self, config: &Arc<Config>, frame: Frame) {
        self.counts.offered += 1;
        if let Err(reason) = self.try_push(config, frame) {
            self.counts.drop_one(reason);
        }
    }

    fn try_push(&mut self, config: &Arc<Config>, frame: Frame) -> Result<(), Reason> {
        if self.needs_keyframe && !frame.keyframe {
            self.drop_received_before(frame.times.received.saturating_sub(STALE_AFTER));
            return Err(Reason::Undecodable);
        }
        if self.last_popped.is_some_and(|last| frame.sequence < last) {
            self.keyframe_requested &= !frame.keyframe;
            return Err(Reason::Superseded);
        }
        let replaying = self.backlog > 0;
        self.backlog = self.backlog.saturating_sub(1);
        if replaying && frame.keyframe {
            // The viewer catches up with this frame alone.
            self.drop_replay();
            self.drop_all(Reason::Superseded);
        } else if replaying && self.fits_bytes(frame.data.len()) {
            // The frame queues behind the replay.
        } else if !self.has_room(config, &frame) {
            if self.policy == Policy::Every {
                self.skip_to_keyframe(config);
                return Err(Reason::Full);
            }
            if !frame.keyframe {
                // The queued frames can still be decoded. This one could not, once one of them is dropped: so drop this
                // one.
                self.needs_keyframe = true;
                return Err(Reason::Superseded);
            }
            self.drop_all(Reason::Superseded);
        }
        self.needs_keyframe = false;
        self.queue.push_back((config.clone(), frame));
        Ok(())
    }

    /// Frames were skipped that were never offered here: where frames depend on each other, the next one must be a
    /// keyframe.
    pub(super) fn skip_to_keyframe(&mut self, config: &Config) {
        self.needs_keyframe = !config.codec.independent();
    }

    /// Drops queued frames that were captured before that moment, and those that depend on them; returns whether to
    /// request a keyframe.
    pub(super) fn drop_captured_before(&mut self, moment: Micros) -> bool {
        if self.backlog > 0 {
            // Frames that are not stale depend on the replay.
            return false;
        }
        let stale = |frame: &Frame| (1..moment).contains(&frame.times.captured);
        let Some(last) = self.queue.iter().rposition(|(_, frame)| stale(frame)) else { return false };
        let next = self.queue.iter().skip(last + 1).position(|(_, frame)| frame.keyframe);
        let end = next.map_or(self.queue.len(), |next| last + 1 + next);
        for (place, (config, _)) in self.queue.drain(..end).enumerate() {
            self.counts.drop_one(if place <= last { Reason::Stale } else { Reason::Undecodable });
            self.needs_keyframe |= next.is_none() && !config.codec.independent();
        }
        self.take_keyframe_request()
    }

    pub(super) fn pop(&mut self) -> Option<(Arc<Config>, Frame)> {
        let Some((config, frame)) = self.queue.pop_front() else {
            // The viewer takes frames again, so it may request another keyframe.
            self.keyframe_requested &= !mem::take(&mut self.stale_dropped);
            return None;
        };
        self.last_popped = Some(frame.sequence);
        self.replayed = self.replayed.saturating_sub(1);
        // The keyframe that a replay begins with is not the requested one.
        self.keyframe_requested &= self.backlog > 0 || !frame.keyframe;
        if self.backlog > 0 && self.queue.is_empty() {
            (self.backlog, self.keyframe_requested) = (0, false);
        }
        Some((config, frame))
    }

    /// Frames of another rendition follow: they begin with a keyframe.
    pub(super) fn restart(&mut self) {
        self.drop_replay();
        self.drop_all(Reason::Superseded);
        (self.needs_keyframe, self.keyframe_requested, self.stale_dropped) = (true, false, false);
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether to request a keyframe: no other frame can be used, or it would let the viewer catch up sooner. True once
    /// until the keyframe is popped.
    pub(super) fn take_keyframe_request(&mut self) -> bool {
        (self.needs_keyframe || self.catching_up()) && !mem::replace(&mut self.keyframe_requested, true)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The configuration of the next frame.
    pub(super) fn next_config(&self) -> Option<&Arc<Config>> {
        self.queue.front().map(|(config, _)| config)
    }

    /// Drops every queued frame.
    pub(super) fn drop_all(&mut self, reason: Reason) {
        (self.backlog, self.replayed) = (0, 0);
        for _ in self.queue.drain(..) {
            self.counts.drop_one(reason);
        }
    }

    /// A popped frame was sent whole.
    pub(super) fn count_delivered(&mut self) {
        self.counts.delivered += 1;
    }

    /// A popped frame was not sent.
    pub(super) fn count_dropped(&mut self, reason: Reason) {
        self.counts.drop_one(reason);
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Frames from before the viewer joined are not counted as dropped: it misses nothing.
    fn drop_replay(&mut self) {
        let dropped = self.queue.drain(..self.replayed.min(self.queue.len())).count();
        self.counts.offered -= dropped as u64;
        self.replayed = 0;
    }

    /// Drops the queue if its first frame was received before that moment: nothing can follow it, so it is not worth
    /// showing.
    fn drop_received_before(&mut self, moment: Micros) {
        let first = self.queue.front().map(|(_, first)| first.times.received);
        if self.policy == Policy::Newest && first.is_some_and(|received| received < moment) {
            self.drop_all(Reason::Superseded);
            self.stale_dropped = true;
        }
    }

    fn has_room(&self, config: &Config, frame: &Frame) -> bool {
        match self.policy {
            Policy::Newest if config.codec.independent() => self.queue.is_empty(),
            Policy::Newest => self.queue.len() < MAX_DEPENDENT,
            Policy::Every => self.queue.len() < MAX_FRAMES && self.fits_bytes(frame.data.len()),
        }
    }

    /// Whether this many more bytes stay within the bound.
    fn fits_bytes(&self, more: usize) -> bool {
        more + self.queue.iter().map(|(_, frame)| frame.data.len()).sum::<usize>() <= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use framewire_proto::{Codec, Times};
    use proptest::prelude::*;

    use super::*;

    fn config(codec: Codec) -> Arc<Config> {
        Arc::new(Config::new(codec, 8, 8, 0))
    }

    fn frame(sequence: u64, keyframe: bool) -> Frame {
        Frame { sequence, keyframe, times: Times::default(), data: Bytes::from_static(b"x") }
    }

    #[test]
    fn the_newest_frame_wins() {
        let (mut mailbox, jpeg) = (Mailbox::new(Policy::Newest), config(Codec::Jpeg));
        for sequence in 0..5 {
            mailbox.offer(&jpeg, frame(sequence, true));
        }
        assert_eq!(mailbox.pop().unwrap().1.sequence, 4);
        assert!(mailbox.pop().is_none());
        assert_eq!(mailbox.counts().dropped(Reason::Superseded), 4);
    }

    #[test]
    fn h264_resumes_at_a_keyframe_after_a_drop() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.offer(&h264, frame(0, true));
        for sequence in 1..20 {
            mailbox.offer(&h264, frame(sequence, false));
        }
        let waiting: Vec<u64> = std::iter::from_fn(|| mailbox.pop()).map(|(_, frame)| frame.sequence).collect();
        assert_eq!(waiting, (0..8).collect::<Vec<_>>());
        mailbox.offer(&h264, frame(20, false));
        assert!(mailbox.pop().is_none());
        mailbox.offer(&h264, frame(21, true));
        mailbox.offer(&h264, frame(22, false));
        assert_eq!(mailbox.pop().unwrap().1.sequence, 21);
        assert_eq!(mailbox.pop().unwrap().1.sequence, 22);
        assert_eq!(mailbox.counts().dropped(Reason::Undecodable), 12);
    }

    #[test]
    fn a_viewer_that_takes_nothing_requests_one_keyframe_only() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        let give = |mailbox: &mut Mailbox, from: u64| {
            (from..from + 20).filter(|sequence| mailbox.offer(&h264, frame(*sequence, *sequence == from))).count()
        };
        assert_eq!(give(&mut mailbox, 0), 1, "the viewer is too slow");
        assert_eq!(give(&mut mailbox, 20) + give(&mut mailbox, 40), 0, "the first keyframe was not taken");
        assert_eq!(mailbox.pop().unwrap().1.sequence, 40);
        assert!(mailbox.offer(&h264, frame(60, false)), "the viewer takes frames again");
        assert!(!mailbox.offer(&h264, frame(61, false)));
    }

    #[test]
    fn a_stale_queue_is_dropped_and_another_keyframe_requested() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        let at = |sequence: u64, keyframe| {
            let times = Times { received: 1 + sequence * 33_333, ..Times::default() };
            Frame { times, ..frame(sequence, keyframe) }
        };
        let requested = (0..60).filter(|sequence| mailbox.offer(&h264, at(*sequence, *sequence == 0))).count();
        assert_eq!(requested, 1);
        assert!(mailbox.pop().is_none(), "the queue was two seconds old");
        assert!(mailbox.offer(&h264, at(60, false)), "now a keyframe would be taken");
        assert!(!mailbox.offer(&h264, at(61, false)));
        mailbox.offer(&h264, at(62, true));
        assert_eq!(mailbox.pop().unwrap().1.sequence, 62);
    }

    #[test]
    fn frames_over_the_maximum_age_are_dropped_with_those_that_depend_on_them() {
        let at = |sequence: u64, keyframe| {
            let times = Times { captured: 1 + sequence, ..Times::default() };
            Frame { times, ..frame(sequence, keyframe) }
        };
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        (0..3).for_each(|sequence| mailbox.push(&h264, at(sequence, sequence == 0)));
        assert!(!mailbox.drop_captured_before(1) && mailbox.queue.len() == 3);
        assert!(mailbox.drop_captured_before(2), "a keyframe is requested");
        assert_eq!((mailbox.counts().dropped(Reason::Stale), mailbox.counts().dropped(Reason::Undecodable)), (1, 2));
        mailbox.offer(&h264, at(3, false));
        (4..6).for_each(|sequence| mailbox.push(&h264, at(sequence, sequence == 4)));
        assert!(!mailbox.drop_captured_before(5) && mailbox.pop().unwrap().1.sequence == 4);
        let (mut mailbox, jpeg) = (Mailbox::new(Policy::Every), config(Codec::Jpeg));
        (0..4).for_each(|sequence| mailbox.push(&jpeg, at(sequence, true)));
        assert!(!mailbox.drop_captured_before(4) && mailbox.pop().unwrap().1.sequence == 3);
    }

    fn gop_of(frames: u64) -> Vec<Frame> {
        (0..frames).map(|sequence| frame(sequence, sequence == 0)).collect()
    }

    fn all(mailbox: &mut Mailbox) -> Vec<u64> {
        std::iter::from_fn(|| mailbox.pop()).map(|(_, frame)| frame.sequence).collect()
    }

    #[test]
    fn a_new_viewer_gets_the_gop_replay_and_the_frames_behind_it() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &gop_of(100));
        assert!(mailbox.catching_up() && mailbox.take_keyframe_request() && !mailbox.take_keyframe_request());
        assert_eq!(mailbox.pop().unwrap().1.sequence, 0);
        assert!((100..150).all(|sequence| !mailbox.offer(&h264, frame(sequence, false))));
        assert!(!mailbox.drop_captured_before(Micros::MAX), "newer frames depend on the replay");
        assert_eq!(all(&mut mailbox), (1..150).collect::<Vec<_>>());
        assert!((150..170).any(|sequence| mailbox.offer(&h264, frame(sequence, false))), "the viewer is too slow");
        assert_eq!(all(&mut mailbox), (150..158).collect::<Vec<_>>(), "the usual bound holds again");
    }

    #[test]
    fn a_replay_grows_while_the_publisher_catches_up() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &gop_of(1));
        assert_eq!(all(&mut mailbox), [0]);
        for sequence in 1..60 {
            mailbox.extend_replay();
            mailbox.push(&h264, frame(sequence, false));
        }
        assert!(mailbox.catching_up());
        (60..90).for_each(|sequence| mailbox.push(&h264, frame(sequence, false)));
        assert_eq!(all(&mut mailbox), (1..90).collect::<Vec<_>>());
        for sequence in 90..2_000 {
            mailbox.extend_replay();
            mailbox.push(&h264, frame(sequence, false));
        }
        assert!(all(&mut mailbox).len() <= 2 * gop::MAX_FRAMES, "the replay is bounded");
    }

    #[test]
    fn a_keyframe_replaces_the_gop_replay() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &gop_of(100));
        assert_eq!(mailbox.pop().unwrap().1.sequence, 0);
        mailbox.push(&h264, frame(100, false));
        mailbox.push(&h264, frame(101, true));
        mailbox.push(&h264, frame(102, false));
        assert_eq!(all(&mut mailbox), [101, 102]);
        // Replayed frames that were dropped are not counted.
        assert_eq!((mailbox.counts().offered, mailbox.counts().dropped(Reason::Superseded)), (4, 1));
    }

    #[test]
    fn a_viewer_that_does_not_catch_up_waits_for_a_keyframe() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &gop_of(30));
        for sequence in 30..100 {
            mailbox.push(&h264, frame(sequence, false));
            assert!(sequence % 10 != 0 || mailbox.pop().is_some());
        }
        let waiting = all(&mut mailbox);
        assert_eq!(waiting, (7..60).collect::<Vec<_>>());
        mailbox.push(&h264, frame(100, false));
        assert!(mailbox.pop().is_none());
        mailbox.push(&h264, frame(101, true));
        assert_eq!(all(&mut mailbox), [101]);
    }

    #[test]
    fn a_recorder_gets_every_frame_that_its_queue_holds() {
        let (mut mailbox, jpeg) = (Mailbox::new(Policy::Every), config(Codec::Jpeg));
        for sequence in 0..300 {
            mailbox.offer(&jpeg, frame(sequence, true));
        }
        assert_eq!(mailbox.counts().dropped(Reason::Full), 44);
        let waiting: Vec<u64> = std::iter::from_fn(|| mailbox.pop()).map(|(_, frame)| frame.sequence).collect();
        assert_eq!(waiting, (0..256).collect::<Vec<_>>());
    }

    #[test]
    fn a_recorder_loses_nothing_where_a_source_begins_with_old_frames() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Every), config(Codec::H264));
        for sequence in 0..60 {
            mailbox.extend_replay();
            mailbox.push(&h264, frame(sequence, sequence % 25 == 0));
        }
        assert_eq!(all(&mut mailbox), (0..60).collect::<Vec<_>>());
        assert_eq!((mailbox.counts().offered, mailbox.counts().all_dropped()), (60, 0));
    }

    #[test]
    fn frames_that_a_keyframe_replaces_count_unless_they_came_before_the_viewer() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &gop_of(3));
        for sequence in 3..30 {
            mailbox.extend_replay();
            mailbox.push(&h264, frame(sequence, sequence == 29));
        }
        assert_eq!(all(&mut mailbox), [29]);
        assert_eq!((mailbox.counts().offered, mailbox.counts().dropped(Reason::Superseded)), (27, 26));
    }

    proptest! {
        /// For any frames and any reader: every frame is counted, the order is kept, and no frame is popped without its
        /// predecessor, unless it is a keyframe.
        #[test]
        fn every_frame_is_accounted_for(
            steps in prop::collection::vec((any::<bool>(), 0..4usize), 0..200),
            codec in prop::sample::select(vec![Codec::Jpeg, Codec::H264]),
            policy in prop::sample::select(vec![Policy::Newest, Policy::Every]),
            kept in 0..40_u64,
        ) {
            let (mut mailbox, config) = (Mailbox::new(policy), config(codec));
            let (mut popped, mut last) = (0, None);
            let kept = if policy == Policy::Every || codec.independent() { 0 } else { kept };
            mailbox.replay(&config, &gop_of(kept));
            for (sequence, (keyframe, pops)) in (kept as usize..).zip(steps.iter()) {
                mailbox.offer(&config, frame(sequence as u64, *keyframe || codec.independent() || sequence == 0));
                for _ in 0..*pops {
                    let Some((_, frame)) = mailbox.pop() else { break };
                    popped += 1;
                    prop_assert!(frame.keyframe || last == frame.sequence.checked_sub(1));
                    prop_assert!(last.is_none_or(|last| last < frame.sequence));
                    last = Some(frame.sequence);
                }
            }
            mailbox.drop_all(Reason::Left);
            prop_assert_eq!(mailbox.counts().offered, popped + mailbox.counts().all_dropped());
        }
    }
}

//! What waits for one viewer, and the one place that decides which frame makes way for which.

use std::{collections::VecDeque, fmt::Write as _, mem, sync::Arc};

use framewire_proto::{Config, Frame, Micros, wire::native::Service};
use serde::Serialize;

use super::gop;

/// What a viewer wants when frames come faster than it takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The newest picture: older ones make way.
    Newest,
    /// Every picture, within the bounds of a queue: what a recorder wants.
    Every,
}

/// Why a frame did not reach a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A newer one came before it could be sent.
    Superseded,
    /// It needs one that was dropped before it, so that no decoder could use it.
    Undecodable,
    /// The queue of a viewer that wants every frame was full.
    Full,
    /// The viewer left while it was waiting or on its way.
    Left,
    /// It was older than the viewer bears.
    Stale,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Superseded, Self::Undecodable, Self::Full, Self::Left, Self::Stale];

    /// The word for it in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Undecodable => "undecodable",
            Self::Full => "full",
            Self::Left => "left",
            Self::Stale => "stale",
        }
    }
}

/// What became of a viewer's frames: `offered` is `delivered`, the drops, and what waits or is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames that were meant for the viewer since it came.
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

    /// Frames dropped for whatever reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Every reason's name, and the frames dropped for it.
    pub fn by_reason(&self) -> [(&'static str, u64); Reason::ALL.len()] {
        Reason::ALL.map(|reason| (reason.name(), self.dropped(reason)))
    }

    pub(super) fn drop_one(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
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

/// What a hub tells its viewer became of that one's frames.
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

/// Frames that wait at most where each needs the one before: a quarter of a second of jitter at 30 frames a second.
const DEPENDENT: usize = 8;
/// What has waited this long, in µs, while later frames were dropped, is the past.
const STALE: Micros = 500_000;
/// Frames that wait at most for a viewer that wants every frame, and bytes where more than one or two wait.
const EVERY_FRAMES: usize = 256;
const EVERY_BYTES: usize = 32 << 20;

/// What waits for one viewer.
#[derive(Debug)]
pub(super) struct Mailbox {
    policy: Policy,
    waiting: VecDeque<(Arc<Config>, Frame)>,
    /// A frame was dropped that the next ones need: nothing but a keyframe can be used.
    broken: bool,
    /// The number of the last frame taken: what is older is not wanted any more.
    taken: Option<u64>,
    /// What waits leads up to the present, and so many more frames may come before it is reached.
    behind: usize,
    /// So many of those that wait first do no more than that.
    lead: usize,
    /// A keyframe was asked for and not taken yet: who takes nothing asks for no other.
    wished: bool,
    /// What waited was left so long that it went, perhaps with the keyframe that was asked for.
    lapsed: bool,
    pub(super) counts: Counts,
}

impl Mailbox {
    pub(super) fn new(policy: Policy) -> Self {
        let (waiting, counts) = (VecDeque::new(), Counts::default());
        Self { policy, waiting, broken: false, behind: 0, lead: 0, taken: None, wished: false, lapsed: false, counts }
    }

    /// Takes what leads up to the present, from a keyframe on. While that is taken, as many frames as it holds may come and
    /// wait behind it; a keyframe replaces what is left of it.
    pub(super) fn replay(&mut self, config: &Arc<Config>, frames: &[Frame]) {
        self.counts.offered += frames.len() as u64;
        self.waiting.extend(frames.iter().map(|frame| (config.clone(), frame.clone())));
        self.behind = if frames.len() > 1 { frames.len() } else { 0 };
        self.lead = self.waiting.len();
    }

    /// The frame that is offered next leads up to the present too: it waits, and as many behind it as wait already.
    pub(super) fn led_up(&mut self) {
        if self.waiting.len() < gop::FRAMES {
            self.behind = self.behind.max(self.waiting.len() + 2);
            self.lead = self.waiting.len() + 1;
        }
    }

    /// Whether what comes next only leads up to the present, which is still far.
    pub(super) fn catching_up(&self) -> bool {
        self.behind > 0 && self.waiting.len() > DEPENDENT
    }

    /// Takes a frame meant for this viewer and drops what has to make way for it, or the frame itself; returns whether a
    /// keyframe is to be asked for.
    pub(super) fn offer(&mut self, config: &Arc<Config>, frame: Frame) -> bool {
        self.put(config, frame);
        self.wishes()
    }

    /// The same where it is asked later whether a keyframe [is wished for](Self::wishes).
    pub(super) fn put(&mut self, config: &Arc<Config>, frame: Frame) {
        self.counts.offered += 1;
        if let Err(reason) = self.take_in(config, frame) {
            self.counts.drop_one(reason);
        }
    }

    fn take_in(&mut self, config: &Arc<Config>, frame: Frame) -> Result<(), Reason> {
        if self.broken && !frame.keyframe {
            self.forget_before(frame.times.received.saturating_sub(STALE));
            return Err(Reason::Undecodable);
        }
        if self.taken.is_some_and(|taken| frame.sequence < taken) {
            self.wished &= !frame.keyframe;
            return Err(Reason::Superseded);
        }
        let behind = self.behind > 0;
        self.behind = self.behind.saturating_sub(1);
        if behind && frame.keyframe {
            // Here is the present.
            self.forget_lead();
            self.clear(Reason::Superseded);
        } else if behind && self.holds(frame.data.len()) {
            // It waits for what leads up to it.
        } else if !self.has_room(config, &frame) {
            if self.policy == Policy::Every {
                self.skipped(config);
                return Err(Reason::Full);
            }
            if !frame.keyframe {
                // Those that wait can still be decoded, this one can't once one of them goes: it is the one to go.
                self.broken = true;
                return Err(Reason::Superseded);
            }
            self.clear(Reason::Superseded);
        }
        self.broken = false;
        self.waiting.push_back((config.clone(), frame));
        Ok(())
    }

    /// Frames went by that were never offered here.
    pub(super) fn skipped(&mut self, config: &Config) {
        self.broken = !config.codec.independent();
    }

    /// Drops what waits and was captured before that moment, and what cannot be decoded without; returns whether a keyframe is
    /// to be asked for.
    pub(super) fn expire(&mut self, moment: Micros) -> bool {
        if self.behind > 0 {
            // It is needed for what will not be.
            return false;
        }
        let stale = |frame: &Frame| (1..moment).contains(&frame.times.captured);
        let Some(last) = self.waiting.iter().rposition(|(_, frame)| stale(frame)) else { return false };
        let next = self.waiting.iter().skip(last + 1).position(|(_, frame)| frame.keyframe);
        let end = next.map_or(self.waiting.len(), |next| last + 1 + next);
        for (place, (config, _)) in self.waiting.drain(..end).enumerate() {
            self.counts.drop_one(if place <= last { Reason::Stale } else { Reason::Undecodable });
            self.broken |= next.is_none() && !config.codec.independent();
        }
        self.wishes()
    }

    pub(super) fn take(&mut self) -> Option<(Arc<Config>, Frame)> {
        let Some((config, frame)) = self.waiting.pop_front() else {
            // It is there again to take one.
            self.wished &= !mem::take(&mut self.lapsed);
            return None;
        };
        self.taken = Some(frame.sequence);
        self.lead = self.lead.saturating_sub(1);
        // The keyframe that what leads up to the present begins with is not the one that was asked for.
        self.wished &= self.behind > 0 || !frame.keyframe;
        if self.behind > 0 && self.waiting.is_empty() {
            (self.behind, self.wished) = (0, false);
        }
        Some((config, frame))
    }

    /// Frames of another kind follow: they begin with a keyframe.
    pub(super) fn restart(&mut self) {
        self.forget_lead();
        self.clear(Reason::Superseded);
        (self.broken, self.wished, self.lapsed) = (true, false, false);
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether a keyframe is to be asked for: nothing else can be used, or it would bring the present sooner, and none was asked
    /// for yet.
    pub(super) fn wishes(&mut self) -> bool {
        (self.broken || self.catching_up()) && !mem::replace(&mut self.wished, true)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The configuration of the frame that comes next.
    pub(super) fn next_config(&self) -> Option<&Arc<Config>> {
        self.waiting.front().map(|(config, _)| config)
    }

    pub(super) fn clear(&mut self, reason: Reason) {
        (self.behind, self.lead) = (0, 0);
        for _ in self.waiting.drain(..) {
            self.counts.drop_one(reason);
        }
    }

    /// Nobody misses what would only have led up to the present.
    fn forget_lead(&mut self) {
        let lead = self.waiting.drain(..self.lead.min(self.waiting.len())).count();
        self.counts.offered -= lead as u64;
        self.lead = 0;
    }

    /// What came before that moment is no longer worth showing, where nothing follows it.
    fn forget_before(&mut self, moment: Micros) {
        if self.policy == Policy::Newest && self.waiting.front().is_some_and(|(_, first)| first.times.received < moment)
        {
            self.clear(Reason::Superseded);
            self.lapsed = true;
        }
    }

    fn has_room(&self, config: &Config, frame: &Frame) -> bool {
        match self.policy {
            Policy::Newest if config.codec.independent() => self.waiting.is_empty(),
            Policy::Newest => self.waiting.len() < DEPENDENT,
            Policy::Every => self.waiting.len() < EVERY_FRAMES && self.holds(frame.data.len()),
        }
    }

    /// Whether so many bytes more would not be too many.
    fn holds(&self, more: usize) -> bool {
        more + self.waiting.iter().map(|(_, frame)| frame.data.len()).sum::<usize>() <= EVERY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use framewire_proto::{Codec, Times};
    use proptest::prelude::*;

    use super::*;

    fn config(codec: Codec) -> Arc<Config> {
        Arc::new(Config { codec, width: 8, height: 8, millifps: 0, extra: Bytes::new() })
    }

    fn frame(sequence: u64, keyframe: bool) -> Frame {
        Frame { sequence, keyframe, times: Times::default(), data: Bytes::from_static(b"x") }
    }

    #[test]
    fn the_newest_picture_wins() {
        let (mut mailbox, jpeg) = (Mailbox::new(Policy::Newest), config(Codec::Jpeg));
        for sequence in 0..5 {
            mailbox.offer(&jpeg, frame(sequence, true));
        }
        assert_eq!(mailbox.take().unwrap().1.sequence, 4);
        assert!(mailbox.take().is_none());
        assert_eq!(mailbox.counts.dropped(Reason::Superseded), 4);
    }

    #[test]
    fn after_a_skip_decoding_resumes_at_a_keyframe() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.offer(&h264, frame(0, true));
        for sequence in 1..20 {
            mailbox.offer(&h264, frame(sequence, false));
        }
        let waiting: Vec<u64> = std::iter::from_fn(|| mailbox.take()).map(|(_, frame)| frame.sequence).collect();
        assert_eq!(waiting, (0..8).collect::<Vec<_>>());
        mailbox.offer(&h264, frame(20, false));
        assert!(mailbox.take().is_none());
        mailbox.offer(&h264, frame(21, true));
        mailbox.offer(&h264, frame(22, false));
        assert_eq!(mailbox.take().unwrap().1.sequence, 21);
        assert_eq!(mailbox.take().unwrap().1.sequence, 22);
        assert_eq!(mailbox.counts.dropped(Reason::Undecodable), 12);
    }

    #[test]
    fn who_takes_nothing_asks_for_no_more_than_one_keyframe() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        let give = |mailbox: &mut Mailbox, from: u64| {
            (from..from + 20).filter(|sequence| mailbox.offer(&h264, frame(*sequence, *sequence == from))).count()
        };
        assert_eq!(give(&mut mailbox, 0), 1, "it is too slow");
        assert_eq!(give(&mut mailbox, 20) + give(&mut mailbox, 40), 0, "it did not take the one that came");
        assert_eq!(mailbox.take().unwrap().1.sequence, 40);
        assert!(mailbox.offer(&h264, frame(60, false)), "it takes frames again");
        assert!(!mailbox.offer(&h264, frame(61, false)));
    }

    #[test]
    fn what_waited_too_long_is_not_shown_and_another_keyframe_is_asked_for() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        let at = |sequence: u64, keyframe| {
            let times = Times { received: 1 + sequence * 33_333, ..Times::default() };
            Frame { times, ..frame(sequence, keyframe) }
        };
        let asked = (0..60).filter(|sequence| mailbox.offer(&h264, at(*sequence, *sequence == 0))).count();
        assert_eq!(asked, 1);
        assert!(mailbox.take().is_none(), "it is two seconds old");
        assert!(mailbox.offer(&h264, at(60, false)), "now it would be taken");
        assert!(!mailbox.offer(&h264, at(61, false)));
        mailbox.offer(&h264, at(62, true));
        assert_eq!(mailbox.take().unwrap().1.sequence, 62);
    }

    #[test]
    fn what_is_older_than_a_viewer_bears_goes_with_what_needs_it() {
        let at = |sequence: u64, keyframe| {
            let times = Times { captured: 1 + sequence, ..Times::default() };
            Frame { times, ..frame(sequence, keyframe) }
        };
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        (0..3).for_each(|sequence| mailbox.put(&h264, at(sequence, sequence == 0)));
        assert!(!mailbox.expire(1) && mailbox.waiting.len() == 3);
        assert!(mailbox.expire(2), "a keyframe is asked for");
        assert_eq!((mailbox.counts.dropped(Reason::Stale), mailbox.counts.dropped(Reason::Undecodable)), (1, 2));
        mailbox.offer(&h264, at(3, false));
        (4..6).for_each(|sequence| mailbox.put(&h264, at(sequence, sequence == 4)));
        assert!(!mailbox.expire(5) && mailbox.take().unwrap().1.sequence == 4);
        let (mut mailbox, jpeg) = (Mailbox::new(Policy::Every), config(Codec::Jpeg));
        (0..4).for_each(|sequence| mailbox.put(&jpeg, at(sequence, true)));
        assert!(!mailbox.expire(4) && mailbox.take().unwrap().1.sequence == 3);
    }

    fn run(frames: u64) -> Vec<Frame> {
        (0..frames).map(|sequence| frame(sequence, sequence == 0)).collect()
    }

    fn all(mailbox: &mut Mailbox) -> Vec<u64> {
        std::iter::from_fn(|| mailbox.take()).map(|(_, frame)| frame.sequence).collect()
    }

    #[test]
    fn who_joins_is_led_up_to_the_present_while_more_comes() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &run(100));
        assert!(mailbox.catching_up() && mailbox.wishes() && !mailbox.wishes());
        assert_eq!(mailbox.take().unwrap().1.sequence, 0);
        assert!((100..150).all(|sequence| !mailbox.offer(&h264, frame(sequence, false))));
        assert!(!mailbox.expire(Micros::MAX), "what is old leads up to what is not");
        assert_eq!(all(&mut mailbox), (1..150).collect::<Vec<_>>());
        assert!((150..170).any(|sequence| mailbox.offer(&h264, frame(sequence, false))), "it was too slow");
        assert_eq!(all(&mut mailbox), (150..158).collect::<Vec<_>>(), "from then on it is a viewer like others");
    }

    #[test]
    fn who_wakes_a_film_is_led_up_to_the_present_too() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &run(1));
        assert_eq!(all(&mut mailbox), [0]);
        for sequence in 1..60 {
            mailbox.led_up();
            mailbox.put(&h264, frame(sequence, false));
        }
        assert!(mailbox.catching_up());
        (60..90).for_each(|sequence| mailbox.put(&h264, frame(sequence, false)));
        assert_eq!(all(&mut mailbox), (1..90).collect::<Vec<_>>());
        for sequence in 90..2_000 {
            mailbox.led_up();
            mailbox.put(&h264, frame(sequence, false));
        }
        assert!(all(&mut mailbox).len() <= 2 * super::gop::FRAMES, "it has a bound");
    }

    #[test]
    fn a_keyframe_replaces_what_leads_up_to_it() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &run(100));
        assert_eq!(mailbox.take().unwrap().1.sequence, 0);
        mailbox.put(&h264, frame(100, false));
        mailbox.put(&h264, frame(101, true));
        mailbox.put(&h264, frame(102, false));
        assert_eq!(all(&mut mailbox), [101, 102]);
        // What only led up to the present is missed by nobody.
        assert_eq!((mailbox.counts.offered, mailbox.counts.dropped(Reason::Superseded)), (4, 1));
    }

    #[test]
    fn who_does_not_catch_up_waits_for_a_keyframe() {
        let (mut mailbox, h264) = (Mailbox::new(Policy::Newest), config(Codec::H264));
        mailbox.replay(&h264, &run(30));
        for sequence in 30..100 {
            mailbox.put(&h264, frame(sequence, false));
            assert!(sequence % 10 != 0 || mailbox.take().is_some());
        }
        let waiting = all(&mut mailbox);
        assert_eq!(waiting, (7..60).collect::<Vec<_>>());
        mailbox.put(&h264, frame(100, false));
        assert!(mailbox.take().is_none());
        mailbox.put(&h264, frame(101, true));
        assert_eq!(all(&mut mailbox), [101]);
    }

    #[test]
    fn a_recorder_gets_all_that_its_queue_holds() {
        let (mut mailbox, jpeg) = (Mailbox::new(Policy::Every), config(Codec::Jpeg));
        for sequence in 0..300 {
            mailbox.offer(&jpeg, frame(sequence, true));
        }
        assert_eq!(mailbox.counts.dropped(Reason::Full), 44);
        let waiting: Vec<u64> = std::iter::from_fn(|| mailbox.take()).map(|(_, frame)| frame.sequence).collect();
        assert_eq!(waiting, (0..256).collect::<Vec<_>>());
    }

    proptest! {
        /// Whatever comes and however it is taken: nothing is lost uncounted, order is kept, and no frame is taken
        /// whose predecessor was not, unless it is a keyframe.
        #[test]
        fn every_frame_is_accounted_for(
            steps in prop::collection::vec((any::<bool>(), 0..4usize), 0..200),
            codec in prop::sample::select(vec![Codec::Jpeg, Codec::H264]),
            policy in prop::sample::select(vec![Policy::Newest, Policy::Every]),
            kept in 0..40_u64,
        ) {
            let (mut mailbox, config) = (Mailbox::new(policy), config(codec));
            let (mut taken, mut last) = (0, None);
            let kept = if policy == Policy::Every || codec.independent() { 0 } else { kept };
            mailbox.replay(&config, &run(kept));
            for (sequence, (keyframe, takes)) in (kept as usize..).zip(steps.iter()) {
                mailbox.offer(&config, frame(sequence as u64, *keyframe || codec.independent() || sequence == 0));
                for _ in 0..*takes {
                    let Some((_, frame)) = mailbox.take() else { break };
                    taken += 1;
                    prop_assert!(frame.keyframe || last == frame.sequence.checked_sub(1));
                    prop_assert!(last.is_none_or(|last| last < frame.sequence));
                    last = Some(frame.sequence);
                }
            }
            mailbox.clear(Reason::Left);
            prop_assert_eq!(mailbox.counts.offered, taken + mailbox.counts.all_dropped());
        }
    }
}

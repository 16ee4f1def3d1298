//! One rendition of a stream: the source, or frames that are transcoded from it once for all viewers that take them.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use framewire_proto::{Codec, Config, Frame, Micros, Rendition, Times};

use super::{
    effects::Effects,
    gop::GopCache,
    info::RenditionInfo,
    mailbox::{Mailbox, Policy},
    wait::store_waker,
};
use crate::latency::Meter;

/// The shortest time between two requested keyframes, in µs: each takes bits from the frames around it. A keyframe of
/// this age is too old to be shown to a new viewer.
const KEYFRAME_INTERVAL: Micros = 1_000_000;

/// The state of one rendition.
#[derive(Debug, Default)]
pub(super) struct RenditionState {
    config: Option<Arc<Config>>,
    /// Where a new viewer begins.
    gop: GopCache,
    /// The number and the times of the newest frame.
    newest: (u64, Times),
    meter: Meter,
    /// The source's frames for the transcoder of this rendition; `None` while there is no transcoder.
    queue: Option<TranscodeQueue>,
    /// A viewer cannot decode before a keyframe arrives.
    keyframe_requested: bool,
}

/// The source's frames that wait for a transcoder.
#[derive(Debug)]
struct TranscodeQueue {
    mailbox: Mailbox,
    waker: Option<Waker>,
}

/// A frame for a transcoder.
#[derive(Debug)]
pub struct TranscodeJob {
    /// The configuration of the frame.
    pub config: Arc<Config>,
    /// The frame.
    pub frame: Frame,
    /// Whether a viewer has room for the frame. If not, decode it only where later frames depend on it.
    pub wanted: bool,
    /// Bits a second for the rendition; `None` while its viewers' links are not known.
    pub target: Option<u64>,
    /// Encode a keyframe: a viewer cannot decode before one arrives.
    pub keyframe: bool,
}

impl RenditionState {
    pub(super) fn config(&self) -> Option<&Arc<Config>> {
        self.config.as_ref()
    }

    /// Returns whether that is a change. Frames of another configuration begin with a keyframe.
    pub(super) fn set_config(&mut self, config: Config) -> bool {
        if self.config.as_deref() == Some(&config) {
            return false;
        }
        self.config = Some(Arc::new(config));
        self.gop = GopCache::default();
        true
    }

    pub(super) fn codec(&self) -> Option<Codec> {
        self.config.as_ref().map(|config| config.codec)
    }

    /// Notes a frame that arrived `now`. Frames that depend on others are kept for new viewers if `keep_dependent`.
    pub(super) fn record(&mut self, frame: &Frame, keep_dependent: bool, now: Micros) {
        self.newest = (frame.sequence, frame.times);
        self.meter.count(now, frame.data.len());
        self.gop.push(frame, keep_dependent, now);
    }

    /// The times of the newest frame.
    pub(super) fn newest_times(&self) -> Times {
        self.newest.1
    }

    /// The number of the newest frame, where a new viewer gets a frame from before it joined.
    pub(super) fn newest_kept(&self) -> Option<u64> {
        self.gop.keyframe().map(|_| self.newest.0)
    }

    /// Bits a second, measured.
    pub(super) fn bitrate(&self, now: Micros) -> f64 {
        self.meter.bitrate(now)
    }

    /// Frames a second, measured.
    pub(super) fn fps(&self, now: Micros) -> f64 {
        self.meter.fps(now)
    }

    /// Bytes of all frames so far.
    pub(super) fn bytes(&self) -> u64 {
        self.meter.totals().1
    }

    /// A preloaded mailbox for a viewer that begins to take this rendition, and whether to request a keyframe for it.
    pub(super) fn new_mailbox(&self, policy: Policy, live: bool, now: Micros) -> (Mailbox, bool) {
        let mut mailbox = Mailbox::new(policy);
        self.preload(&mut mailbox, live, now);
        let needs_keyframe = mailbox.take_keyframe_request();
        (mailbox, needs_keyframe)
    }

    /// Preloads the mailbox of a viewer that begins to take this rendition: with the current GOP if that is complete,
    /// otherwise with a recent keyframe. A stream that is not `live` gives its keyframe at any age.
    pub(super) fn preload(&self, mailbox: &mut Mailbox, live: bool, now: Micros) {
        let (Some(config), Some((keyframe, arrived))) = (&self.config, self.gop.keyframe()) else { return };
        if mailbox.policy() == Policy::Every {
            // A recorder gets the frames from now on, not some that may be an hour old.
            return mailbox.skip_to_keyframe(config);
        }
        if self.gop.is_complete() {
            return mailbox.replay(config, self.gop.frames());
        }
        // Where a new keyframe arrives soon, an old one is worse than none.
        if !live || arrived.saturating_add(KEYFRAME_INTERVAL) > now {
            mailbox.push(config, keyframe.clone());
        }
        mailbox.skip_to_keyframe(config);
    }

    /// A new publisher's first frame depends on frames that never arrived here.
    pub(super) fn skip_to_keyframe(&mut self) {
        self.gop.truncate();
    }

    pub(super) fn request_keyframe(&mut self) {
        self.keyframe_requested = true;
    }

    /// Whether a keyframe was requested since the last call.
    pub(super) fn take_keyframe_request(&mut self) -> bool {
        mem::take(&mut self.keyframe_requested)
    }

    /// Whether the rendition has a transcoder.
    pub(super) fn is_transcoded(&self) -> bool {
        self.queue.is_some()
    }

    /// Begins to queue frames of the source for a transcoder, in this mailbox.
    pub(super) fn start_queue(&mut self, mailbox: Mailbox) {
        self.queue = Some(TranscodeQueue { mailbox, waker: None });
    }

    /// Queues a frame of the source for the transcoder; returns whether that needs a keyframe of the source.
    pub(super) fn enqueue(
        &mut self,
        config: &Arc<Config>,
        frame: &Frame,
        replays: bool,
        effects: &mut Effects,
    ) -> bool {
        let Some(queue) = &mut self.queue else { return false };
        if replays {
            queue.mailbox.extend_replay();
        }
        effects.wake(&mut queue.waker);
        queue.mailbox.offer(config, frame.clone())
    }

    /// A new publisher's first frame of the source depends on frames that were never queued.
    pub(super) fn skip_queue_to_keyframe(&mut self, config: &Config) {
        if let Some(queue) = &mut self.queue {
            queue.mailbox.skip_to_keyframe(config);
        }
    }

    /// The next frame for the transcoder at the stream's own time; else its task is woken when there may be one.
    pub(super) fn poll_job(
        &mut self,
        has_room: bool,
        target: Option<u64>,
        now: Micros,
        context: &Context<'_>,
    ) -> Poll<Option<TranscodeJob>> {
        let Some(queue) = &mut self.queue else { return Poll::Ready(None) };
        // Frames of a replay are only decoded.
        let wanted = has_room && !queue.mailbox.catching_up();
        // A frame that no viewer has room for need not be transcoded. But where frames depend on each other, all are
        // decoded.
        let pop = queue.mailbox.next_config().is_some_and(|config| wanted || !config.codec.independent());
        let Some((config, frame)) = pop.then(|| queue.mailbox.pop()).flatten() else {
            store_waker(&mut queue.waker, context);
            return Poll::Pending;
        };
        let due = self.gop.keyframe().is_none_or(|(_, last)| last.saturating_add(KEYFRAME_INTERVAL) <= now);
        let keyframe = wanted && due && self.take_keyframe_request();
        Poll::Ready(Some(TranscodeJob { config, frame, wanted, target, keyframe }))
    }

    /// A viewer of this rendition may have room, or have left.
    pub(super) fn wake_transcoder(&mut self, effects: &mut Effects) {
        if let Some(queue) = &mut self.queue {
            effects.wake(&mut queue.waker);
        }
    }

    /// The rendition as others see it.
    pub(super) fn info(
        &self,
        rendition: Rendition,
        viewers: usize,
        capacity: Option<u64>,
        now: Micros,
    ) -> RenditionInfo {
        let config = self.config.as_deref();
        let (width, height) = config.map_or((0, 0), Config::shown_size);
        RenditionInfo {
            name: rendition.name(),
            codec: config.map(|config| config.codec.name()),
            width,
            height,
            viewers,
            fps: self.fps(now),
            bitrate: self.bitrate(now),
            capacity,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const H264: Config = Config::new(Codec::H264, 8, 8, 0);

    fn frame(sequence: u64) -> Frame {
        Frame { sequence, keyframe: sequence == 0, times: Times::default(), data: Bytes::from_static(b"x") }
    }

    /// A rendition with a keyframe that arrived at 1 and two frames after that.
    fn rendition(keep_dependent: bool) -> RenditionState {
        let mut state = RenditionState::default();
        assert!(state.set_config(H264) && !state.set_config(H264));
        (0..3).for_each(|sequence| state.record(&frame(sequence), keep_dependent, 1));
        state
    }

    fn preloaded(state: &RenditionState, policy: Policy, live: bool, now: Micros) -> (Vec<u64>, bool) {
        let (mut mailbox, needs_keyframe) = state.new_mailbox(policy, live, now);
        (std::iter::from_fn(|| mailbox.pop()).map(|(_, frame)| frame.sequence).collect(), needs_keyframe)
    }

    #[test]
    fn a_new_viewer_gets_the_gop_or_a_recent_keyframe_and_requests_another() {
        assert_eq!(preloaded(&rendition(true), Policy::Newest, true, 1), (vec![0, 1, 2], false));
        assert_eq!(preloaded(&rendition(false), Policy::Newest, true, KEYFRAME_INTERVAL), (vec![0], true));
        assert_eq!(preloaded(&rendition(false), Policy::Newest, true, 1 + KEYFRAME_INTERVAL), (vec![], true));
        assert_eq!(preloaded(&rendition(false), Policy::Newest, false, 1 + KEYFRAME_INTERVAL), (vec![0], true));
        assert_eq!(preloaded(&rendition(true), Policy::Every, true, 1), (vec![], true));
    }

    #[test]
    fn another_configuration_forgets_the_gop_before_it() {
        let mut state = rendition(true);
        assert_eq!(state.newest_kept(), Some(2));
        assert!(state.set_config(Config { width: 16, ..H264 }));
        assert_eq!((state.newest_kept(), preloaded(&state, Policy::Newest, true, 1)), (None, (vec![], false)));
    }

    #[test]
    fn a_transcoder_makes_a_keyframe_when_one_is_due_and_skips_what_has_no_room() {
        let (mut state, config, mut effects) = (rendition(false), Arc::new(H264), Effects::default());
        state.start_queue(Mailbox::new(Policy::Newest));
        let mut job = |state: &mut RenditionState, sequence, has_room, now| {
            state.enqueue(&config, &frame(sequence), false, &mut effects);
            match state.poll_job(has_room, Some(7), now, &Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(job)) => (job.frame.sequence, job.wanted, job.keyframe),
                other => panic!("{other:?}"),
            }
        };
        state.request_keyframe();
        assert_eq!(job(&mut state, 0, true, KEYFRAME_INTERVAL), (0, true, false), "too soon");
        assert_eq!(job(&mut state, 1, false, 1 + KEYFRAME_INTERVAL), (1, false, false), "decoded for the next");
        assert_eq!(job(&mut state, 2, true, 1 + KEYFRAME_INTERVAL), (2, true, true));
        assert_eq!(job(&mut state, 3, true, 1 + KEYFRAME_INTERVAL), (3, true, false));
    }
}

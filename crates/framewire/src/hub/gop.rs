//! The current GOP of a stream: its last keyframe and the frames since then, kept for viewers that join later.

use framewire_proto::{Frame, Micros};

/// Frames of a GOP that are kept at most: ten seconds at 30 frames a second.
pub(super) const MAX_FRAMES: usize = 300;
/// Bytes of a GOP that are kept at most, so that a stream cannot fill the memory.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// The frames since the last keyframe, within bounds. A passthrough source cannot make a keyframe on request: with
/// these frames a new viewer decodes up to the present at once, even if the next keyframe is ten seconds away.
#[derive(Debug, Default)]
pub(super) struct GopCache {
    frames: Vec<Frame>,
    bytes: usize,
    /// When the keyframe arrived.
    keyframe_at: Micros,
    /// Later frames of the GOP are missing here, so the next ones cannot be decoded from here.
    truncated: bool,
}

impl GopCache {
    /// Adds a frame that arrived `now`. A keyframe starts again; another frame is only kept if `keep_dependent`, and
    /// within the bounds.
    pub(super) fn push(&mut self, frame: &Frame, keep_dependent: bool, now: Micros) {
        if frame.keyframe {
            self.frames.clear();
            self.frames.push(frame.clone());
            (self.bytes, self.keyframe_at, self.truncated) = (frame.data.len(), now, false);
            return;
        }
        self.bytes += frame.data.len();
        let full = self.frames.len() == MAX_FRAMES || self.bytes > MAX_BYTES;
        if !keep_dependent || self.truncated || self.frames.is_empty() || full {
            return self.truncate();
        }
        self.frames.push(frame.clone());
    }

    /// Keeps the keyframe only: the next frame needs some that are not here.
    pub(super) fn truncate(&mut self) {
        self.frames.truncate(1);
        self.frames.shrink_to_fit();
        self.truncated = true;
    }

    /// The keyframe, and when it arrived.
    pub(super) fn keyframe(&self) -> Option<(&Frame, Micros)> {
        Some((self.frames.first()?, self.keyframe_at))
    }

    /// Whether every frame from the keyframe to the newest one is here.
    pub(super) fn is_complete(&self) -> bool {
        !self.truncated
    }

    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use framewire_proto::Times;

    use super::*;

    fn frame(sequence: u64, keyframe: bool, bytes: usize) -> Frame {
        Frame { sequence, keyframe, times: Times::default(), data: vec![0; bytes].into() }
    }

    #[test]
    fn a_gop_is_complete_up_to_its_bounds_and_again_from_the_next_keyframe() {
        let mut gop = GopCache::default();
        gop.push(&frame(0, false, 1), true, 1);
        assert!(gop.keyframe().is_none() && !gop.is_complete());
        for (bytes, most) in [(1, MAX_FRAMES as u64), (MAX_BYTES / 10, 10)] {
            gop.push(&frame(0, true, bytes), true, 7);
            (1..most).for_each(|sequence| gop.push(&frame(sequence, false, bytes), true, 8));
            assert!(gop.is_complete() && gop.frames().len() as u64 == most);
            gop.push(&frame(most, false, bytes), true, 9);
            gop.push(&frame(most + 1, false, 0), true, 9);
            assert!(!gop.is_complete());
            assert_eq!(gop.keyframe().map(|(first, at)| (first.sequence, at)), Some((0, 7)));
        }
    }

    #[test]
    fn dependent_frames_are_kept_on_demand_only() {
        let mut gop = GopCache::default();
        gop.push(&frame(0, true, 1), false, 1);
        assert!(gop.is_complete());
        gop.push(&frame(1, false, 1), false, 1);
        assert!(!gop.is_complete() && gop.frames().len() == 1);
        assert_eq!(gop.frames()[0].data, Bytes::from_static(&[0]));
    }
}

//! What is kept of a stream for who joins it: the newest frame that can be decoded by itself, and what followed it.

use framewire_proto::{Frame, Micros};

/// Frames and bytes that are kept of a stream at most: ten seconds at 30 frames a second.
pub(super) const FRAMES: usize = 300;
pub(super) const BYTES: usize = 8 << 20;

/// The frames from the last one on that can be decoded by itself. A source that passes on what was coded long ago cannot be
/// asked for a keyframe: with these a viewer decodes its way to the present at once, though the next comes in ten seconds.
#[derive(Debug, Default)]
pub(super) struct Run {
    frames: Vec<Frame>,
    bytes: usize,
    /// When the first one came.
    came: Micros,
    /// Frames came after the first that are not here, so that what follows cannot be decoded.
    cut: bool,
}

impl Run {
    /// A frame has come. One that needs those before it is only kept where the run `goes_on`, and within the bounds.
    pub(super) fn take(&mut self, frame: &Frame, goes_on: bool, now: Micros) {
        if frame.keyframe {
            self.frames.clear();
            self.frames.push(frame.clone());
            (self.bytes, self.came, self.cut) = (frame.data.len(), now, false);
            return;
        }
        self.bytes += frame.data.len();
        if !goes_on || self.cut || self.frames.is_empty() || self.frames.len() == FRAMES || self.bytes > BYTES {
            return self.cut();
        }
        self.frames.push(frame.clone());
    }

    /// What comes next needs frames that are not here.
    pub(super) fn cut(&mut self) {
        self.frames.truncate(1);
        self.frames.shrink_to_fit();
        self.cut = true;
    }

    /// The frame that it begins with, and when that came.
    pub(super) fn begin(&self) -> Option<(&Frame, Micros)> {
        Some((self.frames.first()?, self.came))
    }

    /// Whether it goes up to the newest frame.
    pub(super) fn whole(&self) -> bool {
        !self.cut
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
    fn a_run_is_whole_until_it_would_be_too_long_and_again_from_the_next_keyframe_on() {
        let mut run = Run::default();
        run.take(&frame(0, false, 1), true, 1);
        assert!(run.begin().is_none() && !run.whole());
        for (bytes, most) in [(1, FRAMES as u64), (BYTES / 10, 10)] {
            run.take(&frame(0, true, bytes), true, 7);
            (1..most).for_each(|sequence| run.take(&frame(sequence, false, bytes), true, 8));
            assert!(run.whole() && run.frames().len() as u64 == most);
            run.take(&frame(most, false, bytes), true, 9);
            run.take(&frame(most + 1, false, 0), true, 9);
            assert!(!run.whole());
            assert_eq!(run.begin().map(|(first, came)| (first.sequence, came)), Some((0, 7)));
        }
        run.take(&frame(0, true, 1), false, 1);
        assert!(run.whole());
        run.take(&frame(1, false, 1), false, 1);
        assert!(!run.whole() && run.frames().len() == 1);
        assert_eq!(run.frames()[0].data, Bytes::from_static(&[0]));
    }
}

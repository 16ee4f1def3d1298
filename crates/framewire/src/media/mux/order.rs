//! Decoding times for streams with B-frames, whose frames carry only display times.

use std::collections::BTreeSet;

use framewire_proto::Micros;

/// The largest distance in time, in µs, of frames that are reordered. Beyond it the publisher was restarted, or paused.
const MAX_DISTANCE: Micros = 2_000_000;
/// The most frames that any stream delays (ITU-T H.264, section A.3.1).
const MAX_DEPTH: usize = 16;

/// Gives each frame, in decoding order, a decoding time: the display times, sorted, and delayed by the reorder depth so that no
/// frame is decoded after it is displayed.
#[derive(Debug)]
pub(super) struct DecodeOrder {
    /// How many frames come before one that is displayed earlier (reorder depth).
    depth: usize,
    interval: Micros,
    /// Display times that are not yet used as a decoding time, at most [`MAX_DEPTH`].
    waiting: BTreeSet<Micros>,
    last: Micros,
}

impl DecodeOrder {
    /// For a stream of this reorder depth, as far as the stream states it, with this frame interval in µs.
    pub(super) fn new(depth: usize, interval: Micros) -> Self {
        Self { depth: depth.min(MAX_DEPTH), interval, waiting: BTreeSet::new(), last: 0 }
    }

    /// The decoding time of a frame with this display time, and how much later it is displayed, in µs. An unknown time (0) stays
    /// unknown.
    pub(super) fn place(&mut self, shown: Micros) -> (Micros, Micros) {
        if shown == 0 {
            self.waiting.clear();
            return (0, 0);
        }
        let apart = self.waiting.last().map_or(self.last, |last| *last).abs_diff(shown)
            > MAX_DISTANCE.max(MAX_DEPTH as Micros * self.interval);
        if apart || self.last == 0 {
            // As if frames had come before this one at a constant rate.
            self.waiting = (1..=self.depth as Micros).map(|back| before(shown, back * self.interval)).collect();
        } else if shown < self.last && self.depth < MAX_DEPTH {
            // The reorder depth is larger than the stream states.
            self.depth += 1;
        }
        self.waiting.insert(shown);
        let decoded = match self.waiting.first() {
            Some(first) if self.waiting.len() > self.depth => *first,
            _ => (self.last + 1).min(shown),
        };
        self.waiting.remove(&decoded);
        self.last = decoded;
        (decoded, shown - decoded.min(shown))
    }
}

fn before(time: Micros, by: Micros) -> Micros {
    time.saturating_sub(by).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Micros = 40_000;
    const BEGIN: Micros = 5_000_000;

    fn placed(depth: usize, shown: &[Micros]) -> Vec<(Micros, Micros)> {
        let mut order = DecodeOrder::new(depth, FRAME);
        shown.iter().map(|shown| order.place(BEGIN + shown * FRAME)).collect()
    }

    #[test]
    fn decoding_times_are_evenly_spaced_and_display_times_are_kept() {
        // I B B P with a pyramid: a reorder depth of two.
        let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7, 9];
        for ((decoded, ahead), (number, shown)) in placed(2, &shown).into_iter().zip((0..).zip(shown)) {
            assert_eq!(decoded, BEGIN + number * FRAME - 2 * FRAME);
            assert_eq!(decoded + ahead, BEGIN + shown * FRAME);
        }
    }

    #[test]
    fn frames_in_display_order_are_decoded_when_they_are_displayed() {
        let mut order = DecodeOrder::new(0, FRAME);
        // A pause of a day, a clock that was set back, unknown times.
        for shown in [7, BEGIN, BEGIN + 33_000, 90_000_000_000, 3_000, 0, 0, 90_000] {
            assert_eq!(order.place(shown), (shown, 0));
        }
    }

    #[test]
    fn an_unstated_reorder_depth_is_learnt() {
        let shown: Vec<_> = (0..20).flat_map(|gop| [3, 1, 2].map(|shown| 3 * gop + shown)).collect();
        let placed = placed(0, &shown);
        for (place, (decoded, ahead)) in placed.iter().enumerate().skip(6) {
            assert_eq!(decoded + ahead, BEGIN + shown[place] * FRAME);
        }
    }

    proptest! {
        #[test]
        fn no_frame_is_decoded_after_it_is_displayed(
            times in prop::collection::vec(prop_oneof![0..200_000_u64, Just(u64::MAX), any::<u64>()], 0..200),
            depth in 0..40_usize,
        ) {
            let mut order = DecodeOrder::new(depth, FRAME);
            for shown in times {
                let (decoded, ahead) = order.place(shown);
                prop_assert!(decoded <= shown || ahead == 0);
                prop_assert!(order.waiting.len() <= MAX_DEPTH);
            }
        }
    }
}

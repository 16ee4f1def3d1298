//! When frames with B-frames among them are to be decoded: their times tell only when they are to be shown.

use std::collections::BTreeSet;

use framewire_proto::Micros;

/// Times further apart than this, in µs, belong to no order: the publisher was restarted, or paused.
const APART: Micros = 2_000_000;
/// No stream holds back more frames (ITU-T H.264, section A.3.1).
const MOST: usize = 16;

/// Gives each frame, in the order of decoding, a time for that: the same times at which frames are shown, sorted, each so many
/// frames later that none is decoded after it is shown.
#[derive(Debug)]
pub(super) struct Order {
    /// How many frames stand before one that is shown earlier.
    reorders: usize,
    interval: Micros,
    /// Times that were not given to a frame yet, at most [`MOST`].
    waiting: BTreeSet<Micros>,
    last: Micros,
}

impl Order {
    /// The order of a stream with so many frames before one that is shown earlier, as far as it says, at this even pace in µs.
    pub(super) fn new(reorders: usize, interval: Micros) -> Self {
        Self { reorders: reorders.min(MOST), interval, waiting: BTreeSet::new(), last: 0 }
    }

    /// When the frame that is to be shown then is to be decoded, and how much later it is shown, in µs. An unknown time (0)
    /// stays one.
    pub(super) fn place(&mut self, shown: Micros) -> (Micros, Micros) {
        if shown == 0 {
            self.waiting.clear();
            return (0, 0);
        }
        let apart = self.waiting.last().map_or(self.last, |last| *last).abs_diff(shown)
            > APART.max(MOST as Micros * self.interval);
        if apart || self.last == 0 {
            // As if frames had come before it at an even pace.
            self.waiting = (1..=self.reorders as Micros).map(|back| before(shown, back * self.interval)).collect();
        } else if shown < self.last && self.reorders < MOST {
            // More are held back than the stream says: from now on that is known.
            self.reorders += 1;
        }
        self.waiting.insert(shown);
        let decoded = match self.waiting.first() {
            Some(first) if self.waiting.len() > self.reorders => *first,
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

    fn placed(reorders: usize, shown: &[Micros]) -> Vec<(Micros, Micros)> {
        let mut order = Order::new(reorders, FRAME);
        shown.iter().map(|shown| order.place(BEGIN + shown * FRAME)).collect()
    }

    #[test]
    fn frames_are_decoded_at_an_even_pace_and_shown_when_they_say() {
        // I B B P with a pyramid: two are held back.
        let shown = [0, 4, 2, 1, 3, 8, 6, 5, 7, 9];
        for ((decoded, ahead), (number, shown)) in placed(2, &shown).into_iter().zip((0..).zip(shown)) {
            assert_eq!(decoded, BEGIN + number * FRAME - 2 * FRAME);
            assert_eq!(decoded + ahead, BEGIN + shown * FRAME);
        }
    }

    #[test]
    fn frames_in_their_order_are_decoded_when_they_are_shown() {
        let mut order = Order::new(0, FRAME);
        // A day's pause, a clock that was set back, one that is not known.
        for shown in [7, BEGIN, BEGIN + 33_000, 90_000_000_000, 3_000, 0, 0, 90_000] {
            assert_eq!(order.place(shown), (shown, 0));
        }
    }

    #[test]
    fn what_a_stream_does_not_say_is_learnt() {
        let shown: Vec<_> = (0..20).flat_map(|gop| [3, 1, 2].map(|shown| 3 * gop + shown)).collect();
        let placed = placed(0, &shown);
        for (place, (decoded, ahead)) in placed.iter().enumerate().skip(6) {
            assert_eq!(decoded + ahead, BEGIN + shown[place] * FRAME);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_is_decoded_after_it_is_shown(
            times in prop::collection::vec(prop_oneof![0..200_000_u64, Just(u64::MAX), any::<u64>()], 0..200),
            reorders in 0..40_usize,
        ) {
            let mut order = Order::new(reorders, FRAME);
            for shown in times {
                let (decoded, ahead) = order.place(shown);
                prop_assert!(decoded <= shown || ahead == 0);
                prop_assert!(order.waiting.len() <= MOST);
            }
        }
    }
}

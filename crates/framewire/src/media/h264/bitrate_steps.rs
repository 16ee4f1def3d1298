//! Bitrates for an encoder that makes a keyframe of each new one.
//!
//! A keyframe here is no larger than another frame, so it is a coarse picture that gets fine again over the next ones. What a
//! link carries is told anew with every frame: followed to the letter, there would be coarse pictures only. With libx264 made to
//! begin anew at each, followed like this over links of 20, 4, 2 and again 20 Mbit/s, frames were as fast as ever; of the structural
//! similarity that it has without keyframes 96 to 100 % were left, and full quality was back after up to 5 s instead of one.

use framewire_proto::hysteresis::RaiseDelay;

/// Frames may be larger than wanted by so many hundredths; beyond that a lower bitrate is worth a keyframe at once.
const OVER: u64 = 120;
/// A higher one is worth it when so many hundredths could be had for a while: frames, twice as many after a raise that was wrong,
/// and so many at most.
const UNDER: u64 = 125;
const PATIENCE: [u64; 2] = [30, 90];
/// It is raised to so many hundredths at most. Links tell what they carry only as they are filled: if there still is room after so
/// few frames more it is raised again, and by more.
const RAISE: [u64; 2] = [125, 150];
const NEXT: u64 = 6;
/// A raise that could be kept for so many frames was right.
const HOLDS: u32 = 90;

/// The bitrate that is kept.
#[derive(Debug)]
pub(super) struct BitrateSteps {
    kept: Option<u64>,
    /// For how many frames now there was room for a higher one, and how many it is waited for.
    roomy: u64,
    raise: RaiseDelay,
    /// Frames since it was raised, until that is known to have been right or wrong, and what was kept before.
    raised: Option<(u32, u64)>,
}

impl Default for BitrateSteps {
    fn default() -> Self {
        Self { kept: None, roomy: 0, raise: RaiseDelay::new(PATIENCE[0], PATIENCE[1]), raised: None }
    }
}

impl BitrateSteps {
    /// The bitrate of the next frame, of which a keyframe is wanted or not, when this one would be right for it.
    pub(super) fn bitrate(&mut self, wanted: u64, keyframe: bool) -> u64 {
        let Some(kept) = self.kept.filter(|_| !keyframe) else { return self.keep(wanted) };
        self.raised = self.raised.map(|(frames, before)| (frames + 1, before));
        if self.raised.is_some_and(|(frames, _)| frames >= HOLDS) {
            self.raised = None;
            self.raise.reset();
        }
        let over = wanted.saturating_mul(OVER) / 100;
        if kept > over {
            let Some((_, before)) = self.raised.take() else { return self.keep(wanted) };
            self.raise.lengthen();
            // What was too much is the reason why so little is wanted now.
            return self.keep(before.clamp(wanted, over));
        }
        self.roomy = if wanted < kept.saturating_mul(UNDER) / 100 { 0 } else { self.roomy + 1 };
        let (due, raise) = if self.raised.is_some() { (NEXT, RAISE[1]) } else { (self.raise.delay(), RAISE[0]) };
        if self.roomy < due {
            return kept;
        }
        self.raised = Some((0, kept));
        self.keep(wanted.min(kept.saturating_mul(raise) / 100))
    }

    fn keep(&mut self, bitrate: u64) -> u64 {
        (self.kept, self.roomy) = (Some(bitrate), 0);
        bitrate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1_000_000;

    /// The bitrates that are kept while these are wanted.
    fn kept(steps: &mut BitrateSteps, wanted: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut kept: Vec<u64> = wanted.into_iter().map(|wanted| steps.bitrate(wanted, false)).collect();
        kept.dedup();
        kept
    }

    #[test]
    fn what_wavers_is_not_followed() {
        let mut steps = BitrateSteps::default();
        let waves = (0..900).map(|frame| 4 * M + M / 10 * (frame % 7));
        assert_eq!(kept(&mut steps, waves), [4 * M]);
    }

    #[test]
    fn a_slower_link_is_followed_at_once_and_a_faster_one_once_it_lasts() {
        let mut steps = BitrateSteps::default();
        assert_eq!(kept(&mut steps, [4 * M, 2 * M]), [4 * M, 2 * M]);
        assert_eq!(kept(&mut steps, [8 * M; 29]), [2 * M]);
        assert_eq!(kept(&mut steps, [2 * M]), [2 * M], "it did not last");
        let raised = kept(&mut steps, [8 * M; 30 + 4 * 6]);
        assert_eq!(raised, [2 * M, 2_500_000, 3_750_000, 5_625_000, 8 * M], "and by more as long as there is room");
    }

    #[test]
    fn a_raise_that_was_wrong_is_taken_back_and_waited_for_longer() {
        let mut steps = BitrateSteps::default();
        assert_eq!(kept(&mut steps, [2 * M]), [2 * M]);
        assert_eq!(kept(&mut steps, [3 * M; 30]), [2 * M, 2_500_000]);
        // What it held up makes the link look slower than it is.
        assert_eq!(kept(&mut steps, [19 * M / 10]), [2 * M]);
        assert_eq!(kept(&mut steps, [3 * M; 59]), [2 * M]);
        assert_eq!(kept(&mut steps, [3 * M]), [2_500_000]);
        assert_eq!(kept(&mut steps, [M]), [12 * M / 10], "which it may be, too");
    }

    #[test]
    fn a_keyframe_that_is_wanted_anyhow_takes_what_there_is() {
        let mut steps = BitrateSteps::default();
        assert_eq!(
            [(4 * M, false), (5 * M, false), (5 * M, true)].map(|(w, k)| steps.bitrate(w, k)),
            [4 * M, 4 * M, 5 * M]
        );
    }

    #[test]
    fn any_bitrate_will_do() {
        let mut steps = BitrateSteps::default();
        for wanted in [0, u64::MAX, 0, 1, u64::MAX - 1].into_iter().cycle().take(200) {
            steps.bitrate(wanted, wanted == 1);
        }
    }
}

//! Limits bitrate changes for an encoder that makes a keyframe at each.
//!
//! A keyframe may be no larger than any other frame here, so it is a coarse picture that later frames refine. The target bitrate
//! changes with every frame: to follow each change would give only coarse pictures. Measured with libx264 made to start again at
//! each new bitrate, over links of 20, 4, 2 and again 20 Mbit/s: frames were as fast as without these steps. Their structural
//! similarity was 96 to 100 % of that without keyframes, and full quality was back after up to 5 s instead of one.

use framewire_proto::hysteresis::RaiseDelay;

/// The bitrate is lowered at once when it exceeds the target by this, in percent.
const LOWER_FROM_PERCENT: u64 = 120;
/// The bitrate is raised when the target has exceeded it by this, in percent, for a while.
const RAISE_FROM_PERCENT: u64 = 125;
/// How many frames that must last: at first, and at most. It doubles after each raise that had to be taken back.
const RAISE_AFTER: [u64; 2] = [30, 90];
/// The first and each further raise, in percent of the bitrate. A link shows its capacity only as it is filled, so raises are
/// small and follow each other.
const RAISE_TO_PERCENT: [u64; 2] = [125, 150];
/// Frames between a raise and the next while the target stays above.
const RAISE_AGAIN_AFTER: u64 = 6;
/// A raise that lasted this many frames was right.
const RAISE_PROVEN_AFTER: u32 = 90;

/// The encoder's current bitrate, and when to change it.
#[derive(Debug)]
pub(super) struct BitrateSteps {
    current: Option<u64>,
    /// For how many frames the target has allowed a raise.
    frames_with_room: u64,
    raise: RaiseDelay,
    /// Frames since the last raise and the bitrate before it; `None` once the raise has proven right or wrong.
    raised: Option<(u32, u64)>,
}

impl Default for BitrateSteps {
    fn default() -> Self {
        Self {
            current: None,
            frames_with_room: 0,
            raise: RaiseDelay::new(RAISE_AFTER[0], RAISE_AFTER[1]),
            raised: None,
        }
    }
}

impl BitrateSteps {
    /// The bitrate of the next frame for this target. A requested keyframe takes the target at once.
    pub(super) fn bitrate(&mut self, target: u64, keyframe: bool) -> u64 {
        let Some(current) = self.current.filter(|_| !keyframe) else { return self.change(target) };
        self.raised = self.raised.map(|(frames, before)| (frames + 1, before));
        if self.raised.is_some_and(|(frames, _)| frames >= RAISE_PROVEN_AFTER) {
            self.raised = None;
            self.raise.reset();
        }
        let most = target.saturating_mul(LOWER_FROM_PERCENT) / 100;
        if current > most {
            let Some((_, before)) = self.raised.take() else { return self.change(target) };
            self.raise.lengthen();
            // The wrong raise has delayed frames, so the target is lower than what the link can carry.
            return self.change(before.clamp(target, most));
        }
        let has_room = target >= current.saturating_mul(RAISE_FROM_PERCENT) / 100;
        self.frames_with_room = if has_room { self.frames_with_room + 1 } else { 0 };
        let (after, percent) = if self.raised.is_some() {
            (RAISE_AGAIN_AFTER, RAISE_TO_PERCENT[1])
        } else {
            (self.raise.delay(), RAISE_TO_PERCENT[0])
        };
        if self.frames_with_room < after {
            return current;
        }
        self.raised = Some((0, current));
        self.change(target.min(current.saturating_mul(percent) / 100))
    }

    fn change(&mut self, bitrate: u64) -> u64 {
        (self.current, self.frames_with_room) = (Some(bitrate), 0);
        bitrate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1_000_000;

    /// The bitrates that these targets give, without repetitions.
    fn used(steps: &mut BitrateSteps, targets: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut used: Vec<u64> = targets.into_iter().map(|target| steps.bitrate(target, false)).collect();
        used.dedup();
        used
    }

    #[test]
    fn small_changes_are_not_followed() {
        let mut steps = BitrateSteps::default();
        let waves = (0..900).map(|frame| 4 * M + M / 10 * (frame % 7));
        assert_eq!(used(&mut steps, waves), [4 * M]);
    }

    #[test]
    fn a_lower_target_applies_at_once_and_a_higher_one_after_a_while() {
        let mut steps = BitrateSteps::default();
        assert_eq!(used(&mut steps, [4 * M, 2 * M]), [4 * M, 2 * M]);
        assert_eq!(used(&mut steps, [8 * M; 29]), [2 * M]);
        assert_eq!(used(&mut steps, [2 * M]), [2 * M], "too short for a raise");
        let raised = used(&mut steps, [8 * M; 30 + 4 * 6]);
        assert_eq!(
            raised,
            [2 * M, 2_500_000, 3_750_000, 5_625_000, 8 * M],
            "larger raises while the target stays above"
        );
    }

    #[test]
    fn a_wrong_raise_is_taken_back_and_the_next_one_waits_longer() {
        let mut steps = BitrateSteps::default();
        assert_eq!(used(&mut steps, [2 * M]), [2 * M]);
        assert_eq!(used(&mut steps, [3 * M; 30]), [2 * M, 2_500_000]);
        // The frames that it delayed make the target lower than the link's capacity.
        assert_eq!(used(&mut steps, [19 * M / 10]), [2 * M]);
        assert_eq!(used(&mut steps, [3 * M; 59]), [2 * M]);
        assert_eq!(used(&mut steps, [3 * M]), [2_500_000]);
        assert_eq!(used(&mut steps, [M]), [12 * M / 10], "120 % of the target is allowed");
    }

    #[test]
    fn a_requested_keyframe_takes_the_target_at_once() {
        let mut steps = BitrateSteps::default();
        assert_eq!(
            [(4 * M, false), (5 * M, false), (5 * M, true)].map(|(target, keyframe)| steps.bitrate(target, keyframe)),
            [4 * M, 4 * M, 5 * M]
        );
    }

    #[test]
    fn any_target_works() {
        let mut steps = BitrateSteps::default();
        for target in [0, u64::MAX, 0, 1, u64::MAX - 1].into_iter().cycle().take(200) {
            steps.bitrate(target, target == 1);
        }
    }
}

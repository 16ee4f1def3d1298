//! The rate of pictures that state none, measured before the first is written.

use std::time::{Duration, Instant};

use framewire_proto::{Config, Frame};

/// So many pictures tell the rate.
const ENOUGH: usize = 10;
/// The time in which two or more tell it.
const LONG: Duration = Duration::from_secs(1);
/// The longest that a picture waits for a second one.
const LONGEST: Duration = Duration::from_secs(3);
/// Bytes of pictures that may wait.
const MAX_BYTES: usize = 64 << 20;
/// Faster pictures were not captured as they came: they were read from a file.
const FASTEST: u64 = 250_000;
/// Rates that cameras have, in thousandths, and how far from one a measured rate may be, in percent of it.
const USUAL: [u64; 13] =
    [1_000, 2_000, 5_000, 7_000, 7_500, 10_000, 12_500, 15_000, 20_000, 25_000, 30_000, 50_000, 60_000];
const TOLERANCE: u64 = 3;

/// Pictures that wait until their rate is known.
#[derive(Default)]
pub(super) struct Rate {
    pub(super) waiting: Vec<(Config, Frame)>,
    bytes: usize,
    began: Option<Instant>,
}

impl Rate {
    pub(super) fn take(&mut self, config: &Config, frame: Frame, now: Instant) {
        self.began.get_or_insert(now);
        self.bytes += frame.data.len();
        self.waiting.push((config.clone(), frame));
    }

    /// Whether no more pictures are needed.
    pub(super) fn is_measured(&self) -> bool {
        self.waiting.len() >= ENOUGH || self.bytes > MAX_BYTES
    }

    /// Whether the first picture has waited long enough.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let limit = if self.waiting.len() > 1 { LONG } else { LONGEST };
        self.began.is_some_and(|began| now.saturating_duration_since(began) >= limit)
    }

    /// In thousandths; 0 where it stays unknown. It is the median of the rates between any two pictures: one that came late, or
    /// together with another, hardly changes it.
    pub(super) fn millifps(&self) -> u32 {
        let times: Vec<_> =
            self.waiting.iter().map(|(_, frame)| frame.times.captured).filter(|time| *time > 0).collect();
        let between = |(from, to): (usize, usize)| {
            let (steps, time) = ((to - from) as u64, times[to].saturating_sub(times[from]));
            (steps * 1_000_000_000).checked_div(time).unwrap_or(u64::MAX)
        };
        let pairs = (0..times.len()).flat_map(|to| (0..to).map(move |from| (from, to)));
        let mut rates: Vec<_> = pairs.map(between).collect();
        rates.sort_unstable();
        let Some(measured) = rates.get(rates.len() / 2).filter(|rate| (1..=FASTEST).contains(*rate)) else { return 0 };
        let near = |usual: &u64| measured.abs_diff(*usual) * 100 <= TOLERANCE * usual;
        USUAL.into_iter().find(near).unwrap_or(*measured) as u32
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use framewire_proto::{Codec, Micros, Times};

    use super::*;

    fn rate_of(times: &[Micros]) -> (u32, bool) {
        let config = Config::new(Codec::Jpeg, 8, 8, 0);
        let mut rate = Rate::default();
        for captured in times {
            let times = Times { captured: *captured, ..Times::default() };
            let frame = Frame { sequence: 0, keyframe: true, times, data: Bytes::from_static(b"x") };
            rate.take(&config, frame, Instant::now());
        }
        (rate.millifps(), rate.is_measured())
    }

    #[test]
    fn the_rate_is_that_of_the_times_of_capture() {
        let every = |step: Micros, jitter: Micros| {
            (0..10).map(|number| 1 + number * step + number % 2 * jitter).collect::<Vec<_>>()
        };
        assert_eq!(rate_of(&every(33_333, 500)), (30_000, true));
        assert_eq!(rate_of(&every(142_857, 0)), (7_000, true));
        assert_eq!(rate_of(&every(100_500, 0)[..4]), (10_000, false));
        assert_eq!(rate_of(&every(5_000_000, 0)[..2]), (200, false));
        // The first one late, and all in pairs.
        assert_eq!(rate_of(&[120_000, 142_857, 285_714, 428_571, 571_428, 714_285]).0, 7_000);
        assert_eq!(rate_of(&[1, 2, 66_666, 66_667, 133_333, 133_334, 200_000, 200_001, 266_666, 266_667]).0, 30_000);
    }

    #[test]
    fn what_cannot_be_measured_stays_unknown() {
        for times in [&[][..], &[5], &[0, 0, 0], &[7, 7], &[1, 900, 1_800]] {
            assert_eq!(rate_of(times).0, 0, "{times:?}");
        }
    }

    #[test]
    fn pictures_wait_no_longer_than_a_second_for_others() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        assert!(!rate.is_overdue(now + 2 * LONGEST));
        let config = Config::new(Codec::Jpeg, 8, 8, 0);
        for (earliest, latest) in [(LONG, LONGEST), (Duration::ZERO, LONG)] {
            rate.take(&config, Frame { sequence: 0, keyframe: true, times: Times::default(), data: Bytes::new() }, now);
            assert!(!rate.is_overdue(now + earliest) && rate.is_overdue(now + latest));
        }
    }
}

//! Finds the offset between two monotonic clocks from ping times, as NTP does (RFC 5905, section 8).
//!
//! The four times of a ping and its answer give the round trip and the clock offset. The error of an offset is at most half
//! its round trip. So the recent sample with the shortest round trip is used.

use std::collections::VecDeque;

use crate::frame::Micros;

/// How long a sample is used, in µs. Long enough that a busy link has a moment without queues in it. Short enough to follow
/// clock drift (100 ppm are 1 ms in 10 s) and route changes.
pub const SAMPLE_LIFETIME: Micros = 10_000_000;
/// The ping interval in µs until the first [`FIRST_SAMPLES`] answers: a good offset is needed before the first frame's age is
/// shown.
pub const FIRST_PING_INTERVAL: Micros = 100_000;
/// The ping interval in µs after that. At four pings a second a dead link is suspected within 0.7 s
/// ([`SUSPECT_AFTER`](crate::link::SUSPECT_AFTER)).
pub const PING_INTERVAL: Micros = 250_000;
/// Answers until pings slow down.
pub const FIRST_SAMPLES: usize = 5;
/// Bounds the samples kept. 10 s of pings, with one ahead of each frame, make some 350; the oldest give way.
const MAX_SAMPLES: usize = 400;

/// What is known about the peer's clock.
#[derive(Debug, Clone, Default)]
pub struct Offset {
    samples: VecDeque<Sample>,
    /// Samples so far, including old ones that were dropped.
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Micros,
    round_trip: Micros,
    offset: i64,
}

impl Offset {
    /// Adds one ping: `sent` here, `received` there, `answered` there, the answer received here `now`. Impossible times (an
    /// answer before its ping) are ignored.
    pub fn push(&mut self, sent: Micros, received: Micros, answered: Micros, now: Micros) {
        let (Some(total), Some(at_peer)) = (now.checked_sub(sent), answered.checked_sub(received)) else { return };
        let Some(round_trip) = total.checked_sub(at_peer) else { return };
        let there = i128::from(received) + i128::from(answered);
        let here = i128::from(sent) + i128::from(now);
        let Ok(offset) = i64::try_from((there - here) / 2) else { return };
        self.samples.retain(|sample| sample.at.saturating_add(SAMPLE_LIFETIME) > now);
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, round_trip, offset });
        self.count += 1;
    }

    /// The peer's clock minus ours, in µs; `None` before the first answer.
    pub fn theirs_minus_ours(&self) -> Option<i64> {
        self.best().map(|sample| sample.offset)
    }

    /// The shortest recent round trip in µs; `None` before the first answer.
    pub fn round_trip(&self) -> Option<Micros> {
        self.best().map(|sample| sample.round_trip)
    }

    /// The time until the next ping, in µs.
    pub fn ping_interval(&self) -> Micros {
        if self.count < FIRST_SAMPLES { FIRST_PING_INTERVAL } else { PING_INTERVAL }
    }

    fn best(&self) -> Option<Sample> {
        self.samples.iter().copied().min_by_key(|sample| sample.round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping with these one-way delays to a peer whose clock is `offset` ahead.
    fn ping(known: &mut Offset, now: Micros, there: Micros, back: Micros, offset: i64) {
        let received = (now + there).saturating_add_signed(offset);
        known.push(now, received, received + 30, now + there + 30 + back);
    }

    #[test]
    fn the_sample_with_the_shortest_round_trip_is_used() {
        let mut known = Offset::default();
        assert_eq!(known.theirs_minus_ours(), None);
        ping(&mut known, 1_000, 90_000, 500, 7_000_000);
        ping(&mut known, 200_000, 400, 420, 7_000_000);
        ping(&mut known, 300_000, 500, 80_000, 7_000_000);
        assert_eq!(known.round_trip(), Some(820));
        assert!((known.theirs_minus_ours().unwrap() - 7_000_000).abs() <= 10);
    }

    #[test]
    fn old_samples_expire() {
        let mut known = Offset::default();
        ping(&mut known, 1, 10, 10, 0);
        ping(&mut known, SAMPLE_LIFETIME + 100, 5_000, 5_000, 1_234);
        assert_eq!(known.theirs_minus_ours(), Some(1_234));
    }

    #[test]
    fn impossible_times_are_ignored() {
        let mut known = Offset::default();
        known.push(500, 10, 20, 400);
        known.push(500, 20, 10, 600);
        known.push(500, 0, 1_000_000, 600);
        assert_eq!(known.theirs_minus_ours(), None);
        known.push(1, u64::MAX, u64::MAX, 2);
        assert_eq!(known.theirs_minus_ours(), None);
    }

    #[test]
    fn pings_slow_down_after_the_first_samples() {
        let mut known = Offset::default();
        assert_eq!(known.ping_interval(), FIRST_PING_INTERVAL);
        for turn in 0..FIRST_SAMPLES as u64 {
            ping(&mut known, turn * 1_000, 10, 10, 0);
        }
        assert_eq!(known.ping_interval(), PING_INTERVAL);
    }
}

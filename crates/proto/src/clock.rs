//! Two monotonic clocks agree on their offset.
//!
//! Each end sends pings now and then; the four times of a ping and its answer give the round trip and the offset between the
//! clocks, as in NTP (RFC 5905, section 8). The error of an offset is at most half its round trip, so of the recent
//! samples the one with the shortest round trip is believed.

use std::collections::VecDeque;

use crate::frame::Micros;

/// How long a sample is believed. Long enough to hold a quiet moment of a busy link, short enough to follow clocks that
/// drift (100 ppm are 1 ms in 10 s) and routes that change.
pub const WINDOW: Micros = 10_000_000;
/// How often to ping while there are few samples, and once there are enough.
pub const PING_EVERY: [Micros; 2] = [100_000, 250_000];

const SAMPLES: usize = 48;
const ENOUGH: usize = 5;

/// What is known of the peer's clock.
#[derive(Debug, Clone, Default)]
pub struct Offset {
    samples: VecDeque<Sample>,
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Micros,
    round_trip: Micros,
    offset: i64,
}

impl Offset {
    /// Takes one ping's times: sent here, received there, answered there, the answer received here. Impossible times
    /// (an answer before its ping) are passed over.
    pub fn push(&mut self, sent: Micros, received: Micros, answered: Micros, now: Micros) {
        let (Some(away), Some(held)) = (now.checked_sub(sent), answered.checked_sub(received)) else { return };
        let Some(round_trip) = away.checked_sub(held) else { return };
        let there = i128::from(received) + i128::from(answered);
        let here = i128::from(sent) + i128::from(now);
        let Ok(offset) = i64::try_from((there - here) / 2) else { return };
        self.samples.retain(|sample| sample.at.saturating_add(WINDOW) > now);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, round_trip, offset });
        self.taken += 1;
    }

    /// How much more the peer's clock shows than ours, in µs; `None` before the first answer.
    pub fn theirs_minus_ours(&self) -> Option<i64> {
        self.best().map(|sample| sample.offset)
    }

    /// The shortest recent round trip, in µs.
    pub fn round_trip(&self) -> Option<Micros> {
        self.best().map(|sample| sample.round_trip)
    }

    /// How long to wait until the next ping.
    pub fn ping_every(&self) -> Micros {
        PING_EVERY[usize::from(self.taken >= ENOUGH)]
    }

    fn best(&self) -> Option<Sample> {
        self.samples.iter().copied().min_by_key(|sample| sample.round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping over a link with these one-way delays to a peer whose clock shows `offset` more.
    fn ping(known: &mut Offset, now: Micros, there: Micros, back: Micros, offset: i64) {
        let received = (now + there).saturating_add_signed(offset);
        known.push(now, received, received + 30, now + there + 30 + back);
    }

    #[test]
    fn the_quietest_round_trip_is_believed() {
        let mut known = Offset::default();
        assert_eq!(known.theirs_minus_ours(), None);
        ping(&mut known, 1_000, 90_000, 500, 7_000_000);
        ping(&mut known, 200_000, 400, 420, 7_000_000);
        ping(&mut known, 300_000, 500, 80_000, 7_000_000);
        assert_eq!(known.round_trip(), Some(820));
        assert!((known.theirs_minus_ours().unwrap() - 7_000_000).abs() <= 10);
    }

    #[test]
    fn an_old_sample_makes_way_for_the_clock_as_it_is_now() {
        let mut known = Offset::default();
        ping(&mut known, 1, 10, 10, 0);
        ping(&mut known, WINDOW + 100, 5_000, 5_000, 1_234);
        assert_eq!(known.theirs_minus_ours(), Some(1_234));
    }

    #[test]
    fn a_peer_that_lies_about_times_is_passed_over() {
        let mut known = Offset::default();
        known.push(500, 10, 20, 400);
        known.push(500, 20, 10, 600);
        known.push(500, 0, 1_000_000, 600);
        assert_eq!(known.theirs_minus_ours(), None);
        known.push(1, u64::MAX, u64::MAX, 2);
        assert_eq!(known.theirs_minus_ours(), None);
    }

    #[test]
    fn pings_slow_down_once_there_are_enough_samples() {
        let mut known = Offset::default();
        assert_eq!(known.ping_every(), PING_EVERY[0]);
        for turn in 0..ENOUGH as u64 {
            ping(&mut known, turn * 1_000, 10, 10, 0);
        }
        assert_eq!(known.ping_every(), PING_EVERY[1]);
    }
}

//! A simulated network link in virtual time, for tests: the caller says what is sent when, and learns when it arrives.

/// Microseconds.
pub type Micros = u64;

/// One direction of a link: its bytes leave one after the other at its rate, then travel for a fixed delay. Its queue has no
/// bound, so that a sender that sends too much sees old frames rather than lost ones.
#[derive(Debug, Clone)]
pub struct Path {
    /// Bits a second from each moment on, in order of time.
    pub rates: Vec<(Micros, u64)>,
    /// From one end to the other, in µs.
    pub delay: Micros,
    /// Bits that pass at once after the link was idle for as long as they take, as traffic shapers allow.
    pub burst: u64,
    /// When the last byte so far has left.
    pub free: Micros,
}

impl Path {
    /// A link with these rates and this delay, and no burst.
    pub fn new(rates: &[(Micros, u64)], delay: Micros) -> Self {
        Self { rates: rates.to_vec(), delay, burst: 0, free: 0 }
    }

    /// Sends this many bytes; returns when the last of them arrives.
    pub fn send(&mut self, bytes: usize, now: Micros) -> Micros {
        let rate = self.rates.iter().rev().find(|(from, _)| *from <= now).map_or(1, |(_, rate)| *rate.max(&1));
        let mut at = self.free.max(now.saturating_sub(1_000_000 * self.burst / rate));
        let mut bits = 8.0 * bytes as f64;
        loop {
            let rate = self.rates.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, rate)| *rate) as f64;
            let until = self.rates.iter().map(|(from, _)| *from).find(|from| *from > at).unwrap_or(Micros::MAX);
            let all = if rate > 0.0 { (bits * 1e6 / rate) as Micros } else { Micros::MAX };
            if until - at >= all {
                self.free = at.saturating_add(all);
                return self.free.max(now).saturating_add(self.delay);
            }
            bits -= rate * (until - at) as f64 / 1e6;
            at = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_queue_behind_each_other_and_the_rate_changes_under_way() {
        // 8 Mbit/s are one byte a microsecond; a tenth of that after 1 ms.
        let mut path = Path::new(&[(0, 8_000_000), (1_000, 800_000)], 50);
        assert_eq!(path.send(400, 0), 450);
        assert_eq!(path.send(400, 100), 850, "behind the first");
        assert_eq!(path.send(300, 900), 900 + 100 + 2_000 + 50, "a hundred before the fall");
    }

    #[test]
    fn a_burst_passes_at_once_after_a_pause() {
        let mut path = Path { burst: 8_000, ..Path::new(&[(0, 8_000_000)], 0) };
        assert_eq!(path.send(1_000, 10_000), 10_000);
        assert_eq!(path.send(1_000, 10_000), 11_000);
    }
}

//! Frames at a constant rate.

use std::time::{Duration, Instant};

use framewire_proto::Micros;

use crate::stop::Stop;

/// Delays frames so that they keep a constant rate.
pub struct Pace {
    interval: Duration,
    due: Option<Instant>,
}

impl Pace {
    /// A rate in frames per second; `None` for 0, which means no delay.
    pub fn new(fps: f64) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(1.0 / fps).ok()?;
        Some(Self { interval, due: None })
    }

    /// Waits until the next frame is due. Returns whether the stop was raised. After a frame that is more than one interval late,
    /// later frames do not hurry to catch up.
    pub fn wait(&mut self, stop: &Stop) -> bool {
        let now = Instant::now();
        let due = self.due.filter(|due| *due + self.interval >= now).unwrap_or(now);
        self.due = Some(due + self.interval);
        stop.wait(due.saturating_duration_since(now))
    }
}

/// Leaves out frames of what is live so that no more come than a rate: those are taken that come next to when one is due.
pub struct Thinning {
    /// In µs.
    interval: Micros,
    next: Micros,
}

impl Thinning {
    /// A rate in frames per second; `None` for 0, which means all.
    pub fn new(fps: f64) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(1.0 / fps).ok()?;
        Some(Self { interval: interval.as_micros() as Micros, next: 0 })
    }

    /// Whether a frame of this time is taken.
    pub fn takes(&mut self, time: Micros) -> bool {
        // A frame may come a little early.
        if time + self.interval / 8 < self.next {
            return false;
        }
        // After a pause the rate is no higher.
        self.next = if time > self.next + self.interval { time } else { self.next } + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_rate_of_a_source_that_is_faster_or_slower() {
        for (every, wanted) in [(33_333, 50), (200_000, 50), (1_000_000, 10), (20_000, 50)] {
            let mut thinning = Thinning::new(5.0).unwrap();
            let frames = (0..10_000_000 / every).filter(|number| thinning.takes(1 + number * every)).count();
            assert!(frames.abs_diff(wanted) <= 1, "{every}: {frames}");
        }
        assert!(Thinning::new(0.0).is_none());
    }

    #[test]
    fn the_rate_is_kept_and_a_stop_ends_the_wait() {
        let stop = Stop::default();
        let mut pace = Pace::new(200.0).unwrap();
        let started = Instant::now();
        assert!((0..5).all(|_| !pace.wait(&stop)));
        assert!(started.elapsed() >= Duration::from_millis(20));
        stop.stop();
        assert!(Pace::new(0.001).unwrap().wait(&stop));
        assert!(Pace::new(0.0).is_none());
    }
}

//! Frames at a constant rate.

use std::time::{Duration, Instant};

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

#[cfg(test)]
mod tests {
    use super::*;

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

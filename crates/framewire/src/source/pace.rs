//! Frames at an even pace.

use std::time::{Duration, Instant};

use crate::stop::Stop;

/// Lets one frame through at a time, at a fixed rate from the first on.
pub struct Pace {
    interval: Duration,
    due: Option<Instant>,
}

impl Pace {
    /// A pace of this many frames per second; none for 0, which is as fast as they are taken.
    pub fn new(fps: f64) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(1.0 / fps).ok()?;
        Some(Self { interval, due: None })
    }

    /// Waits until the next frame is due, or the stop is raised; returns whether it is. Who comes more than a frame late
    /// begins a new count instead of hurrying after the old one.
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
        let begun = Instant::now();
        assert!((0..5).all(|_| !pace.wait(&stop)));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        stop.stop();
        assert!(Pace::new(0.001).unwrap().wait(&stop));
        assert!(Pace::new(0.0).is_none());
    }
}

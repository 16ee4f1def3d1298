//! Trying again after a failure: an exponential backoff, logged, that a stop ends.

use std::{fmt::Display, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::timeout;
use tracing::warn;

use crate::{error::Error, stop::Stop};

/// The first wait at most, in ms. Each failure doubles it.
const FIRST: u64 = 200;
/// The longest wait, in ms.
const LONGEST: u64 = 10_000;

/// The wait after a refused password: cameras lock accounts that are tried too often.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// How long to wait after this error at least.
pub fn least_wait(error: &Error) -> Duration {
    if matches!(error, Error::PermissionDenied(_)) { AFTER_REFUSAL } else { Duration::ZERO }
}

/// How long to wait before each new try: up to 0.2 s at first, twice as long after each failure, up to 10 s. A random half of
/// the wait is left out so that many clients do not return at once.
#[derive(Debug, Clone, Default)]
pub struct Retry {
    failures: u32,
}

impl Retry {
    /// Logs why the last try failed, and blocks until the next is due or `stop` is raised.
    pub fn wait(&mut self, failure: &impl Display, stop: &Stop) {
        self.wait_at_least(Duration::ZERO, failure, stop);
    }

    /// The same, and not shorter than `least`.
    pub fn wait_at_least(&mut self, least: Duration, failure: &impl Display, stop: &Stop) {
        if !stop.stopped() {
            stop.wait(self.announce(least, failure));
        }
    }

    /// The same for a task.
    pub async fn wait_async(&mut self, least: Duration, failure: &impl Display, stop: &Stop) {
        if stop.stopped() {
            return;
        }
        // The caller's loop asks the stop: here it does not matter which of the two ended the wait.
        let _ = timeout(self.announce(least, failure), stop.raised()).await;
    }

    /// A try succeeded: the next failure waits briefly again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next try.
    fn next_wait(&mut self) -> Duration {
        let longest = (FIRST << self.failures.min(6)).min(LONGEST);
        self.failures += 1;
        // The clock's last digits are random enough to spread clients out.
        let random = clock_gettime(ClockId::Monotonic).tv_nsec.unsigned_abs() / 1_000;
        Duration::from_millis(longest / 2 + random % (longest / 2 + 1))
    }

    fn announce(&mut self, least: Duration, failure: &impl Display) -> Duration {
        let wait = self.next_wait().max(least);
        warn!("{failure}; trying again in {:.1} s", wait.as_secs_f64());
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_ten_seconds_and_is_short_after_a_success() {
        let mut retry = Retry::default();
        let waits: Vec<_> = (0..10).map(|_| retry.next_wait().as_millis()).collect();
        assert!((100..=200).contains(&waits[0]), "{waits:?}");
        assert!((5_000..=10_000).contains(&waits[9]), "{waits:?}");
        retry.reset();
        assert!(retry.next_wait().as_millis() <= 200);
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let (stop, mut retry) = (Stop::default(), Retry { failures: 6 });
        stop.stop();
        // Else this takes at least five seconds, and the runner's own limit is the judge.
        let started = std::time::Instant::now();
        retry.wait(&"no hub", &stop);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(retry.wait_async(Duration::ZERO, &"no hub", &stop));
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

//! The wish that something end, shared by all who must hear it.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A flag that is raised once and wakes those who wait. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Stop {
    /// Raises the flag for good and wakes all who wait.
    pub fn stop(&self) {
        let _held = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.raised.store(true, Ordering::SeqCst);
        self.0.wake.notify_all();
    }

    /// Whether the flag is raised. Costs an atomic load: FFmpeg's interrupt callback asks it often.
    pub fn stopped(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Waits this long, or until the flag is raised; returns whether it is.
    pub fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut held = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.0.raised.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            held = self.0.wake.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

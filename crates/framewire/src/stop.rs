//! The wish that something end, shared by all who must hear it.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
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
    /// Those that are raised with this one.
    children: Mutex<Vec<Weak<Inner>>>,
    wake: Condvar,
}

impl Stop {
    /// Raises the flag for good and wakes all who wait.
    pub fn stop(&self) {
        let children = {
            let mut held = self.lock();
            self.0.raised.store(true, Ordering::SeqCst);
            self.0.wake.notify_all();
            std::mem::take(&mut *held)
        };
        children.iter().filter_map(Weak::upgrade).for_each(|child| Self(child).stop());
    }

    /// A flag of its own that is raised with this one too.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::default();
        let mut held = self.lock();
        if self.0.raised.load(Ordering::SeqCst) {
            child.0.raised.store(true, Ordering::SeqCst);
        } else {
            held.retain(|other| other.strong_count() > 0);
            held.push(Arc::downgrade(&child.0));
        }
        child
    }

    /// Whether the flag is raised. Costs an atomic load: FFmpeg's interrupt callback asks it often.
    pub fn stopped(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Waits this long, or until the flag is raised; returns whether it is.
    pub fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut held = self.lock();
        while !self.0.raised.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            held = self.0.wake.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Inner>>> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_raised_with_its_parent_and_not_the_other_way_round() {
        let parent = Stop::default();
        let (first, second) = (parent.child(), parent.child());
        first.stop();
        assert!(first.stopped() && !parent.stopped() && !second.stopped());
        parent.stop();
        assert!(second.wait(Duration::from_secs(60)));
        assert!(parent.child().stopped());
    }

    #[test]
    fn a_wait_ends_with_the_flag_or_with_its_time() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::from_millis(1)));
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait(Duration::from_secs(60))
        });
        stop.stop();
        assert!(waiter.join().unwrap());
    }
}

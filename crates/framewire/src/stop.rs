//! A request that something end, shared by everything that must stop for it.

use std::{
    fmt, io, mem,
    os::fd::{AsFd, BorrowedFd},
    pin::pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// A flag that is raised once and wakes every waiter. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicBool,
    dependents: Mutex<Dependents>,
    wake: Condvar,
    notify: Notify,
}

/// What happens when the flag is raised.
#[derive(Default)]
struct Dependents {
    /// Flags that are raised with this one.
    children: Vec<Weak<Inner>>,
    /// Calls to make, each under its number.
    calls: Vec<(u64, Box<dyn FnOnce() + Send>)>,
    next_call: u64,
}

/// A call that was registered with [`Stop::on_stop`]. Dropped, the call is not made any more.
#[derive(Debug)]
#[must_use = "dropped, the call is not made"]
pub struct OnStop {
    inner: Arc<Inner>,
    id: u64,
}

/// Raises its flag when it is dropped.
#[derive(Debug, Default)]
pub struct StopOnDrop(pub Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Stop {
    /// Raises the flag for good and wakes every waiter.
    pub fn stop(&self) {
        let Dependents { children, calls, .. } = {
            let mut held = self.lock();
            self.0.raised.store(true, Ordering::SeqCst);
            self.0.wake.notify_all();
            self.0.notify.notify_waiters();
            mem::take(&mut *held)
        };
        // Not under the lock: a call may use this flag.
        calls.into_iter().for_each(|(_, call)| call());
        children.iter().filter_map(Weak::upgrade).for_each(|child| Self(child).stop());
    }

    /// Makes this call once when the flag is raised, from the thread that raises it; at once if it is raised already. The call
    /// must not block.
    pub fn on_stop(&self, call: impl FnOnce() + Send + 'static) -> OnStop {
        let mut held = self.lock();
        let id = held.next_call;
        if self.0.raised.load(Ordering::SeqCst) {
            drop(held);
            call();
        } else {
            held.next_call += 1;
            held.calls.push((id, Box::new(call)));
        }
        OnStop { inner: self.0.clone(), id }
    }

    /// A pipe that becomes readable when the flag is raised, for threads that wait in `poll` for sockets too. It stays readable.
    ///
    /// # Errors
    /// The process has no file descriptors left.
    pub fn pipe(&self) -> io::Result<StopPipe> {
        let (reader, writer) = io::pipe()?;
        Ok(StopPipe { reader, _closes: self.on_stop(move || drop(writer)) })
    }

    /// A flag of its own that is raised with this one too.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::default();
        let mut held = self.lock();
        if self.0.raised.load(Ordering::SeqCst) {
            child.0.raised.store(true, Ordering::SeqCst);
        } else {
            held.children.retain(|other| other.strong_count() > 0);
            held.children.push(Arc::downgrade(&child.0));
        }
        child
    }

    /// Whether the flag is raised. Costs an atomic load: FFmpeg's interrupt callback asks it often.
    pub fn stopped(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Waits until the flag is raised.
    pub async fn raised(&self) {
        let mut notified = pin!(self.0.notify.notified());
        // Registered before the flag is read, so that a raise in between is not missed.
        notified.as_mut().enable();
        if !self.0.raised.load(Ordering::SeqCst) {
            notified.await;
        }
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

    fn lock(&self) -> MutexGuard<'_, Dependents> {
        self.0.lock()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Dependents> {
        self.dependents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnStop {
    fn drop(&mut self) {
        let mut held = self.inner.lock();
        let place = held.calls.iter().position(|(id, _)| *id == self.id);
        let call = place.map(|place| held.calls.swap_remove(place));
        drop(held);
        // What the call owns may use this flag when it is dropped.
        drop(call);
    }
}

impl fmt::Debug for Dependents {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} children, {} calls", self.children.len(), self.calls.len())
    }
}

/// The read end of a pipe that a raised [`Stop`] makes readable: see [`Stop::pipe`].
#[derive(Debug)]
pub struct StopPipe {
    reader: io::PipeReader,
    /// Owns the pipe's write end until the flag is raised.
    _closes: OnStop,
}

impl AsFd for StopPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
    fn a_call_is_made_once_when_the_flag_is_raised_and_not_after_it_was_taken_back() {
        let stop = Stop::default();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let note = |text| {
            let (calls, other) = (calls.clone(), stop.clone());
            // A call may ask the flag that makes it.
            move || calls.lock().unwrap().push((text, other.child().stopped()))
        };
        let kept = stop.on_stop(note("kept"));
        drop(stop.on_stop(note("taken back")));
        assert!(calls.lock().unwrap().is_empty());
        stop.stop();
        stop.stop();
        let late = stop.on_stop(note("late"));
        drop((kept, late));
        assert_eq!(*calls.lock().unwrap(), [("kept", true), ("late", true)]);
    }

    #[test]
    fn a_pipe_becomes_readable_when_the_flag_is_raised_and_stays_so() {
        let readable = |pipe: &StopPipe| {
            let mut polled = [PollFd::new(pipe, PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::default())).unwrap() == 1
        };
        let stop = Stop::default();
        let pipe = stop.pipe().unwrap();
        assert!(!readable(&pipe));
        stop.child().stop();
        assert!(!readable(&pipe));
        stop.stop();
        assert!(readable(&pipe) && readable(&pipe) && readable(&stop.pipe().unwrap()));
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

//! Waiting: for a task by its waker, for a thread by parking.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use framewire_proto::Micros;

/// Stores the task to be woken.
pub(super) fn store_waker(stored: &mut Option<Waker>, context: &Context<'_>) {
    if !stored.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *stored = Some(context.waker().clone());
    }
}

/// Blocks this thread until `poll` is ready; `None` once the timeout has passed on the clock `now`. Polls at least
/// once.
pub fn block_within<T>(
    timeout: Duration,
    now: impl Fn() -> Micros,
    mut poll: impl FnMut(&mut Context<'_>, Micros) -> Poll<T>,
) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let deadline = now().saturating_add(Micros::try_from(timeout.as_micros()).unwrap_or(Micros::MAX));
    loop {
        if let Poll::Ready(value) = poll(&mut context, now()) {
            return Some(value);
        }
        match deadline.saturating_sub(now()) {
            0 => return None,
            left => thread::park_timeout(Duration::from_micros(left)),
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_wait_without_time_polls_once() {
        let polls = Cell::new(0);
        let outcome = block_within(
            Duration::ZERO,
            || 7,
            |_, _| {
                polls.set(polls.get() + 1);
                Poll::<()>::Pending
            },
        );
        assert_eq!((outcome, polls.get()), (None, 1));
    }

    #[test]
    fn a_wait_ends_at_its_deadline_on_the_callers_clock() {
        let time = Cell::new(0);
        let clock = || time.replace(time.get() + 1_000);
        let mut last = 0;
        let outcome = block_within(Duration::from_millis(10), clock, |context, now| {
            // The thread is unparked at once: only the clock of this test passes.
            context.waker().wake_by_ref();
            last = now;
            Poll::<()>::Pending
        });
        assert!(outcome.is_none() && (8_000..10_000).contains(&last), "{last}");
    }

    #[test]
    fn a_wake_ends_the_wait() {
        let ready = Cell::new(false);
        let outcome = block_within(
            Duration::from_secs(3600),
            || 0,
            |context, _| {
                context.waker().wake_by_ref();
                if ready.replace(true) { Poll::Ready(5) } else { Poll::Pending }
            },
        );
        assert_eq!(outcome, Some(5));
    }
}

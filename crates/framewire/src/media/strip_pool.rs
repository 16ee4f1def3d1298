//! Threads that do parts of one picture side by side.
//!
//! They are kept, since a thread's start would cost what it gains, and are sent away from the processor that asks for
//! help: woken on it (as some schedulers do with a thread that ran there before) they would wait until it has done its own part.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

/// Nobody has more use for processors than this: each more has less to do and must wake, too.
const MOST: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// Helpers of one who has pictures to work on.
pub(super) struct StripPool {
    helpers: Vec<Helper>,
}

struct Helper {
    jobs: Sender<Job>,
    thread: Option<placement::Thread>,
}

/// The result of a helper's part.
pub(super) struct Part<T>(Receiver<T>);

impl StripPool {
    /// As many lanes as this machine has processors, within bounds: this one's own and its helpers'.
    pub(super) fn processors() -> usize {
        thread::available_parallelism().map_or(1, usize::from).min(MOST)
    }

    /// Without helpers yet: they come when they are needed.
    pub(super) fn new() -> Self {
        Self { helpers: Vec::new() }
    }

    /// Lets helper `number` do this, elsewhere than here.
    pub(super) fn begin<T: Send + 'static>(
        &mut self,
        number: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Part<T> {
        while self.helpers.len() <= number {
            self.helpers.push(Helper::start());
        }
        let helper = &self.helpers[number];
        helper.send_away();
        let (tell, part) = mpsc::sync_channel(1);
        // A helper that is gone drops the job, and whoever waits for its part hears that.
        let _ = helper.jobs.send(Box::new(move || drop(tell.send(job()))));
        Part(part)
    }
}

impl<T> Part<T> {
    /// Waits for the helper's result; `None` if it panicked.
    pub(super) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl Helper {
    fn start() -> Self {
        let (jobs, come) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::sync_channel(1);
        thread::spawn(move || {
            // Whoever started it waits for this.
            let _ = tell.send(placement::this_thread());
            come.iter().for_each(|job| job());
        });
        Self { jobs, thread: told.recv().ok() }
    }

    /// Keeps the helper off the processor that this thread runs on; where that cannot be, it runs where it likes.
    fn send_away(&self) {
        if let Some(thread) = self.thread {
            placement::keep_off_this_processor(thread);
        }
    }
}

/// Where threads run.
#[cfg(target_os = "linux")]
mod placement {
    use rustix::thread::{Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    pub(super) type Thread = Pid;

    pub(super) fn this_thread() -> Thread {
        gettid()
    }

    pub(super) fn keep_off_this_processor(thread: Thread) {
        let Ok(mut processors) = sched_getaffinity(None) else { return };
        processors.unset(sched_getcpu());
        if processors.count() > 0 {
            // It is a wish: it may be refused.
            let _ = sched_setaffinity(Some(thread), &processors);
        }
    }
}

/// Where threads run: nothing is known of that here.
#[cfg(not(target_os = "linux"))]
mod placement {
    pub(super) type Thread = ();

    pub(super) fn this_thread() -> Thread {}

    pub(super) fn keep_off_this_processor(_thread: Thread) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_done_side_by_side_and_a_panic_is_heard() {
        let mut lanes = StripPool::new();
        let parts: Vec<_> = (0..3).map(|number| lanes.begin(number, move || number * 10)).collect();
        let results: Vec<_> = parts.into_iter().map(Part::wait).collect();
        assert_eq!(results, [Some(0), Some(10), Some(20)]);
        let broken = lanes.begin(0, || -> usize { panic!("as it should in this test") });
        assert_eq!(broken.wait(), None);
        assert_eq!(lanes.begin(0, || 1).wait(), None, "a helper that panicked is gone");
        assert_eq!(lanes.begin(1, || 2).wait(), Some(2));
    }
}

//! Threads that work on parts of one picture in parallel.
//!
//! They are kept, because starting a thread would take as long as it saves. They are also kept off the caller's processor: some
//! schedulers wake a thread on the processor where it ran before, and there it would wait until the caller's own part is done.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

/// The most threads. Each further one has less to do and costs a wake-up.
const MAX_THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The helper threads of one encoder or decoder.
pub(super) struct StripPool {
    helpers: Vec<Helper>,
}

struct Helper {
    jobs: Sender<Job>,
    thread: Option<placement::Thread>,
}

/// The result of a helper's part.
pub(super) struct PendingPart<T>(Receiver<T>);

impl StripPool {
    /// How many parts to work on at a time: the processors of this machine, at most [`MAX_THREADS`]. The caller does one part.
    pub(super) fn processors() -> usize {
        thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
    }

    /// Creates a pool. Its threads start when they are first needed.
    pub(super) fn new() -> Self {
        Self { helpers: Vec::new() }
    }

    /// Runs a job on helper `number`, on another processor than the caller's.
    pub(super) fn start<T: Send + 'static>(
        &mut self,
        number: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> PendingPart<T> {
        while self.helpers.len() <= number {
            self.helpers.push(Helper::start());
        }
        let helper = &self.helpers[number];
        helper.keep_off_this_processor();
        let (result, part) = mpsc::sync_channel(1);
        // A helper that has panicked drops the job, and then waiting for the part returns `None`.
        let _ = helper.jobs.send(Box::new(move || drop(result.send(job()))));
        PendingPart(part)
    }
}

impl<T> PendingPart<T> {
    /// Waits for the helper's result; `None` if the helper panicked.
    pub(super) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl Helper {
    fn start() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (started, thread) = mpsc::sync_channel(1);
        thread::spawn(move || {
            // The receiver waits below.
            let _ = started.send(placement::this_thread());
            queue.iter().for_each(|job| job());
        });
        Self { jobs, thread: thread.recv().ok() }
    }

    /// Keeps the helper off the caller's processor, where the system allows that.
    fn keep_off_this_processor(&self) {
        if let Some(thread) = self.thread {
            placement::keep_off_this_processor(thread);
        }
    }
}

/// On which processors threads run.
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
            // If the system refuses, the picture only takes longer.
            let _ = sched_setaffinity(Some(thread), &processors);
        }
    }
}

/// On which processors threads run: this system does not say.
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
    fn parts_run_on_helpers_and_a_panic_is_reported() {
        let mut pool = StripPool::new();
        let parts: Vec<_> = (0..3).map(|number| pool.start(number, move || number * 10)).collect();
        let results: Vec<_> = parts.into_iter().map(PendingPart::wait).collect();
        assert_eq!(results, [Some(0), Some(10), Some(20)]);
        let broken = pool.start(0, || -> usize { panic!("as it should in this test") });
        assert_eq!(broken.wait(), None);
        assert_eq!(pool.start(0, || 1).wait(), None, "the helper that panicked is lost");
        assert_eq!(pool.start(1, || 2).wait(), Some(2));
    }
}

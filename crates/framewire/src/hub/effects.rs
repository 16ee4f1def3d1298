//! What a change of a stream's state causes outside of it: collected under the lock, performed after its release.

use std::{fmt, mem, sync::Arc, task::Waker};

use framewire_proto::{Rendition, wire::native::Report};

/// What viewers report to the publisher of their stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// What became of a frame, by its publisher's own number.
    Report(Report),
    /// A viewer cannot decode before a keyframe arrives.
    Keyframe,
}

/// Takes the feedback for a stream's publisher.
#[derive(Clone)]
pub(super) struct Upstream(Arc<dyn Fn(Feedback) + Send + Sync>);

impl Upstream {
    pub(super) fn new(take: impl Fn(Feedback) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn send(&self, feedback: Feedback) {
        self.0(feedback);
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Upstream")
    }
}

/// Something to do once a stream's state is unlocked.
#[derive(Debug)]
pub(super) enum Action {
    /// Count a keyframe request for the publisher.
    CountKeyframeRequest,
    /// Send feedback to the publisher's own source.
    Send(Upstream, Feedback),
    /// Report the number of viewers to the publisher.
    ReportViewers,
    /// Report whether the publisher has ended the stream.
    ReportEnd,
    /// Have a rendition transcoded.
    StartTranscoder(Rendition),
}

/// The tasks to wake and the actions to perform, in this order.
#[derive(Debug, Default)]
pub(super) struct Effects {
    wakers: Vec<Waker>,
    actions: Vec<Action>,
}

impl Effects {
    /// Wakes the task that is stored here, if there is one.
    pub(super) fn wake(&mut self, stored: &mut Option<Waker>) {
        self.wakers.extend(stored.take());
    }

    pub(super) fn add(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Takes what was collected and leaves nothing.
    pub(super) fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// Wakes the tasks, then has `act` perform the actions.
    pub(super) fn perform(self, act: impl FnMut(Action)) {
        self.wakers.into_iter().for_each(Waker::wake);
        self.actions.into_iter().for_each(act);
    }
}

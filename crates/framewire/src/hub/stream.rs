//! A stream: its state behind a lock, and what happens when the lock is released.

use std::{
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framewire_proto::{Micros, Name, Rendition};
use tokio::sync::watch;

use super::{
    effects::{Action, Effects},
    info::Info,
    state::StreamState,
};

/// A named live video.
#[derive(Debug)]
pub(super) struct Stream {
    name: Name,
    state: Mutex<StreamState>,
    viewers: watch::Sender<u32>,
    keyframe_requests: watch::Sender<u64>,
    /// Whether the publisher has ended the stream.
    ended: watch::Sender<bool>,
    transcoders: TranscoderFactory,
}

/// The locked state of a stream. When it is dropped, the state is unlocked first; then the tasks that wait are woken
/// and the other [effects](Effects) of the changes are performed.
pub(super) struct StreamGuard<'a> {
    // Fields are dropped in this order.
    state: MutexGuard<'a, StreamState>,
    after: AfterUnlock<'a>,
}

/// Performs effects when it is dropped.
struct AfterUnlock<'a> {
    stream: &'a Arc<Stream>,
    effects: Effects,
}

/// Has the renditions of a hub's streams transcoded.
#[derive(Clone, Default)]
pub(super) struct TranscoderFactory(Arc<Mutex<Option<Start>>>);

type Start = Arc<dyn Fn(Arc<Stream>, Rendition) + Send + Sync>;

impl Stream {
    pub(super) fn new(name: Name, transcoders: TranscoderFactory, now: Micros) -> Self {
        Self {
            name,
            state: Mutex::new(StreamState::new(now)),
            viewers: watch::Sender::new(0),
            keyframe_requests: watch::Sender::new(0),
            ended: watch::Sender::new(false),
            transcoders,
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The number of viewers.
    pub(super) fn viewers(&self) -> watch::Receiver<u32> {
        self.viewers.subscribe()
    }

    /// How often a keyframe was requested.
    pub(super) fn keyframe_requests(&self) -> watch::Receiver<u64> {
        self.keyframe_requests.subscribe()
    }

    /// Whether the publisher has ended the stream.
    pub(super) fn subscribe_end(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Whether renditions can be transcoded at all.
    pub(super) fn can_transcode(&self) -> bool {
        self.transcoders.lock().is_some()
    }

    pub(super) fn info(self: &Arc<Self>, now: Micros) -> Info {
        self.lock().info(&self.name, now)
    }

    /// Locks the state until the guard is dropped.
    pub(super) fn lock(self: &Arc<Self>) -> StreamGuard<'_> {
        StreamGuard { state: self.lock_state(), after: AfterUnlock { stream: self, effects: Effects::default() } }
    }

    fn lock_state(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(self: &Arc<Self>, action: Action) {
        match action {
            Action::CountKeyframeRequest => self.keyframe_requests.send_modify(|requests| *requests += 1),
            Action::Send(upstream, feedback) => upstream.send(feedback),
            Action::ReportViewers => {
                self.viewers.send_if_modified(|reported| {
                    // Counted again here, where calls exclude each other: no older count replaces a newer one.
                    let viewers = self.lock_state().viewer_count() as u32;
                    mem::replace(reported, viewers) != viewers
                });
            }
            Action::ReportEnd => {
                self.ended.send_if_modified(|reported| {
                    let ended = self.lock_state().has_ended();
                    mem::replace(reported, ended) != ended
                });
            }
            Action::StartTranscoder(rendition) => self.transcoders.start(self, rendition),
        }
    }
}

impl Deref for StreamGuard<'_> {
    type Target = StreamState;

    fn deref(&self) -> &StreamState {
        &self.state
    }
}

impl DerefMut for StreamGuard<'_> {
    fn deref_mut(&mut self) -> &mut StreamState {
        &mut self.state
    }
}

impl Drop for StreamGuard<'_> {
    fn drop(&mut self) {
        self.after.effects = self.state.take_effects();
    }
}

impl Drop for AfterUnlock<'_> {
    fn drop(&mut self) {
        self.effects.take().perform(|action| self.stream.perform(action));
    }
}

impl TranscoderFactory {
    /// Sets what starts a transcoder, instead of what was set before: a hub may be served a second time.
    pub(super) fn set(&self, start: impl Fn(Arc<Stream>, Rendition) + Send + Sync + 'static) {
        *self.lock() = Some(Arc::new(start));
    }

    fn start(&self, stream: &Arc<Stream>, rendition: Rendition) {
        let start = self.lock().clone();
        if let Some(start) = start {
            start(stream.clone(), rendition);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Start>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TranscoderFactory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TranscoderFactory")
    }
}

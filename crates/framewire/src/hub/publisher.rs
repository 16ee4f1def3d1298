//! The publisher's end of a stream.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use framewire_proto::{
    Config, Frame, Micros, Name,
    wire::native::{Service, State, Token},
};
use tokio::sync::watch;

use super::{
    Refused,
    effects::{Feedback, Upstream},
    publisher_slot::{PublishError, Replaced},
    stream::{Stream, StreamGuard},
    wait::block_within,
};

/// Publishes a stream. When it is dropped, the stream is stalled.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    id: u64,
}

impl Publisher {
    /// Fails where the stream has a live publisher, and that is another client.
    pub(super) fn new(stream: Arc<Stream>, owner: Option<Token>, now: Micros) -> Result<Self, Refused> {
        let mut state = stream.lock();
        let Some(id) = state.join_publisher(owner, now) else {
            let name = stream.name().clone();
            return Err(if state.is_reserved() { Refused::OwnSource(name) } else { Refused::NameTaken(name) });
        };
        drop(state);
        Ok(Self { stream, id })
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        self.stream.name()
    }

    /// The number of viewers, to wait for its changes.
    pub fn viewers(&self) -> watch::Receiver<u32> {
        self.stream.viewers()
    }

    /// How often viewers have requested a keyframe, to wait for the next request.
    pub fn keyframe_requests(&self) -> watch::Receiver<u64> {
        self.stream.keyframe_requests()
    }

    /// Keeps the stream's name for this publisher, however long it is silent: a source of the hub sleeps while nobody watches.
    pub fn reserve(&self) {
        if let Ok(mut state) = self.lock() {
            state.reserve();
        }
    }

    /// The next frame's number, where the stream has none yet: frames that are made of another stream's keep their numbers.
    pub fn number_from(&self, sequence: u64) {
        if let Ok(mut state) = self.lock() {
            state.number_from(sequence);
        }
    }

    /// Whether the frames were encoded elsewhere, so that no keyframe can be made on request. The hub then keeps the
    /// current GOP for new viewers.
    pub fn set_passthrough(&self, passthrough: bool) {
        if let Ok(mut state) = self.lock() {
            state.set_passthrough(passthrough);
        }
    }

    /// Passes on what viewers report to the source of the frames.
    pub fn on_feedback(&self, take: impl Fn(Feedback) + Send + Sync + 'static) {
        if let Ok(mut state) = self.lock() {
            state.set_upstream(Upstream::new(take));
        }
    }

    /// The publisher is alive, though it sent no frame. A publisher that is silent for 3 s can be replaced.
    pub fn keep_alive(&self, now: Micros) {
        if let Ok(mut state) = self.lock() {
            state.keep_publisher_alive(now);
        }
    }

    /// Sets the configuration of the frames that follow.
    ///
    /// # Errors
    /// [`Replaced`].
    pub fn configure(&self, config: Config) -> Result<(), Replaced> {
        self.lock()?.configure(config);
        Ok(())
    }

    /// Delivers a frame to all viewers.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn publish(&self, frame: Frame, now: Micros) -> Result<(), PublishError> {
        self.lock()?.publish(frame, now)
    }

    /// Waits until a viewer has room for a frame; `false` when another publisher has taken the stream over.
    pub async fn room(&self) -> bool {
        poll_fn(|context| self.poll_room(context)).await
    }

    /// Blocks this thread until a viewer has room for a frame; `false` when the timeout has passed on the clock `now`,
    /// another publisher has taken the stream over, or `end` is ready.
    pub fn room_within(&self, timeout: Duration, end: impl Future<Output = ()>, now: impl Fn() -> Micros) -> bool {
        let mut end = pin!(end);
        let room = block_within(timeout, now, |context, _| match end.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => self.poll_room(context),
        });
        room.unwrap_or(false)
    }

    fn poll_room(&self, context: &Context<'_>) -> Poll<bool> {
        match self.lock() {
            Ok(mut state) => state.poll_room(context).map(|()| true),
            Err(Replaced) => Poll::Ready(false),
        }
    }

    /// Sets the state of the stream, where the source knows better: it is idle, or the stream that it comes from has
    /// stalled.
    pub fn set_state(&self, state: State) {
        if let Ok(mut stream) = self.lock() {
            stream.set_state(state);
        }
    }

    /// Tells viewers why there is no picture, until the next frame. No text: there is one again.
    pub fn set_fault(&self, text: &str, now: Micros) {
        if let Ok(mut stream) = self.lock() {
            stream.set_fault(text, now);
        }
    }

    /// Sets how the hub that this stream comes from serves it.
    pub fn set_service(&self, service: Service) {
        if let Ok(mut state) = self.lock() {
            state.set_service(service);
        }
    }

    /// Ends the stream: no more frames follow from this publisher.
    pub fn finish(self) {
        if let Ok(mut state) = self.lock() {
            state.end();
        }
    }

    /// Ends the stream, and its name will not be published again: viewers keep the last frame, and the hub soon forgets
    /// the stream.
    pub fn retire(self) {
        if let Ok(mut state) = self.lock() {
            state.retire();
        }
    }

    fn lock(&self) -> Result<StreamGuard<'_>, Replaced> {
        let state = self.stream.lock();
        if state.is_publisher(self.id) { Ok(state) } else { Err(Replaced) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Ok(mut state) = self.lock() {
            state.leave_publisher();
        }
    }
}

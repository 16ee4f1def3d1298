//! Who feeds a stream.

use std::{
    future::poll_fn,
    sync::{Arc, MutexGuard},
    task::{Context, Poll, Waker},
    thread,
    time::Instant,
};

use framewire_proto::{
    Config, Frame, Micros, Name, Rendition,
    wire::native::{Service, State, Token},
};
use tokio::sync::watch;

use super::{
    gop::Run,
    stream::{Feedback, Inside, Stream, Upstream},
    subscriber::Unpark,
};

/// A publisher that was not heard of for this long may be replaced by another.
const LOST_AFTER: Micros = 3_000_000;

/// The one who feeds a stream. Dropped, it leaves the stream stalled.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    id: u64,
}

/// Another publisher feeds the stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken the stream over")]
pub struct Replaced;

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfigured {
    /// No configuration came before the first frame.
    #[error("a frame came before its configuration")]
    NoConfig,
    /// Another publisher feeds the stream now.
    #[error(transparent)]
    Replaced(#[from] Replaced),
}

impl Publisher {
    pub(super) fn new(stream: Arc<Stream>, owner: Option<Token>, now: Micros) -> Option<Self> {
        let mut inside = stream.lock();
        let same = owner.is_some() && owner == inside.owner;
        if inside.publisher.is_some() && !same && inside.heard.saturating_add(LOST_AFTER) > now {
            return None;
        }
        inside.owner = owner;
        inside.publishers += 1;
        let id = inside.publishers;
        inside.publisher = Some(id);
        inside.heard = now;
        inside.fresh = now;
        inside.ended = false;
        stream.finished.send_replace(false);
        inside.retired = false;
        inside.upstream = None;
        inside.service = None;
        inside.renumber = None;
        inside.passthrough = false;
        drop(inside);
        Some(Self { stream, id })
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        &self.stream.name
    }

    /// How many watch, to be waited on for changes.
    pub fn viewers(&self) -> watch::Receiver<u32> {
        self.stream.viewers.subscribe()
    }

    /// How often somebody has wished for a keyframe, to be waited on for changes.
    pub fn keyframe_requests(&self) -> watch::Receiver<u64> {
        self.stream.wishes.subscribe()
    }

    /// Whether its frames were coded long ago, so that no keyframe comes for being wished for: what leads up to the present is
    /// kept then for who joins.
    pub fn set_passthrough(&self, passthrough: bool) {
        if let Ok(mut inside) = self.lock() {
            inside.passthrough = passthrough;
        }
    }

    /// Hands what viewers tell to whoever sent this publisher's frames here.
    pub fn on_feedback(&self, take: impl Fn(Feedback) + Send + Sync + 'static) {
        if let Ok(mut inside) = self.lock() {
            inside.upstream = Some(Upstream(Arc::new(take)));
        }
    }

    /// The publisher is alive, though no frame came.
    pub fn heard(&self, now: Micros) {
        if let Ok(mut inside) = self.lock() {
            inside.heard = now;
        }
    }

    /// How the frames that follow are coded.
    ///
    /// # Errors
    /// [`Replaced`].
    pub fn configure(&self, config: Config) -> Result<(), Replaced> {
        let mut wakers = Vec::new();
        let mut inside = self.lock()?;
        let source = inside.form_mut(Rendition::Source);
        if source.config.as_deref() == Some(&config) {
            return Ok(());
        }
        let codec = config.codec;
        source.config = Some(Arc::new(config));
        source.run = Run::default();
        if self.stream.hire.any() {
            inside.suit(codec, &mut wakers);
        }
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
        self.stream.staff();
        Ok(())
    }

    /// Gives a frame to all who watch.
    ///
    /// # Errors
    /// [`Unconfigured`].
    pub fn publish(&self, mut frame: Frame, now: Micros) -> Result<(), Unconfigured> {
        let mut wakers = Vec::new();
        let mut inside = self.lock()?;
        let config = inside.form(Rendition::Source).config.clone().ok_or(Unconfigured::NoConfig)?;
        frame.keyframe |= config.codec.independent();
        let first = inside.renumber.is_none();
        frame.sequence = inside.number(frame.sequence);
        if first && !frame.keyframe {
            inside.begins_in_the_middle(&config);
        }
        inside.heard = now;
        inside.fresh = now;
        inside.published += 1;
        inside.split.take_arrival(&frame.times);
        inside.enter(State::Live, &mut wakers);
        inside.give(Rendition::Source, &frame, now, &mut wakers);
        inside.put(&config, &frame, &mut wakers);
        let wished = inside.take_wish(Rendition::Source);
        drop(inside);
        if wished {
            self.stream.request_keyframe(Rendition::Source);
        }
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Waits until some viewer has room for a frame; returns whether one has: not so when another publisher feeds the stream.
    pub async fn room(&self) -> bool {
        poll_fn(|context| self.poll_room(context)).await
    }

    /// Blocks this thread until some viewer has room for a frame, or the deadline; returns whether one has.
    pub fn room_before(&self, deadline: Instant) -> bool {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(room) = self.poll_room(&Context::from_waker(&waker)) {
                return room;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
    }

    fn poll_room(&self, context: &Context<'_>) -> Poll<bool> {
        let Ok(mut inside) = self.lock() else { return Poll::Ready(false) };
        if inside.subscribers.values().any(|place| place.mailbox.is_empty()) {
            return Poll::Ready(true);
        }
        inside.hungry = Some(context.waker().clone());
        Poll::Pending
    }

    /// The source knows how its stream is: it sleeps, or what it feeds from has stalled.
    pub fn enter(&self, state: State) {
        let mut wakers = Vec::new();
        if let Ok(mut inside) = self.lock() {
            inside.enter(state, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How the hub that this stream comes from serves it.
    pub fn served(&self, service: Service) {
        if let Ok(mut inside) = self.lock() {
            inside.service = Some(service);
        }
    }

    /// Nothing more will come.
    pub fn finish(self) {
        let mut wakers = Vec::new();
        if let Ok(mut inside) = self.lock() {
            inside.ended = true;
            self.stream.finished.send_replace(true);
            for place in inside.subscribers.values_mut() {
                place.ended = true;
                wakers.extend(place.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing more will come, and never under this name: who watches keeps the last picture, and the hub soon forgets the
    /// stream.
    pub fn retire(self) {
        if let Ok(mut inside) = self.lock() {
            inside.retired = true;
        }
        self.finish();
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inside>, Replaced> {
        let inside = self.stream.lock();
        if inside.publisher == Some(self.id) { Ok(inside) } else { Err(Replaced) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        if let Ok(mut inside) = self.lock() {
            inside.publisher = None;
            inside.enter(State::Stalled, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

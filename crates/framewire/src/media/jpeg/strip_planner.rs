//! How many strips a picture is divided into.

use std::time::{Duration, Instant};

use framewire_proto::jpeg::strips::BLOCK;

use crate::media::strip_pool::StripPool;

/// A strip's least height, in rows of blocks: a smaller one is done before another thread has woken up.
const MIN_BLOCK_ROWS: usize = 8;

/// Divides a picture into strips where processors would otherwise be idle.
pub(super) struct StripPlanner {
    /// The most strips of a picture.
    pub(super) processors: usize,
    /// Strips of the current picture, or else of the last one.
    pub(super) strips: usize,
    /// When the last picture was finished, and the processor time that it took.
    pub(super) last: Option<(Instant, Duration)>,
}

impl StripPlanner {
    pub(super) fn new() -> Self {
        Self { processors: StripPool::processors(), strips: 1, last: None }
    }

    /// The number of strips for the picture that starts now.
    pub(super) fn strips(&mut self, width: u32, height: u32) -> usize {
        let idle = self.last.is_none_or(|(finished, took)| finished.elapsed() > took);
        let most = self.processors.min(height as usize / BLOCK / MIN_BLOCK_ROWS).max(1);
        self.strips = if idle && width.is_multiple_of(2) && height.is_multiple_of(2) { most } else { 1 };
        self.strips
    }

    /// Notes that the picture that was started at `started` is finished.
    pub(super) fn finished(&mut self, started: Instant) {
        self.last = Some((Instant::now(), started.elapsed() * self.strips as u32));
    }
}

//! Damaged frames are dropped and the stream goes on; the log has the first, second, fourth, eighth … of them.

use std::fmt::Display;

use tracing::warn;

/// Counts one stream's damaged frames.
#[derive(Debug, Default)]
pub(crate) struct BadFrames(u64);

impl BadFrames {
    /// A frame of this stream was dropped because of this.
    pub(crate) fn count(&mut self, stream: impl Display, why: impl Display) {
        self.0 += 1;
        if self.0.is_power_of_two() {
            warn!("'{stream}': a damaged frame was dropped ({} so far): {why}", self.0);
        }
    }
}

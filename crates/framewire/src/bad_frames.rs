//! Damaged frames and those over the limit are dropped and the stream goes on; the log has the first, second, fourth, eighth … of them.

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

/// Counts one stream's frames that are over the limit.
#[derive(Debug, Default)]
pub(crate) struct TooLarge(u64);

impl TooLarge {
    /// A frame of so many bytes was passed over, or not sent.
    pub(crate) fn count(&mut self, stream: impl Display, length: u64, limit: u64) {
        self.0 += 1;
        if self.0.is_power_of_two() {
            warn!(
                "'{stream}': a frame of {length} bytes is over the limit of {limit} and was dropped ({} so far): send smaller pictures, or raise the limit at both ends with --max-frame",
                self.0
            );
        }
    }
}

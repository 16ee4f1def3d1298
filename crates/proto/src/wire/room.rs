//! Memory for received bytes. A long message is read into a memory block of its own, and stays there. A peer's announcement
//! alone reserves little.

use bytes::BytesMut;

/// Spare capacity to read into while the length of the next message is unknown. The first bytes of a long message that are read
/// here are copied once, so this is small beside a frame.
const SMALL: usize = 4 << 10;
/// The most bytes reserved for an announced length that is longer than every message so far. For more, the peer must first send
/// half of what is reserved.
const CREDIT: usize = 256 << 10;

/// How much memory a peer's announcements may reserve: as much as its longest message so far.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes of the longest complete message so far.
    longest: usize,
}

impl Room {
    /// Makes spare capacity at the end of `buffer`. `announced` is the total length of the message at its start; 0 if unknown.
    /// Reserves no more than the rest of a long message.
    pub(super) fn reserve(&self, buffer: &mut BytesMut, announced: usize) {
        let held = buffer.len();
        let wanted = announced.min(CREDIT.max(self.longest).max(2 * held)).max(SMALL);
        let wanted = if wanted > held { wanted } else { held + SMALL };
        if !buffer.try_reclaim(wanted - held) {
            let mut larger = BytesMut::with_capacity(wanted);
            larger.extend_from_slice(buffer);
            *buffer = larger;
        }
    }

    /// A complete message of this length was received: the next one may reserve as much at once.
    pub(super) fn on_message(&mut self, length: usize) {
        self.longest = self.longest.max(length);
    }
}

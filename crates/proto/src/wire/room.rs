//! Memory for what a connection brings: a long message has memory of its own, into which its bytes are read and in which
//! they stay, and what a peer announces buys little until it comes.

use bytes::BytesMut;

/// Room to read into when nothing is known of what comes. What is read here of a long message is moved once, so it is
/// small beside a frame.
const SMALL: usize = 4 << 10;
/// Room given on a peer's word for a message longer than it has ever sent. Beyond that it must send half of what it gets
/// room for.
const CREDIT: usize = 256 << 10;

/// How much room a peer has earned.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes of the longest message that came whole.
    proven: usize,
}

impl Room {
    /// Makes some spare capacity behind what came, and no more than the rest of the message that begins it when that is
    /// long. `announced` are the bytes of that message; 0 when they are not known.
    pub(super) fn make(&self, buffer: &mut BytesMut, announced: usize) {
        let held = buffer.len();
        let wanted = announced.min(CREDIT.max(self.proven).max(2 * held)).max(SMALL);
        let wanted = if wanted > held { wanted } else { held + SMALL };
        if !buffer.try_reclaim(wanted - held) {
            let mut larger = BytesMut::with_capacity(wanted);
            larger.extend_from_slice(buffer);
            *buffer = larger;
        }
    }

    /// A message of this many bytes came whole: the next as long gets its room at once.
    pub(super) fn prove(&mut self, length: usize) {
        self.proven = self.proven.max(length);
    }
}

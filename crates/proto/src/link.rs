//! What both ends of a native connection do besides sending frames: ping, answer pings, compare clocks, notice a dead peer.

use crate::{Micros, Times, clock, wire::native::Message};

/// A peer that sends nothing for this long, in µs, is gone: close the connection. framewire pings four times a second, and any
/// client should ping at least once a second.
pub const IDLE_TIMEOUT: Micros = 10_000_000;

/// A peer that sends nothing for this long, in µs, may be behind a link that loses everything: at least two of its pings are
/// missing. A client then tries a second connection beside the silent one.
pub const SUSPECT_AFTER: Micros = 700_000;

/// One end of a native connection. Pass every received message to [`Link::on_message`]. Send the messages that this and
/// [`Link::poll_ping`] return.
#[derive(Debug)]
pub struct Link {
    offset: clock::Offset,
    last_received: Micros,
    /// When the newest ping that the peer has answered was sent; 0: none yet.
    answered_ping: Micros,
    next_ping: Micros,
}

impl Link {
    /// A connection that starts now.
    pub fn new(now: Micros) -> Self {
        Self { offset: clock::Offset::default(), last_received: now, answered_ping: 0, next_ping: now }
    }

    /// A message has arrived. Send the returned answer at once, if there is one.
    pub fn on_message(&mut self, message: &Message, now: Micros) -> Option<Message> {
        self.last_received = now;
        match *message {
            Message::Ping { sent } => Some(Message::Pong { pinged: sent, received: now, sent: now }),
            Message::Pong { pinged, received, sent } => {
                self.offset.push(pinged, received, sent, now);
                if pinged <= now {
                    self.answered_ping = self.answered_ping.max(pinged);
                }
                None
            }
            _ => None,
        }
    }

    /// Bytes of an incomplete message have arrived: a peer that sends a large frame over a slow link is alive.
    pub fn on_bytes(&mut self, now: Micros) {
        self.last_received = now;
    }

    /// Returns a ping to send, if one is due.
    pub fn poll_ping(&mut self, now: Micros) -> Option<Message> {
        if now < self.next_ping {
            return None;
        }
        self.next_ping = now + self.offset.ping_interval();
        Some(Message::Ping { sent: now })
    }

    /// When to call [`Link::poll_ping`] and [`Link::is_timed_out`] next.
    pub fn deadline(&self) -> Micros {
        self.next_ping.min(self.last_received + IDLE_TIMEOUT)
    }

    /// When bytes last arrived from the peer.
    pub fn last_received(&self) -> Micros {
        self.last_received
    }

    /// Whether the peer has answered a ping sent after this time. If so, bytes sent to it arrive.
    pub fn has_answered_since(&self, moment: Micros) -> bool {
        self.answered_ping > moment
    }

    /// Whether the peer has been silent for [`SUSPECT_AFTER`]: its pings are missing.
    pub fn is_suspect(&self, now: Micros) -> bool {
        now >= self.suspect_at()
    }

    /// From when on the peer is suspect, unless bytes arrive before.
    pub fn suspect_at(&self) -> Micros {
        self.last_received.saturating_add(SUSPECT_AFTER)
    }

    /// Whether the peer has been silent for [`IDLE_TIMEOUT`].
    pub fn is_timed_out(&self, now: Micros) -> bool {
        now >= self.last_received + IDLE_TIMEOUT
    }

    /// The shortest recent round trip in µs; `None` before the first answer.
    pub fn round_trip(&self) -> Option<Micros> {
        self.offset.round_trip()
    }

    /// Converts times on the peer's clock to ours; all unknown before the first answer.
    pub fn times_to_ours(&self, theirs: Times) -> Times {
        self.offset.theirs_minus_ours().map(|offset| theirs.shifted(offset.saturating_neg())).unwrap_or_default()
    }

    /// Converts one time on the peer's clock to ours; 0 before the first answer.
    pub fn time_to_ours(&self, theirs: Micros) -> Micros {
        self.times_to_ours(Times { captured: theirs, ..Times::default() }).captured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_compare_their_clocks_and_convert_times() {
        const AHEAD: Micros = 5_000_000;
        let (mut here, mut there) = (Link::new(100), Link::new(100 + AHEAD));
        let ping = here.poll_ping(100).unwrap();
        assert_eq!(here.poll_ping(101), None);
        let answer = there.on_message(&ping, 600 + AHEAD).unwrap();
        assert_eq!(here.on_message(&answer, 1_100), None);
        assert_eq!(here.round_trip(), Some(1_000));
        assert_eq!(here.time_to_ours(700 + AHEAD), 700);
        assert_eq!(there.time_to_ours(700), 0, "the other end has sent no ping yet");
    }

    #[test]
    fn a_silent_peer_times_out_and_received_bytes_keep_it_alive() {
        let mut link = Link::new(1);
        assert!(!link.is_suspect(SUSPECT_AFTER) && link.is_suspect(1 + SUSPECT_AFTER));
        assert!(!link.is_timed_out(IDLE_TIMEOUT));
        assert!(link.is_timed_out(1 + IDLE_TIMEOUT));
        link.on_bytes(IDLE_TIMEOUT);
        assert!(!link.is_timed_out(1 + IDLE_TIMEOUT) && !link.is_suspect(1 + IDLE_TIMEOUT));
        link.poll_ping(IDLE_TIMEOUT);
        assert!(link.deadline() > IDLE_TIMEOUT);
    }
}

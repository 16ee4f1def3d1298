//! What both ends of a native connection do besides their frames: ping, answer, agree on clocks, notice silence.

use crate::{Micros, Times, clock, wire::native::Message};

/// A peer that says nothing at all for this long is gone: both ends ping at least once a second.
pub const IDLE_TIMEOUT: Micros = 10_000_000;

/// A peer that says nothing for this long may be behind a link that loses everything: three of its pings are missing.
pub const SUSPECT_AFTER: Micros = 700_000;

/// One end of a native connection. Hand every message that comes to [`Link::on_message`], and send what it and
/// [`Link::poll_ping`] give.
#[derive(Debug)]
pub struct Link {
    offset: clock::Offset,
    last_received: Micros,
    /// When the newest of our pings was sent that the peer has answered.
    answered: Micros,
    next_ping: Micros,
}

impl Link {
    /// A connection that begins now.
    pub fn new(now: Micros) -> Self {
        Self { offset: clock::Offset::default(), last_received: now, answered: 0, next_ping: now }
    }

    /// Takes a message that came; an answer, if it gives one, is to be sent at once.
    pub fn on_message(&mut self, message: &Message, now: Micros) -> Option<Message> {
        self.last_received = now;
        match *message {
            Message::Ping { sent } => Some(Message::Pong { pinged: sent, received: now, sent: now }),
            Message::Pong { pinged, received, sent } => {
                self.offset.push(pinged, received, sent, now);
                if pinged <= now {
                    self.answered = self.answered.max(pinged);
                }
                None
            }
            _ => None,
        }
    }

    /// Some bytes came, though no whole message: a long frame on a slow link is no silence.
    pub fn on_bytes(&mut self, now: Micros) {
        self.last_received = now;
    }

    /// A ping, when one is due.
    pub fn poll_ping(&mut self, now: Micros) -> Option<Message> {
        if now < self.next_ping {
            return None;
        }
        self.next_ping = now + self.offset.ping_every();
        Some(Message::Ping { sent: now })
    }

    /// When to call [`Link::poll_ping`] and [`Link::is_timed_out`] next.
    pub fn deadline(&self) -> Micros {
        self.next_ping.min(self.last_received + IDLE_TIMEOUT)
    }

    /// When the peer was last heard of.
    pub fn last_received(&self) -> Micros {
        self.last_received
    }

    /// Whether the peer has answered something that was sent after this moment: what is sent reaches it.
    pub fn has_answered_since(&self, moment: Micros) -> bool {
        self.answered > moment
    }

    /// Whether the peer has said nothing lately, though it should have pinged.
    pub fn is_suspect(&self, now: Micros) -> bool {
        now >= self.last_received.saturating_add(SUSPECT_AFTER)
    }

    /// Whether the peer has been silent for too long.
    pub fn is_timed_out(&self, now: Micros) -> bool {
        now >= self.last_received + IDLE_TIMEOUT
    }

    /// The shortest recent round trip, in µs.
    pub fn round_trip(&self) -> Option<Micros> {
        self.offset.round_trip()
    }

    /// Times on the peer's clock as times on ours; all unknown while the clocks have not been compared.
    pub fn times_to_ours(&self, theirs: Times) -> Times {
        self.offset.theirs_minus_ours().map(|offset| theirs.shifted(offset.saturating_neg())).unwrap_or_default()
    }

    /// One moment on the peer's clock as one on ours; 0 while the clocks have not been compared.
    pub fn time_to_ours(&self, theirs: Micros) -> Micros {
        self.times_to_ours(Times { captured: theirs, ..Times::default() }).captured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_agree_on_their_clocks_and_translate_times() {
        const AHEAD: Micros = 5_000_000;
        let (mut here, mut there) = (Link::new(100), Link::new(100 + AHEAD));
        let ping = here.poll_ping(100).unwrap();
        assert_eq!(here.poll_ping(101), None);
        let answer = there.on_message(&ping, 600 + AHEAD).unwrap();
        assert_eq!(here.on_message(&answer, 1_100), None);
        assert_eq!(here.round_trip(), Some(1_000));
        assert_eq!(here.time_to_ours(700 + AHEAD), 700);
        assert_eq!(there.time_to_ours(700), 0, "the other end has not asked yet");
    }

    #[test]
    fn silence_ends_a_link_and_bytes_keep_it() {
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

//! What both ends of a native connection do besides their frames: ping, answer pings, compare clocks, notice silence.

use crate::{Micros, Times, clock, wire::native::Message};

/// A peer that sends nothing for this long, in µs, is gone: both ends ping at least once a second.
pub const IDLE_TIMEOUT: Micros = 10_000_000;

/// A peer that sends nothing for this long, in µs, may be behind a dead link: three of its pings are missing.
pub const SUSPECT_AFTER: Micros = 700_000;

/// One end of a native connection. Hand every received message to [`Link::take`], and send what it and [`Link::poll`]
/// return.
#[derive(Debug)]
pub struct Link {
    offset: clock::Offset,
    /// When the peer's last bytes arrived.
    received: Micros,
    /// When the newest ping that the peer has answered was sent.
    answered: Micros,
    next_ping: Micros,
}

impl Link {
    /// A connection that begins now.
    pub fn new(now: Micros) -> Self {
        Self { offset: clock::Offset::default(), received: now, answered: 0, next_ping: now }
    }

    /// Takes a received message. Send the answer at once, if there is one.
    pub fn take(&mut self, message: &Message, now: Micros) -> Option<Message> {
        self.received = now;
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

    /// Bytes arrived, though no whole message: a long frame on a slow link is no silence.
    pub fn heard(&mut self, now: Micros) {
        self.received = now;
    }

    /// A ping, when one is due.
    pub fn poll(&mut self, now: Micros) -> Option<Message> {
        if now < self.next_ping {
            return None;
        }
        self.next_ping = now + self.offset.ping_every();
        Some(Message::Ping { sent: now })
    }

    /// When to call [`Link::poll`] and [`Link::silent`] next.
    pub fn deadline(&self) -> Micros {
        self.next_ping.min(self.received + IDLE_TIMEOUT)
    }

    /// When the peer's last bytes arrived.
    pub fn last_received(&self) -> Micros {
        self.received
    }

    /// Whether the peer has answered a ping that was sent after this moment: it receives what is sent.
    pub fn answered_since(&self, moment: Micros) -> bool {
        self.answered > moment
    }

    /// Whether the link may be dead: the peer should have pinged by now.
    pub fn suspect(&self, now: Micros) -> bool {
        now >= self.suspect_at()
    }

    /// From when on the link may be dead, unless bytes arrive before.
    pub fn suspect_at(&self) -> Micros {
        self.received.saturating_add(SUSPECT_AFTER)
    }

    /// Whether the peer is gone: it sent nothing for [`IDLE_TIMEOUT`].
    pub fn silent(&self, now: Micros) -> bool {
        now >= self.received + IDLE_TIMEOUT
    }

    /// The shortest recent round trip, in µs.
    pub fn round_trip(&self) -> Option<Micros> {
        self.offset.round_trip()
    }

    /// Times on the peer's clock as times on ours; all unknown while the clocks have not been compared.
    pub fn to_ours(&self, theirs: Times) -> Times {
        self.offset.theirs_minus_ours().map(|offset| theirs.shifted(offset.saturating_neg())).unwrap_or_default()
    }

    /// One moment on the peer's clock as one on ours; 0 while the clocks have not been compared.
    pub fn moment_to_ours(&self, theirs: Micros) -> Micros {
        self.to_ours(Times { captured: theirs, ..Times::default() }).captured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_agree_on_their_clocks_and_translate_times() {
        const AHEAD: Micros = 5_000_000;
        let (mut here, mut there) = (Link::new(100), Link::new(100 + AHEAD));
        let ping = here.poll(100).unwrap();
        assert_eq!(here.poll(101), None);
        let answer = there.take(&ping, 600 + AHEAD).unwrap();
        assert_eq!(here.take(&answer, 1_100), None);
        assert_eq!(here.round_trip(), Some(1_000));
        assert_eq!(here.moment_to_ours(700 + AHEAD), 700);
        assert_eq!(there.moment_to_ours(700), 0, "the other end has not asked yet");
    }

    #[test]
    fn silence_ends_a_link_and_bytes_keep_it() {
        let mut link = Link::new(1);
        assert!(!link.suspect(SUSPECT_AFTER) && link.suspect(1 + SUSPECT_AFTER));
        assert!(!link.silent(IDLE_TIMEOUT));
        assert!(link.silent(1 + IDLE_TIMEOUT));
        link.heard(IDLE_TIMEOUT);
        assert!(!link.silent(1 + IDLE_TIMEOUT) && !link.suspect(1 + IDLE_TIMEOUT));
        link.poll(IDLE_TIMEOUT);
        assert!(link.deadline() > IDLE_TIMEOUT);
    }
}

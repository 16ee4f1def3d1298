//! What both ends of a native connection do besides their frames: ping, answer, agree on clocks, notice silence.

use crate::{Micros, Times, clock, wire::native::Message};

/// A peer that says nothing at all for this long is gone: both ends ping at least once a second.
pub const SILENCE: Micros = 10_000_000;

/// A peer that says nothing for this long may be behind a link that loses everything: three of its pings are missing.
pub const QUIET: Micros = 700_000;

/// One end of a native connection. Hand every message that comes to [`Link::take`], and send what it and
/// [`Link::poll`] give.
#[derive(Debug)]
pub struct Link {
    offset: clock::Offset,
    heard: Micros,
    /// When the newest of our pings was sent that the peer has answered.
    answered: Micros,
    next_ping: Micros,
}

impl Link {
    /// A connection that begins now.
    pub fn new(now: Micros) -> Self {
        Self { offset: clock::Offset::default(), heard: now, answered: 0, next_ping: now }
    }

    /// Takes a message that came; an answer, if it gives one, is to be sent at once.
    pub fn take(&mut self, message: &Message, now: Micros) -> Option<Message> {
        self.heard = now;
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
    pub fn heard(&mut self, now: Micros) {
        self.heard = now;
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
        self.next_ping.min(self.heard + SILENCE)
    }

    /// When the peer was last heard of.
    pub fn last_heard(&self) -> Micros {
        self.heard
    }

    /// Whether the peer has answered something that was sent after this moment: what is sent reaches it.
    pub fn reaches_since(&self, moment: Micros) -> bool {
        self.answered > moment
    }

    /// Whether the peer has said nothing lately, though it should have pinged.
    pub fn quiet(&self, now: Micros) -> bool {
        now >= self.heard.saturating_add(QUIET)
    }

    /// Whether the peer has been silent for too long.
    pub fn silent(&self, now: Micros) -> bool {
        now >= self.heard + SILENCE
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
        assert!(!link.quiet(QUIET) && link.quiet(1 + QUIET));
        assert!(!link.silent(SILENCE));
        assert!(link.silent(1 + SILENCE));
        link.heard(SILENCE);
        assert!(!link.silent(1 + SILENCE) && !link.quiet(1 + SILENCE));
        link.poll(SILENCE);
        assert!(link.deadline() > SILENCE);
    }
}

//! How much may be under way to a receiver that reports what it has received.
//!
//! A sender that writes whenever the kernel takes bytes fills the kernel's queue, and every byte queued there is age. So
//! a frame is begun only while few earlier ones are unreported; what comes meanwhile replaces what waits.

use std::collections::VecDeque;

use crate::frame::Micros;

/// Frames that may be unreported at once: one on its way while the receiver reports the one before.
pub const IN_FLIGHT: usize = 2;
/// A receiver whose reports stay away this long is taken for one that does not report: the kernel's queue alone then holds
/// the sender back.
pub const SILENCE: Micros = 2_000_000;

/// What is under way to one receiver.
#[derive(Debug, Clone, Default)]
pub struct Window {
    unreported: VecDeque<(u64, Micros)>,
}

impl Window {
    /// Whether the next frame may be begun now.
    pub fn open(&self, now: Micros) -> bool {
        self.unreported.len() < IN_FLIGHT || self.opens_at().is_some_and(|at| at <= now)
    }

    /// When a closed window opens even without a report; `None` when it is open.
    pub fn opens_at(&self) -> Option<Micros> {
        let (_, sent) = self.unreported.front()?;
        (self.unreported.len() >= IN_FLIGHT).then(|| sent.saturating_add(SILENCE))
    }

    /// A frame was begun.
    pub fn sent(&mut self, sequence: u64, now: Micros) {
        while self.unreported.len() >= IN_FLIGHT {
            self.unreported.pop_front();
        }
        self.unreported.push_back((sequence, now));
    }

    /// The receiver reports this frame; it has all earlier ones too, or never will. A report of what was not sent counts
    /// for nothing.
    pub fn reported(&mut self, sequence: u64) {
        if let Some(place) = self.unreported.iter().position(|(sent, _)| *sent == sequence) {
            self.unreported.drain(..=place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_frame_waits_for_the_first_ones_report() {
        let mut window = Window::default();
        window.sent(7, 100);
        assert!(window.open(100));
        window.sent(8, 200);
        assert!(!window.open(300));
        window.reported(7);
        assert!(window.open(300));
    }

    #[test]
    fn a_report_covers_what_came_before_and_a_lie_covers_nothing() {
        let mut window = Window::default();
        window.sent(1, 0);
        window.sent(2, 0);
        window.reported(99);
        assert!(!window.open(1));
        window.reported(2);
        assert_eq!(window.opens_at(), None);
    }

    #[test]
    fn a_silent_receiver_is_not_waited_for_forever() {
        let mut window = Window::default();
        window.sent(1, 0);
        window.sent(2, 10);
        assert_eq!(window.opens_at(), Some(SILENCE));
        assert!(!window.open(SILENCE - 1));
        assert!(window.open(SILENCE));
        window.sent(3, SILENCE);
        assert_eq!(window.opens_at(), Some(10 + SILENCE));
    }
}

//! How much may be under way to a receiver that reports what it has received.
//!
//! A sender that writes whenever the kernel takes bytes fills the kernel's queue, and every byte queued there is age. So
//! a frame is begun only while few earlier ones are unreported; what comes meanwhile replaces what waits. Who does not
//! report is held back by the kernel's queue alone.

use std::collections::VecDeque;

use crate::frame::Micros;

/// Frames that may be unreported at once: one on its way while the receiver reports the one before.
pub const IN_FLIGHT: usize = 2;
/// A receiver whose reports stay away this long, in µs, is taken for one that does not report, until it does.
pub const SILENCE: Micros = 2_000_000;

/// Frames remembered while nothing is reported. A receiver further behind than this counts as silent for longer.
const REMEMBERED: usize = 64;

/// What is under way to one receiver.
#[derive(Debug, Clone, Default)]
pub struct Window {
    unreported: VecDeque<(u64, Micros)>,
    /// The newest frame begun.
    newest: Option<u64>,
    /// The receiver reports. False until its first report, so that one that never will is not kept waiting.
    reports: bool,
}

impl Window {
    /// Whether the next frame may be begun now.
    pub fn open(&self, now: Micros) -> bool {
        self.opens_at().is_none_or(|at| at <= now)
    }

    /// When a closed window opens even without a report; `None` when it is open.
    pub fn opens_at(&self) -> Option<Micros> {
        let (_, sent) = self.unreported.front()?;
        (self.reports && self.unreported.len() >= IN_FLIGHT).then(|| sent.saturating_add(SILENCE))
    }

    /// A frame was begun.
    pub fn sent(&mut self, sequence: u64, now: Micros) {
        if self.opens_at().is_some_and(|at| at <= now) {
            self.reports = false;
        }
        if self.unreported.len() >= REMEMBERED {
            self.unreported.pop_front();
        }
        self.unreported.push_back((sequence, now));
        self.newest = Some(sequence);
    }

    /// The receiver reports this frame; it has all earlier ones too, or never will. A report of what was not sent yet
    /// counts for nothing.
    pub fn reported(&mut self, sequence: u64) {
        if self.newest.is_some_and(|newest| sequence <= newest) {
            self.reports = true;
            self.unreported.retain(|(sent, _)| *sent > sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window to a receiver that has reported its first frame, number 0.
    fn reporting() -> Window {
        let mut window = Window::default();
        window.sent(0, 0);
        window.reported(0);
        window
    }

    #[test]
    fn a_third_frame_waits_for_the_first_ones_report() {
        let mut window = reporting();
        window.sent(7, 100);
        assert!(window.open(100));
        window.sent(8, 200);
        assert!(!window.open(300));
        window.reported(7);
        assert!(window.open(300));
    }

    #[test]
    fn a_report_covers_what_came_before_and_a_lie_covers_nothing() {
        let mut window = reporting();
        window.sent(1, 0);
        window.sent(2, 0);
        window.reported(99);
        assert!(!window.open(1));
        window.reported(2);
        assert_eq!(window.opens_at(), None);
    }

    #[test]
    fn a_receiver_that_never_reports_is_never_waited_for() {
        let mut window = Window::default();
        for sequence in 0..1_000 {
            assert!(window.open(sequence));
            window.sent(sequence, sequence);
        }
        assert!(window.unreported.len() <= REMEMBERED);
    }

    #[test]
    fn the_first_report_closes_the_window_until_what_was_sent_blindly_has_arrived() {
        let mut window = Window::default();
        for sequence in 0..200 {
            window.sent(sequence, sequence);
        }
        window.reported(3);
        assert!(!window.open(200));
        window.reported(197);
        assert!(!window.open(200));
        window.reported(198);
        assert!(window.open(200));
    }

    #[test]
    fn a_receiver_that_falls_silent_is_not_waited_for_until_it_reports_again() {
        let mut window = reporting();
        window.sent(1, 0);
        window.sent(2, 10);
        assert_eq!(window.opens_at(), Some(SILENCE));
        assert!(!window.open(SILENCE - 1));
        assert!(window.open(SILENCE));
        window.sent(3, SILENCE);
        assert_eq!(window.opens_at(), None);
        window.sent(4, SILENCE + 1);
        window.reported(2);
        assert_eq!(window.opens_at(), Some(SILENCE + SILENCE));
        window.reported(3);
        assert!(window.open(SILENCE + 2));
    }
}

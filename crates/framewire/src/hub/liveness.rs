//! Whether a stream is live: its state, when a frame is overdue, and when the stream is forgotten.

use framewire_proto::{Micros, wire::native::State};

/// A stream without a publisher and without viewers is removed after this long, in µs.
pub const FORGET_AFTER: Micros = 60_000_000;
/// A retired stream without a publisher is removed after this long, in µs, watched or not.
pub const FORGET_RETIRED_AFTER: Micros = 10_000_000;
/// A stream stalls after this long without a frame, in µs, unless the rate that it states is slower.
const STALLED_AFTER: Micros = 1_000_000;
/// A stream slower than [`STALLED_AFTER`] stalls after this many of its own frame intervals.
const STALLED_AFTER_FRAMES: u64 = 3;

/// A stream's state and its deadlines.
#[derive(Debug)]
pub(super) struct Liveness {
    state: State,
    /// When a frame was last due: one arrived, the first viewer joined or a publisher began.
    last_activity: Micros,
    /// The stream's name will not be published again.
    retired: bool,
    /// When the stream was first found deserted; `None` while it is not.
    deserted_since: Option<Micros>,
}

/// What a stream has at the moment of a tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attendance {
    pub(super) publisher: bool,
    pub(super) viewers: bool,
    /// Thousandths of a frame a second, as its configuration states; 0 where that is not known.
    pub(super) millifps: u64,
}

impl Liveness {
    pub(super) fn new(now: Micros) -> Self {
        Self { state: State::Stalled, last_activity: now, retired: false, deserted_since: None }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Returns whether that is a change.
    pub(super) fn set_state(&mut self, state: State) -> bool {
        let changed = self.state != state;
        self.state = state;
        changed
    }

    /// A frame arrived, or may be expected from now on.
    pub(super) fn touch(&mut self, now: Micros) {
        self.last_activity = now;
    }

    /// When [`touch`](Self::touch) was last called: the stream's own time, on which its frames arrive.
    pub(super) fn last_activity(&self) -> Micros {
        self.last_activity
    }

    /// A publisher begins.
    pub(super) fn start_publisher(&mut self, now: Micros) {
        self.touch(now);
        (self.retired, self.deserted_since) = (false, None);
    }

    pub(super) fn retire(&mut self) {
        self.retired = true;
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Notes whether the stream is deserted; returns the state that it is in by now.
    pub(super) fn tick(&mut self, attendance: Attendance, now: Micros) -> State {
        let Attendance { publisher, viewers, .. } = attendance;
        let deserted = !publisher && (!viewers || self.retired);
        self.deserted_since = deserted.then(|| self.deserted_since.unwrap_or(now));
        let unwatched = publisher && !viewers;
        match self.state {
            state if !self.is_overdue(attendance.millifps, now) => state,
            State::Live if unwatched => State::Idle,
            State::Live => State::Stalled,
            State::Idle if viewers => State::Stalled,
            state => state,
        }
    }

    /// Whether the stream was deserted for long enough to be removed.
    pub(super) fn is_forgotten(&self, now: Micros) -> bool {
        let after = if self.retired { FORGET_RETIRED_AFTER } else { FORGET_AFTER };
        self.deserted_since.is_some_and(|since| since.saturating_add(after) <= now)
    }

    fn is_overdue(&self, millifps: u64, now: Micros) -> bool {
        let slow = (STALLED_AFTER_FRAMES * 1_000_000_000).checked_div(millifps).unwrap_or(0);
        self.last_activity.saturating_add(STALLED_AFTER.max(slow)) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const BOTH: Attendance = Attendance { publisher: true, viewers: true, millifps: 30_000 };

    fn live() -> Liveness {
        let mut liveness = Liveness::new(0);
        liveness.set_state(State::Live);
        liveness
    }

    #[test]
    fn a_stream_stalls_after_a_second_or_three_of_its_own_intervals() {
        assert_eq!(live().tick(BOTH, SECOND - 1), State::Live);
        assert_eq!(live().tick(BOTH, SECOND), State::Stalled);
        let slow = Attendance { millifps: 500, ..BOTH };
        assert_eq!(live().tick(slow, 6 * SECOND - 1), State::Live);
        assert_eq!(live().tick(slow, 6 * SECOND), State::Stalled);
    }

    #[test]
    fn an_unwatched_publisher_is_idle_until_a_viewer_has_waited() {
        let mut liveness = live();
        let unwatched = Attendance { viewers: false, ..BOTH };
        assert_eq!(liveness.tick(unwatched, SECOND), State::Idle);
        assert_eq!(live().tick(Attendance { publisher: false, ..unwatched }, SECOND), State::Stalled);
        liveness.set_state(State::Idle);
        assert_eq!(liveness.tick(unwatched, 9 * SECOND), State::Idle);
        liveness.touch(9 * SECOND);
        assert_eq!(liveness.tick(BOTH, 10 * SECOND - 1), State::Idle);
        assert_eq!(liveness.tick(BOTH, 10 * SECOND), State::Stalled);
    }

    #[test]
    fn a_deserted_stream_is_forgotten_and_a_retired_one_sooner() {
        let nobody = Attendance { publisher: false, viewers: false, millifps: 0 };
        let watched = Attendance { viewers: true, ..nobody };
        let mut liveness = live();
        liveness.tick(watched, SECOND);
        assert!(!liveness.is_forgotten(Micros::MAX));
        liveness.tick(nobody, SECOND);
        liveness.tick(nobody, 2 * SECOND);
        assert!(!liveness.is_forgotten(SECOND + FORGET_AFTER - 1));
        assert!(liveness.is_forgotten(SECOND + FORGET_AFTER));
        liveness.start_publisher(2 * SECOND);
        assert!(!liveness.is_forgotten(Micros::MAX));
        liveness.retire();
        liveness.tick(watched, 3 * SECOND);
        assert!(liveness.is_forgotten(3 * SECOND + FORGET_RETIRED_AFTER));
    }
}

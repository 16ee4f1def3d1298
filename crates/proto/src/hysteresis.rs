//! Waiting before an improvement, and for longer after one that failed.

/// Delays a change for the better until its condition has held for a while. After a change that had to be undone, the next one
/// waits twice as long.
///
/// Time is counted in any unit that rises: µs, or frames.
#[derive(Debug, Clone)]
pub struct RaiseDelay {
    shortest: u64,
    longest: u64,
    delay: u64,
    /// Since when the condition has held without interruption.
    since: Option<u64>,
}

impl RaiseDelay {
    /// Waits for `shortest` at first, and never longer than `longest`.
    pub const fn new(shortest: u64, longest: u64) -> Self {
        Self { shortest, longest, delay: shortest, since: None }
    }

    /// The condition holds at `now`. Returns true once it has held for the delay, and starts over.
    pub fn is_due(&mut self, now: u64) -> bool {
        let due = now.saturating_sub(*self.since.get_or_insert(now)) >= self.delay;
        if due {
            self.since = None;
        }
        due
    }

    /// The condition does not hold: it must hold for the whole delay again.
    pub fn interrupt(&mut self) {
        self.since = None;
    }

    /// How long the condition must hold.
    pub fn delay(&self) -> u64 {
        self.delay
    }

    /// The last change was wrong: doubles the delay.
    pub fn lengthen(&mut self) {
        self.delay = (2 * self.delay).min(self.longest);
    }

    /// The last change was right: back to the shortest delay.
    pub fn reset(&mut self) {
        self.delay = self.shortest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_due_once_its_condition_has_held_without_interruption() {
        let mut delay = RaiseDelay::new(3, 8);
        assert!(!delay.is_due(10) && !delay.is_due(12));
        delay.interrupt();
        assert!(!delay.is_due(13) && !delay.is_due(15) && delay.is_due(16));
        assert!(!delay.is_due(17), "the next change waits again");
    }

    #[test]
    fn the_delay_doubles_up_to_its_longest_until_it_is_reset() {
        let mut delay = RaiseDelay::new(3, 8);
        let lengthened = [(); 3].map(|()| {
            delay.lengthen();
            delay.delay()
        });
        assert_eq!(lengthened, [6, 8, 8]);
        assert!(!delay.is_due(1) && !delay.is_due(8) && delay.is_due(9));
        delay.reset();
        assert_eq!(delay.delay(), 3);
    }

    #[test]
    fn a_clock_that_jumps_back_makes_nothing_due() {
        let mut delay = RaiseDelay::new(3, 8);
        assert!(!delay.is_due(10) && !delay.is_due(0) && delay.is_due(13));
    }
}

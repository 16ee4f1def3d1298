//! When access units that are passed on are due, and when their pictures are: with B-frames the one is not the other.

use framewire_proto::Micros;

use super::JUMP;

/// A unit that came later than it was due by this share of its step lets the ones after it be due later, so that a host
/// whose clock is slower than ours is followed.
const DRIFT: Micros = 1000;

/// FFmpeg looks for so long, in µs, into what is live before it says what it is.
const MOST_LEAD: Micros = 10_000_000;

/// What decides when a unit is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// Its own time, this many times as fast.
    Own(f64),
    /// Nothing: units are given as they are taken, and their times are the film's as if it had begun when it was opened.
    Taken,
    /// Its arrival, without the jitter of the way.
    Arrival,
}

/// Gives each unit its times.
///
/// A unit's picture counts as captured at `due(dts) + (pts - dts) - reordering`, where `reordering` is the most that any
/// picture is shown after its unit is due. So pictures that are given in the order of decoding keep the distances at which
/// they are to be shown, none is captured after it is given, and a picture that had to wait for a later one is that much
/// older when it comes: as it is.
#[derive(Debug)]
pub(super) struct Timing {
    pace: Pace,
    reordering: Micros,
    /// What is left of how much later than they were due units are given that were there already.
    lead: Micros,
    last: Option<(Micros, Option<i64>)>,
}

impl Timing {
    /// Times at this pace.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, reordering: 0, lead: 0, last: None }
    }

    /// A unit is shown so long, in µs of the film, after it is decoded. Best said before the first: what is learnt later moves
    /// all that follows.
    pub(super) fn reorders(&mut self, ahead: Micros) {
        self.reordering = self.reordering.max(ahead);
    }

    /// The first unit of those that are there already was due so long, in µs, before the last one.
    pub(super) fn leads(&mut self, lead: Micros) {
        self.lead = lead.min(MOST_LEAD);
    }

    /// How many times as fast as it is the film goes.
    pub(super) fn speed(&self) -> f64 {
        if let Pace::Own(speed) = self.pace { speed } else { 1.0 }
    }

    /// Whether units are to be given when they are due, and not as soon as they are there.
    pub(super) fn waits(&self) -> bool {
        matches!(self.pace, Pace::Own(_))
    }

    /// When the unit with these times of the film, in µs, is to be given, and when its picture counts as captured. Where its
    /// times are not known, or jump, it follows the one before after the `usual` time.
    pub(super) fn place(
        &mut self,
        decoded: Option<i64>,
        shown: Option<i64>,
        usual: Micros,
        now: Micros,
    ) -> (Micros, Micros) {
        let due = self.due(decoded, usual, now);
        self.last = Some((due, decoded));
        self.lead = self.lead.min(now.saturating_sub(due));
        let ahead = ahead(decoded, shown);
        self.reorders(ahead);
        let back = self.scaled(self.reordering - ahead);
        (due, due.saturating_sub(back).max(1))
    }

    fn due(&self, time: Option<i64>, usual: Micros, now: Micros) -> Micros {
        let Some((last, before)) = self.last else {
            return if self.pace == Pace::Arrival { now.saturating_sub(self.lead).max(1) } else { now };
        };
        let jump = JUMP.as_micros() as Micros;
        let step = time.zip(before).and_then(|(time, before)| Micros::try_from(time.checked_sub(before)?).ok());
        let step = self.scaled(step.filter(|step| *step <= jump).unwrap_or(usual));
        let due = last + step;
        match self.pace {
            // What is very late is not hurried after.
            Pace::Own(_) if now > due + jump => now,
            Pace::Arrival if now > due + jump.max(self.lead) => now,
            Pace::Own(_) | Pace::Taken => due,
            // It can't have been captured after it came; and it was not quicker than the quickest, but for clocks.
            Pace::Arrival => now.min(due + step / DRIFT),
        }
    }

    fn scaled(&self, time: Micros) -> Micros {
        (time as f64 / self.speed()) as Micros
    }
}

/// How long after it is decoded a unit is shown, in µs; 0 where that is not known or beyond belief.
pub(super) fn ahead(decoded: Option<i64>, shown: Option<i64>) -> Micros {
    let ahead = shown.zip(decoded).and_then(|(shown, decoded)| Micros::try_from(shown.checked_sub(decoded)?).ok());
    ahead.filter(|ahead| *ahead <= JUMP.as_micros() as Micros).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 40_000;
    const BEGIN: Micros = 1_000_000;

    /// The order of decoding of I B B P: each unit's time of decoding and of showing, in frames.
    const UNITS: [(i64, i64); 7] = [(-2, 0), (-1, 3), (0, 1), (1, 2), (2, 6), (3, 4), (4, 5)];

    fn placed(pace: Pace, late: impl Fn(i64) -> Micros) -> Vec<(i64, i64)> {
        let mut timing = Timing::new(pace);
        let place = |(decoded, shown): (i64, i64)| {
            let now = BEGIN + ((decoded + 2) * FRAME) as Micros + late(decoded);
            let (due, captured) = timing.place(Some(decoded * FRAME), Some(shown * FRAME), 40_000, now);
            (due as i64 - BEGIN as i64, captured as i64 - BEGIN as i64)
        };
        UNITS.into_iter().map(place).collect()
    }

    #[test]
    fn units_are_due_in_the_order_of_decoding_and_captured_in_that_of_showing() {
        for pace in [Pace::Own(1.0), Pace::Taken, Pace::Arrival] {
            let mut timing = Timing::new(pace);
            timing.reorders(4 * FRAME as Micros);
            for (number, (decoded, shown)) in (0..).zip(UNITS) {
                let now = BEGIN + number * FRAME as Micros;
                let (due, captured) = timing.place(Some(decoded * FRAME), Some(shown * FRAME), 40_000, now);
                assert_eq!(due, now, "{pace:?}");
                assert_eq!(captured as i64, BEGIN as i64 + (shown - 2) * FRAME, "{pace:?}");
                assert!(captured <= due);
            }
        }
    }

    #[test]
    fn a_film_at_another_speed_keeps_its_order() {
        let mut captured: Vec<_> = placed(Pace::Own(2.0), |_| 0).into_iter().skip(1).collect();
        assert!(captured.iter().enumerate().all(|(number, (due, _))| *due == (number as i64 + 1) * FRAME / 2));
        captured.sort_by_key(|(_, captured)| *captured);
        let steps: Vec<_> = captured.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert_eq!(steps, [FRAME / 2; 5]);
    }

    #[test]
    fn what_arrives_late_keeps_its_distance_and_is_never_captured_later_than_it_came() {
        let smooth = placed(Pace::Arrival, |_| 0);
        let jitter = placed(Pace::Arrival, |number| if number % 2 == 0 { 0 } else { 9_000 });
        for ((_, smooth), (_, jitter)) in smooth.iter().zip(&jitter) {
            assert!((jitter - smooth).abs() < 500, "{smooth} {jitter}");
        }
        let mut timing = Timing::new(Pace::Arrival);
        for (number, came) in (0..).zip([0, 39_000, 80_000, 5_000_000, 5_040_000]) {
            let (due, captured) = timing.place(Some(number * FRAME), Some(number * FRAME), 40_000, BEGIN + came);
            assert!(due <= BEGIN + came && captured == due);
            assert!(due + 1_000 >= BEGIN + came, "{number}");
        }
    }

    #[test]
    fn what_was_there_before_the_first_is_given_keeps_its_distances() {
        let mut timing = Timing::new(Pace::Arrival);
        timing.leads(2_000_000);
        let mut due = |number: i64, now| timing.place(Some(number * FRAME), Some(number * FRAME), 40_000, now).0;
        let now = BEGIN + 2_000_000;
        assert!((0..=50).all(|number| due(number, now).abs_diff(BEGIN + (number * FRAME) as Micros) < 3_000));
        assert!(due(51, now + 41_000).abs_diff(now + 41_000) < 3_000);
        assert_eq!(due(52, now + 1_200_000), now + 1_200_000, "from then on it is like any other");
    }

    #[test]
    fn times_that_jump_or_are_not_known_cost_a_usual_step() {
        let mut timing = Timing::new(Pace::Taken);
        let mut due = |time| timing.place(time, time, 40_000, BEGIN).0 - BEGIN;
        let times = [Some(0), Some(20_000), Some(90_000_000), Some(0), None, Some(i64::MAX), Some(i64::MIN + 1)];
        assert_eq!(times.map(&mut due), [0, 20_000, 60_000, 100_000, 140_000, 180_000, 220_000]);
        // A picture that claims to be shown an hour after it is decoded.
        assert_eq!(timing.place(Some(0), Some(3_600_000_000), 40_000, BEGIN), (BEGIN + 260_000, BEGIN + 260_000));
    }
}

//! When the frames of a film are due. With B-frames, an access unit's decoding time differs from its picture's display time.

use std::time::{Duration, Instant};

use framewire_proto::Micros;

/// The frame interval where no frame rate is stated.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_millis(40);
/// After a frame that is later than this, or whose time stamp jumps this far, the film continues from now.
const MAX_JUMP: Duration = Duration::from_secs(1);
/// After a late access unit, the next ones are due later by at most their interval divided by this. So the times follow a host
/// whose clock is slower than ours.
const DRIFT_DIVISOR: Micros = 1000;
/// The longest time, in µs, that FFmpeg buffers of a live stream while it opens it.
const MAX_BUFFERED: Micros = 10_000_000;

/// When each decoded frame of a film is due.
#[derive(Default)]
pub(super) struct Timeline {
    last: Option<(Instant, Option<i64>)>,
}

impl Timeline {
    /// When the frame with this display time is due. Each frame's time counts from the frame before, so a jump of the film's clock
    /// costs one usual interval, and a film repeats without a gap.
    pub(super) fn due(&mut self, shown: Option<i64>, usual: Duration, now: Instant) -> Instant {
        let due = match self.last {
            None => now,
            Some((last, before)) => {
                let step = shown.zip(before).and_then(|(shown, before)| u64::try_from(shown.checked_sub(before)?).ok());
                let step = step.map(Duration::from_micros).filter(|step| *step <= MAX_JUMP).unwrap_or(usual);
                // After a long delay the film does not hurry to catch up.
                if now > last + step + MAX_JUMP { now } else { last + step }
            }
        };
        self.last = Some((due, shown));
        due
    }
}

/// What decides when an access unit is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Speed {
    /// Its own time, this many times as fast.
    Times(f64),
    /// Nothing: access units are returned at once. Their times are those of a film that started when it was opened.
    Unpaced,
    /// Its arrival, without the network's jitter.
    Arrival,
}

/// Computes when each access unit is due, and when its picture counts as captured.
///
/// A picture counts as captured at `due(dts) + (pts - dts) - reorder_delay`, where `reorder_delay` is the largest `pts - dts`. So
/// the capture times have the same distances as the display times, and no picture is captured after it is due. A picture that
/// must wait for a later one is older by that time when it comes out, as it really is.
#[derive(Debug)]
pub(super) struct Timing {
    speed: Speed,
    reorder_delay: Micros,
    /// How much later than they were due, in µs, the buffered access units may still be returned.
    buffered: Micros,
    last: Option<(Micros, Option<i64>)>,
}

impl Timing {
    /// Times at this speed.
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, reorder_delay: 0, buffered: 0, last: None }
    }

    /// Raises the reorder delay: the longest time, in µs of the film, from decoding to display. Best called before the first access
    /// unit, because it shifts all later capture times.
    pub(super) fn set_reorder_delay(&mut self, delay: Micros) {
        self.reorder_delay = self.reorder_delay.max(delay);
    }

    /// Sets the time, in µs, from the first to the last access unit that is buffered already.
    pub(super) fn set_buffered(&mut self, buffered: Micros) {
        self.buffered = buffered.min(MAX_BUFFERED);
    }

    /// How many times as fast the film plays.
    pub(super) fn speed(&self) -> f64 {
        if let Speed::Times(speed) = self.speed { speed } else { 1.0 }
    }

    /// Whether access units are returned when they are due, and not at once.
    pub(super) fn waits(&self) -> bool {
        matches!(self.speed, Speed::Times(_))
    }

    /// When the access unit with these times of the film, in µs, is due, and when its picture counts as captured. An access unit
    /// whose times are unknown, or jump, is due one `usual` interval after the one before.
    pub(super) fn place(
        &mut self,
        decoded: Option<i64>,
        shown: Option<i64>,
        usual: Micros,
        now: Micros,
    ) -> (Micros, Micros) {
        let due = self.due(decoded, usual, now);
        self.last = Some((due, decoded));
        self.buffered = self.buffered.min(now.saturating_sub(due));
        let delay = reorder_delay(decoded, shown);
        self.set_reorder_delay(delay);
        let earlier = self.scaled(self.reorder_delay - delay);
        (due, due.saturating_sub(earlier).max(1))
    }

    fn due(&self, time: Option<i64>, usual: Micros, now: Micros) -> Micros {
        let Some((last, before)) = self.last else {
            return if self.speed == Speed::Arrival { now.saturating_sub(self.buffered).max(1) } else { now };
        };
        let jump = MAX_JUMP.as_micros() as Micros;
        let step = time.zip(before).and_then(|(time, before)| Micros::try_from(time.checked_sub(before)?).ok());
        let step = self.scaled(step.filter(|step| *step <= jump).unwrap_or(usual));
        let due = last + step;
        match self.speed {
            // After a long delay the film does not hurry to catch up.
            Speed::Times(_) if now > due + jump => now,
            Speed::Arrival if now > due + jump.max(self.buffered) => now,
            Speed::Times(_) | Speed::Unpaced => due,
            // No frame is captured after it arrives. Otherwise the fastest frames set the times, apart from clock drift.
            Speed::Arrival => now.min(due + step / DRIFT_DIVISOR),
        }
    }

    fn scaled(&self, time: Micros) -> Micros {
        (time as f64 / self.speed()) as Micros
    }
}

/// The time from decoding to display, in µs; 0 where it is unknown or implausible.
pub(super) fn reorder_delay(decoded: Option<i64>, shown: Option<i64>) -> Micros {
    let delay = shown.zip(decoded).and_then(|(shown, decoded)| Micros::try_from(shown.checked_sub(decoded)?).ok());
    delay.filter(|delay| *delay <= MAX_JUMP.as_micros() as Micros).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 40_000;
    const BEGIN: Micros = 1_000_000;

    /// I B B P in decoding order: each access unit's decoding time and display time, in frames.
    const UNITS: [(i64, i64); 7] = [(-2, 0), (-1, 3), (0, 1), (1, 2), (2, 6), (3, 4), (4, 5)];

    fn placed(speed: Speed, late: impl Fn(i64) -> Micros) -> Vec<(i64, i64)> {
        let mut timing = Timing::new(speed);
        let place = |(decoded, shown): (i64, i64)| {
            let now = BEGIN + ((decoded + 2) * FRAME) as Micros + late(decoded);
            let (due, captured) = timing.place(Some(decoded * FRAME), Some(shown * FRAME), 40_000, now);
            (due as i64 - BEGIN as i64, captured as i64 - BEGIN as i64)
        };
        UNITS.into_iter().map(place).collect()
    }

    #[test]
    fn access_units_are_due_in_decoding_order_and_captured_in_display_order() {
        for speed in [Speed::Times(1.0), Speed::Unpaced, Speed::Arrival] {
            let mut timing = Timing::new(speed);
            timing.set_reorder_delay(4 * FRAME as Micros);
            for (number, (decoded, shown)) in (0..).zip(UNITS) {
                let now = BEGIN + number * FRAME as Micros;
                let (due, captured) = timing.place(Some(decoded * FRAME), Some(shown * FRAME), 40_000, now);
                assert_eq!(due, now, "{speed:?}");
                assert_eq!(captured as i64, BEGIN as i64 + (shown - 2) * FRAME, "{speed:?}");
                assert!(captured <= due);
            }
        }
    }

    #[test]
    fn a_film_at_another_speed_keeps_its_order() {
        let mut captured: Vec<_> = placed(Speed::Times(2.0), |_| 0).into_iter().skip(1).collect();
        assert!(captured.iter().enumerate().all(|(number, (due, _))| *due == (number as i64 + 1) * FRAME / 2));
        captured.sort_by_key(|(_, captured)| *captured);
        let steps: Vec<_> = captured.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert_eq!(steps, [FRAME / 2; 5]);
    }

    #[test]
    fn late_frames_keep_their_distances_and_are_never_captured_after_arrival() {
        let smooth = placed(Speed::Arrival, |_| 0);
        let jitter = placed(Speed::Arrival, |number| if number % 2 == 0 { 0 } else { 9_000 });
        for ((_, smooth), (_, jitter)) in smooth.iter().zip(&jitter) {
            assert!((jitter - smooth).abs() < 500, "{smooth} {jitter}");
        }
        let mut timing = Timing::new(Speed::Arrival);
        for (number, came) in (0..).zip([0, 39_000, 80_000, 5_000_000, 5_040_000]) {
            let (due, captured) = timing.place(Some(number * FRAME), Some(number * FRAME), 40_000, BEGIN + came);
            assert!(due <= BEGIN + came && captured == due);
            assert!(due + 1_000 >= BEGIN + came, "{number}");
        }
    }

    #[test]
    fn buffered_frames_keep_their_distances() {
        let mut timing = Timing::new(Speed::Arrival);
        timing.set_buffered(2_000_000);
        let mut due = |number: i64, now| timing.place(Some(number * FRAME), Some(number * FRAME), 40_000, now).0;
        let now = BEGIN + 2_000_000;
        assert!((0..=50).all(|number| due(number, now).abs_diff(BEGIN + (number * FRAME) as Micros) < 3_000));
        assert!(due(51, now + 41_000).abs_diff(now + 41_000) < 3_000);
        assert_eq!(due(52, now + 1_200_000), now + 1_200_000, "later frames follow their arrival");
    }

    #[test]
    fn times_that_jump_or_are_unknown_cost_a_usual_interval() {
        let mut timing = Timing::new(Speed::Unpaced);
        let mut due = |time| timing.place(time, time, 40_000, BEGIN).0 - BEGIN;
        let times = [Some(0), Some(20_000), Some(90_000_000), Some(0), None, Some(i64::MAX), Some(i64::MIN + 1)];
        assert_eq!(times.map(&mut due), [0, 20_000, 60_000, 100_000, 140_000, 180_000, 220_000]);
        // A display time an hour after the decoding time.
        assert_eq!(timing.place(Some(0), Some(3_600_000_000), 40_000, BEGIN), (BEGIN + 260_000, BEGIN + 260_000));
    }
}

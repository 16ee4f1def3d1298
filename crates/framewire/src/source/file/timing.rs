//! When the frames of a film are due. With B-frames, an access unit's decoding time differs from its picture's display time.

use std::time::{Duration, Instant};

use framewire_proto::Micros;

/// The frame interval where no frame rate is stated.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_millis(40);
/// A frame that is later than this is due now: the film does not hurry to catch up.
const MAX_LATE: Duration = Duration::from_secs(1);
/// The longest step, in µs, between frames of what is live, and between decoding and display.
const MAX_STEP: Micros = 1_000_000;
/// The longest pause, in µs, of a film whose length is not known.
const MAX_PAUSE: Micros = 600_000_000;
/// The times of a host whose clock is slower than ours are corrected by what its frames came late at least, within this time in µs.
const DRIFT_WINDOW: Micros = 1_000_000;
/// They are corrected by at most the interval between frames divided by this, so that a clock may be 3 % off.
const DRIFT_DIVISOR: Micros = 25;
/// The longest time, in µs, that FFmpeg buffers of a live stream while it opens it.
const MAX_BUFFERED: Micros = 10_000_000;

/// Tells the pauses of a film from jumps of its clock. A step back is a jump, and one beyond the film's own length.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    /// The film's length in µs, where it is known.
    length: Option<Micros>,
    /// The longest step otherwise, in µs.
    longest: Micros,
    /// The time of the first frame, and of the last one, in µs of the film's clock.
    first: i64,
    last: Option<i64>,
}

impl Steps {
    /// Those of a film of this length in µs, where it is known.
    pub(super) fn of_film(length: Option<Micros>) -> Self {
        Self { length, longest: MAX_PAUSE, first: 0, last: None }
    }

    /// Those of what is live.
    pub(super) fn of_live() -> Self {
        Self { length: None, longest: MAX_STEP, first: 0, last: None }
    }

    /// The time in µs from the frame before to the frame of this time; `usual` where the clock jumps, or stands still.
    fn next(&mut self, time: Option<i64>, usual: Micros) -> Micros {
        let step = time.zip(self.last).and_then(|(time, last)| Micros::try_from(time.checked_sub(last)?).ok());
        if step.is_none() {
            self.first = time.unwrap_or(self.first);
        }
        self.last = time;
        let plausible = |step: &Micros| *step > 0 && (*step <= MAX_STEP || self.is_pause(*step, time));
        step.filter(plausible).unwrap_or(usual)
    }

    /// The time in µs from decoding to display, where that is longer than reordering takes: there is a pause between.
    fn pause(&self, decoded: Option<i64>, shown: Option<i64>) -> Option<Micros> {
        let step =
            shown.zip(decoded).and_then(|(shown, decoded)| Micros::try_from(shown.checked_sub(decoded)?).ok())?;
        (step > MAX_STEP && self.is_pause(step, shown)).then_some(step)
    }

    /// Whether a long step that ends at this time is a pause, and no jump.
    fn is_pause(&self, step: Micros, time: Option<i64>) -> bool {
        let inside = |length: Micros| {
            let place = time.and_then(|time| Micros::try_from(time.checked_sub(self.first)?).ok());
            place.is_some_and(|place| place <= length.saturating_add(MAX_STEP))
        };
        self.length.map_or(step <= self.longest, inside)
    }
}

/// When each decoded frame of a film is due.
pub(super) struct Timeline {
    steps: Steps,
    last: Option<Instant>,
    /// For how long the last frame of a film that repeats is shown.
    lasts: Option<Duration>,
}

impl Timeline {
    /// The times of a film with these steps.
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, last: None, lasts: None }
    }

    /// When the frame with this display time is due. Each frame's time counts from the frame before, so a jump of the film's clock
    /// costs one usual interval, and a film repeats without a gap.
    pub(super) fn due(&mut self, shown: Option<i64>, usual: Duration, now: Instant) -> Instant {
        let step = Duration::from_micros(self.steps.next(shown, usual.as_micros() as Micros));
        let step = self.lasts.take().unwrap_or(step);
        let due = match self.last {
            None => now,
            Some(last) if now > last + step + MAX_LATE => now,
            Some(last) => last + step,
        };
        self.last = Some(due);
        due
    }

    /// When the last frame, which is shown for this long, is over. The next one is the first of a repetition.
    pub(super) fn end(&mut self, lasts: Duration) -> Option<Instant> {
        self.lasts = Some(lasts);
        self.last.map(|last| last + lasts)
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
    steps: Steps,
    drift: Drift,
    /// When the last access unit was due.
    last: Option<Micros>,
    /// For how long the last picture of a film that repeats is shown, in µs of the film.
    lasts: Option<Micros>,
}

/// Follows a host whose clock is slower than ours: its frames come ever later than they are due.
#[derive(Debug, Default)]
struct Drift {
    /// When the window began.
    since: Micros,
    /// How late the least late frame of the window came, in µs.
    least: Option<Micros>,
    /// By how much frames are still due later, in µs.
    left: Micros,
}

impl Drift {
    /// How much later, in µs, a frame is due that comes a `step` after the frame before. Half of what the least late frame of a
    /// window was late: that cannot be jitter, and the other half keeps the correction from swinging.
    fn correct(&mut self, due: Micros, step: Micros, now: Micros) -> Micros {
        let correction = self.left.min(step / DRIFT_DIVISOR);
        self.left -= correction;
        let late = now.saturating_sub(due + correction);
        self.least = Some(self.least.map_or(late, |least| least.min(late)));
        if now >= self.since + DRIFT_WINDOW {
            self.left = self.least.take().unwrap_or(0) / 2;
            self.since = now;
        }
        correction
    }
}

impl Timing {
    /// Times at this speed.
    pub(super) fn new(speed: Speed, steps: Steps) -> Self {
        Self { speed, reorder_delay: 0, buffered: 0, steps, drift: Drift::default(), last: None, lasts: None }
    }

    /// When the last access unit, which is shown for this long, is over; `None` where nothing waits. The next one is the first of
    /// a repetition.
    pub(super) fn end(&mut self, lasts: Micros) -> Option<Micros> {
        self.lasts = Some(lasts);
        self.last.filter(|_| self.waits()).map(|last| last + self.scaled(lasts))
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
        let step = self.steps.next(decoded, usual);
        let step = self.lasts.take().unwrap_or(step);
        let due = self.due(self.scaled(step), now);
        self.last = Some(due);
        self.buffered = self.buffered.min(now.saturating_sub(due));
        let delay = reorder_delay(decoded, shown);
        self.set_reorder_delay(delay);
        // Across a pause of the film, a picture is decoded long before it is shown.
        let pause = self.steps.pause(decoded, shown);
        let captured = due + self.scaled(pause.unwrap_or(delay));
        (due, captured.saturating_sub(self.scaled(self.reorder_delay)).max(1))
    }

    fn due(&mut self, step: Micros, now: Micros) -> Micros {
        let Some(last) = self.last else {
            self.drift.since = now;
            return if self.speed == Speed::Arrival { now.saturating_sub(self.buffered).max(1) } else { now };
        };
        let due = last + step;
        let late = MAX_LATE.as_micros() as Micros;
        match self.speed {
            Speed::Times(_) if now > due + late => now,
            Speed::Arrival if now > due + late.max(self.buffered) => {
                self.drift = Drift { since: now, ..Drift::default() };
                now
            }
            Speed::Times(_) | Speed::Unpaced => due,
            // No frame is captured after it arrives. Otherwise the fastest frames set the times, apart from clock drift.
            Speed::Arrival => now.min(due + self.drift.correct(due, step, now)),
        }
    }

    fn scaled(&self, time: Micros) -> Micros {
        (time as f64 / self.speed()) as Micros
    }
}

/// The time from decoding to display, in µs; 0 where it is unknown or implausible.
pub(super) fn reorder_delay(decoded: Option<i64>, shown: Option<i64>) -> Micros {
    let delay = shown.zip(decoded).and_then(|(shown, decoded)| Micros::try_from(shown.checked_sub(decoded)?).ok());
    delay.filter(|delay| *delay <= MAX_STEP).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 40_000;
    const BEGIN: Micros = 1_000_000;

    /// I B B P in decoding order: each access unit's decoding time and display time, in frames.
    const UNITS: [(i64, i64); 7] = [(-2, 0), (-1, 3), (0, 1), (1, 2), (2, 6), (3, 4), (4, 5)];

    fn placed(speed: Speed, late: impl Fn(i64) -> Micros) -> Vec<(i64, i64)> {
        let mut timing = Timing::new(speed, Steps::of_film(None));
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
            let mut timing = Timing::new(speed, Steps::of_film(None));
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
        let mut timing = Timing::new(Speed::Arrival, Steps::of_live());
        for (number, came) in (0..).zip([0, 39_000, 80_000, 5_000_000, 5_040_000]) {
            let (due, captured) = timing.place(Some(number * FRAME), Some(number * FRAME), 40_000, BEGIN + came);
            assert!(due <= BEGIN + came && captured == due);
            assert!(due + 1_000 >= BEGIN + came, "{number}");
        }
    }

    #[test]
    fn buffered_frames_keep_their_distances() {
        let mut timing = Timing::new(Speed::Arrival, Steps::of_live());
        timing.set_buffered(2_000_000);
        let mut due = |number: i64, now| timing.place(Some(number * FRAME), Some(number * FRAME), 40_000, now).0;
        let now = BEGIN + 2_000_000;
        assert!((0..=50).all(|number| due(number, now).abs_diff(BEGIN + (number * FRAME) as Micros) < 3_000));
        assert!(due(51, now + 41_000).abs_diff(now + 41_000) < 3_000);
        assert_eq!(due(52, now + 1_200_000), now + 1_200_000, "later frames follow their arrival");
    }

    #[test]
    fn times_that_jump_or_are_unknown_cost_a_usual_interval() {
        let mut timing = Timing::new(Speed::Unpaced, Steps::of_film(Some(10_000_000)));
        let mut due = |time| timing.place(time, time, 40_000, BEGIN).0 - BEGIN;
        let times = [Some(0), Some(20_000), Some(90_000_000), Some(0), None, Some(i64::MAX), Some(i64::MIN + 1)];
        assert_eq!(times.map(&mut due), [0, 20_000, 60_000, 100_000, 140_000, 180_000, 220_000]);
        // A display time an hour after the decoding time.
        assert_eq!(timing.place(Some(0), Some(3_600_000_000), 40_000, BEGIN), (BEGIN + 260_000, BEGIN + 260_000));
    }

    #[test]
    fn pauses_are_kept_and_jumps_are_not() {
        let film = |length, times: &[i64]| {
            let mut steps = Steps::of_film(length);
            times.iter().map(|time| steps.next(Some(*time), 40_000)).collect::<Vec<_>>()
        };
        // A recording of a screen, and the same again: it repeats.
        let times = [7_000_000, 7_040_000, 12_000_000, 19_000_000, 7_000_000, 12_000_000];
        let steps = [40_000, 40_000, 4_960_000, 7_000_000, 40_000, 5_000_000];
        assert_eq!(film(Some(12_000_000), &times), steps);
        assert_eq!(film(None, &times), steps);
        // The container's length contradicts the step.
        assert_eq!(film(Some(5_000_000), &times)[3], 40_000);
        assert_eq!(film(None, &[0, 700_000_000]), [40_000, 40_000]);
        // Equal times play at the film's rate.
        assert_eq!(film(None, &[5, 5, 5]), [40_000; 3]);
        let mut live = Steps::of_live();
        assert_eq!([0, 1_000_000, 9_000_000].map(|time| live.next(Some(time), 40_000)), [40_000, 1_000_000, 40_000]);
    }

    #[test]
    fn a_clock_that_is_slower_or_faster_neither_ages_nor_outruns_the_stream() {
        for percent in [-3_i64, -1, 0, 1, 3] {
            let mut timing = Timing::new(Speed::Arrival, Steps::of_live());
            let mut oldest = 0;
            for number in 0..25 * 120 {
                let now = BEGIN + number * 40_000 + [0, 7_000, 3_000][number as usize % 3];
                let time = number as i64 * 400 * (100 + percent);
                let (due, captured) = timing.place(Some(time), Some(time), 40_000, now);
                assert!(due <= now && captured <= now);
                oldest = oldest.max(now - captured);
            }
            assert!(oldest < 90_000, "{percent} %: {oldest} µs");
        }
    }

    #[test]
    fn pictures_behind_a_pause_are_captured_behind_it_though_they_are_decoded_before() {
        // I P B with a pause of six seconds before the last three pictures: times of decoding and display, in frames.
        let units = [(-1, 0), (0, 2), (1, 1), (2, 153), (151, 151), (152, 152)];
        let mut timing = Timing::new(Speed::Unpaced, Steps::of_film(Some(6_200_000)));
        timing.set_reorder_delay(2 * FRAME as Micros);
        let mut captured: Vec<_> = units
            .map(|(decoded, shown)| timing.place(Some(decoded * FRAME), Some(shown * FRAME), 40_000, BEGIN).1)
            .into_iter()
            .map(|captured| (captured as i64 - BEGIN as i64) / FRAME)
            .collect();
        captured.sort_unstable();
        assert_eq!(captured, [-1, 0, 1, 150, 151, 152]);
    }

    #[test]
    fn a_film_that_repeats_shows_its_last_picture_for_its_time() {
        let (mut timeline, usual, now) =
            (Timeline::new(Steps::of_film(Some(600_000))), Duration::from_millis(40), Instant::now());
        let mut due = |shown, lasts| {
            let due = timeline.due(Some(shown), usual, now);
            (lasts > 0).then(|| timeline.end(Duration::from_millis(lasts)));
            (due - now).as_millis()
        };
        assert_eq!([due(0, 0), due(200_000, 400), due(0, 0), due(200_000, 0)], [0, 200, 600, 800]);
    }
}

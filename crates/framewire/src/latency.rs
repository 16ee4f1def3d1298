//! Where a frame's time goes: the split of its latency by stage, how fast frames come, and which come too late to be shown.

use std::collections::VecDeque;

use framewire_proto::{Micros, Times, wire::native::Report};
use serde::{Deserialize, Serialize};

/// Samples kept of each stage: the last 17 s at 30 frames a second.
const SAMPLES: usize = 512;
/// How far back a [`Meter`] looks.
const HORIZON: Micros = 2_000_000;
/// Frames that a [`Meter`] remembers at most.
const REMEMBERED: usize = 4096;

/// A part of a frame's way from birth to screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// From capture until it was encoded.
    Encode,
    /// Waiting at the publisher until it was begun to be written.
    Send,
    /// On the way to the hub.
    Uplink,
    /// In the hub until it was begun to be written to the viewer.
    Hub,
    /// On the way to the viewer.
    Downlink,
    /// Waiting for the decoder and being decoded.
    Decode,
    /// Waiting to be shown.
    Show,
    /// All of it: from capture to the last thing that is known.
    Total,
}

impl Stage {
    /// Every stage, in the order of a frame's way.
    pub const ALL: [Self; 8] =
        [Self::Encode, Self::Send, Self::Uplink, Self::Hub, Self::Downlink, Self::Decode, Self::Show, Self::Total];

    /// The word for it in the overlay, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Send => "send",
            Self::Uplink => "uplink",
            Self::Hub => "hub",
            Self::Downlink => "downlink",
            Self::Decode => "decode",
            Self::Show => "show",
            Self::Total => "total",
        }
    }
}

/// The recent durations of every stage.
#[derive(Debug, Clone, Default)]
pub struct Split {
    stages: [VecDeque<u32>; Stage::ALL.len()],
}

/// One stage in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Half of the frames took at most this.
    pub p50: f64,
    /// 95 in 100 took at most this.
    pub p95: f64,
    /// 99 in 100 took at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Split {
    /// Takes the stages up to the hub, known once a frame for all its viewers.
    pub fn take_arrival(&mut self, times: &Times) {
        self.record(Stage::Encode, times.captured, times.encoded);
        self.record(Stage::Send, times.encoded, times.sent);
        self.record(Stage::Uplink, times.sent, times.received);
    }

    /// Takes the stages up to the hub as their publisher sees them: that is all of a frame's way that it knows.
    pub fn take_upload(&mut self, times: &Times) {
        self.take_arrival(times);
        self.record(Stage::Total, times.captured, times.received);
    }

    /// Takes the stages from the hub to one viewer, known when the viewer has received the frame.
    pub fn take_delivery(&mut self, times: &Times, report: &Report) {
        self.record(Stage::Hub, times.received, times.forwarded);
        self.record(Stage::Downlink, times.forwarded, report.received);
    }

    /// Takes the stages at the viewer and the total, known when the frame was shown.
    pub fn take_showing(&mut self, times: &Times, report: &Report) {
        self.record(Stage::Decode, report.received, report.decoded);
        self.record(Stage::Show, report.decoded, report.shown);
        self.record(Stage::Total, times.captured, report.shown);
    }

    /// Takes the last stage of a viewer that shows nothing, and the total until then.
    pub fn take_decoding(&mut self, times: &Times, report: &Report) {
        self.record(Stage::Decode, report.received, report.decoded);
        self.record(Stage::Total, times.captured, report.decoded);
    }

    /// The stages of which anything is known.
    pub fn summaries(&self) -> impl Iterator<Item = (Stage, Summary)> {
        Stage::ALL.into_iter().filter_map(|stage| Some((stage, self.summary(stage)?)))
    }

    /// One stage, when anything is known of it.
    pub fn summary(&self, stage: Stage) -> Option<Summary> {
        let mut sorted: Vec<u32> = self.stages[stage as usize].iter().copied().collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let milliseconds = |share: usize| f64::from(sorted[(last * share).div_ceil(100)]) / 1000.0;
        Some(Summary { p50: milliseconds(50), p95: milliseconds(95), p99: milliseconds(99), max: milliseconds(100) })
    }

    fn record(&mut self, stage: Stage, from: Micros, to: Micros) {
        if from == 0 || to == 0 {
            return;
        }
        let samples = &mut self.stages[stage as usize];
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        // Two clocks agree only to within half a round trip, so a short way may seem to end before it begins.
        samples.push_back(u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX));
    }
}

/// The split as a map from a stage's name to its summary.
impl Serialize for Split {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.summaries().map(|(stage, summary)| (stage.name(), summary)))
    }
}

/// How many frames and bytes came, lately and in all.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    came: VecDeque<(Micros, usize)>,
    frames: u64,
    bytes: u64,
}

impl Meter {
    /// A frame of this many bytes came.
    pub fn count(&mut self, now: Micros, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.forget(now);
        if self.came.len() == REMEMBERED {
            self.came.pop_front();
        }
        self.came.push_back((now, bytes));
    }

    /// Frames and bytes since the beginning.
    pub fn totals(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// When the last frame came.
    pub fn last(&self) -> Option<Micros> {
        self.came.back().map(|(at, _)| *at)
    }

    /// Frames a second.
    pub fn fps(&self, now: Micros) -> f64 {
        self.per_second(now, |_| 1.0)
    }

    /// Bits a second.
    pub fn bitrate(&self, now: Micros) -> f64 {
        self.per_second(now, |bytes| bytes as f64 * 8.0)
    }

    /// What came after the oldest remembered frame, over the time since then: exact from the second frame on.
    fn per_second(&self, now: Micros, weight: impl Fn(usize) -> f64) -> f64 {
        let mut recent = self.came.iter().filter(|(at, _)| at.saturating_add(HORIZON) > now);
        let Some((first, _)) = recent.next() else { return 0.0 };
        let (mut sum, mut last) = (0.0, *first);
        for (at, bytes) in recent {
            sum += weight(*bytes);
            last = *at;
        }
        let interval = (last - first) as f64 / sum.max(1.0);
        // A frame that is overdue makes the rate fall before it comes.
        let seconds =
            (last - first).max(now.saturating_sub(*first).saturating_sub((2.0 * interval) as u64)) as f64 / 1e6;
        if seconds > 0.0 { sum / seconds } else { 0.0 }
    }

    fn forget(&mut self, now: Micros) {
        while self.came.front().is_some_and(|(at, _)| at.saturating_add(HORIZON) <= now) {
            self.came.pop_front();
        }
    }
}

/// What is this much older than pictures lately were, in µs, was held back on the way and is the past.
const PAST: Micros = 500_000;
/// For how long, in µs, such pictures are waited through: the newer ones behind them come soon, or this is how old they are now.
const HELD_BACK: Micros = 500_000;
/// A pause between two of them counts for no longer than this, in µs: one may slip through a link that is all but gone.
const PAUSE: Micros = 200_000;
/// What the usual age may grow by from one picture to the next, in µs.
const DRIFT: Micros = 2_000;

/// Tells pictures from those that are too old to be shown.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// The oldest that is shown, in µs, where that was asked for.
    max_age: Option<Micros>,
    /// The least age lately; `None` before the first picture.
    usual: Option<Micros>,
    /// When the last one came that was older, and for how long only such have.
    past: Option<(Micros, Micros)>,
}

impl Bound {
    /// Nothing older than this, in µs, is shown; `None`: nothing that a link held back while it was gone.
    pub fn new(max_age: Option<Micros>) -> Self {
        Self { max_age, ..Self::default() }
    }

    /// Whether a picture that was captured then is to be shown now. One whose age is not known is.
    pub fn shows(&mut self, captured: Micros, now: Micros) -> bool {
        if captured == 0 {
            return true;
        }
        let age = now.saturating_sub(captured);
        if let Some(max_age) = self.max_age {
            return age <= max_age;
        }
        let usual = *self.usual.get_or_insert(age);
        if age <= usual + PAST {
            self.usual = Some(age.min(usual + DRIFT));
        } else {
            let (last, lasted) = self.past.unwrap_or((now, 0));
            let lasted = lasted + now.saturating_sub(last).min(PAUSE);
            if lasted < HELD_BACK {
                self.past = Some((now, lasted));
                return false;
            }
            self.usual = Some(age);
        }
        self.past = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn what_a_link_held_back_is_not_shown_and_what_comes_fresh_after_it_is() {
        let mut bound = Bound::default();
        assert!((1..30).all(|frame| bound.shows(frame * 33_333, frame * 33_333 + 40_000)));
        let back = 6 * SECOND;
        assert!(!bound.shows(SECOND, back) && !bound.shows(SECOND + 33_333, back + 20_000));
        assert!(bound.shows(back, back + 60_000));
        assert!(bound.shows(0, back + 70_000), "nobody knows how old it is");
    }

    #[test]
    fn a_link_on_which_all_is_old_from_now_on_is_believed_after_half_a_second() {
        let mut bound = Bound::default();
        assert!(bound.shows(10 * SECOND, 11 * SECOND), "so it is from the first on");
        assert!(bound.shows(11 * SECOND, 12 * SECOND + 400_000));
        let late = |bound: &mut Bound, now| bound.shows(now - 3 * SECOND, now);
        assert!((0..5).all(|frame| !late(&mut bound, 20 * SECOND + frame * HELD_BACK / 5)));
        assert!(late(&mut bound, 20 * SECOND + HELD_BACK) && late(&mut bound, 21 * SECOND));
        let mut slow = Bound::default();
        assert!(slow.shows(SECOND, SECOND));
        let shown: Vec<bool> = (10..15).map(|second| late(&mut slow, second * SECOND)).collect();
        assert_eq!(shown, [false, false, false, true, true], "a picture a second");
    }

    #[test]
    fn a_picture_that_slips_through_a_link_that_is_all_but_gone_does_not_let_the_past_in() {
        let mut bound = Bound::default();
        assert!((1..30).all(|frame| bound.shows(frame * 33_333, frame * 33_333 + 40_000)));
        assert!(!bound.shows(SECOND, 4 * SECOND));
        let back = 6 * SECOND;
        assert!((1..5).all(|frame| !bound.shows(SECOND + frame * 33_333, back + frame * 20_000)));
        assert!(bound.shows(back + 60_000, back + 100_000));
    }

    #[test]
    fn an_age_that_was_asked_for_holds_whatever_comes() {
        let mut bound = Bound::new(Some(200_000));
        for now in (SECOND..4 * SECOND).step_by(33_333) {
            assert!(bound.shows(now - 200_000, now) && !bound.shows(now - 200_001, now));
        }
    }

    #[test]
    fn the_split_follows_a_frame_from_birth_to_screen() {
        let mut split = Split::default();
        let times =
            Times { captured: 1_000, encoded: 3_000, sent: 3_500, received: 4_000, forwarded: 4_200, arrived: 0 };
        let report = Report { sequence: 1, received: 5_000, decoded: 7_000, shown: 9_000 };
        split.take_arrival(&times);
        split.take_delivery(&times, &report);
        split.take_showing(&times, &report);
        let known: Vec<_> = split.summaries().map(|(stage, summary)| (stage.name(), summary.max)).collect();
        let expected = [
            ("encode", 2.0),
            ("send", 0.5),
            ("uplink", 0.5),
            ("hub", 0.2),
            ("downlink", 0.8),
            ("decode", 2.0),
            ("show", 2.0),
            ("total", 8.0),
        ];
        assert_eq!(known, expected);
    }

    #[test]
    fn percentiles_are_of_the_recent_frames_only() {
        let mut split = Split::default();
        for micros in (1..=10_000).map(|count| count * 1_000) {
            split.record(Stage::Total, 1, 1 + micros);
        }
        let Summary { p50, p99, max, .. } = split.summary(Stage::Total).unwrap();
        assert_eq!(max, 10_000.0);
        assert!((9_740.0..=9_750.0).contains(&p50), "{p50}");
        assert!(p99 < max);
    }

    #[test]
    fn a_meter_tells_rate_and_bitrate_and_forgets() {
        let mut meter = Meter::default();
        for frame in 0..60 {
            meter.count(1 + frame * 33_333, 1_000);
        }
        let now = 1 + 59 * 33_333;
        assert!((meter.fps(now) - 30.0).abs() < 0.1, "{}", meter.fps(now));
        assert!((meter.bitrate(now) - 240_000.0).abs() < 1_000.0);
        assert_eq!(meter.fps(now + HORIZON), 0.0);
    }
}

//! Where a frame's time goes: its latency by stage, the rate of frames, and which frames are too old to show.

use std::collections::VecDeque;

use framewire_proto::{Micros, Times, wire::native::Report};
use serde::{Deserialize, Serialize};

/// The most samples of each stage: the last 17 s at 30 frames per second.
const MAX_SAMPLES: usize = 512;
/// The time that a [`Meter`] measures over, in µs.
const METER_WINDOW: Micros = 2_000_000;
/// The most frames that a [`Meter`] remembers.
const MAX_ARRIVALS: usize = 4096;

/// A part of a frame's way from capture to display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// From capture to the end of encoding.
    Encode,
    /// In the publisher's queue, until its transmission starts.
    Send,
    /// On the way to the hub.
    Uplink,
    /// In the hub, until its transmission to the viewer starts.
    Hub,
    /// On the way to the viewer.
    Downlink,
    /// From reception to the end of decoding.
    Decode,
    /// From decoding to display.
    Show,
    /// From capture to the last known time.
    Total,
}

impl Stage {
    /// Every stage, in the order of a frame's way.
    pub const ALL: [Self; 8] =
        [Self::Encode, Self::Send, Self::Uplink, Self::Hub, Self::Downlink, Self::Decode, Self::Show, Self::Total];

    /// The stage's name in the overlay, in JSON and in metrics.
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

/// The durations of one stage, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StageSummary {
    /// Half of the frames took at most this.
    pub p50: f64,
    /// 95 % of the frames took at most this.
    pub p95: f64,
    /// 99 % of the frames took at most this.
    pub p99: f64,
    /// The longest duration.
    pub max: f64,
}

impl Split {
    /// Records the stages up to the hub, once per frame for all its viewers.
    pub fn take_arrival(&mut self, times: &Times) {
        self.record(Stage::Encode, times.captured, times.encoded);
        self.record(Stage::Send, times.encoded, times.sent);
        self.record(Stage::Uplink, times.sent, times.received);
    }

    /// Records the stages up to the hub for the publisher, which knows no later ones.
    pub fn take_upload(&mut self, times: &Times) {
        self.take_arrival(times);
        self.record(Stage::Total, times.captured, times.received);
    }

    /// Records the stages from the hub to one viewer, once the viewer has received the frame.
    pub fn take_delivery(&mut self, times: &Times, report: &Report) {
        self.record(Stage::Hub, times.received, times.forwarded);
        self.record(Stage::Downlink, times.forwarded, report.received);
    }

    /// Records the stages at the viewer and the total, once the frame was shown.
    pub fn take_showing(&mut self, times: &Times, report: &Report) {
        self.record(Stage::Decode, report.received, report.decoded);
        self.record(Stage::Show, report.decoded, report.shown);
        self.record(Stage::Total, times.captured, report.shown);
    }

    /// Records the last stage of a viewer that displays nothing, and the total up to it.
    pub fn take_decoding(&mut self, times: &Times, report: &Report) {
        self.record(Stage::Decode, report.received, report.decoded);
        self.record(Stage::Total, times.captured, report.decoded);
    }

    /// The stages with any samples.
    pub fn summaries(&self) -> impl Iterator<Item = (Stage, StageSummary)> {
        Stage::ALL.into_iter().filter_map(|stage| Some((stage, self.summary(stage)?)))
    }

    /// One stage; `None` without samples.
    pub fn summary(&self, stage: Stage) -> Option<StageSummary> {
        let mut sorted: Vec<u32> = self.stages[stage as usize].iter().copied().collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let milliseconds = |share: usize| f64::from(sorted[(last * share).div_ceil(100)]) / 1000.0;
        Some(StageSummary {
            p50: milliseconds(50),
            p95: milliseconds(95),
            p99: milliseconds(99),
            max: milliseconds(100),
        })
    }

    fn record(&mut self, stage: Stage, from: Micros, to: Micros) {
        if from == 0 || to == 0 {
            return;
        }
        let samples = &mut self.stages[stage as usize];
        if samples.len() == MAX_SAMPLES {
            samples.pop_front();
        }
        // Two clocks agree only to half a round trip, so a short stage may seem to end before it starts.
        samples.push_back(u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX));
    }
}

/// A map from each stage's name to its summary.
impl Serialize for Split {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.summaries().map(|(stage, summary)| (stage.name(), summary)))
    }
}

/// Counts frames and bytes, in total and per second.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    arrivals: VecDeque<(Micros, usize)>,
    frames: u64,
    bytes: u64,
}

impl Meter {
    /// Counts a frame of this many bytes.
    pub fn count(&mut self, now: Micros, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.forget(now);
        if self.arrivals.len() == MAX_ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((now, bytes));
    }

    /// Frames and bytes since the start.
    pub fn totals(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// When the last frame arrived.
    pub fn last(&self) -> Option<Micros> {
        self.arrivals.back().map(|(at, _)| *at)
    }

    /// Frames per second.
    pub fn fps(&self, now: Micros) -> f64 {
        self.per_second(now, |_| 1.0)
    }

    /// Bits per second.
    pub fn bitrate(&self, now: Micros) -> f64 {
        self.per_second(now, |bytes| bytes as f64 * 8.0)
    }

    /// The frames after the oldest one in the window, over the time since that one: exact from the second frame on.
    fn per_second(&self, now: Micros, weight: impl Fn(usize) -> f64) -> f64 {
        let mut recent = self.arrivals.iter().filter(|(at, _)| at.saturating_add(METER_WINDOW) > now);
        let Some((first, _)) = recent.next() else { return 0.0 };
        let (mut sum, mut last) = (0.0, *first);
        for (at, bytes) in recent {
            sum += weight(*bytes);
            last = *at;
        }
        let interval = (last - first) as f64 / sum.max(1.0);
        // An overdue frame lowers the rate before it arrives.
        let seconds =
            (last - first).max(now.saturating_sub(*first).saturating_sub((2.0 * interval) as u64)) as f64 / 1e6;
        if seconds > 0.0 { sum / seconds } else { 0.0 }
    }

    fn forget(&mut self, now: Micros) {
        while self.arrivals.front().is_some_and(|(at, _)| at.saturating_add(METER_WINDOW) <= now) {
            self.arrivals.pop_front();
        }
    }
}

/// A frame is stale when it is this much older than recent frames, in µs: an outage of the link has delayed it.
const STALE_AFTER: Micros = 500_000;
/// How long stale frames are dropped, in µs. If no newer frames follow by then, the link has become slower for good.
const DROP_STALE_FOR: Micros = 500_000;
/// The most that the time between two stale frames counts, in µs: single frames can arrive during an outage.
const MAX_STALE_STEP: Micros = 200_000;
/// The most that the usual age grows from one frame to the next, in µs.
const MAX_AGE_STEP: Micros = 2_000;

/// Finds stale frames: frames that are too old to show.
#[derive(Debug, Clone, Default)]
pub struct StaleFilter {
    /// The user's limit on the age, in µs.
    max_age: Option<Micros>,
    /// The recent age of frames, in µs; `None` before the first frame.
    usual: Option<Micros>,
    /// When the last stale frame arrived, and for how long only stale frames have arrived, in µs.
    stale: Option<(Micros, Micros)>,
}

impl StaleFilter {
    /// A filter of frames older than `max_age`, in µs; `None` filters frames that an outage has delayed.
    pub fn new(max_age: Option<Micros>) -> Self {
        Self { max_age, ..Self::default() }
    }

    /// Whether to show a frame that was captured at this time. A frame of unknown age is shown.
    pub fn shows(&mut self, captured: Micros, now: Micros) -> bool {
        if captured == 0 {
            return true;
        }
        let age = now.saturating_sub(captured);
        if let Some(max_age) = self.max_age {
            return age <= max_age;
        }
        let usual = *self.usual.get_or_insert(age);
        if age <= usual + STALE_AFTER {
            self.usual = Some(age.min(usual + MAX_AGE_STEP));
        } else {
            let (last, lasted) = self.stale.unwrap_or((now, 0));
            let lasted = lasted + now.saturating_sub(last).min(MAX_STALE_STEP);
            if lasted < DROP_STALE_FOR {
                self.stale = Some((now, lasted));
                return false;
            }
            self.usual = Some(age);
        }
        self.stale = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn frames_that_an_outage_delayed_are_not_shown_and_the_fresh_ones_after_them_are() {
        let mut filter = StaleFilter::default();
        assert!((1..30).all(|frame| filter.shows(frame * 33_333, frame * 33_333 + 40_000)));
        let back = 6 * SECOND;
        assert!(!filter.shows(SECOND, back) && !filter.shows(SECOND + 33_333, back + 20_000));
        assert!(filter.shows(back, back + 60_000));
        assert!(filter.shows(0, back + 70_000), "its age is unknown");
    }

    #[test]
    fn frames_that_stay_older_are_shown_after_half_a_second() {
        let mut filter = StaleFilter::default();
        assert!(filter.shows(10 * SECOND, 11 * SECOND), "the first frame sets the usual age");
        assert!(filter.shows(11 * SECOND, 12 * SECOND + 400_000));
        let late = |filter: &mut StaleFilter, now| filter.shows(now - 3 * SECOND, now);
        assert!((0..5).all(|frame| !late(&mut filter, 20 * SECOND + frame * DROP_STALE_FOR / 5)));
        assert!(late(&mut filter, 20 * SECOND + DROP_STALE_FOR) && late(&mut filter, 21 * SECOND));
        let mut slow = StaleFilter::default();
        assert!(slow.shows(SECOND, SECOND));
        let shown: Vec<bool> = (10..15).map(|second| late(&mut slow, second * SECOND)).collect();
        assert_eq!(shown, [false, false, false, true, true], "a frame per second");
    }

    #[test]
    fn a_single_frame_during_an_outage_does_not_let_stale_frames_through() {
        let mut filter = StaleFilter::default();
        assert!((1..30).all(|frame| filter.shows(frame * 33_333, frame * 33_333 + 40_000)));
        assert!(!filter.shows(SECOND, 4 * SECOND));
        let back = 6 * SECOND;
        assert!((1..5).all(|frame| !filter.shows(SECOND + frame * 33_333, back + frame * 20_000)));
        assert!(filter.shows(back + 60_000, back + 100_000));
    }

    #[test]
    fn a_maximum_age_always_holds() {
        let mut filter = StaleFilter::new(Some(200_000));
        for now in (SECOND..4 * SECOND).step_by(33_333) {
            assert!(filter.shows(now - 200_000, now) && !filter.shows(now - 200_001, now));
        }
    }

    #[test]
    fn the_split_follows_a_frame_from_capture_to_display() {
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
    fn percentiles_cover_only_recent_frames() {
        let mut split = Split::default();
        for micros in (1..=10_000).map(|count| count * 1_000) {
            split.record(Stage::Total, 1, 1 + micros);
        }
        let StageSummary { p50, p99, max, .. } = split.summary(Stage::Total).unwrap();
        assert_eq!(max, 10_000.0);
        assert!((9_740.0..=9_750.0).contains(&p50), "{p50}");
        assert!(p99 < max);
    }

    #[test]
    fn a_meter_measures_frame_rate_and_bitrate_over_its_window() {
        let mut meter = Meter::default();
        for frame in 0..60 {
            meter.count(1 + frame * 33_333, 1_000);
        }
        let now = 1 + 59 * 33_333;
        assert!((meter.fps(now) - 30.0).abs() < 0.1, "{}", meter.fps(now));
        assert!((meter.bitrate(now) - 240_000.0).abs() < 1_000.0);
        assert_eq!(meter.fps(now + METER_WINDOW), 0.0);
    }
}

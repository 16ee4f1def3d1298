//! Estimates what a link carries, in bits a second, from the transfer times of single frames.
//!
//! The estimate is the mean of the last [`SAMPLE_COUNT`] frames. Two kinds of frame give different evidence:
//! - A frame that queued behind another kept the link busy from its first byte to its last. Its rate is exact.
//! - A frame that found the link free may look too fast: a shaper (token bucket) lets the first packets pass at once. So after
//!   queueing, such a frame raises the estimate only slowly.

use std::collections::VecDeque;

use crate::frame::Micros;

/// The lowest estimate, in bits a second. It keeps a receiver that reports nonsense usable.
pub(super) const MIN_CAPACITY: u64 = 50_000;
/// The highest estimate, in bits a second. It keeps the arithmetic from overflowing.
pub(super) const MAX_CAPACITY: u64 = 1_000_000_000_000;
/// The shortest transfer time that is believed, in µs: clocks and thread wake-ups are no more exact.
const MIN_TIME: Micros = 100;
/// Frames of fewer bytes (less than two TCP segments) measure scheduling noise instead of the link.
const MIN_SAMPLE_BYTES: usize = 2_500;
/// Frames that the estimate is the mean of: 0.2 s at 30 frames a second.
pub(super) const SAMPLE_COUNT: usize = 6;

/// The most the estimate may grow per report, in percent of the old one. From 2 to 20 Mbit/s these are 17 reports, 0.6 s; the
/// tests demand 1.5 s, bench/links 2 s ("back after" in bench/LINKS.md).
const MAX_GROWTH_PERCENT: u64 = 115;
/// The same while the estimate is close to the rate that frames had when they last queued: that rate was the limit then.
const MAX_GROWTH_NEAR_LIMIT_PERCENT: u64 = 104;
/// "Close" is from 80 to this many percent of that rate.
const NEAR_LIMIT_PERCENT: u64 = 125;
/// The growth per report right after queueing, in per mille, if the frame found the link free. Without this bound, the estimate
/// behind a shaper rose by half, filled the queue and fell, once a second.
const GROWTH_AFTER_QUEUEING_PER_MILLE: u64 = 1_002;
/// "Right after queueing" lasts this long, in µs. It lasts shorter if the link slowed down less than this before the queueing:
/// the slowdown may have been brief.
const AFTER_QUEUEING: Micros = 1_000_000;

/// One frame's transfer, or that of several frames reported together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) bytes: usize,
    /// How long the link took, in µs.
    pub(super) time: Micros,
}

impl Sample {
    pub(super) fn new(bytes: usize, time: Micros) -> Self {
        Self { bytes, time: time.max(MIN_TIME) }
    }

    /// Bits a second.
    fn rate(self) -> u64 {
        8_000_000 * self.bytes as u64 / self.time
    }
}

/// The rate of frames that queued behind others.
#[derive(Debug, Clone, Copy)]
struct QueuedRate {
    /// Bits a second, smoothed.
    rate: u64,
    /// When the last such frame was reported.
    at: Micros,
}

/// Estimates one link's capacity.
#[derive(Debug, Clone, Default)]
pub(super) struct CapacityEstimator {
    /// Bits a second; `None` until the first sample.
    estimate: Option<u64>,
    /// The latest transfers, at most [`SAMPLE_COUNT`].
    pub(super) samples: VecDeque<Sample>,
    queued: Option<QueuedRate>,
    /// When a frame last took much longer than expected.
    slowed_at: Micros,
    /// The smoothed difference between measured and expected transfer times, in µs.
    jitter: Micros,
}

impl CapacityEstimator {
    /// Starts with a known capacity.
    pub(super) fn new(capacity: u64) -> Self {
        Self { estimate: Some(capacity.clamp(MIN_CAPACITY, MAX_CAPACITY)), ..Self::default() }
    }

    /// Bits a second; `None` until something is measured.
    pub(super) fn estimate(&self) -> Option<u64> {
        self.estimate
    }

    /// How much transfer times usually differ from what is expected, in µs.
    pub(super) fn jitter(&self) -> Micros {
        self.jitter
    }

    /// Drops the samples and keeps the estimate.
    pub(super) fn forget_samples(&mut self) {
        self.samples.clear();
    }

    /// Learns from one transfer. `queued`: the frame waited behind another before the link was free. `interval`: the time from
    /// frame to frame.
    pub(super) fn on_sample(&mut self, mut sample: Sample, queued: bool, interval: Micros, now: Micros) {
        let rate = sample.rate();
        if queued {
            self.on_queued_rate(rate, now);
        } else if let Some(before) = self.estimate_after_queueing(rate, now) {
            self.estimate = Some(before / 1000 * GROWTH_AFTER_QUEUEING_PER_MILLE);
            return;
        }
        let expected = self.estimate.map(|capacity| transfer_time(sample.bytes, capacity));
        if let Some(expected) = expected {
            let difference = sample.time.abs_diff(expected).min(interval);
            self.jitter = (15 * self.jitter + difference) / 16;
        }
        if expected.is_some_and(|expected| sample.time > expected + interval / 2) {
            // The link slowed down, so older samples no longer count. If reports arrive with jitter, part of the delay is
            // chance: without this allowance every late report would halve the estimate.
            self.samples.clear();
            self.slowed_at = now;
            sample.time -= (2 * self.jitter.saturating_sub(interval / 8)).min(interval / 2);
        } else if sample.bytes < MIN_SAMPLE_BYTES {
            return self.on_small_frame(sample, interval);
        }
        if self.samples.len() == SAMPLE_COUNT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let (bytes, time) = self.samples.iter().fold((0, 0), |sum, sample| (sum.0 + sample.bytes, sum.1 + sample.time));
        let mean = (8_000_000 * bytes as u64 / time).clamp(MIN_CAPACITY, MAX_CAPACITY);
        self.estimate = Some(self.estimate.map_or(mean, |before| mean.min(before / 100 * self.max_growth(before))));
    }

    /// A frame that queued measured this rate.
    fn on_queued_rate(&mut self, rate: u64, now: Micros) {
        if self.recent_queued_rate(now).is_none() && self.estimate.is_some_and(|before| rate < before) {
            // This rate is exact; the samples before it were not.
            self.samples.clear();
        }
        let before = self.queued.map_or(rate, |queued| queued.rate);
        self.queued = Some(QueuedRate { rate: before - before / 4 + rate / 4, at: now });
    }

    /// How much the estimate may grow per report, in percent.
    fn max_growth(&self, estimate: u64) -> u64 {
        let near =
            |queued: QueuedRate| (queued.rate / 5 * 4..queued.rate / 100 * NEAR_LIMIT_PERCENT).contains(&estimate);
        if self.queued.is_some_and(near) { MAX_GROWTH_NEAR_LIMIT_PERCENT } else { MAX_GROWTH_PERCENT }
    }

    /// The estimate, if a frame that found the link free is no reason to raise it faster than
    /// [`GROWTH_AFTER_QUEUEING_PER_MILLE`]: frames queued a moment ago, and `rate` is between the estimate and twice theirs.
    fn estimate_after_queueing(&self, rate: u64, now: Micros) -> Option<u64> {
        let (estimate, queued) = (self.estimate?, self.recent_queued_rate(now)?);
        ((queued / 5 * 4..rate).contains(&estimate) && rate < 2 * queued).then_some(estimate)
    }

    /// The rate of frames that queued, if the last one was a moment ago.
    fn recent_queued_rate(&self, now: Micros) -> Option<u64> {
        let lasts = |at: Micros| AFTER_QUEUEING.min(at.saturating_sub(self.slowed_at));
        self.queued.filter(|queued| now < queued.at + lasts(queued.at)).map(|queued| queued.rate)
    }

    /// A small frame measures little, but a quick one proves that the next may be larger. So an estimate that is too low for
    /// frames of [`MIN_SAMPLE_BYTES`] grows until they fit. Without this, a link once estimated at 50 kbit/s stayed slow for
    /// ever.
    fn on_small_frame(&mut self, sample: Sample, interval: Micros) {
        let Some(before) = self.estimate else { return };
        // Encoders may make frames much smaller than their target, so aim for three times the size.
        let enough = 8_000_000 * 3 * MIN_SAMPLE_BYTES as u64 / interval;
        let proven = sample.rate().min(enough);
        if before < proven {
            self.samples.clear();
            self.estimate = Some(proven.min(before / 100 * MAX_GROWTH_PERCENT));
        }
    }
}

/// The time in µs that a link of this capacity (bits a second) takes for so many bytes.
pub(super) fn transfer_time(bytes: usize, capacity: u64) -> Micros {
    8_000_000 * bytes as u64 / capacity.max(1)
}

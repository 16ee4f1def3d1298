//! Congestion control for one receiver: when the next frame may be sent, and how large it may be.
//!
//! A sender that writes whenever the kernel accepts bytes fills every queue on the path, and every queued byte adds delay. So a
//! frame is started only when the link is about to finish the frames before it. It is made no larger than the link carries
//! in one frame interval. While the link is busy, a newer frame replaces the waiting one (outside this module).
//!
//! The link's capacity is measured from single frames. The bytes of a frame are sent together. The link starts
//! on them when it is free, and the receiver reports the last byte. The time between, less the round trip, is the transfer
//! time. So capacity is known whether the link is full or not.
//!
//! All times are on the sender's clock. A report is trusted for one fact only: the receiver has this frame.

mod capacity;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use capacity::{CapacityEstimator, MIN_CAPACITY, Sample, transfer_time};

use crate::frame::{Config, Micros};

/// Frames that may be unreported at once, on top of those that fill the round trip. Two: one on the link while the report of
/// the one before is on its way back.
pub const MAX_UNREPORTED: usize = 2;
/// The frame interval in µs while the frame rate is unknown: 30 frames a second.
pub const DEFAULT_INTERVAL: Micros = 33_333;
/// Bounds the list of unreported frames; the oldest are forgotten. It only grows past a few frames for receivers that never
/// report.
const MAX_REMEMBERED: usize = 64;

/// The share of the capacity that the sender aims to use, in percent. The rest absorbs measurement errors, so that queues
/// drain. Result: slow links are used to 86-96 % ("share of the link used" in bench/LINKS.md).
const TARGET_PERCENT: u64 = 92;
/// A frame that took longer than this, in µs, was delayed by an outage: its time says nothing about capacity. The same 0.7 s
/// after which [`crate::link::SUSPECT_AFTER`] doubts a connection. At the lowest bitrates used a frame takes far less.
const OUTAGE: Micros = 700_000;
/// Pings ahead of frames that tell the queue of others: enough for one of them to have met little of it; few enough to follow a
/// queue that grows.
const WAITS: usize = 12;
/// The largest frame, in bytes, that a ping goes ahead of. Larger ones leave in bursts that fill a whole queue that counts bytes:
/// with a ping in it, the burst would be dropped. Links that carry such frames have a small share of others' bytes to wait for.
const MOST_WITH_PING: usize = 32 << 10;
/// How many times the usual jitter a report may be late before the link is suspected to have slowed down.
const LATE_JITTERS: Micros = 2;
/// TCP's initial congestion window in bytes: what a connection sends at once when it is new or after an outage (RFC 6928,
/// section 2). The window doubles each round trip until the link is full (slow start).
const INITIAL_WINDOW: usize = 14_600;
/// The longest round trip that is believed, in µs. It keeps sums of times from overflowing when a peer lies.
const MAX_ROUND_TRIP: Micros = 10_000_000;

/// What is in flight to one receiver, and what its link carries.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Frames without a report yet, oldest first.
    unreported: VecDeque<Sent>,
    /// The sequence number of the newest frame sent.
    newest: Option<u64>,
    reports: Reports,
    /// When the last report arrived.
    last_report: Micros,
    /// The frame interval.
    interval: Micros,
    /// The shortest recent round trip of a small message.
    round_trip: Micros,
    /// When a ping was sent ahead of the next frame.
    ping: Option<Micros>,
    /// How long the last pings ahead of frames waited for the bytes of others; `None` where they waited for ours.
    waits: VecDeque<Option<Micros>>,
    /// The queue that others keep on the link, in µs.
    others_queue: Micros,
    /// Frames are sent this many times as fast as they were captured.
    speed: u64,
    /// The highest age a frame may have when it arrives.
    max_age: Option<Micros>,
    link: CapacityEstimator,
    /// The estimated congestion window in bytes during TCP's slow start; `None` once it no longer limits frames.
    slow_start_window: Option<usize>,
}

/// Whether the receiver sends reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reports {
    /// Not known: it has not had a frame to report yet.
    Unknown,
    Yes,
    /// It answered a ping sent after a frame and did not report that frame. Sending does not wait for its reports.
    No,
}

/// A frame without a report yet.
#[derive(Debug, Clone, Copy)]
struct Sent {
    sequence: u64,
    bytes: usize,
    at: Micros,
    /// No earlier frame was in flight then.
    alone: bool,
    /// When the ping ahead of it was sent.
    ping: Option<Micros>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            unreported: VecDeque::new(),
            newest: None,
            reports: Reports::Unknown,
            last_report: 0,
            interval: DEFAULT_INTERVAL,
            round_trip: 0,
            ping: None,
            waits: VecDeque::new(),
            others_queue: 0,
            speed: 1,
            max_age: None,
            link: CapacityEstimator::default(),
            slow_start_window: None,
        }
    }
}

impl Flow {
    /// The flow to a receiver that reconnected: its earlier connection measured this `capacity` (bits a second) and
    /// `round_trip` (µs).
    pub fn resumed(capacity: u64, round_trip: Micros) -> Self {
        let mut this = Self { link: CapacityEstimator::new(capacity), ..Self::default() };
        this.set_round_trip(round_trip);
        this.slow_start();
        this
    }

    /// Sets the frame rate from the stream's configuration.
    pub fn set_frame_rate(&mut self, config: &Config) {
        let interval = 1_000_000_000_u64.checked_div(config.millifps.into());
        self.interval = interval.unwrap_or(DEFAULT_INTERVAL).clamp(1_000, 1_000_000);
    }

    /// Sends frames this many times as fast as they were captured (1 to 16): the frames of a GOP replay, with live frames
    /// queued behind them. More frames may then be in flight over a long round trip.
    pub fn set_speed(&mut self, times: u64) {
        self.speed = times.clamp(1, 16);
    }

    /// Sets the shortest recent round trip of a small message, in µs.
    pub fn set_round_trip(&mut self, round_trip: Micros) {
        self.round_trip = round_trip.min(MAX_ROUND_TRIP);
    }

    /// Whether to send a ping right ahead of a frame of so many bytes.
    pub fn wants_ping(bytes: usize) -> bool {
        bytes <= MOST_WITH_PING
    }

    /// A ping was sent right ahead of the next frame, see [`Flow::on_pong`]. Without one, the link is taken to be free of the
    /// bytes of others.
    pub fn on_ping_sent(&mut self, now: Micros) {
        self.ping = Some(now);
    }

    /// Sets the highest age a frame may have when it arrives, in µs; `None`: no bound.
    pub fn set_max_age(&mut self, max_age: Option<Micros>) {
        self.max_age = max_age;
    }

    /// Whether the next frame may be sent now.
    pub fn is_open(&self, now: Micros) -> bool {
        self.opens_at(now).is_some_and(|at| at <= now)
    }

    /// When the next frame may be sent if no more reports arrive; `None` if a report must arrive first.
    pub fn opens_at(&self, now: Micros) -> Option<Micros> {
        if self.unreported.is_empty() {
            return Some(now);
        }
        match self.reports {
            // Nothing is known about the link, so the first frame may take long.
            Reports::Unknown => return None,
            Reports::No => return Some(now),
            Reports::Yes => {}
        }
        let most = MAX_UNREPORTED + (self.speed * self.way()).div_ceil(self.interval) as usize;
        if self.is_overdue(now) || self.unreported.len() >= most {
            return None;
        }
        // Open one frame interval and one round trip before the link finishes the bytes in flight.
        let finishes = self.link_began()? + self.transfer_time(self.in_flight());
        Some((finishes + 1).saturating_sub(self.interval + self.way()))
    }

    /// The round trip of a frame that finds none of ours before it: with the queue of others.
    fn way(&self) -> Micros {
        self.round_trip + self.others_queue
    }

    /// Bytes in flight.
    fn in_flight(&self) -> usize {
        self.unreported.iter().map(|sent| sent.bytes).sum()
    }

    /// When the link began, or is expected to begin, to send the oldest frame in flight, less the round trip: when a frame had
    /// to be sent to arrive in its place if the link were free.
    fn link_began(&self) -> Option<Micros> {
        let oldest = self.unreported.front()?;
        Some(oldest.at.max(self.last_report.saturating_sub(self.way())))
    }

    /// Whether the report of the oldest frame should have come by now: the link may have slowed down.
    fn is_overdue(&self, now: Micros) -> bool {
        let (Some(oldest), Some(began)) = (self.unreported.front(), self.link_began()) else { return false };
        let expected = began + self.way() + self.transfer_time(oldest.bytes);
        now > expected + self.interval / 8 + LATE_JITTERS * self.link.jitter()
    }

    /// The time that the link takes for so many bytes; 0 while its capacity is unknown.
    fn transfer_time(&self, bytes: usize) -> Micros {
        self.link.estimate().map_or(0, |capacity| transfer_time(bytes, capacity))
    }

    /// The sender has started a frame of this many bytes.
    pub fn on_sent(&mut self, sequence: u64, bytes: usize, now: Micros) {
        if self.unreported.len() >= MAX_REMEMBERED {
            self.unreported.pop_front();
        }
        if self.ping.is_none() {
            self.on_wait(None);
        }
        let alone = self.unreported.is_empty();
        self.unreported.push_back(Sent { sequence, bytes, at: now, alone, ping: self.ping.take() });
        self.newest = Some(sequence);
    }

    /// The receiver has just received all of this frame. Earlier frames count as reported too. A report about a frame that was
    /// not sent yet is ignored.
    pub fn on_report(&mut self, sequence: u64, now: Micros) {
        self.on_partial_report(sequence, 0, now);
    }

    /// Like [`Flow::on_report`], but `missing` bytes at the end of the frame are not acknowledged yet: for receivers without
    /// reports, known only by their TCP acknowledgements.
    pub fn on_partial_report(&mut self, sequence: u64, missing: usize, now: Micros) {
        let Some((bytes, first)) = self.pop_reported(sequence) else { return };
        let unqueued = first.at + self.way();
        let link_free = self.last_report.max(unqueued);
        let queued = self.last_report > unqueued + self.interval / 4;
        self.last_report = now;
        let sample = Sample::new(bytes.saturating_sub(missing), now.saturating_sub(link_free));
        if sample.time > OUTAGE && self.slow_start_window.is_none() && self.link.estimate().is_some() {
            self.slow_start();
            return;
        }
        self.link.on_sample(sample, queued, self.interval, now);
        if let Some(window) = &mut self.slow_start_window {
            *window += sample.bytes;
            let full = self.slow_start_rate().zip(self.link.estimate()).is_none_or(|(rate, capacity)| rate >= capacity);
            self.slow_start_window = self.slow_start_window.filter(|_| !full);
        }
    }

    /// The receiver has this frame and all earlier ones, but the time of arrival is unknown. This opens the flow and measures
    /// nothing.
    pub fn on_untimed_report(&mut self, sequence: u64, now: Micros) {
        if self.pop_reported(sequence).is_some() {
            self.last_report = now;
        }
    }

    /// Removes the frames up to this one; returns their bytes in total, and the first of them.
    fn pop_reported(&mut self, sequence: u64) -> Option<(usize, Sent)> {
        self.newest.filter(|newest| sequence <= *newest)?;
        self.reports = Reports::Yes;
        let (mut bytes, mut first) = (0, None);
        while let Some(sent) = self.unreported.front().filter(|sent| sent.sequence <= sequence) {
            bytes += sent.bytes;
            first.get_or_insert(*sent);
            self.unreported.pop_front();
        }
        first.map(|first| (bytes, first))
    }

    /// The receiver has answered the ping that was sent at this time: it has received all that was sent before. If that was
    /// right ahead of a frame, the answer tells how long the frame's first byte waited for the bytes of others, such as those of a
    /// download that keeps the link's queue filled. Taken for transfer time, that wait would make the link look slower with
    /// each smaller frame, until nothing was left of our share.
    pub fn on_pong(&mut self, pinged: Micros, now: Micros) {
        if let Some(sent) = self.unreported.iter().find(|sent| sent.ping == Some(pinged)) {
            // Right behind our bytes before it, it waited for those; bytes of others between them show that there are others.
            let others = sent.alone || now.saturating_sub(self.last_report) > self.interval / 10;
            self.on_wait(others.then(|| now.saturating_sub(pinged + self.round_trip)));
        }
        if self.reports == Reports::Unknown && self.unreported.front().is_some_and(|first| first.at < pinged) {
            self.reports = Reports::No;
        }
    }

    /// A ping ahead of a frame waited this long for the bytes of others; `None`: for ours.
    fn on_wait(&mut self, wait: Option<Micros>) {
        if self.waits.len() == WAITS {
            self.waits.pop_front();
        }
        self.waits.push_back(wait);
        let known = self.waits.iter().flatten();
        let often = 2 * known.clone().count() > WAITS;
        self.others_queue = known.min().copied().filter(|_| often).unwrap_or(0);
    }

    /// The link's capacity in bits a second; `None` until it is measured.
    pub fn capacity(&self) -> Option<u64> {
        self.link.estimate()
    }

    /// The bitrate to encode at, in bits a second, so that the link keeps up and no frame arrives over its maximum age; `None`
    /// until the capacity is measured.
    pub fn target(&self) -> Option<u64> {
        let capacity = self.link.estimate()?;
        let keeps_up = self.slow_start_rate().into_iter().fold(capacity / 100 * TARGET_PERCENT, u64::min);
        let Some(max_age) = self.max_age else { return Some(keeps_up) };
        // The time for one frame: all frames that may be unreported share the time that is left after the one-way delay.
        let per_frame = max_age.saturating_sub(self.round_trip / 2) / MAX_UNREPORTED as u64;
        let in_time = u128::from(capacity) * u128::from(per_frame) / u128::from(self.interval);
        Some(keeps_up.min(in_time.try_into().unwrap_or(u64::MAX).max(MIN_CAPACITY)))
    }

    /// The connection was replaced, or its link was down for a while: what was in flight is lost or late. The measured capacity
    /// is kept as the best guess.
    pub fn reset(&mut self) {
        self.unreported.clear();
        self.newest = None;
        self.ping = None;
        self.waits.clear();
        self.others_queue = 0;
        self.slow_start();
    }

    /// TCP starts slowly: a frame larger than the congestion window would take several round trips.
    fn slow_start(&mut self) {
        self.link.forget_samples();
        self.slow_start_window = Some(INITIAL_WINDOW);
    }

    /// The bitrate, in bits a second, at which slow start lets a frame pass within one frame interval; `None`: no limit.
    fn slow_start_rate(&self) -> Option<u64> {
        let window = self.slow_start_window? as u128;
        let round_trips = (self.interval / self.round_trip.max(1)).min(16);
        let bytes = (window << (round_trips + 1)) - window;
        Some((8_000_000 * bytes / u128::from(self.interval)).try_into().unwrap_or(u64::MAX))
    }
}

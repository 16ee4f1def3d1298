//! Measures a stream: decodes it as a window would, without display.

use std::{sync::Arc, time::Duration};

use framewire_proto::{
    Codec, Config, Frame, Micros, Rendition, Times,
    wire::native::{Report, Service, State},
};

use crate::{
    clock,
    hub::{Counts, Event, Subscriber},
    latency::{Meter, Split},
    media::decode::Decoder,
    stop::Stop,
};

/// How often a wait for a frame checks the stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// What was measured of a stream.
#[derive(Debug, Default)]
pub struct Measurement {
    /// The hub's last report of the stream's state.
    pub state: Option<State>,
    /// Why there is no picture, where the hub or the source tells it.
    pub no_picture: Option<Arc<str>>,
    /// The stream has ended.
    pub ended: bool,
    /// The configuration of the frames.
    pub config: Option<Arc<Config>>,
    /// Frames that were captured before a frame that arrived earlier.
    pub reordered: u64,
    /// Frames that were captured since the start.
    pub meter: Meter,
    /// The latency split, up to decoding.
    pub split: Split,
    /// Frames that were decoded, and the total time for it, in µs.
    pub decoded: (u64, Micros),
    /// Frames that could not be decoded.
    pub bad: u64,
    /// Why the last of them could not be decoded.
    pub fault: Option<String>,
    /// How many frames were delivered, and how many were dropped before decoding.
    pub counts: Counts,
    /// How the hub serves this viewer; `None` where the frames do not come from a hub.
    pub service: Option<Service>,
    /// The lowest capacity of the link so far, in bits per second; `None` while unknown.
    pub least_capacity: Option<u64>,
    /// The lowest of the renditions for slow links that the hub has sent.
    pub lowered: Option<Rendition>,
    /// Bits of frames as the publisher sent them, and their time on the way to the hub, in µs.
    uplink: (u64, Micros),
    /// When the measurement started. Frames captured before only catch up with the live stream.
    started: Micros,
    /// Number and capture time of the first frame captured since then, and of the newest.
    captured: Option<[(u64, Micros); 2]>,
}

impl Measurement {
    /// Frames per second that the source gave, including frames dropped on the way; `None` before the second frame.
    pub fn source_fps(&self) -> Option<f64> {
        let [(first, from), (last, to)] = self.captured?;
        let seconds = to.checked_sub(from).filter(|time| *time > 0)? as f64 / 1e6;
        Some(last.checked_sub(first)? as f64 / seconds)
    }

    /// Bits per second at which frames crossed the link from the publisher to the hub; `None` while unknown.
    pub fn uplink_rate(&self) -> Option<f64> {
        let (bits, took) = self.uplink;
        (took > 0).then(|| bits as f64 / took as f64 * 1e6)
    }
}

/// Measures until the stream ends or `stop` is raised.
pub fn run(mut subscriber: Subscriber, stop: &Stop) -> Measurement {
    let (mut measured, mut decoder) = (Measurement { started: clock::now(), ..Measurement::default() }, Decoder::new());
    while !stop.stopped() && !measured.ended {
        let event = subscriber.next_within(CHECK_INTERVAL, clock::now);
        if stop.stopped() {
            // The stop ends the source too, so this event may be that end.
            break;
        }
        measured.counts = subscriber.counts();
        measured.note_service(subscriber.service());
        match event {
            Some(Event::State(state)) => measured.state = Some(state),
            Some(Event::Fault(fault)) => measured.no_picture = (!fault.is_empty()).then_some(fault),
            Some(Event::Config(config)) => measured.config = Some(config),
            Some(Event::Frame(frame)) => measured.decode(&frame, &mut decoder, &subscriber),
            Some(Event::Ended) => measured.ended = true,
            None => {}
        }
    }
    measured
}

impl Measurement {
    fn note_service(&mut self, service: Option<Service>) {
        let Some(Service { rendition, capacity, .. }) = service else { return };
        self.service = service;
        let known = (capacity > 0).then_some(capacity);
        self.least_capacity = self.least_capacity.into_iter().chain(known).min();
        let lowered = matches!(rendition, Rendition::High | Rendition::Low).then_some(rendition);
        self.lowered = self.lowered.into_iter().chain(lowered).max_by_key(|rendition| *rendition as u8);
    }

    fn decode(&mut self, frame: &Frame, decoder: &mut Decoder, subscriber: &Subscriber) {
        let Some(config) = self.config.clone() else { return };
        let taken = clock::now();
        let received = if frame.times.arrived == 0 { taken } else { frame.times.arrived };
        let captured = Times { arrived: received, ..frame.times }.captured_or_received();
        // Older frames were stored in the hub, so their age is not a latency. They are only decoded.
        let fresh = captured >= self.started;
        if fresh {
            self.count_fresh(frame, captured, taken);
        }
        match decoder.decode(&config, frame, Codec::I420) {
            // The decoder started between keyframes.
            Ok(None) => {}
            Ok(Some(_)) => {
                let decoded = clock::now();
                self.decoded.0 += 1;
                self.decoded.1 += decoded - taken;
                let report = Report { sequence: frame.sequence, received, decoded, shown: 0 };
                subscriber.reporter().report(&frame.times, &report, true);
                if fresh {
                    self.split.take_arrival(&frame.times);
                    self.split.take_delivery(&frame.times, &report);
                    self.split.take_decoding(&frame.times, &report);
                }
            }
            Err(error) => {
                self.bad += u64::from(fresh);
                self.fault = Some(format!("{error}"));
                if !config.codec.independent() {
                    subscriber.request_keyframe();
                }
            }
        }
    }
    /// Counts a frame that was captured since the start.
    fn count_fresh(&mut self, frame: &Frame, captured: Micros, now: Micros) {
        self.meter.count(now, frame.data.len());
        let Times { sent, received: at_hub, .. } = frame.times;
        let as_sent = self.service.is_none_or(|service| service.rendition == Rendition::Source);
        if as_sent && sent > 0 && at_hub > sent {
            self.uplink.0 += 8 * frame.data.len() as u64;
            self.uplink.1 += at_hub - sent;
        }
        let last = &mut self.captured.get_or_insert([(frame.sequence, captured); 2])[1];
        if captured < last.1 {
            self.reordered += 1;
        } else {
            *last = (frame.sequence, captured);
        }
    }
}

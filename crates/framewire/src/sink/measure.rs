//! A stream that is watched and not shown: decoded as a window does, and measured.

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

/// How long it is waited for a frame before it is looked whether to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was seen of a stream.
#[derive(Debug, Default)]
pub struct Seen {
    /// As its hub said last.
    pub state: Option<State>,
    /// Nothing more will come.
    pub ended: bool,
    /// How its frames are coded.
    pub config: Option<Arc<Config>>,
    /// Frames that were born before one that came earlier.
    pub reordered: u64,
    /// What came and was born since it is watched.
    pub meter: Meter,
    /// Where the frames' time went, until they were decoded.
    pub split: Split,
    /// Frames that were decoded, and how long that took, in µs.
    pub decoded: (u64, Micros),
    /// Frames that could not be decoded.
    pub bad: u64,
    /// Why the last of them could not.
    pub fault: Option<String>,
    /// What became of the frames before they were decoded.
    pub counts: Counts,
    /// How the hub that they come from serves this viewer.
    pub service: Option<Service>,
    /// The least capacity that the link was believed to have meanwhile, in bits a second; `None` while that is not known.
    pub least_capacity: Option<u64>,
    /// The hub has sent H.264 made for slower links meanwhile: the lesser of what there is.
    pub lowered: Option<Rendition>,
    /// Bits of frames as their publisher sent them, and how long they were on the way to the hub, in µs.
    uplink: (u64, Micros),
    /// Since when it is watched: what was born before only leads up to the present.
    begun: Micros,
    /// Number and birth of the first frame that was born since, and of the youngest.
    born: Option<[(u64, Micros); 2]>,
}

impl Seen {
    /// Frames a second that the source gave, those included that were dropped on the way; `None` while fewer than two came.
    pub fn source_fps(&self) -> Option<f64> {
        let [(first, from), (last, to)] = self.born?;
        let seconds = to.checked_sub(from).filter(|time| *time > 0)? as f64 / 1e6;
        Some(last.checked_sub(first)? as f64 / seconds)
    }

    /// Bits a second with which frames crossed the link from the publisher to the hub; `None` while none is known to have.
    pub fn uplink_rate(&self) -> Option<f64> {
        let (bits, took) = self.uplink;
        (took > 0).then(|| bits as f64 / took as f64 * 1e6)
    }
}

/// Watches until the stream ends or `stop` is raised.
pub fn run(mut subscriber: Subscriber, stop: &Stop) -> Seen {
    let (mut seen, mut decoder) = (Seen { begun: clock::now(), ..Seen::default() }, Decoder::new());
    while !stop.stopped() && !seen.ended {
        let event = subscriber.next_within(PATIENCE, clock::now);
        if stop.stopped() {
            // The source was told to end too, and what it says now is its farewell.
            break;
        }
        seen.counts = subscriber.counts();
        seen.serve(subscriber.service());
        match event {
            Some(Event::State(state)) => seen.state = Some(state),
            Some(Event::Config(config)) => seen.config = Some(config),
            Some(Event::Frame(frame)) => seen.take(&frame, &mut decoder, &subscriber),
            Some(Event::Ended) => seen.ended = true,
            None => {}
        }
    }
    seen
}

impl Seen {
    fn serve(&mut self, service: Option<Service>) {
        let Some(Service { rendition, capacity, .. }) = service else { return };
        self.service = service;
        let known = (capacity > 0).then_some(capacity);
        self.least_capacity = self.least_capacity.into_iter().chain(known).min();
        let lowered = matches!(rendition, Rendition::High | Rendition::Low).then_some(rendition);
        self.lowered = self.lowered.into_iter().chain(lowered).max_by_key(|rendition| *rendition as u8);
    }

    fn take(&mut self, frame: &Frame, decoder: &mut Decoder, subscriber: &Subscriber) {
        let Some(config) = self.config.clone() else { return };
        let given = clock::now();
        let received = if frame.times.arrived == 0 { given } else { frame.times.arrived };
        let Times { sent, received: at_hub, .. } = frame.times;
        let born = Times { arrived: received, ..frame.times }.captured_or_received();
        // What was there before anybody watched is only decoded: its age is not the latency of its way.
        let fresh = born >= self.begun;
        if fresh {
            self.meter.count(given, frame.data.len());
            let as_sent = self.service.is_none_or(|service| service.rendition == Rendition::Source);
            if as_sent && sent > 0 && at_hub > sent {
                self.uplink.0 += 8 * frame.data.len() as u64;
                self.uplink.1 += at_hub - sent;
            }
            let last = &mut self.born.get_or_insert([(frame.sequence, born); 2])[1];
            if born < last.1 {
                self.reordered += 1;
            } else {
                *last = (frame.sequence, born);
            }
        }
        match decoder.decode(&config, frame, Codec::I420) {
            // A decoder that begins here, in the middle.
            Ok(None) => {}
            Ok(Some(_)) => {
                let decoded = clock::now();
                self.decoded.0 += 1;
                self.decoded.1 += decoded - given;
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
}

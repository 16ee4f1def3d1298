//! A viewer's side of the native conversation, whatever carries it: what to send next, and what its reports mean.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use framewire_proto::{
    Frame, Limits, Micros, Times,
    flow::Flow,
    link::Link,
    wire::native::{Message, Report, Service},
};

use super::clients::LinkMemory;
use crate::{
    bad_frames::TooLarge,
    error::{Result, bail},
    hub::{Accepts, Event, Reason, Subscriber},
};

/// From one Service message to the next, in µs: it reports to a viewer how it is served.
const SERVICE_INTERVAL: Micros = 1_000_000;
/// Clocks that have been compared differ by less than a round trip and this, in µs.
const CLOCK_TOLERANCE: Micros = 1_000;
/// Frames whose times are kept until they are reported shown.
const UNREPORTED: usize = 64;
/// A new viewer gets the frames since the last keyframe so many times as fast as they were captured.
const CATCH_UP_SPEED: u64 = 8;
/// Answers that may wait to be sent: a viewer that asks for more and takes none is cut off.
const OUTBOX: usize = 64;

/// One viewer of one stream. No I/O: it takes messages and the time, and says what to send.
#[derive(Debug)]
pub(crate) struct ViewerSession {
    subscriber: Subscriber,
    link: Link,
    flow: Flow,
    /// The frames that were sent: their times, and whether they were reported.
    sent: VecDeque<(u64, Times, bool)>,
    outbox: VecDeque<Message>,
    waker: Option<Waker>,
    /// The viewer is on this machine. A late report is then a sign of a busy processor, and transcoding would keep it busier.
    local: bool,
    /// When the next Service message is due.
    next_service: Micros,
    /// Longer pictures are not sent: the viewer would pass over them.
    max_frame: usize,
    too_large: TooLarge,
    /// For the viewer's next connection; `None` where it sent no Session.
    link_memory: Option<LinkMemory>,
}

impl ViewerSession {
    /// A viewer that can decode this, on this machine or not. `link` has taken the messages so far.
    pub(crate) fn new(mut subscriber: Subscriber, link: Link, accepts: Accepts, local: bool) -> Self {
        subscriber.set_accepts(accepts);
        Self {
            subscriber,
            link,
            flow: Flow::default(),
            sent: VecDeque::new(),
            outbox: VecDeque::new(),
            waker: None,
            local,
            next_service: 0,
            max_frame: Limits::default().frame,
            too_large: TooLarge::default(),
            link_memory: None,
        }
    }

    /// Starts from what was measured of the viewer's link over its connection before, and stores there what is measured now.
    pub(crate) fn resume(&mut self, link: LinkMemory, now: Micros) {
        if let Some((capacity, round_trip)) = link.last().filter(|_| !self.local) {
            self.flow = Flow::resumed(capacity, round_trip);
            self.subscriber.set_target(self.flow.target(), now);
        }
        self.link_memory = Some(link);
    }

    /// Sets the most bytes of a frame that the viewer takes; by default the limit's default.
    pub(crate) fn set_max_frame(&mut self, bytes: usize) {
        self.max_frame = bytes;
    }

    /// Bytes arrived that complete no message yet.
    pub(crate) fn take_bytes(&mut self, now: Micros) {
        self.link.on_bytes(now);
    }

    /// Takes a message from the viewer; `false` when it was its last.
    pub(crate) fn take(&mut self, message: Message, now: Micros) -> Result<bool> {
        if let Some(answer) = self.link.on_message(&message, now) {
            if self.outbox.len() >= OUTBOX {
                bail!(Protocol, "the viewer sends pings faster than it takes the answers");
            }
            self.outbox.push_back(answer);
        }
        if let Some(round_trip) = self.link.round_trip() {
            self.flow.set_round_trip(round_trip);
        }
        match message {
            Message::Report(report) => self.report(report, now),
            Message::Pong { pinged, .. } => self.flow.on_pong(pinged, now),
            Message::Keyframe => self.subscriber.request_keyframe(),
            Message::Bye { .. } => return Ok(false),
            Message::Error { text, .. } => bail!(Protocol, "the viewer ended with an error: {text}"),
            Message::Frame(_) | Message::Config(_) | Message::Publish { .. } | Message::Subscribe { .. } => {
                bail!(Protocol, "a viewer's connection takes no frames and no second stream: open another for it")
            }
            _ => {}
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(true)
    }

    /// The next message for the viewer. The one before was sent whole by now.
    pub(crate) fn poll(&mut self, context: &Context<'_>, now: Micros) -> Poll<Message> {
        if let Some(message) =
            self.outbox.pop_front().or_else(|| self.link.poll_ping(now)).or_else(|| self.service(now))
        {
            return Poll::Ready(message);
        }
        self.flow.set_speed(if self.subscriber.catching_up() { CATCH_UP_SPEED } else { 1 });
        let ready = self.flow.is_open(now);
        while let Poll::Ready(event) = self.subscriber.poll(context, ready, now) {
            match event {
                Event::State(state) => return Poll::Ready(Message::State(state)),
                Event::Fault(fault) => {
                    let text = fault.to_string();
                    return Poll::Ready(Message::Fault { text });
                }
                Event::Config(config) => {
                    self.flow.set_frame_rate(&config);
                    return Poll::Ready(Message::Config((*config).clone()));
                }
                Event::Frame(frame) if frame.data.len() > self.max_frame => {
                    self.too_large.count(self.subscriber.name(), frame.data.len() as u64, self.max_frame as u64);
                    self.subscriber.withhold(Reason::TooLarge);
                }
                Event::Frame(mut frame) => {
                    frame.times.forwarded = now;
                    if self.local || !Flow::wants_ping(frame.data.len()) {
                        self.remember(&frame, now);
                        return Poll::Ready(Message::Frame(frame));
                    }
                    self.flow.on_ping_sent(now);
                    self.remember(&frame, now);
                    self.outbox.push_back(Message::Frame(frame));
                    return Poll::Ready(Message::Ping { sent: now });
                }
                // The stream stays for its viewers: its publisher may return.
                Event::Ended => {}
            }
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// When to poll again even though nothing woke the task.
    pub(crate) fn deadline(&self, now: Micros) -> Micros {
        let opens = self.flow.opens_at(now).filter(|at| *at > now);
        opens.map_or(self.link.deadline(), |at| at.min(self.link.deadline()))
    }

    /// Whether the viewer has sent nothing for [`IDLE_TIMEOUT`](framewire_proto::link::IDLE_TIMEOUT).
    pub(crate) fn silent(&self, now: Micros) -> bool {
        self.link.is_timed_out(now)
    }

    /// How this viewer is served, when a report of that is due.
    fn service(&mut self, now: Micros) -> Option<Message> {
        if now < self.next_service {
            return None;
        }
        self.next_service = now + SERVICE_INTERVAL;
        let counts = self.subscriber.counts();
        self.subscriber.set_capacity(self.flow.capacity());
        Some(Message::Service(Service {
            rendition: self.subscriber.rendition(),
            capacity: self.flow.capacity().unwrap_or(0),
            delivered: counts.delivered,
            superseded: counts.dropped(Reason::Superseded),
            undecodable: counts.dropped(Reason::Undecodable),
            full: counts.dropped(Reason::Full),
        }))
    }

    fn remember(&mut self, frame: &Frame, now: Micros) {
        self.flow.on_sent(frame.sequence, frame.data.len(), now);
        if self.sent.len() == UNREPORTED {
            self.sent.pop_front();
        }
        self.sent.push_back((frame.sequence, frame.times, false));
    }

    fn report(&mut self, report: Report, now: Micros) {
        self.flow.on_report(report.sequence, now);
        if !self.local {
            self.subscriber.set_target(self.flow.target(), now);
        }
        if let (Some(link), Some(capacity), Some(round_trip)) =
            (&self.link_memory, self.flow.capacity(), self.link.round_trip())
        {
            link.store(capacity, round_trip);
        }
        let Some((_, times, reported)) = self.sent.iter_mut().find(|(sequence, ..)| *sequence == report.sequence)
        else {
            return;
        };
        let first = !std::mem::replace(reported, true);
        let ours = Report {
            sequence: report.sequence,
            received: self.link.time_to_ours(report.received),
            decoded: self.link.time_to_ours(report.decoded),
            shown: self.link.time_to_ours(report.shown),
        };
        // A report from the future is wrong: a clock jumped, or the viewer lies.
        let latest = ours.received.max(ours.decoded).max(ours.shown);
        if latest <= now + CLOCK_TOLERANCE + self.link.round_trip().unwrap_or(0) {
            self.subscriber.reporter().report(times, &ours, first);
        }
    }
}

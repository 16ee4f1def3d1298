//! A viewer's side of the native conversation, whatever carries it: what to send next, and what its reports mean.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use framewire_proto::{
    Frame, Micros, Times,
    flow::Flow,
    link::Link,
    wire::native::{Message, Report, Service},
};

use super::clients::Known;
use crate::error::{Result, bail};
use crate::hub::{Accepts, Event, Reason, Subscriber};

/// How often a viewer is told how it is served, in µs.
const TELL: Micros = 1_000_000;
/// Clocks that have been compared differ by less than a round trip and this, in µs.
const CLOCKS: Micros = 1_000;
/// Frames whose times are kept until they are reported shown.
const REMEMBERED: usize = 64;

/// One viewer that watches one stream.
#[derive(Debug)]
pub(super) struct Talk {
    subscriber: Subscriber,
    link: Link,
    flow: Flow,
    /// The times of frames that were sent, and whether they were reported before.
    sent: VecDeque<(u64, Times, bool)>,
    outbox: VecDeque<Message>,
    waker: Option<Waker>,
    /// Nothing lies between this machine and itself: a late report tells of a busy processor, which coding would keep busier.
    local: bool,
    /// When the viewer is next told how it is served.
    told: Micros,
    /// For the viewer's next connection; `None` where it did not say who it is.
    known: Option<Known>,
}

/// How many times as fast as it was captured what leads up to the present is sent.
const HURRY: u64 = 8;

/// Answers that may wait to be sent: a viewer that asks for more and takes none is cut off.
const OUTBOX: usize = 64;

impl Talk {
    /// A viewer at this address that takes this.
    pub(super) fn new(mut subscriber: Subscriber, link: Link, takes: Accepts, peer: SocketAddr) -> Self {
        subscriber.adapt(takes);
        Self {
            subscriber,
            link,
            flow: Flow::default(),
            sent: VecDeque::new(),
            outbox: VecDeque::new(),
            waker: None,
            local: peer.ip().to_canonical().is_loopback(),
            told: 0,
            known: None,
        }
    }

    /// The viewer may have been here before, and its link known.
    pub(super) fn resume(&mut self, known: Known, now: Micros) {
        if let Some((capacity, round_trip)) = known.noted().filter(|_| !self.local) {
            self.flow = Flow::resumed(capacity, round_trip);
            self.subscriber.carries(self.flow.target(), now);
        }
        self.known = Some(known);
    }

    pub(super) fn heard(&mut self, now: Micros) {
        self.link.on_bytes(now);
    }

    /// Takes a message from the viewer; `false` when it was its last.
    pub(super) fn take(&mut self, message: Message, now: Micros) -> Result<bool> {
        if let Some(answer) = self.link.on_message(&message, now) {
            if self.outbox.len() >= OUTBOX {
                bail!(Protocol, "the viewer asks for more answers than it takes");
            }
            self.outbox.push_back(answer);
        }
        if let Some(round_trip) = self.link.round_trip() {
            self.flow.set_round_trip(round_trip);
        }
        match message {
            Message::Report(report) => self.report(report, now),
            Message::Pong { pinged, .. } => self.flow.on_pong(pinged),
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
    pub(super) fn poll(&mut self, context: &Context<'_>, now: Micros) -> Poll<Message> {
        if let Some(message) =
            self.outbox.pop_front().or_else(|| self.link.poll_ping(now)).or_else(|| self.service(now))
        {
            return Poll::Ready(message);
        }
        self.flow.set_speed(if self.subscriber.catching_up() { HURRY } else { 1 });
        let ready = self.flow.is_open(now);
        while let Poll::Ready(event) = self.subscriber.poll(context, ready, now) {
            match event {
                Event::State(state) => return Poll::Ready(Message::State(state)),
                Event::Config(config) => {
                    self.flow.set_frame_rate(&config);
                    return Poll::Ready(Message::Config((*config).clone()));
                }
                Event::Frame(mut frame) => {
                    frame.times.forwarded = now;
                    self.remember(&frame, now);
                    return Poll::Ready(Message::Frame(frame));
                }
                // The stream stays for its viewers: its publisher may return.
                Event::Ended => {}
            }
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// When to poll again even though nobody woke.
    pub(super) fn deadline(&self, now: Micros) -> Micros {
        let opens = self.flow.opens_at(now).filter(|at| *at > now);
        opens.map_or(self.link.deadline(), |at| at.min(self.link.deadline()))
    }

    pub(super) fn silent(&self, now: Micros) -> bool {
        self.link.is_timed_out(now)
    }

    /// How this viewer is served, when it is time to tell.
    fn service(&mut self, now: Micros) -> Option<Message> {
        if now < self.told {
            return None;
        }
        self.told = now + TELL;
        let counts = self.subscriber.counts();
        self.subscriber.measured(self.flow.capacity());
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
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((frame.sequence, frame.times, false));
    }

    fn report(&mut self, report: Report, now: Micros) {
        self.flow.on_report(report.sequence, now);
        if !self.local {
            self.subscriber.carries(self.flow.target(), now);
        }
        if let (Some(known), Some(capacity), Some(round_trip)) =
            (&self.known, self.flow.capacity(), self.link.round_trip())
        {
            known.note(capacity, round_trip);
        }
        let Some((_, times, before)) = self.sent.iter_mut().find(|(sequence, ..)| *sequence == report.sequence) else {
            return;
        };
        let first = !std::mem::replace(before, true);
        let ours = Report {
            sequence: report.sequence,
            received: self.link.time_to_ours(report.received),
            decoded: self.link.time_to_ours(report.decoded),
            shown: self.link.time_to_ours(report.shown),
        };
        // What is said to happen in the future does not: a clock jumped, or somebody lies.
        let latest = ours.received.max(ours.decoded).max(ours.shown);
        if latest <= now + CLOCKS + self.link.round_trip().unwrap_or(0) {
            self.subscriber.reporter().report(times, &ours, first);
        }
    }
}

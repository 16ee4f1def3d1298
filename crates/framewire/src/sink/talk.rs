//! A viewer's side of the native conversation, whatever carries it: what to send next, and what its reports mean.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use anyhow::{Result, bail};
use framewire_proto::{
    Frame, Micros, Times,
    flow::Flow,
    link::Link,
    wire::native::{Message, Report},
};

use crate::hub::{Event, Subscriber};

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
}

/// Answers that may wait to be sent: a viewer that asks for more and takes none is cut off.
const OUTBOX: usize = 64;

impl Talk {
    pub(super) fn new(subscriber: Subscriber, link: Link) -> Self {
        Self { subscriber, link, flow: Flow::default(), sent: VecDeque::new(), outbox: VecDeque::new(), waker: None }
    }

    pub(super) fn heard(&mut self, now: Micros) {
        self.link.heard(now);
    }

    /// Takes a message from the viewer; `false` when it was its last.
    pub(super) fn take(&mut self, message: Message, now: Micros) -> Result<bool> {
        if let Some(answer) = self.link.take(&message, now) {
            if self.outbox.len() >= OUTBOX {
                bail!("the viewer asks for more answers than it takes");
            }
            self.outbox.push_back(answer);
        }
        if let Some(round_trip) = self.link.round_trip() {
            self.flow.round_trip(round_trip);
        }
        match message {
            Message::Report(report) => self.report(report, now),
            Message::Keyframe => self.subscriber.wish_keyframe(),
            Message::Bye { .. } => return Ok(false),
            Message::Error { text, .. } => bail!("the viewer ended with an error: {text}"),
            Message::Frame(_) | Message::Config(_) | Message::Publish { .. } | Message::Subscribe { .. } => {
                bail!("a viewer's connection takes no frames and no second stream: open another for it")
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
        if let Some(message) = self.outbox.pop_front().or_else(|| self.link.poll(now)) {
            return Poll::Ready(message);
        }
        let ready = self.flow.open(now);
        while let Poll::Ready(event) = self.subscriber.poll(context, ready) {
            match event {
                Event::State(state) => return Poll::Ready(Message::State(state)),
                Event::Config(config) => {
                    self.flow.paced(&config);
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
    pub(super) fn deadline(&self) -> Micros {
        self.link.deadline()
    }

    pub(super) fn silent(&self, now: Micros) -> bool {
        self.link.silent(now)
    }

    fn remember(&mut self, frame: &Frame, now: Micros) {
        self.flow.sent(frame.sequence, frame.data.len(), now);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((frame.sequence, frame.times, false));
    }

    fn report(&mut self, report: Report, now: Micros) {
        self.flow.reported(report.sequence, now);
        let Some((_, times, before)) = self.sent.iter_mut().find(|(sequence, ..)| *sequence == report.sequence) else {
            return;
        };
        let first = !std::mem::replace(before, true);
        let ours = Report {
            sequence: report.sequence,
            received: self.link.moment_to_ours(report.received),
            decoded: self.link.moment_to_ours(report.decoded),
            shown: self.link.moment_to_ours(report.shown),
        };
        self.subscriber.reporter().report(times, &ours, first);
    }
}

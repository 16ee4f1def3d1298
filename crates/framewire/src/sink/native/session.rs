//! A publisher's side of the native conversation: what to encode and send next, and what the hub's messages mean. No I/O, no
//! threads and no clock: like the viewer's side in the hub, it is given messages and the time.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use framewire_proto::{
    Config, Frame, Micros, Name, Times,
    flow::Flow,
    link::{IDLE_TIMEOUT, Link, SUSPECT_AFTER},
    wire::native::{Message, Report},
};
use tracing::debug;

use crate::error::{Error, Result, bail, error};
use crate::hub::{Event, Hub, Policy, Reason, Subscriber};

/// The report of the last frame is waited for this long, in µs.
const FAREWELL_TIMEOUT: Micros = 2_000_000;
/// After a send failed, another connection may take over within this time, in µs.
const TAKEOVER_TIMEOUT: Micros = 2_000_000;
/// Without any message for this long, in µs, the session ends by itself. Its connections end first, since they know of bytes too.
const SILENCE_LIMIT: Micros = IDLE_TIMEOUT + TAKEOVER_TIMEOUT;
/// Frames whose times are kept until the hub reports them: more than the flow lets go, for hubs that do not report.
const MOST_IN_FLIGHT: usize = 16;

/// A stream of this process on its way to a hub, over one connection after another.
pub(crate) struct PublisherSession {
    hub: Hub,
    stream: Name,
    max_age: Option<Micros>,
    /// The hub runs on this machine. A late report shows that the processor is busy there, and smaller frames would keep it busier.
    local: bool,
    /// Counts the connections that took over.
    connection: u64,
    /// How many viewers the hub has for the stream.
    viewers: u32,
    flow: Flow,
    /// Numbers and times of the frames that the hub has not reported yet.
    in_flight: VecDeque<(u64, Times)>,
    /// A viewer cannot decode before a keyframe.
    keyframe_requested: bool,
    subscriber: Option<Subscriber>,
    /// Ready when the stream has ended, while the session does not subscribe to it.
    stream_end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How the stream's own frames are coded.
    source_config: Option<Arc<Config>>,
    /// The configuration that the hub has.
    sent_config: Option<Config>,
    /// Added to the stream's numbers, so that frames left out while nobody watched do not count as lost. `None` before the first
    /// frame of a subscription.
    renumber: Option<u64>,
    next_sequence: u64,
    /// The stream's own number of the newest frame taken: a new subscription begins with that frame again.
    newest_taken: Option<u64>,
    outbox: VecDeque<Message>,
    /// The hub has a first picture for viewers that join.
    begun: bool,
    /// The stream has ended: until when the last report is waited for.
    farewell: Option<Micros>,
    /// Why no connection is left.
    lost: Option<Error>,
    /// A message could not be sent, and until when another connection may take over.
    send_failed: Option<(Error, Micros)>,
    last_received: Micros,
    waker: Option<Waker>,
}

/// What [`PublisherSession::poll`] asks for.
#[derive(Debug)]
pub(crate) enum NextStep {
    /// Encode this frame and hand the result to [`PublisherSession::encoded`].
    Encode(EncodeJob),
    /// Send this message, whole, over the current connection.
    Send(Message),
    /// Say goodbye: everything has been sent.
    Finish,
}

/// A frame to be encoded.
#[derive(Debug)]
pub(crate) struct EncodeJob {
    /// How the frame is coded now.
    pub(crate) config: Arc<Config>,
    pub(crate) frame: Frame,
    /// Bits a second that the link carries; `None` while that is not known, or no link lies between.
    pub(crate) target: Option<u64>,
    /// A viewer needs a keyframe.
    pub(crate) keyframe: bool,
    /// A frame of the past that later frames need to be decoded: send it only if it passes through as it is.
    pub(crate) catching_up: bool,
    /// The connection that the frame is for, to be handed back with what it became.
    pub(crate) connection: u64,
}

impl PublisherSession {
    /// A session whose first connection was granted now. `local`: the other end runs on this machine.
    pub(crate) fn new(hub: Hub, stream: Name, max_age: Option<Micros>, local: bool, now: Micros) -> Self {
        let mut flow = Flow::default();
        flow.set_max_age(max_age);
        Self {
            hub,
            stream,
            max_age,
            local,
            connection: 0,
            viewers: 0,
            flow,
            in_flight: VecDeque::new(),
            keyframe_requested: false,
            subscriber: None,
            stream_end: None,
            source_config: None,
            sent_config: None,
            renumber: None,
            next_sequence: 0,
            newest_taken: None,
            outbox: VecDeque::new(),
            begun: false,
            farewell: None,
            lost: None,
            send_failed: None,
            last_received: now,
            waker: None,
        }
    }

    /// Takes a message from the hub. `link` has taken it before.
    ///
    /// # Errors
    /// It was the hub's last.
    pub(crate) fn take(&mut self, message: Message, link: &Link, now: Micros) -> Result<()> {
        let silence = now.saturating_sub(std::mem::replace(&mut self.last_received, now));
        if silence >= SUSPECT_AFTER {
            self.forget_in_flight();
            self.wake();
        }
        if let Some(round_trip) = link.round_trip() {
            self.flow.set_round_trip(round_trip);
        }
        match message {
            Message::Demand { viewers } => {
                debug!("'{}': {viewers} viewers", self.stream);
                self.viewers = viewers;
            }
            Message::Report(Report { sequence, received, .. }) => {
                self.reported(sequence, link.time_to_ours(received), now);
            }
            Message::Pong { pinged, .. } => self.flow.on_pong(pinged, now),
            Message::Keyframe => self.keyframe_requested = true,
            Message::Error { text, .. } => bail!(ConnectionLost, "{text}"),
            Message::Bye { text } => bail!(ConnectionLost, "the hub ends: {text}"),
            _ => return Ok(()),
        }
        self.wake();
        Ok(())
    }

    /// Another connection has taken over: messages in flight are lost, and the hub begins with a configuration and a keyframe.
    pub(crate) fn reconnected(&mut self, now: Micros) {
        self.connection += 1;
        self.last_received = now;
        self.forget_in_flight();
        self.outbox.clear();
        self.sent_config = None;
        self.send_failed = None;
        self.keyframe_requested = true;
        if self.source_config.as_ref().is_some_and(|config| !config.codec.independent()) {
            // Frames may be lost that later ones need: a new subscription begins with a keyframe.
            (self.subscriber, self.newest_taken) = (None, None);
        }
        self.wake();
    }

    /// No connection is left, for this reason.
    pub(crate) fn lost(&mut self, why: Error) {
        self.lost = Some(why);
        self.wake();
    }

    /// A message could not be sent over the current connection. Another connection may still take over.
    pub(crate) fn send_failed(&mut self, why: Error, now: Micros) {
        self.send_failed = Some((why, now + TAKEOVER_TIMEOUT));
    }

    /// The caller stops: the next [`PublisherSession::poll`] finishes without waiting for reports or another connection.
    pub(crate) fn stop(&mut self) {
        self.farewell = Some(0);
        self.send_failed.iter_mut().for_each(|(_, until)| *until = 0);
    }

    /// What the frame of a job with this [`EncodeJob::connection`] became.
    pub(crate) fn encoded(&mut self, connection: u64, (config, mut frame): (Config, Frame), now: Micros) {
        frame.times.encoded = now;
        let renumber = *self.renumber.get_or_insert(self.next_sequence.wrapping_sub(frame.sequence));
        frame.sequence = frame.sequence.wrapping_add(renumber);
        self.next_sequence = frame.sequence.wrapping_add(1);
        if connection != self.connection {
            // It was not encoded as the new connection's first frame must be.
            return;
        }
        if self.sent_config.as_ref() != Some(&config) {
            self.flow.set_frame_rate(&config);
            self.outbox.push_back(Message::Config(config.clone()));
            self.sent_config = Some(config);
        }
        if !self.local && Flow::wants_ping(frame.data.len()) {
            self.outbox.push_back(Message::Ping { sent: now });
        }
        self.outbox.push_back(Message::Frame(frame));
    }

    /// What a job's frame became is over the limit, and is not sent.
    pub(crate) fn withhold(&mut self) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.withhold(Reason::TooLarge);
        }
        self.keyframe_requested |= self.sent_config.as_ref().is_some_and(|config| !config.codec.independent());
    }

    /// What to do next. The message before was sent whole by now.
    ///
    /// # Errors
    /// No connection is left, or the stream cannot be subscribed to.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, now: Micros) -> Poll<Result<NextStep>> {
        let output = self.next(context, now);
        if output.is_pending() {
            self.waker = Some(context.waker().clone());
        }
        output
    }

    /// When to poll again even though nothing woke the task.
    pub(crate) fn deadline(&self, now: Micros) -> Micros {
        if let Some((_, until)) = self.send_failed {
            return until;
        }
        let silent = self.last_received + SILENCE_LIMIT;
        let opens = self.subscriber.as_ref().and(self.flow.opens_at(now)).filter(|at| *at > now);
        [self.farewell, opens].into_iter().flatten().fold(silent, Micros::min)
    }

    /// Bits a second that the link is measured to carry; `None` while that is not known.
    pub(crate) fn capacity(&self) -> Option<u64> {
        self.flow.capacity()
    }

    /// The configuration that the hub has.
    pub(crate) fn sent_config(&self) -> Option<&Config> {
        self.sent_config.as_ref()
    }

    fn next(&mut self, context: &mut Context<'_>, now: Micros) -> Poll<Result<NextStep>> {
        if let Some(why) = self.lost.take() {
            return Poll::Ready(Err(why));
        }
        if let Some((why, _)) = self.send_failed.take_if(|(_, until)| now >= *until) {
            return Poll::Ready(Err(why));
        }
        if self.send_failed.is_some() {
            return Poll::Pending;
        }
        if now >= self.last_received + SILENCE_LIMIT {
            return Poll::Ready(Err(error!(Timeout, "the hub sent nothing for {} s", SILENCE_LIMIT / 1_000_000)));
        }
        if let Some(message) = self.outbox.pop_front() {
            return Poll::Ready(Ok(NextStep::Send(self.begin(message, now))));
        }
        if self.farewell.is_none() && self.watched(context, now) {
            match self.next_frame(context, now)? {
                Poll::Ready(Some(job)) => return Poll::Ready(Ok(NextStep::Encode(job))),
                Poll::Ready(None) => self.farewell = Some(now + FAREWELL_TIMEOUT),
                Poll::Pending => {}
            }
        }
        match self.farewell {
            Some(until) if self.in_flight.is_empty() || now >= until => Poll::Ready(Ok(NextStep::Finish)),
            _ => Poll::Pending,
        }
    }

    /// Whether frames are wanted: for viewers, or as the first picture that viewers get when they join. Without, the session
    /// does not subscribe, so that the source may sleep.
    fn watched(&mut self, context: &mut Context<'_>, now: Micros) -> bool {
        if !self.begun || self.viewers > 0 {
            self.stream_end = None;
            return true;
        }
        self.subscriber = None;
        let (hub, stream) = (&self.hub, &self.stream);
        let end = self.stream_end.get_or_insert_with(|| Box::pin(hub.end_of(stream)));
        if end.as_mut().poll(context).is_ready() {
            self.stream_end = None;
            self.farewell = Some(now + FAREWELL_TIMEOUT);
        }
        false
    }

    /// The next frame to encode, once the link is ready for it; `None` at the stream's end.
    fn next_frame(&mut self, context: &Context<'_>, now: Micros) -> Result<Poll<Option<EncodeJob>>> {
        let subscriber = if let Some(subscriber) = &mut self.subscriber {
            subscriber
        } else {
            self.renumber = None;
            let mut subscriber = self.hub.subscribe(&self.stream, Policy::Newest, true, now)?;
            subscriber.set_max_age(self.max_age);
            self.subscriber.insert(subscriber)
        };
        if !self.flow.is_open(now) {
            return Ok(Poll::Pending);
        }
        while let Poll::Ready(event) = subscriber.poll(context, true, now) {
            match event {
                Event::Config(config) => self.source_config = Some(config),
                Event::Frame(frame) => {
                    let Some(config) = self.source_config.clone() else { continue };
                    if self.newest_taken.replace(frame.sequence) == Some(frame.sequence) {
                        continue;
                    }
                    let catching_up = subscriber.catching_up();
                    let target = self.flow.target().filter(|_| !self.local);
                    let keyframe = std::mem::take(&mut self.keyframe_requested);
                    let connection = self.connection;
                    self.begun = true;
                    return Ok(Poll::Ready(Some(EncodeJob {
                        config,
                        frame,
                        target,
                        keyframe,
                        catching_up,
                        connection,
                    })));
                }
                Event::Ended => return Ok(Poll::Ready(None)),
                Event::Fault(fault) => {
                    let text = fault.to_string();
                    self.outbox.push_back(Message::Fault { text });
                    self.wake();
                    return Ok(Poll::Pending);
                }
                Event::State(_) => {}
            }
        }
        Ok(Poll::Pending)
    }

    /// Notes a message that is sent now.
    fn begin(&mut self, mut message: Message, now: Micros) -> Message {
        match &mut message {
            Message::Ping { sent } => {
                *sent = now;
                self.flow.on_ping_sent(now);
            }
            Message::Frame(frame) => {
                frame.times.sent = now;
                self.flow.on_sent(frame.sequence, frame.data.len(), now);
                if self.in_flight.len() == MOST_IN_FLIGHT {
                    self.in_flight.pop_front();
                }
                self.in_flight.push_back((frame.sequence, frame.times));
            }
            _ => {}
        }
        message
    }

    /// The hub has received this frame, at this moment of our clock, and so all earlier ones.
    fn reported(&mut self, sequence: u64, received: Micros, now: Micros) {
        self.flow.on_report(sequence, now);
        if let Some(place) = self.in_flight.iter().position(|(sent, _)| *sent == sequence) {
            let (_, times) = self.in_flight.drain(..=place).next_back().unwrap_or_default();
            if let Some(subscriber) = &self.subscriber {
                subscriber.report_arrival(&Times { received, ..times });
            }
        }
    }

    /// Frames in flight are lost, or too old to measure the link by.
    fn forget_in_flight(&mut self) {
        self.flow.reset();
        self.in_flight.clear();
    }

    fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

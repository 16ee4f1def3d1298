//! Whole conversations in virtual time: a publisher's session, a hub and a viewer's session, with simulated links between
//! them. One clock; nothing sleeps.

use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
};

use framewire_netem::Path;
use framewire_proto::{
    Codec, Config, Frame, Micros, Name, Times,
    flow::{DEFAULT_INTERVAL, MAX_UNREPORTED},
    link::{IDLE_TIMEOUT, Link},
    wire::native::{Message, Report, Token},
};
use tokio::sync::watch;

use crate::{
    Error,
    hub::{Accepts, Hub, Policy, Publisher},
    serve::ViewerSession,
    sink::native::{EncodeJob, NextStep, PublisherSession},
};

const MILLISECOND: Micros = 1_000;
const SECOND: Micros = 1_000_000;
const MEGABIT: u64 = 1_000_000;
/// The clock's step.
const STEP: Micros = 500;
/// A hub asks its publisher for a keyframe at most this often.
const KEYFRAME_INTERVAL: Micros = SECOND;

/// Messages in one direction of a link.
struct SimulatedWire {
    path: Path,
    in_flight: VecDeque<(Micros, Message)>,
    /// From when on nothing arrives any more.
    dead: bool,
}

impl SimulatedWire {
    fn new(rates: &[(Micros, u64)], delay: Micros) -> Self {
        Self { path: Path::new(rates, delay), in_flight: VecDeque::new(), dead: false }
    }

    fn send(&mut self, message: Message, now: Micros) {
        let at = self.path.send(message.to_bytes().len(), now);
        self.in_flight.push_back((at, message));
    }

    /// The next message that has arrived.
    fn receive(&mut self, now: Micros) -> Option<Message> {
        let (at, _) = self.in_flight.front()?;
        if self.dead || *at > now {
            return None;
        }
        self.in_flight.pop_front().map(|(_, message)| message)
    }
}

/// A camera of 30 frames a second: raw pictures, or H.264 of its own with a keyframe a second.
struct ModelCamera {
    publisher: Option<Publisher>,
    codec: Codec,
    next: u64,
}

impl ModelCamera {
    fn new(hub: &Hub, codec: Codec, now: Micros) -> Self {
        let publisher = hub.publish(&name(), now).unwrap();
        publisher.set_passthrough(codec == Codec::H264);
        publisher.configure(config(codec)).unwrap();
        Self { publisher: Some(publisher), codec, next: 0 }
    }

    fn shoot(&mut self, now: Micros) {
        if now < self.next * DEFAULT_INTERVAL {
            return;
        }
        let Some(publisher) = &self.publisher else { return };
        let keyframe = self.codec != Codec::H264 || self.next.is_multiple_of(30);
        let times = Times { captured: now, ..Times::default() };
        let frame = Frame { sequence: self.next, keyframe, times, data: vec![0; 2_000].into() };
        publisher.publish(frame, now).unwrap();
        self.next += 1;
    }
}

/// An encoder that meets the size that it is told. It encodes raw pictures as this codec and passes H.264 through.
struct ModelEncoder {
    codec: Codec,
    /// The next H.264 frame is a keyframe.
    keyframe: bool,
    keyframes_requested: usize,
}

impl ModelEncoder {
    fn encode(&mut self, job: &EncodeJob) -> (Config, Frame) {
        self.keyframes_requested += usize::from(job.keyframe);
        if job.config.codec == Codec::H264 {
            return ((*job.config).clone(), job.frame.clone());
        }
        self.keyframe |= job.keyframe;
        let keyframe = self.codec.independent() || mem::take(&mut self.keyframe);
        let bytes = job.target.map_or(20_000, |target| target * DEFAULT_INTERVAL / SECOND / 8);
        let data = vec![0; (bytes as usize).clamp(200, 50_000)].into();
        (config(self.codec), Frame { keyframe, data, ..job.frame.clone() })
    }
}

/// The hub's end of a publisher's connection.
struct HubEnd {
    link: Link,
    publisher: Option<Publisher>,
    viewers: watch::Receiver<u32>,
    keyframe_requests: watch::Receiver<u64>,
    next_keyframe_request: Micros,
    /// Its first messages since the connection began.
    first: Vec<Message>,
}

impl HubEnd {
    fn new(hub: &Hub, now: Micros) -> Self {
        let publisher = hub.publish_as(Some(Token([1; 16])), &name(), now).unwrap();
        let mut viewers = publisher.viewers();
        // The first Demand is due.
        viewers.mark_changed();
        let keyframe_requests = publisher.keyframe_requests();
        let (link, first) = (Link::new(now), Vec::new());
        Self { link, publisher: Some(publisher), viewers, keyframe_requests, next_keyframe_request: 0, first }
    }

    /// Takes a message and returns the answers.
    fn take(&mut self, message: Message, now: Micros) -> Vec<Message> {
        let mut answers: Vec<_> = self.link.on_message(&message, now).into_iter().collect();
        if self.first.len() < 8 && matches!(message, Message::Config(_) | Message::Frame(_)) {
            self.first.push(message.clone());
        }
        let Some(publisher) = &self.publisher else { return answers };
        match message {
            Message::Config(config) => publisher.configure(config).unwrap(),
            Message::Frame(mut frame) => {
                answers.push(Message::Report(Report { sequence: frame.sequence, received: now, ..Report::default() }));
                frame.times = self.link.times_to_ours(frame.times);
                frame.times.received = now;
                publisher.publish(frame, now).unwrap();
            }
            Message::Bye { .. } => self.publisher.take().into_iter().for_each(Publisher::finish),
            _ => publisher.keep_alive(now),
        }
        answers
    }

    /// What is due.
    fn poll(&mut self, now: Micros) -> Option<Message> {
        if self.viewers.has_changed().is_ok_and(|changed| changed) {
            return Some(Message::Demand { viewers: *self.viewers.borrow_and_update() });
        }
        if now >= self.next_keyframe_request && self.keyframe_requests.has_changed().is_ok_and(|changed| changed) {
            self.keyframe_requests.mark_unchanged();
            self.next_keyframe_request = now + KEYFRAME_INTERVAL;
            return Some(Message::Keyframe);
        }
        self.link.poll_ping(now)
    }
}

/// A viewer, and the hub's session with it.
struct SimulatedViewer {
    session: ViewerSession,
    link: Link,
    down: SimulatedWire,
    up: SimulatedWire,
    got: Vec<Got>,
}

/// A frame that a viewer got.
#[derive(Debug, Clone, Copy)]
struct Got {
    captured: Micros,
    age: Micros,
    keyframe: bool,
}

impl SimulatedViewer {
    fn watch(hub: &Hub, rates: &[(Micros, u64)], now: Micros) -> Self {
        let subscriber = hub.subscribe(&name(), Policy::Newest, false, now).unwrap();
        let session = ViewerSession::new(subscriber, Link::new(now), Accepts::Any, false);
        let (down, up) =
            (SimulatedWire::new(rates, 5 * MILLISECOND), SimulatedWire::new(&[(0, 100 * MEGABIT)], 5 * MILLISECOND));
        Self { session, link: Link::new(now), down, up, got: Vec::new() }
    }

    fn step(&mut self, now: Micros) {
        while let Some(message) = self.up.receive(now) {
            self.session.take(message, now).unwrap();
        }
        while let Poll::Ready(message) = self.session.poll(&Context::from_waker(Waker::noop()), now) {
            self.down.send(message, now);
        }
        while let Some(message) = self.down.receive(now) {
            let answer = self.link.on_message(&message, now);
            answer.into_iter().for_each(|answer| self.up.send(answer, now));
            if let Message::Frame(frame) = message {
                let captured = self.link.times_to_ours(frame.times).captured;
                self.got.push(Got { captured, age: now.saturating_sub(captured), keyframe: frame.keyframe });
                let report = Report { sequence: frame.sequence, received: now, decoded: now, shown: now };
                self.up.send(Message::Report(report), now);
            }
        }
        self.link.poll_ping(now).into_iter().for_each(|ping| self.up.send(ping, now));
    }
}

/// A publisher and a hub, with a link between them.
struct Pair {
    now: Micros,
    camera: ModelCamera,
    encoder: ModelEncoder,
    session: PublisherSession,
    link: Link,
    up: SimulatedWire,
    down: SimulatedWire,
    hub: Hub,
    hub_end: HubEnd,
    viewer: Option<SimulatedViewer>,
    /// Frames that the session has begun, and when.
    begun: Vec<Micros>,
    /// When the session finished, or failed.
    end: Option<(Micros, Result<(), Error>)>,
}

impl Pair {
    /// A camera's raw pictures, encoded as JPEGs or H.264, or its own H.264 where `camera` says so. The link to the hub
    /// has these rates, and 10 ms in each direction.
    fn new(camera: Codec, encoder: Codec, rates: &[(Micros, u64)]) -> Self {
        let now = 1;
        let (here, hub) = (Hub::default(), Hub::default());
        let camera = ModelCamera::new(&here, camera, now);
        let encoder = ModelEncoder { codec: encoder, keyframe: true, keyframes_requested: 0 };
        let session = PublisherSession::new(here, name(), None, false, now);
        let (up, down) =
            (SimulatedWire::new(rates, 10 * MILLISECOND), SimulatedWire::new(&[(0, 100 * MEGABIT)], 10 * MILLISECOND));
        let (hub_end, link) = (HubEnd::new(&hub, now), Link::new(now));
        let (viewer, begun, end) = (None, Vec::new(), None);
        Self { now, camera, encoder, session, link, up, down, hub, hub_end, viewer, begun, end }
    }

    fn watch(&mut self, rates: &[(Micros, u64)]) {
        self.viewer = Some(SimulatedViewer::watch(&self.hub, rates, self.now));
    }

    /// Another connection of the same publisher takes over: nothing of the one before arrives any more.
    fn take_over(&mut self) {
        for wire in [&mut self.up, &mut self.down] {
            wire.in_flight.clear();
            wire.dead = false;
        }
        self.hub_end = HubEnd::new(&self.hub, self.now);
        self.link = Link::new(self.now);
        self.session.reconnected(self.now);
    }

    /// From now on the link loses everything.
    fn kill_link(&mut self) {
        (self.up.dead, self.down.dead) = (true, true);
    }

    fn run_for(&mut self, time: Micros) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.step();
        }
    }

    fn step(&mut self) {
        self.pass_messages();
        self.drive();
        self.viewer.iter_mut().for_each(|viewer| viewer.step(self.now));
    }

    /// What happens around the publisher: a picture, and messages that arrive.
    fn pass_messages(&mut self) {
        let now = self.now;
        self.camera.shoot(now);
        while let Some(message) = self.up.receive(now) {
            self.hub_end.take(message, now).into_iter().for_each(|answer| self.down.send(answer, now));
        }
        while let Some(message) = self.hub_end.poll(now) {
            self.down.send(message, now);
        }
        while let Some(message) = self.down.receive(now) {
            self.link.on_message(&message, now).into_iter().for_each(|answer| self.up.send(answer, now));
            self.session.take(message, &self.link, now).unwrap();
        }
        self.link.poll_ping(now).into_iter().for_each(|ping| self.up.send(ping, now));
    }

    /// Does what the session asks for, as its thread does.
    fn drive(&mut self) {
        let (now, context) = (self.now, &mut Context::from_waker(Waker::noop()));
        while self.end.is_none()
            && let Poll::Ready(output) = self.session.poll(context, now)
        {
            match output {
                Ok(NextStep::Encode(job)) => self.session.encoded(job.connection, self.encoder.encode(&job), now),
                Ok(NextStep::Send(message)) => {
                    if matches!(message, Message::Frame(_)) {
                        self.begun.push(now);
                    }
                    self.up.send(message, now);
                }
                Ok(NextStep::Finish) => {
                    self.up.send(Message::Bye { text: String::new() }, now);
                    self.end = Some((now, Ok(())));
                }
                Err(error) => self.end = Some((now, Err(error))),
            }
        }
    }

    fn begun_since(&self, moment: Micros) -> usize {
        self.begun.iter().filter(|at| **at > moment).count()
    }

    fn got(&self) -> &[Got] {
        &self.viewer.as_ref().unwrap().got
    }
}

fn name() -> Name {
    "door".parse().unwrap()
}

fn config(codec: Codec) -> Config {
    Config::new(codec, 640, 480, 30_000)
}

const FAST: &[(Micros, u64)] = &[(0, 20 * MEGABIT)];

#[test]
fn without_viewers_one_picture_is_sent_and_with_one_frames_follow_from_a_keyframe() {
    for (camera, encoder) in [(Codec::I420, Codec::Jpeg), (Codec::I420, Codec::H264), (Codec::H264, Codec::H264)] {
        let mut pair = Pair::new(camera, encoder, FAST);
        pair.run_for(3 * SECOND);
        assert_eq!(pair.begun.len(), 1, "{camera:?} to {encoder:?}: the hub has a picture, and nobody watches");
        assert_eq!(*pair.camera.publisher.as_ref().unwrap().viewers().borrow(), 0, "the camera may sleep");
        pair.watch(FAST);
        pair.run_for(3 * SECOND);
        assert!(pair.got().len() > 80, "{camera:?} to {encoder:?}: {} frames", pair.got().len());
        assert!(pair.got()[0].keyframe, "{camera:?} to {encoder:?}");
        pair.viewer = None;
        pair.run_for(SECOND);
        let left = pair.now;
        pair.run_for(SECOND);
        assert_eq!(pair.begun_since(left), 0, "{camera:?} to {encoder:?}: nobody watches any more");
    }
}

/// The 95th percentile and the maximum of the ages of frames captured in these ten seconds, and how many they are.
fn ages(got: &[Got], from: Micros) -> (Micros, Micros, usize) {
    let captured = from..from + 10 * SECOND;
    let mut ages: Vec<_> = got.iter().filter(|got| captured.contains(&got.captured)).map(|got| got.age).collect();
    ages.sort_unstable();
    (ages[ages.len() * 95 / 100], ages[ages.len() - 1], ages.len())
}

#[test]
fn frames_stay_fresh_while_the_publishers_link_falls_from_20_to_2_megabits() {
    for encoder in [Codec::Jpeg, Codec::H264] {
        let mut pair = Pair::new(Codec::I420, encoder, &[(0, 20 * MEGABIT), (10 * SECOND, 2 * MEGABIT)]);
        pair.watch(&[(0, 100 * MEGABIT)]);
        pair.run_for(20 * SECOND);
        for from in [0, 10 * SECOND] {
            let (p95, max, frames) = ages(pair.got(), from);
            let figures = format!("{encoder:?} from {from} µs: p95 {p95} µs, at most {max} µs, {frames} frames");
            println!("{figures}");
            // Up to three frames of 50 KB are in flight before the first report of the fall; each takes 200 ms then.
            assert!(p95 < 90 * MILLISECOND && max < 650 * MILLISECOND && frames >= 280, "{figures}");
        }
    }
}

#[test]
fn a_viewer_on_a_slow_link_gets_fewer_frames_of_the_same_freshness() {
    let mut pair = Pair::new(Codec::I420, Codec::Jpeg, FAST);
    pair.watch(&[(0, 20 * MEGABIT), (10 * SECOND, 2 * MEGABIT)]);
    pair.run_for(20 * SECOND);
    let (p95, max, frames) = ages(pair.got(), 10 * SECOND);
    // Nobody makes a smaller rendition here: a frame of 50 KB takes 200 ms, and two may be under way.
    println!("p95 {p95} µs, at most {max} µs, {frames} frames");
    assert!(p95 < 500 * MILLISECOND && (30..150).contains(&frames), "p95 {p95} µs, {frames} frames");
}

#[test]
fn nothing_is_begun_for_a_hub_that_reports_no_more_and_the_session_ends_by_itself() {
    let mut pair = Pair::new(Codec::I420, Codec::Jpeg, FAST);
    pair.watch(FAST);
    pair.run_for(3 * SECOND);
    pair.kill_link();
    let killed = pair.now;
    pair.run_for(IDLE_TIMEOUT);
    assert!(pair.begun_since(killed) <= MAX_UNREPORTED + 1, "{} frames", pair.begun_since(killed));
    assert!(pair.end.is_none(), "the connection is still being replaced");
    pair.run_for(3 * SECOND);
    assert!(matches!(pair.end, Some((_, Err(Error::Timeout(_))))), "{:?}", pair.end);
}

#[test]
fn a_link_that_comes_back_is_used_at_once() {
    let mut pair = Pair::new(Codec::I420, Codec::Jpeg, FAST);
    pair.watch(FAST);
    pair.run_for(3 * SECOND);
    pair.kill_link();
    pair.run_for(3 * SECOND);
    (pair.up.dead, pair.down.dead) = (false, false);
    let back = pair.now;
    pair.run_for(SECOND);
    let first = pair.got().iter().find(|got| got.captured > back - 100 * MILLISECOND).unwrap();
    assert!(first.captured + first.age < back + 200 * MILLISECOND, "{first:?}");
}

#[test]
fn a_connection_that_takes_over_begins_with_its_configuration_and_a_keyframe() {
    for (camera, encoder) in [(Codec::I420, Codec::Jpeg), (Codec::I420, Codec::H264), (Codec::H264, Codec::H264)] {
        let mut pair = Pair::new(camera, encoder, FAST);
        pair.watch(FAST);
        // Half a second after a keyframe of the camera's own.
        pair.run_for(2 * SECOND + SECOND / 2);
        pair.kill_link();
        pair.run_for(SECOND);
        pair.take_over();
        let (taken, before) = (pair.now, pair.got().len());
        pair.run_for(SECOND);
        let first = &pair.hub_end.first;
        assert!(matches!(first[0], Message::Config(_)), "{camera:?} to {encoder:?}: {:?}", first[0]);
        assert!(matches!(&first[1], Message::Frame(frame) if frame.keyframe), "{camera:?} to {encoder:?}");
        let got = &pair.got()[before..];
        assert!(got[0].keyframe && got.len() > 20, "{camera:?} to {encoder:?}: {got:?}");
        let fresh = got.iter().find(|got| got.captured >= taken).unwrap();
        assert!(fresh.captured + fresh.age < taken + 300 * MILLISECOND, "{camera:?} to {encoder:?}: {fresh:?}");
    }
}

#[test]
fn a_send_that_fails_is_forgiven_when_another_connection_takes_over_in_time() {
    let failed = || {
        let mut pair = Pair::new(Codec::I420, Codec::Jpeg, FAST);
        pair.watch(FAST);
        pair.run_for(SECOND);
        pair.session.send_failed(Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)), pair.now);
        pair
    };
    let mut pair = failed();
    let at = pair.now;
    pair.run_for(SECOND);
    assert_eq!(pair.begun_since(at), 0, "there is no connection to send over");
    pair.take_over();
    pair.run_for(SECOND);
    assert!(pair.end.is_none() && pair.begun_since(at) > 20, "{:?}", pair.end);
    let mut pair = failed();
    let at = pair.now;
    assert_eq!(pair.session.deadline(at), at + 2 * SECOND);
    pair.run_for(3 * SECOND);
    let (ended, outcome) = pair.end.as_ref().unwrap();
    assert!(matches!(outcome, Err(Error::ConnectionLost(_))) && *ended == at + 2 * SECOND, "{ended} {outcome:?}");
    let mut pair = failed();
    pair.session.stop();
    pair.run_for(STEP);
    assert!(matches!(pair.end, Some((_, Err(Error::ConnectionLost(_))))), "a stop does not wait: {:?}", pair.end);
}

#[test]
fn a_frame_that_was_encoded_for_a_lost_connection_is_not_sent_over_the_next() {
    let mut pair = Pair::new(Codec::I420, Codec::H264, FAST);
    pair.watch(FAST);
    pair.run_for(SECOND);
    let context = &mut Context::from_waker(Waker::noop());
    let job = loop {
        pair.now += STEP;
        pair.pass_messages();
        if let Poll::Ready(Ok(NextStep::Encode(job))) = pair.session.poll(context, pair.now) {
            break job;
        }
    };
    let encoded = pair.encoder.encode(&job);
    assert!(!encoded.1.keyframe);
    pair.take_over();
    pair.session.encoded(job.connection, encoded, pair.now);
    pair.run_for(SECOND);
    assert!(matches!(&pair.hub_end.first[1], Message::Frame(frame) if frame.keyframe));
}

#[test]
fn the_farewell_ends_with_the_report_of_the_last_frame() {
    let mut pair = Pair::new(Codec::I420, Codec::Jpeg, FAST);
    pair.watch(FAST);
    pair.run_for(SECOND);
    pair.camera.publisher.take().unwrap().finish();
    let finished = pair.now;
    pair.run_for(SECOND);
    let (at, outcome) = pair.end.as_ref().unwrap();
    assert!(outcome.is_ok() && (finished + STEP..finished + 100 * MILLISECOND).contains(at), "{at} {outcome:?}");
    assert!(pair.hub_end.publisher.is_none(), "the hub has the goodbye");
    let last = pair.got().last().unwrap();
    assert!(last.captured > finished - 2 * DEFAULT_INTERVAL, "the viewer has the last frame: {last:?}");
}

#[test]
fn the_farewell_of_an_unwatched_stream_needs_no_viewer() {
    let mut pair = Pair::new(Codec::I420, Codec::Jpeg, FAST);
    pair.run_for(SECOND);
    pair.camera.publisher.take().unwrap().finish();
    pair.run_for(SECOND / 10);
    assert!(matches!(pair.end, Some((_, Ok(())))), "{:?}", pair.end);
}

#[test]
fn the_farewell_is_bounded_when_reports_stop() {
    let mut pair = Pair::new(Codec::I420, Codec::Jpeg, &[(0, 100 * MEGABIT)]);
    pair.watch(FAST);
    // Just before the next frame: all before are reported, and only that one is in flight at the end.
    pair.run_for(SECOND - 5 * MILLISECOND);
    pair.kill_link();
    let killed = pair.now;
    while pair.begun_since(killed) == 0 {
        pair.run_for(STEP);
    }
    pair.camera.publisher.take().unwrap().finish();
    let finished = pair.now;
    pair.run_for(3 * SECOND);
    let (at, outcome) = pair.end.as_ref().unwrap();
    let bound = finished + 2 * SECOND..finished + 2 * SECOND + SECOND / 10;
    assert!(outcome.is_ok() && bound.contains(at), "{at} {outcome:?}, finished at {finished}");
}

#[test]
fn a_keyframe_request_passes_once() {
    let mut pair = Pair::new(Codec::I420, Codec::H264, FAST);
    pair.watch(FAST);
    pair.run_for(2 * SECOND);
    let before = pair.encoder.keyframes_requested;
    let requested = pair.now;
    for _ in 0..3 {
        pair.viewer.as_mut().unwrap().session.take(Message::Keyframe, requested).unwrap();
    }
    pair.run_for(SECOND / 2);
    assert_eq!(pair.encoder.keyframes_requested, before + 1, "three viewers' requests are one");
    let keyframes = pair.got().iter().filter(|got| got.captured >= requested && got.keyframe).count();
    assert_eq!(keyframes, 1);
}

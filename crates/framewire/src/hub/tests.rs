//! Scenarios of a hub, on a clock of the test.

use std::{
    future,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame, Rendition, Times,
    wire::native::{Report, Service, State},
};

use super::{liveness::FORGET_AFTER, *};
use crate::latency::Stage;

const SECOND: Micros = 1_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn config() -> Config {
    Config::new(Codec::Jpeg, 640, 480, 30_000)
}

fn frame(sequence: u64) -> Frame {
    Frame { sequence, keyframe: true, times: Times::default(), data: Bytes::from(vec![7; 100]) }
}

/// The events that are ready for this viewer.
fn drain(viewer: &mut Subscriber) -> Vec<Event> {
    let context = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match viewer.poll(&context, true, 0) {
        Poll::Ready(event) => Some(event),
        Poll::Pending => None,
    })
    .collect()
}

fn sequences(events: &[Event]) -> Vec<u64> {
    events
        .iter()
        .filter_map(|event| if let Event::Frame(frame) = event { Some(frame.sequence) } else { None })
        .collect()
}

fn states(events: &[Event]) -> Vec<State> {
    events.iter().filter_map(|event| if let Event::State(state) = event { Some(*state) } else { None }).collect()
}

fn publish(hub: &Hub, now: Micros) -> Publisher {
    let publisher = hub.publish(&name("door"), now).unwrap();
    publisher.configure(config()).unwrap();
    publisher
}

#[test]
fn a_new_viewer_gets_a_frame_at_once() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    for sequence in 0..3 {
        publisher.publish(frame(sequence), SECOND).unwrap();
    }
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let events = drain(&mut viewer);
    assert_eq!(states(&events), [State::Live]);
    assert!(matches!(&events[1], Event::Config(received) if **received == config()));
    assert_eq!(sequences(&events), [2]);
}

#[test]
fn only_the_same_client_replaces_a_live_publisher() {
    let hub = Hub::default();
    let [mine, other] = [1, 2].map(|byte| Some(Token([byte; 16])));
    let first = hub.publish_as(mine, &name("door"), SECOND).unwrap();
    first.configure(config()).unwrap();
    first.publish(frame(7), SECOND).unwrap();
    for another in [other, None] {
        assert_eq!(hub.publish_as(another, &name("door"), SECOND).unwrap_err(), Refused::NameTaken(name("door")));
    }
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let second = hub.publish_as(mine, &name("door"), SECOND).unwrap();
    assert_eq!(first.publish(frame(8), SECOND), Err(PublishError::Replaced(Replaced)));
    second.configure(config()).unwrap();
    second.publish(frame(0), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [1], "numbers rise");
    drop(first);
    assert_eq!(hub.stream("door", SECOND).unwrap().state, "live", "a replaced publisher changes nothing");
}

#[test]
fn a_source_of_the_hub_keeps_its_name_while_it_sleeps() {
    let hub = Hub::default();
    let source = publish(&hub, SECOND);
    source.reserve();
    let refused = hub.publish(&name("door"), 3_600 * SECOND).unwrap_err();
    assert_eq!(refused, Refused::OwnSource(name("door")));
    drop(source);
    assert!(hub.publish(&name("door"), 3_600 * SECOND).is_ok());
}

#[test]
fn a_frame_is_held_once_for_all_viewers() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut viewers: Vec<_> =
        (0..3).map(|_| hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap()).collect();
    let published = frame(0);
    let address = published.data.as_ptr();
    publisher.publish(published, SECOND).unwrap();
    for viewer in &mut viewers {
        let events = drain(viewer);
        let Some(Event::Frame(received)) = events.last() else { panic!("{events:?}") };
        assert_eq!(received.data.as_ptr(), address);
    }
}

#[test]
fn every_viewer_accounts_for_every_frame() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut quick = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let mut slow = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    for sequence in 0..10 {
        publisher.publish(frame(sequence), SECOND).unwrap();
        drain(&mut quick);
    }
    drain(&mut slow);
    assert_eq!((quick.counts().delivered, quick.counts().all_dropped()), (10, 0));
    assert_eq!((slow.counts().delivered, slow.counts().dropped(Reason::Superseded)), (1, 9));
    publisher.publish(frame(10), SECOND).unwrap();
    let context = Context::from_waker(Waker::noop());
    assert!(matches!(slow.poll(&context, true, 0), Poll::Ready(Event::Frame(_))));
    drop((quick, slow));
    let info = hub.stream("door", SECOND).unwrap();
    assert_eq!((info.published, info.delivered), (11, 11));
    assert_eq!((info.dropped.dropped(Reason::Superseded), info.dropped.dropped(Reason::Left)), (9, 2));
    assert_eq!(info.dropped.offered, info.delivered + info.dropped.all_dropped());
}

#[test]
fn a_second_live_publisher_is_refused_until_the_first_is_silent() {
    let hub = Hub::default();
    let first = publish(&hub, SECOND);
    first.publish(frame(0), SECOND).unwrap();
    let refused = hub.publish(&name("door"), 2 * SECOND).unwrap_err();
    assert!(refused.to_string().contains("'door' has a live publisher"), "{refused}");
    let second = hub.publish(&name("door"), 5 * SECOND).unwrap();
    assert!(first.publish(frame(1), 5 * SECOND).is_err());
    drop(first);
    second.configure(config()).unwrap();
    second.publish(frame(0), 5 * SECOND).unwrap();
    assert_eq!(hub.stream("door", 5 * SECOND).unwrap().state, "live");
}

#[test]
fn sequence_numbers_rise_across_publishers_and_gaps_are_counted() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut viewer = hub.subscribe(&name("door"), Policy::Every, false, SECOND).unwrap();
    for sequence in [0, 1, 4] {
        publisher.publish(frame(sequence), SECOND).unwrap();
    }
    drop(publisher);
    let publisher = publish(&hub, 2 * SECOND);
    for sequence in [7000, 7001, 3] {
        publisher.publish(frame(sequence), 2 * SECOND).unwrap();
    }
    assert_eq!(sequences(&drain(&mut viewer)), [0, 1, 4, 5, 6, 7]);
    assert_eq!(hub.stream("door", SECOND).unwrap().missed, 2);
}

#[test]
fn a_stream_stalls_recovers_and_is_forgotten() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    publisher.publish(frame(0), SECOND).unwrap();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    assert_eq!(states(&drain(&mut viewer)), [State::Live]);
    hub.tick(2 * SECOND);
    assert_eq!(states(&drain(&mut viewer)), [State::Stalled]);
    publisher.publish(frame(1), 2 * SECOND).unwrap();
    assert_eq!(states(&drain(&mut viewer)), [State::Live]);
    drop(publisher);
    assert_eq!(states(&drain(&mut viewer)), [State::Stalled]);
    hub.tick(200 * SECOND);
    assert_eq!(hub.streams(200 * SECOND).len(), 1);
    drop(viewer);
    hub.tick(201 * SECOND);
    hub.tick(201 * SECOND + FORGET_AFTER - 1);
    assert_eq!(hub.streams(0).len(), 1);
    hub.tick(201 * SECOND + FORGET_AFTER);
    assert_eq!(hub.streams(0).len(), 0);
}

#[test]
fn an_unwatched_source_is_idle_not_stalled() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let viewers = publisher.viewers();
    publisher.publish(frame(0), SECOND).unwrap();
    hub.tick(3 * SECOND);
    assert_eq!(hub.stream("door", 3 * SECOND).unwrap().state, "idle");
    let viewer = hub.subscribe(&name("door"), Policy::Newest, false, 9 * SECOND).unwrap();
    assert_eq!(*viewers.borrow(), 1);
    hub.tick(9 * SECOND + 1);
    assert_eq!(hub.stream("door", 9 * SECOND).unwrap().state, "idle");
    hub.tick(10 * SECOND + 1);
    assert_eq!(hub.stream("door", 10 * SECOND).unwrap().state, "stalled");
    drop(viewer);
    assert_eq!(*viewers.borrow(), 0);
}

#[test]
fn an_unknown_stream_is_refused_with_a_list_or_waited_for() {
    let hub = Hub::default();
    let nothing = hub.subscribe(&name("yard"), Policy::Newest, false, SECOND).unwrap_err();
    assert!(nothing.to_string().contains("none at all"), "{nothing}");
    let publisher = publish(&hub, SECOND);
    let refused = hub.subscribe(&name("yard"), Policy::Newest, false, SECOND).unwrap_err();
    assert_eq!(refused.to_string(), "there is no stream 'yard'; there is 'door'");
    let mut viewer = hub.subscribe(&name("yard"), Policy::Newest, true, SECOND).unwrap();
    assert_eq!(hub.streams(SECOND).len(), 1, "a stream that viewers only wait for is not listed");
    let yard = hub.publish(&name("yard"), SECOND).unwrap();
    yard.configure(config()).unwrap();
    yard.publish(frame(0), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [0]);
    drop(publisher);
}

#[test]
fn the_number_of_streams_is_bounded() {
    let hub = Hub::default();
    let held: Vec<_> = (0..STREAMS).map(|number| hub.publish(&name(&format!("s{number}")), 1).unwrap()).collect();
    assert_eq!(hub.publish(&name("one-more"), 1).unwrap_err(), Refused::TooMany);
    assert_eq!(hub.subscribe(&name("one-more"), Policy::Newest, true, 1).unwrap_err(), Refused::TooMany);
    assert_eq!(held.len(), hub.streams(1).len());
}

#[test]
fn an_ended_cameras_stream_makes_room_for_another() {
    let hub = Hub::default();
    let mut held: Vec<_> = (0..STREAMS).map(|number| hub.publish(&name(&format!("s{number}")), 1).unwrap()).collect();
    let mut viewer = hub.subscribe(&name("s7"), Policy::Newest, false, 1).unwrap();
    held.swap_remove(7).retire();
    drop(held.pop());
    let _another = hub.publish(&name("one-more"), 1).unwrap();
    assert_eq!(hub.publish(&name("two-more"), 1).unwrap_err(), Refused::TooMany, "one that may return keeps its place");
    assert!(hub.stream("s7", 1).is_err());
    assert!(drain(&mut viewer).contains(&Event::Ended), "who watches it keeps it");
}

#[test]
fn each_refusal_has_its_own_code_on_the_wire() {
    let hub = Hub::default();
    let unknown = hub.subscribe(&name("door"), Policy::Newest, false, 1).unwrap_err();
    let _held: Vec<_> = (0..STREAMS).map(|number| hub.publish(&name(&format!("s{number}")), 1).unwrap()).collect();
    let taken = hub.publish(&name("s0"), 1).unwrap_err();
    let full = hub.publish(&name("one-more"), 1).unwrap_err();
    assert_eq!(
        [unknown, taken, full].map(|refused| refused.code()),
        [code::NO_SUCH_STREAM, code::NAME_TAKEN, code::TOO_MANY]
    );
}

/// A task that locks its stream while it is woken, as a waker that runs its task at once would.
struct Relock(Hub, std::sync::atomic::AtomicUsize);

impl Relock {
    fn relock(&self) {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Hangs if the state is locked.
        self.0.stream("door", SECOND).unwrap();
    }

    fn count(&self) -> usize {
        self.1.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::task::Wake for Relock {
    fn wake(self: Arc<Self>) {
        self.relock();
    }
}

#[test]
fn tasks_are_woken_and_feedback_is_sent_after_the_state_is_unlocked() {
    let (hub, _, transcoders) = transcoded();
    let publisher = hub.publish(&name("door"), 9 * SECOND).unwrap();
    let task = Arc::new(Relock(hub.clone(), 0.into()));
    let (waker, listener) = (Waker::from(task.clone()), task.clone());
    let context = Context::from_waker(&waker);
    publisher.on_feedback(move |_| listener.relock());
    publisher.configure(config()).unwrap();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    drain(&mut viewer);
    assert!(viewer.poll(&context, true, 0).is_pending());
    let mut expected = 0;
    let mut woken_by = |change: &str| {
        assert!(task.count() > expected, "{change} wakes no task");
        expected = task.count();
    };
    publisher.publish(frame(0), SECOND).unwrap();
    woken_by("a frame");
    let room = std::pin::pin!(publisher.room()).as_mut().poll(&mut Context::from_waker(&waker));
    assert!(room.is_pending());
    assert_eq!(sequences(&drain(&mut viewer)), [0]);
    woken_by("a frame that is taken");
    viewer.request_keyframe();
    woken_by("a keyframe request");
    assert!(viewer.poll(&context, true, 0).is_pending());
    viewer.set_accepts(Accepts::Jpegs);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    woken_by("another codec");
    let mut transcoder = transcoders.lock().unwrap().pop().unwrap();
    assert!(transcoder.poll(&context).is_pending());
    publisher.publish(frame(1), SECOND).unwrap();
    woken_by("a frame to transcode");
    drop(transcoder);
    assert!(viewer.poll(&context, true, 0).is_pending());
    hub.tick(2 * SECOND);
    woken_by("a stalled stream");
    drain(&mut viewer);
    assert!(viewer.poll(&context, true, 0).is_pending());
    publisher.finish();
    woken_by("the end");
}

#[test]
fn a_transcoder_may_fail_while_it_is_started() {
    let hub = Hub::default();
    hub.transcode_with(drop);
    let publisher = publish(&hub, SECOND);
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Any);
    for sequence in 0..30 {
        publisher.publish(frame(sequence), SECOND + sequence * SECOND / 30).unwrap();
    }
    viewer.set_target(Some(8_000), 2 * SECOND);
    publisher.publish(frame(30), 2 * SECOND).unwrap();
    assert_eq!((viewer.rendition(), sequences(&drain(&mut viewer))), (Rendition::Source, vec![30]));
}

#[test]
fn a_viewer_without_room_gets_states_only() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    publisher.publish(frame(0), SECOND).unwrap();
    let context = Context::from_waker(Waker::noop());
    assert_eq!(viewer.poll(&context, false, 0), Poll::Ready(Event::State(State::Live)));
    assert!(viewer.poll(&context, false, 0).is_pending());
    assert_eq!(sequences(&drain(&mut viewer)), [0]);
}

#[test]
fn a_picture_of_before_a_pause_can_be_left_out() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let captured = |sequence, captured| Frame { times: Times { captured, ..Times::default() }, ..frame(sequence) };
    publisher.publish(captured(0, SECOND), SECOND).unwrap();
    let join = |now| {
        let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, now).unwrap();
        viewer.skip_stale(now);
        viewer
    };
    assert_eq!(sequences(&drain(&mut join(3 * SECOND))), [0], "a live stream is slow");
    publisher.set_state(State::Stalled);
    let mut viewer = join(20 * SECOND);
    let events = drain(&mut viewer);
    assert_eq!((states(&events), sequences(&events)), (vec![State::Stalled], vec![]));
    publisher.publish(captured(1, 21 * SECOND), 21 * SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [1]);
}

#[test]
fn a_fault_is_told_to_every_viewer_until_the_next_frame() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut early = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    drain(&mut early);
    publisher.set_fault("unplugged", 2 * SECOND);
    publisher.set_fault("unplugged", 3 * SECOND);
    let info = hub.stream("door", 4 * SECOND).unwrap();
    assert_eq!((info.fault.as_deref(), info.fault_age_ms), (Some("unplugged"), Some(1000.0)));
    let mut late = hub.subscribe(&name("door"), Policy::Newest, false, 4 * SECOND).unwrap();
    let faults = |events: &[Event]| -> Vec<String> {
        let fault = |event: &Event| match event {
            Event::Fault(fault) => Some(fault.to_string()),
            _ => None,
        };
        events.iter().filter_map(fault).collect()
    };
    for viewer in [&mut early, &mut late] {
        assert_eq!(faults(&drain(viewer)), ["unplugged"]);
    }
    publisher.publish(frame(0), 5 * SECOND).unwrap();
    publisher.publish(frame(1), 5 * SECOND).unwrap();
    for viewer in [&mut early, &mut late] {
        let events = drain(viewer);
        assert_eq!((faults(&events), sequences(&events)), (vec![String::new()], vec![1]));
    }
    assert_eq!(hub.stream("door", 5 * SECOND).unwrap().fault, None);
}

#[test]
fn who_sends_nothing_has_gone_or_has_ended_is_a_fault() {
    let hub = Hub::default();
    let fault = |now| hub.stream("door", now).unwrap().fault;
    let publisher = publish(&hub, SECOND);
    let _viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    publisher.publish(frame(0), SECOND).unwrap();
    hub.tick(3 * SECOND);
    assert_eq!(fault(3 * SECOND).as_deref(), Some("its publisher is connected and sends no frames"));
    publisher.publish(frame(1), 3 * SECOND).unwrap();
    assert_eq!(fault(3 * SECOND), None);
    drop(publisher);
    assert_eq!(fault(3 * SECOND).as_deref(), Some("its publisher has gone"));
    let publisher = publish(&hub, 4 * SECOND);
    publisher.publish(frame(0), 4 * SECOND).unwrap();
    publisher.finish();
    assert_eq!(fault(4 * SECOND).as_deref(), Some("its publisher has ended it"));
}

#[test]
fn waits_take_the_clock_of_their_caller() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let no_time = std::time::Duration::ZERO;
    assert!(publisher.room_within(no_time, future::pending(), || SECOND));
    let times = Times { captured: SECOND, ..Times::default() };
    publisher.publish(Frame { times, ..frame(0) }, SECOND).unwrap();
    assert!(!publisher.room_within(no_time, future::pending(), || SECOND));
    let for_ever = std::time::Duration::MAX;
    assert!(!publisher.room_within(for_ever, future::ready(()), || SECOND), "its end is reached");
    viewer.set_max_age(Some(SECOND));
    assert_eq!(viewer.next_within(no_time, || 3 * SECOND), Some(Event::State(State::Live)));
    assert_eq!(viewer.next_within(no_time, || 3 * SECOND), None, "the frame is two seconds old");
    assert_eq!(viewer.counts().dropped(Reason::Stale), 1);
    publisher.publish(Frame { times, ..frame(1) }, SECOND).unwrap();
    assert!(matches!(viewer.next_within(no_time, || 2 * SECOND), Some(Event::Config(_))));
    assert!(matches!(viewer.next_within(no_time, || 2 * SECOND), Some(Event::Frame(_))));
}

#[test]
fn the_end_of_a_stream_reaches_its_viewers_after_the_last_frame() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut viewer = hub.subscribe(&name("door"), Policy::Every, false, SECOND).unwrap();
    publisher.publish(frame(0), SECOND).unwrap();
    publisher.finish();
    let events = drain(&mut viewer);
    assert_eq!(sequences(&events), [0]);
    assert_eq!(events.last(), Some(&Event::Ended));
}

#[test]
fn a_viewer_that_cannot_decode_requests_a_keyframe_and_gets_no_old_one() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let mut requests = publisher.keyframe_requests();
    let feedback = Arc::new(Mutex::new(Vec::new()));
    let received = feedback.clone();
    publisher.on_feedback(move |one| received.lock().unwrap().push(one));
    let give = |sequence, keyframe| publisher.publish(Frame { keyframe, ..frame(sequence) }, SECOND).unwrap();
    give(0, true);
    let mut first = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut first)), [0]);
    assert!(!requests.has_changed().unwrap(), "the keyframe is the newest frame");
    give(1, false);
    let mut soon = hub.subscribe(&name("door"), Policy::Newest, false, 2 * SECOND - 1).unwrap();
    assert_eq!(sequences(&drain(&mut soon)), [0], "a frame of this second is better than none");
    drop(soon);
    let mut second = hub.subscribe(&name("door"), Policy::Newest, false, 2 * SECOND).unwrap();
    assert!(requests.has_changed().unwrap());
    requests.mark_unchanged();
    assert!(sequences(&drain(&mut second)).is_empty(), "an old frame is not shown as the newest");
    give(2, false);
    give(3, true);
    assert_eq!(sequences(&drain(&mut second)), [3]);
    assert_eq!(sequences(&drain(&mut first)), [1, 2, 3]);
    for sequence in 4..20 {
        give(sequence, false);
    }
    assert!(requests.has_changed().unwrap(), "a viewer that was too slow needs another");
    assert_eq!(
        *feedback.lock().unwrap(),
        [Feedback::Keyframe; 3],
        "one for each viewer that joined, and one for the two that were too slow"
    );
}

#[test]
fn a_viewer_that_joins_a_long_gop_gets_its_replay_which_counts_for_no_latency() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    publisher.set_passthrough(true);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let give = |sequence: u64| {
        let times = Times { captured: 1 + sequence, received: 1 + sequence, forwarded: 1, ..Times::default() };
        publisher.publish(Frame { keyframe: sequence == 0, times, ..frame(sequence) }, SECOND).unwrap();
    };
    (0..200).for_each(give);
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, 9 * SECOND).unwrap();
    let reporter = viewer.reporter();
    (200..230).for_each(give);
    let events = drain(&mut viewer);
    assert_eq!(sequences(&events), (0..230).collect::<Vec<_>>());
    let report = |sequence, shown| {
        let times = Times { captured: 1, received: 2, forwarded: 3, ..Times::default() };
        reporter.report(&times, &Report { sequence, received: 4, decoded: 5, shown }, true);
    };
    (0..200).for_each(|sequence| report(sequence, 9 * SECOND));
    report(200, 1001);
    assert_eq!(hub.stream("door", SECOND).unwrap().latency_ms.summary(Stage::Total).unwrap().max, 1.0);
    let counts = viewer.counts();
    assert_eq!((counts.offered, counts.delivered, counts.all_dropped()), (230, 230, 0));
}

#[test]
fn a_publisher_that_begins_within_a_gop_is_shown_from_its_keyframe_on() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let h264 = Config { codec: Codec::H264, ..config() };
    publisher.configure(h264.clone()).unwrap();
    let give = |publisher: &Publisher, sequence, keyframe| {
        publisher.publish(Frame { keyframe, ..frame(sequence) }, SECOND).unwrap();
    };
    give(&publisher, 0, true);
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [0]);
    drop(publisher);
    let publisher = publish(&hub, SECOND);
    publisher.configure(h264).unwrap();
    give(&publisher, 70, false);
    assert!(sequences(&drain(&mut viewer)).is_empty());
    let mut other = hub.subscribe(&name("door"), Policy::Newest, false, 9 * SECOND).unwrap();
    assert!(sequences(&drain(&mut other)).is_empty());
    give(&publisher, 71, true);
    give(&publisher, 72, false);
    assert_eq!(sequences(&drain(&mut viewer)), [2, 3]);
    assert_eq!(sequences(&drain(&mut other)), [2, 3]);
}

/// A hub, its stream, and the transcoders that were started.
fn transcoded() -> (Hub, Publisher, Arc<Mutex<Vec<Transcoder>>>) {
    let hub = Hub::default();
    let transcoders = Arc::new(Mutex::new(Vec::new()));
    let started = transcoders.clone();
    hub.transcode_with(move |transcoder| started.lock().unwrap().push(transcoder));
    let publisher = publish(&hub, SECOND);
    (hub, publisher, transcoders)
}

/// The next frame for this transcoder.
fn job(transcoder: &mut Transcoder) -> Option<TranscodeJob> {
    match transcoder.poll(&Context::from_waker(Waker::noop())) {
        Poll::Ready(job) => job,
        Poll::Pending => None,
    }
}

/// Transcodes a frame, as a keyframe if that is requested.
fn transcode(transcoder: &Transcoder, job: &TranscodeJob) {
    let config = Config { codec: Codec::H264, ..(*job.config).clone() };
    transcoder.publish(config, &Frame { keyframe: job.keyframe, ..job.frame.clone() });
}

#[test]
fn slow_viewers_share_a_rendition_that_is_transcoded_once() {
    let (hub, publisher, transcoders) = transcoded();
    let watch = || {
        let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
        viewer.set_accepts(Accepts::Any);
        viewer
    };
    let (mut fast, mut slow, mut slower) = (watch(), watch(), watch());
    for sequence in 0..30 {
        publisher.publish(frame(sequence), SECOND + sequence * SECOND / 30).unwrap();
        fast.set_target(Some(10 * SECOND), SECOND);
        drain(&mut fast);
    }
    let now = 2 * SECOND;
    assert!(transcoders.lock().unwrap().is_empty(), "no viewer needs another rendition");
    slow.set_target(Some(9_000), now);
    slower.set_target(Some(8_000), now);
    assert_eq!((fast.rendition(), slow.rendition()), (Rendition::Source, Rendition::High));
    assert!(sequences(&drain(&mut slow)).is_empty() && sequences(&drain(&mut slower)).is_empty());
    let mut transcoder = transcoders.lock().unwrap().pop().unwrap();
    assert!(transcoders.lock().unwrap().is_empty(), "one transcoder for both");
    let first = job(&mut transcoder).unwrap();
    assert_eq!((first.frame.sequence, first.target, first.keyframe), (29, Some(8_000), true));
    transcode(&transcoder, &first);
    assert_eq!(sequences(&drain(&mut slow)), [29]);
    assert_eq!(sequences(&drain(&mut slower)), [29]);
    publisher.publish(frame(30), now).unwrap();
    assert_eq!(sequences(&drain(&mut fast)), [30]);
    let second = job(&mut transcoder).unwrap();
    assert!(!second.keyframe);
    transcode(&transcoder, &second);
    assert_eq!(sequences(&drain(&mut slow)), [30]);
    publisher.publish(frame(31), now).unwrap();
    drop(slow);
    assert!(job(&mut transcoder).is_none(), "the viewer that stays has not taken the last frame");
    drop(slower);
    assert!(matches!(transcoder.poll(&Context::from_waker(Waker::noop())), Poll::Ready(None)), "no viewer is left");
}

#[test]
fn a_viewer_whose_link_recovers_goes_back_to_the_source_without_a_gap() {
    let (hub, publisher, transcoders) = transcoded();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Any);
    for sequence in 0..30 {
        publisher.publish(frame(sequence), SECOND + sequence * SECOND / 30).unwrap();
    }
    viewer.set_target(Some(8_000), 2 * SECOND);
    drain(&mut viewer);
    let mut transcoder = transcoders.lock().unwrap().pop().unwrap();
    let mut seen = Vec::new();
    for sequence in 30..150 {
        let now = SECOND + sequence * SECOND / 30;
        viewer.set_target(Some(SECOND), now);
        publisher.publish(frame(sequence), now).unwrap();
        if let Some(job) = job(&mut transcoder) {
            transcode(&transcoder, &job);
        }
        seen.extend(sequences(&drain(&mut viewer)));
    }
    assert_eq!(viewer.rendition(), Rendition::Source);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]) && seen.len() >= 119, "{seen:?}");
}

#[test]
fn a_viewer_that_decodes_jpegs_only_gets_jpegs_from_any_source() {
    let (hub, publisher, transcoders) = transcoded();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Jpegs);
    publisher.publish(frame(0), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [0]);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let mut transcoder = transcoders.lock().unwrap().pop().unwrap();
    assert_eq!(transcoder.rendition(), Rendition::Jpeg);
    publisher.publish(frame(1), SECOND).unwrap();
    assert!(sequences(&drain(&mut viewer)).is_empty());
    let job = job(&mut transcoder).unwrap();
    transcoder.publish(config(), &job.frame);
    assert_eq!(sequences(&drain(&mut viewer)), [1]);
    publisher.configure(config()).unwrap();
    publisher.publish(frame(2), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [2]);
    assert!(matches!(transcoder.poll(&Context::from_waker(Waker::noop())), Poll::Ready(None)));
}

#[test]
fn the_viewers_of_a_failed_transcoder_get_the_source() {
    let (hub, publisher, transcoders) = transcoded();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Any);
    for sequence in 0..30 {
        publisher.publish(frame(sequence), SECOND + sequence * SECOND / 30).unwrap();
    }
    viewer.set_target(Some(8_000), 2 * SECOND);
    drop(transcoders.lock().unwrap().pop().unwrap());
    publisher.publish(frame(30), 2 * SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [30]);
}

#[test]
fn a_stream_is_as_old_as_its_newest_frame_even_if_that_is_no_keyframe() {
    let hub = Hub::default();
    let publisher = hub.publish(&name("door"), SECOND).unwrap();
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    for (sequence, now) in [(0, SECOND), (1, 3 * SECOND)] {
        let times = Times { captured: now - 40_000, ..Times::default() };
        publisher.publish(Frame { keyframe: sequence == 0, times, ..frame(sequence) }, now).unwrap();
    }
    assert_eq!(hub.stream("door", 3 * SECOND).unwrap().age_ms, Some(40.0));
}

#[test]
fn each_rendition_reports_its_viewers_and_their_lowest_capacity() {
    let (hub, transcoders) = (Hub::default(), std::sync::mpsc::channel());
    hub.transcode_with(move |transcoder| transcoders.0.send(transcoder).unwrap());
    let publisher = publish(&hub, SECOND);
    publisher.publish(frame(0), SECOND).unwrap();
    let viewers = [(Accepts::Source, 9_000_000), (Accepts::Source, 5_000_000)].map(|(accepts, capacity)| {
        let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
        viewer.set_accepts(accepts);
        viewer.set_capacity(Some(capacity));
        viewer
    });
    let reported = || {
        let renditions = hub.stream("door", SECOND).unwrap().renditions;
        renditions.iter().map(|one| (one.name, one.viewers, one.capacity)).collect::<Vec<_>>()
    };
    assert_eq!(reported(), [("source", 2, Some(5_000_000))]);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let mut page = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    page.set_accepts(Accepts::Jpegs);
    assert_eq!(reported(), [("source", 2, Some(5_000_000)), ("jpeg", 1, None)]);
    drop(viewers);
    assert_eq!(reported(), [("source", 0, None), ("jpeg", 1, None)]);
    drop(transcoders.1);
}

#[test]
fn the_service_of_another_hub_is_reported_until_the_publisher_changes() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let service = Service { rendition: Rendition::Low, capacity: 300_000, delivered: 5, full: 2, ..Service::default() };
    publisher.set_service(service);
    assert_eq!(viewer.service(), Some(service));
    let reported = hub.stream("door", SECOND).unwrap().service.unwrap();
    assert_eq!((reported.rendition, reported.capacity, reported.dropped.all_dropped()), ("low", Some(300_000), 2));
    drop(publisher);
    let _another = publish(&hub, SECOND);
    assert_eq!(viewer.service(), None);
}

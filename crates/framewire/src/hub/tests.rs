//! Scenarios of a hub, on a clock of their own.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Frame, Rendition, Times,
    wire::native::{Report, Service, State},
};

use super::*;
use crate::latency::Stage;

const SECOND: Micros = 1_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn config() -> Config {
    Config { codec: Codec::Jpeg, width: 640, height: 480, millifps: 30_000, extra: Bytes::new() }
}

fn frame(sequence: u64) -> Frame {
    Frame { sequence, keyframe: true, times: Times::default(), data: Bytes::from(vec![7; 100]) }
}

/// All events that wait for this viewer.
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
fn a_new_viewer_gets_a_picture_at_once() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    for sequence in 0..3 {
        publisher.publish(frame(sequence), SECOND).unwrap();
    }
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let events = drain(&mut viewer);
    assert_eq!(states(&events), [State::Live]);
    assert!(matches!(&events[1], Event::Config(given) if **given == config()));
    assert_eq!(sequences(&events), [2]);
}

#[test]
fn only_the_same_client_takes_a_stream_over_while_its_publisher_lives() {
    let hub = Hub::default();
    let [mine, other] = [1, 2].map(|byte| Some(Token([byte; 16])));
    let first = hub.publish_as(mine, &name("door"), SECOND).unwrap();
    first.configure(config()).unwrap();
    first.publish(frame(7), SECOND).unwrap();
    for stranger in [other, None] {
        assert_eq!(hub.publish_as(stranger, &name("door"), SECOND).unwrap_err(), Refused::NameTaken(name("door")));
    }
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let second = hub.publish_as(mine, &name("door"), SECOND).unwrap();
    assert_eq!(first.publish(frame(8), SECOND), Err(PublishError::Replaced(Replaced)));
    second.configure(config()).unwrap();
    second.publish(frame(0), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [1], "numbers rise");
    drop(first);
    assert_eq!(hub.stream("door", SECOND).unwrap().state, "live", "who was replaced has no say");
}

#[test]
fn a_frame_is_held_once_for_all_viewers() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let mut viewers: Vec<_> =
        (0..3).map(|_| hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap()).collect();
    let given = frame(0);
    let place = given.data.as_ptr();
    publisher.publish(given, SECOND).unwrap();
    for viewer in &mut viewers {
        let events = drain(viewer);
        let Some(Event::Frame(got)) = events.last() else { panic!("{events:?}") };
        assert_eq!(got.data.as_ptr(), place);
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
fn a_second_live_publisher_is_refused_and_a_returning_one_taken() {
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
fn viewers_see_one_rising_row_across_publishers_and_gaps_are_counted() {
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
fn a_stream_stalls_lives_again_and_is_forgotten() {
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
fn a_source_that_nobody_watches_is_idle_not_stalled() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let watched = publisher.viewers();
    publisher.publish(frame(0), SECOND).unwrap();
    hub.tick(3 * SECOND);
    assert_eq!(hub.stream("door", 3 * SECOND).unwrap().state, "idle");
    let viewer = hub.subscribe(&name("door"), Policy::Newest, false, 9 * SECOND).unwrap();
    assert_eq!(*watched.borrow(), 1);
    hub.tick(9 * SECOND + 1);
    assert_eq!(hub.stream("door", 9 * SECOND).unwrap().state, "idle");
    hub.tick(10 * SECOND + 1);
    assert_eq!(hub.stream("door", 10 * SECOND).unwrap().state, "stalled");
    drop(viewer);
    assert_eq!(*watched.borrow(), 0);
}

#[test]
fn an_unknown_stream_is_refused_with_those_there_are_or_waited_for() {
    let hub = Hub::default();
    let nothing = hub.subscribe(&name("yard"), Policy::Newest, false, SECOND).unwrap_err();
    assert!(nothing.to_string().contains("none at all"), "{nothing}");
    let publisher = publish(&hub, SECOND);
    let refused = hub.subscribe(&name("yard"), Policy::Newest, false, SECOND).unwrap_err();
    assert_eq!(refused.to_string(), "there is no stream 'yard'; there is 'door'");
    let mut viewer = hub.subscribe(&name("yard"), Policy::Newest, true, SECOND).unwrap();
    assert_eq!(hub.streams(SECOND).len(), 1, "one that is only waited for is not shown");
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
    assert_eq!(held.len(), hub.streams(1).len());
}

#[test]
fn the_end_of_a_source_reaches_those_who_watch_after_its_last_frame() {
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
fn who_cannot_decode_wishes_for_a_keyframe_and_gets_no_old_one() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let mut wishes = publisher.keyframe_requests();
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    publisher.on_feedback(move |news| teller.lock().unwrap().push(news));
    let give = |sequence, keyframe| publisher.publish(Frame { keyframe, ..frame(sequence) }, SECOND).unwrap();
    give(0, true);
    let mut first = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut first)), [0]);
    assert!(!wishes.has_changed().unwrap(), "the keyframe is the newest frame");
    give(1, false);
    let mut soon = hub.subscribe(&name("door"), Policy::Newest, false, 2 * SECOND - 1).unwrap();
    assert_eq!(sequences(&drain(&mut soon)), [0], "a picture of this second is better than none");
    drop(soon);
    let mut second = hub.subscribe(&name("door"), Policy::Newest, false, 2 * SECOND).unwrap();
    assert!(wishes.has_changed().unwrap());
    wishes.mark_unchanged();
    assert!(sequences(&drain(&mut second)).is_empty(), "a picture of before is not shown as now's");
    give(2, false);
    give(3, true);
    assert_eq!(sequences(&drain(&mut second)), [3]);
    assert_eq!(sequences(&drain(&mut first)), [1, 2, 3]);
    for sequence in 4..20 {
        give(sequence, false);
    }
    assert!(wishes.has_changed().unwrap(), "one that was too slow needs another");
    assert_eq!(
        *told.lock().unwrap(),
        [Feedback::Keyframe; 3],
        "for the two that joined, and for both that were too slow at once"
    );
}

#[test]
fn who_joins_a_long_run_is_led_up_to_now_and_its_way_is_not_counted() {
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
fn a_publisher_that_begins_in_the_middle_is_waited_for() {
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

/// A hub whose coders are kept here, and its stream of H.264.
fn coded() -> (Hub, Publisher, Arc<Mutex<Vec<Transcoder>>>) {
    let hub = Hub::default();
    let coders = Arc::new(Mutex::new(Vec::new()));
    let hired = coders.clone();
    hub.transcode_with(move |coder| hired.lock().unwrap().push(coder));
    let publisher = publish(&hub, SECOND);
    (hub, publisher, coders)
}

/// The next frame that this coder is to code.
fn job(coder: &mut Transcoder) -> Option<TranscodeJob> {
    match coder.poll(&Context::from_waker(Waker::noop())) {
        Poll::Ready(job) => job,
        Poll::Pending => None,
    }
}

/// Codes a frame, as a keyframe if that is asked for.
fn code(coder: &Transcoder, job: &TranscodeJob) {
    let config = Config { codec: Codec::H264, ..(*job.config).clone() };
    coder.publish(config, &Frame { keyframe: job.keyframe, ..job.frame.clone() });
}

#[test]
fn a_slow_viewer_gets_a_form_that_its_link_carries_coded_once_for_all_who_need_it() {
    let (hub, publisher, coders) = coded();
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
    assert!(coders.lock().unwrap().is_empty(), "nobody needs another form");
    slow.set_target(Some(9_000), now);
    slower.set_target(Some(8_000), now);
    assert_eq!((fast.rendition(), slow.rendition()), (Rendition::Source, Rendition::High));
    assert!(sequences(&drain(&mut slow)).is_empty() && sequences(&drain(&mut slower)).is_empty());
    let mut coder = coders.lock().unwrap().pop().unwrap();
    assert!(coders.lock().unwrap().is_empty(), "one coder for both");
    let first = job(&mut coder).unwrap();
    assert_eq!((first.frame.sequence, first.target, first.keyframe), (29, Some(8_000), true));
    code(&coder, &first);
    assert_eq!(sequences(&drain(&mut slow)), [29]);
    assert_eq!(sequences(&drain(&mut slower)), [29]);
    publisher.publish(frame(30), now).unwrap();
    assert_eq!(sequences(&drain(&mut fast)), [30]);
    let second = job(&mut coder).unwrap();
    assert!(!second.keyframe);
    code(&coder, &second);
    assert_eq!(sequences(&drain(&mut slow)), [30]);
    publisher.publish(frame(31), now).unwrap();
    drop(slow);
    assert!(job(&mut coder).is_none(), "the one that stays has not taken what it was given");
    drop(slower);
    assert!(matches!(coder.poll(&Context::from_waker(Waker::noop())), Poll::Ready(None)), "nobody takes it");
}

#[test]
fn a_viewer_whose_link_recovers_goes_back_to_the_source_without_a_gap() {
    let (hub, publisher, coders) = coded();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Any);
    for sequence in 0..30 {
        publisher.publish(frame(sequence), SECOND + sequence * SECOND / 30).unwrap();
    }
    viewer.set_target(Some(8_000), 2 * SECOND);
    drain(&mut viewer);
    let mut coder = coders.lock().unwrap().pop().unwrap();
    let mut seen = Vec::new();
    for sequence in 30..150 {
        let now = SECOND + sequence * SECOND / 30;
        viewer.set_target(Some(SECOND), now);
        publisher.publish(frame(sequence), now).unwrap();
        if let Some(job) = job(&mut coder) {
            code(&coder, &job);
        }
        seen.extend(sequences(&drain(&mut viewer)));
    }
    assert_eq!(viewer.rendition(), Rendition::Source);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]) && seen.len() >= 119, "{seen:?}");
}

#[test]
fn who_decodes_jpegs_only_gets_those_whatever_the_source_becomes() {
    let (hub, publisher, coders) = coded();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Jpegs);
    publisher.publish(frame(0), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [0]);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let mut coder = coders.lock().unwrap().pop().unwrap();
    assert_eq!(coder.rendition(), Rendition::Jpeg);
    publisher.publish(frame(1), SECOND).unwrap();
    assert!(sequences(&drain(&mut viewer)).is_empty());
    let job = job(&mut coder).unwrap();
    coder.publish(config(), &job.frame);
    assert_eq!(sequences(&drain(&mut viewer)), [1]);
    publisher.configure(config()).unwrap();
    publisher.publish(frame(2), SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [2]);
    assert!(matches!(coder.poll(&Context::from_waker(Waker::noop())), Poll::Ready(None)));
}

#[test]
fn a_coder_that_fails_leaves_its_viewers_to_the_source() {
    let (hub, publisher, coders) = coded();
    let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    viewer.set_accepts(Accepts::Any);
    for sequence in 0..30 {
        publisher.publish(frame(sequence), SECOND + sequence * SECOND / 30).unwrap();
    }
    viewer.set_target(Some(8_000), 2 * SECOND);
    drop(coders.lock().unwrap().pop().unwrap());
    publisher.publish(frame(30), 2 * SECOND).unwrap();
    assert_eq!(sequences(&drain(&mut viewer)), [30]);
}

#[test]
fn a_stream_is_as_old_as_its_newest_frame_whatever_that_needs() {
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
fn each_rendition_tells_its_viewers_and_the_slowest_of_their_links() {
    let (hub, coders) = (Hub::default(), std::sync::mpsc::channel());
    hub.transcode_with(move |coder| coders.0.send(coder).unwrap());
    let publisher = publish(&hub, SECOND);
    publisher.publish(frame(0), SECOND).unwrap();
    let viewers = [(Accepts::Source, 9_000_000), (Accepts::Source, 5_000_000)].map(|(takes, capacity)| {
        let mut viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
        viewer.set_accepts(takes);
        viewer.set_capacity(Some(capacity));
        viewer
    });
    let told = || {
        let forms = hub.stream("door", SECOND).unwrap().renditions;
        forms.iter().map(|form| (form.name, form.viewers, form.capacity)).collect::<Vec<_>>()
    };
    assert_eq!(told(), [("source", 2, Some(5_000_000))]);
    publisher.configure(Config { codec: Codec::H264, ..config() }).unwrap();
    let mut page = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    page.set_accepts(Accepts::Jpegs);
    assert_eq!(told(), [("source", 2, Some(5_000_000)), ("jpeg", 1, None)]);
    drop(viewers);
    assert_eq!(told(), [("source", 0, None), ("jpeg", 1, None)]);
    drop(coders.1);
}

#[test]
fn how_another_hub_serves_a_stream_is_told_until_it_has_another_publisher() {
    let hub = Hub::default();
    let publisher = publish(&hub, SECOND);
    let viewer = hub.subscribe(&name("door"), Policy::Newest, false, SECOND).unwrap();
    let service = Service { rendition: Rendition::Low, capacity: 300_000, delivered: 5, full: 2, ..Service::default() };
    publisher.set_service(service);
    assert_eq!(viewer.service(), Some(service));
    let told = hub.stream("door", SECOND).unwrap().service.unwrap();
    assert_eq!((told.rendition, told.capacity, told.dropped.all_dropped()), ("low", Some(300_000), 2));
    drop(publisher);
    let _another = publish(&hub, SECOND);
    assert_eq!(viewer.service(), None);
}

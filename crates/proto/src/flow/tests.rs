use framewire_netem::Path;
use proptest::prelude::*;

use super::*;

/// What happened to a frame.
#[derive(Debug)]
struct Arrival {
    captured: Micros,
    age: Micros,
    bytes: usize,
}

/// A camera of 30 frames a second with an encoder. Frames have 200 bytes to 50 KB.
struct Camera {
    /// The size of frames in percent of their target.
    fill: u64,
    /// The encoder's error: frames are up to this many percent smaller or larger.
    miss: u64,
    /// Reports are delayed by up to this many µs.
    late: Micros,
    /// From when on the traffic of others keeps a queue of so many µs on the link.
    others: Option<(Micros, Micros)>,
    /// The state of the random number generator.
    random: u64,
}

impl Camera {
    const STEADY: Self = Self { fill: 100, miss: 0, late: 0, others: None, random: 1 };
    const REAL: Self = Self { miss: 25, late: 1_500, ..Self::STEADY };
    const SMALL_FRAMES: Self = Self { fill: 60, ..Self::REAL };

    /// A random number from 0 to `most`.
    fn random(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % (most + 1)
    }

    fn size(&mut self, target: Option<u64>) -> usize {
        let aim = target.map_or(20_000, |target| target / 8 / 30);
        let share = self.fill * (100 - self.miss + self.random(2 * self.miss));
        ((aim * share / 10_000) as usize).clamp(200, 50_000)
    }

    /// Sends the camera's frames over this link until this time.
    fn send(mut self, path: &mut Path, until: Micros) -> Vec<Arrival> {
        let mut flow = Flow::default();
        flow.set_round_trip(2 * path.delay);
        let (mut seen, mut reports, mut sequence) = (Vec::new(), VecDeque::<(Micros, u64)>::new(), 0);
        let (mut waiting, mut next, mut pongs) = (None, 0, VecDeque::<(Micros, Micros)>::new());
        for now in (0..until).step_by(500) {
            while let Some((at, sequence)) = reports.front().copied().filter(|(at, _)| *at <= now) {
                flow.on_report(sequence, at);
                reports.pop_front();
            }
            while let Some((at, pinged)) = pongs.front().copied().filter(|(at, _)| *at <= now) {
                flow.on_pong(pinged, at);
                pongs.pop_front();
            }
            if now >= next {
                waiting = Some(now);
                next += DEFAULT_INTERVAL;
            }
            if flow.is_open(now)
                && let Some(captured) = waiting.take()
            {
                let queue = self.others.filter(|(from, _)| *from <= now).map_or(0, |(_, queue)| queue);
                flow.on_ping_sent(now);
                pongs.push_back((path.send(PING, now) + queue + path.delay, now));
                let bytes = self.size(flow.target());
                flow.on_sent(sequence, bytes, now);
                let arrived = path.send(bytes, now) + queue;
                seen.push(Arrival { captured, age: arrived - captured, bytes });
                let reported = arrived + path.delay + self.random(self.late);
                reports.push_back((reported.max(reports.back().map_or(0, |last| last.0)), sequence));
                sequence += 1;
            }
        }
        seen
    }
}

/// Bytes of a ping.
const PING: usize = 20;
const SECOND: Micros = 1_000_000;
const MEGABIT: u64 = 1_000_000;
/// 20, 4, 2 and 20 Mbit/s, ten seconds each.
const STEPS: [(Micros, u64); 4] =
    [(0, 20 * MEGABIT), (10 * SECOND, 4 * MEGABIT), (20 * SECOND, 2 * MEGABIT), (30 * SECOND, 20 * MEGABIT)];

struct Phase {
    fps: f64,
    p95: Micros,
    max: Micros,
    load: f64,
}

fn phase(seen: &[Arrival], from: Micros, rate: u64) -> Phase {
    let within: Vec<&Arrival> =
        seen.iter().filter(|seen| (from..from + 10 * SECOND).contains(&seen.captured)).collect();
    let mut ages: Vec<_> = within.iter().map(|seen| seen.age).collect();
    ages.sort_unstable();
    let bits: usize = within.iter().map(|seen| 8 * seen.bytes).sum();
    Phase {
        fps: within.len() as f64 / 10.0,
        p95: ages[ages.len() * 95 / 100],
        max: ages[ages.len() - 1],
        load: bits as f64 / 10.0 / rate as f64,
    }
}

#[test]
fn frames_stay_fresh_and_fill_the_link_while_it_falls_and_rises() {
    for (delay, burst) in [(200, 0), (10_000, 0), (30_000, 0), (200, 24_000), (30_000, 24_000)] {
        for camera in [Camera::STEADY, Camera::REAL] {
            let miss = camera.miss;
            let seen = camera.send(&mut Path { burst, ..Path::new(&STEPS, delay) }, 40 * SECOND);
            for (from, rate) in STEPS {
                let Phase { fps, p95, max, load } = phase(&seen, from, rate);
                let figures = format!(
                    "{delay} µs, burst {burst}, {miss} %, {rate} bit/s: {fps} fps, p95 {p95}, max {max}, load {load:.2}"
                );
                println!("{figures}");
                assert!(fps >= 29.0, "{figures}");
                // The sender learns of the fall one round trip later.
                assert!(p95 < 80_000 + delay && max < 220_000 + 2 * delay, "{figures}");
                assert!(load > 0.8 || rate > 12 * MEGABIT, "{figures}");
            }
        }
    }
}

#[test]
fn after_an_outage_the_link_is_used_at_once_and_few_frames_were_queued() {
    for camera in [Camera::REAL, Camera::SMALL_FRAMES] {
        let fill = camera.fill as usize;
        let mut path = Path::new(&[(0, 8 * MEGABIT), (5 * SECOND, 0), (10 * SECOND, 8 * MEGABIT)], 10_000);
        let seen = camera.send(&mut path, 15 * SECOND);
        let old = seen.iter().filter(|seen| seen.captured < 10 * SECOND && seen.age > SECOND).count();
        assert!(old <= MAX_UNREPORTED + 1, "{old} frames were queued");
        let first = seen.iter().find(|seen| seen.captured >= 9_900_000).unwrap();
        assert!(first.captured + first.age < 10_200_000, "{first:?}");
        let full = seen.iter().find(|seen| seen.captured > 10 * SECOND && seen.bytes >= 200 * fill);
        assert!(full.is_some_and(|full| full.captured < 12 * SECOND), "{full:?}");
    }
}

#[test]
fn a_queue_that_others_keep_filled_is_not_taken_for_a_slow_link() {
    for camera in [Camera::STEADY, Camera::REAL] {
        // A download takes half of the link and keeps 65 ms of it in the queue.
        let camera = Camera { others: Some((10 * SECOND, 65_000)), ..camera };
        let mut path = Path::new(&[(0, 8 * MEGABIT), (10 * SECOND, 4 * MEGABIT)], 10_000);
        let seen = camera.send(&mut path, 20 * SECOND);
        let Phase { fps, p95, load, .. } = phase(&seen, 10 * SECOND, 4 * MEGABIT);
        assert!(fps > 28.5 && load > 0.6 && p95 < 145_000, "{fps} fps, p95 {p95}, load {load:.2}");
    }
}

#[test]
fn small_frames_raise_an_estimate_that_is_far_too_low() {
    let mut camera = Camera::SMALL_FRAMES;
    let mut flow = Flow { link: CapacityEstimator::new(MIN_CAPACITY), reports: Reports::Yes, ..Flow::default() };
    let mut path = Path::new(&[(0, 20 * MEGABIT)], 1_000);
    flow.set_round_trip(2_000);
    for sequence in 0..120 {
        let now = sequence * DEFAULT_INTERVAL;
        let bytes = camera.size(flow.target());
        flow.on_sent(sequence, bytes, now);
        flow.on_report(sequence, path.send(bytes, now) + 1_000);
    }
    assert!(flow.capacity().unwrap() > 12 * MEGABIT, "{:?}", flow.capacity());
}

#[test]
fn after_a_reset_frames_of_the_lost_connection_are_not_waited_for() {
    let mut flow = Flow::default();
    for sequence in 0..10 {
        let now = sequence * DEFAULT_INTERVAL;
        flow.on_sent(sequence, 10_000, now);
        flow.on_report(sequence, now + 10_000);
    }
    let before = flow.target();
    let lost = 10 * DEFAULT_INTERVAL;
    (10..12).for_each(|sequence| flow.on_sent(sequence, 10_000, lost));
    assert!(!flow.is_open(lost + 5 * SECOND));
    flow.reset();
    assert!(flow.is_open(lost + 5 * SECOND));
    flow.on_report(11, lost + 5 * SECOND);
    assert_eq!(flow.target(), before, "a report from before the reset measures nothing");
}

/// A flow that has measured a link of 16 Mbit/s with a round trip of 60 ms, and the number of the next frame.
fn measured_flow() -> (Flow, u64) {
    let mut flow = Flow::default();
    flow.set_round_trip(60_000);
    let mut now = 0;
    for sequence in 0..10 {
        flow.on_sent(sequence, 60_000, now);
        now += 60_000 + 30_000;
        flow.on_report(sequence, now);
    }
    (flow, 10)
}

#[test]
fn frames_on_a_new_connection_fit_the_congestion_window() {
    let frame = |flow: &Flow| flow.target().unwrap() as usize / 30 / 8;
    let (mut flow, mut next) = measured_flow();
    let usual = frame(&flow);
    flow.reset();
    let (mut sizes, mut now) = (Vec::new(), 2 * SECOND);
    while sizes.last() != Some(&usual) && sizes.len() < 10 {
        let bytes = frame(&flow);
        sizes.push(bytes);
        flow.on_sent(next, bytes, now);
        now += 60_000 + transfer_time(bytes, 16 * MEGABIT);
        flow.on_report(next, now);
        next += 1;
    }
    assert!(sizes[0] <= INITIAL_WINDOW && sizes[1] <= 2 * INITIAL_WINDOW && sizes.len() <= 4, "{sizes:?} of {usual}");
    flow.set_round_trip(1_000);
    flow.reset();
    assert_eq!(frame(&flow), usual, "slow start does not limit frames at a short round trip");
    let before = flow.capacity().unwrap();
    assert!(frame(&Flow::resumed(before, 60_000)) <= INITIAL_WINDOW && frame(&Flow::resumed(before, 1_000)) >= usual);
}

#[test]
fn an_outage_keeps_the_estimate_and_a_slow_link_lowers_it() {
    let (mut flow, next) = measured_flow();
    let (before, now) = (flow.capacity(), 2 * SECOND);
    flow.on_sent(next, 60_000, now);
    flow.on_report(next, now + 5 * SECOND);
    assert!(flow.capacity() == before && flow.target().unwrap() < 4 * MEGABIT);
    flow.on_sent(next + 1, 14_000, now + 5 * SECOND);
    flow.on_report(next + 1, now + 7 * SECOND);
    assert!(flow.capacity().unwrap() < MEGABIT / 10, "a small frame took two seconds");
}

#[test]
fn a_gop_replay_crosses_a_long_round_trip_many_times_as_fast() {
    let crossed = |speed| {
        let mut flow = Flow::default();
        flow.set_round_trip(100_000);
        flow.set_speed(speed);
        let (mut sent, mut reports) = (0, VecDeque::new());
        for now in (0..2 * SECOND).step_by(1_000) {
            while reports.front().is_some_and(|(_, at)| *at <= now) {
                flow.on_report(reports.pop_front().unwrap().0, now);
            }
            while flow.is_open(now) {
                flow.on_sent(sent, 1_000, now);
                reports.push_back((sent, now + 100_000));
                sent += 1;
            }
        }
        sent
    };
    let (usual, fast) = (crossed(1), crossed(8));
    assert!((90..=130).contains(&usual) && (450..=600).contains(&fast), "{usual} {fast}");
}

#[test]
fn untimed_reports_open_the_flow_and_do_not_change_the_estimate() {
    let mut flow = Flow::default();
    for number in 0..30 {
        flow.on_sent(number, 50_000, 33_333 * number);
        flow.on_report(number, 33_333 * number + 10_000);
    }
    let before = flow.capacity();
    for number in 30..60 {
        let now = 200_000 * number;
        flow.on_sent(number, 50_000, now);
        assert!(!flow.is_open(now + 100_000), "frame {number} must arrive first");
        flow.on_untimed_report(number, now + 150_000);
        assert!(flow.is_open(now + 150_000), "frame {number} has arrived");
    }
    assert_eq!(flow.capacity(), before);
    flow.on_untimed_report(1_000, 20_000_000);
    assert_eq!(flow.capacity(), before);
}

#[test]
fn the_second_frame_waits_until_it_is_known_whether_the_receiver_reports() {
    let begun = || {
        let mut flow = Flow::default();
        flow.on_sent(1, 100_000, 10);
        flow
    };
    let mut flow = begun();
    flow.on_pong(10, 20);
    assert!(!flow.is_open(3 * SECOND), "the ping was sent before the frame");
    flow.on_report(1, 3 * SECOND);
    assert!(flow.is_open(3 * SECOND));
    let mut flow = begun();
    flow.on_pong(11, 20);
    assert!(flow.is_open(20), "it answered a later ping and did not report");
    flow.on_sent(2, 100_000, 20);
    assert!(flow.is_open(20));
    flow.on_report(2, 20_000);
    flow.on_sent(3, 1_000_000, 20_000);
    assert!(!flow.is_open(20_001), "it reports after all");
}

#[test]
fn a_maximum_age_makes_frames_small_enough_to_arrive_in_time() {
    let mut flow = Flow::default();
    flow.set_round_trip(20_000);
    for sequence in 0..10 {
        let now = sequence * DEFAULT_INTERVAL;
        flow.on_sent(sequence, 10_000, now);
        flow.on_report(sequence, now + 20_000 + 10_000);
    }
    let keeps_up = flow.target().unwrap();
    flow.set_max_age(Some(500_000));
    assert_eq!(flow.target(), Some(keeps_up), "the maximum age does not limit the frames");
    flow.set_max_age(Some(30_000));
    let frame = flow.target().unwrap() / 30 / 8;
    // 10 KB take 10 ms, the one-way delay is 10 ms, and two frames may be in flight.
    assert!((9_000..=10_000).contains(&frame), "{frame}");
    flow.set_max_age(Some(1));
    assert_eq!(flow.target(), Some(MIN_CAPACITY), "no frame could arrive in time");
}

#[test]
fn a_link_is_filled_although_reports_arrive_with_jitter() {
    for delay in [1_000, 30_000] {
        let rates = [(0, 4 * MEGABIT), (10 * SECOND, 2 * MEGABIT), (20 * SECOND, 20 * MEGABIT)];
        let camera = Camera { late: 40_000, ..Camera::REAL };
        let seen = camera.send(&mut Path::new(&rates, delay), 30 * SECOND);
        for (from, rate) in rates {
            let Phase { p95, load, .. } = phase(&seen, from, rate);
            // The largest frames, 50 KB, fill 60 % of the fastest link.
            assert!(load > 0.45 && p95 < 100_000 + delay, "{delay} µs, {rate} bit/s: load {load:.2}, p95 {p95}");
        }
    }
}

/// An event of a flow, in any order and at any time.
#[derive(Debug, Clone)]
enum Event {
    Sent(usize),
    Reported(u64, usize),
    Pong(Micros),
    RoundTrip(Micros),
    MaxAge(Option<Micros>),
    Ping,
    FrameRate(u32),
    Speed(u64),
    Reset,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..20_000_000_usize).prop_map(Event::Sent),
        4 => (prop_oneof![0..64_u64, any::<u64>()], any::<usize>()).prop_map(|(sequence, missing)| Event::Reported(sequence, missing)),
        1 => Just(Event::Ping),
        1 => prop_oneof![0..2_000_000_u64, any::<u64>()].prop_map(Event::Pong),
        1 => prop_oneof![0..200_000_u64, any::<u64>()].prop_map(Event::RoundTrip),
        1 => any::<Option<u64>>().prop_map(Event::MaxAge),
        1 => any::<u32>().prop_map(Event::FrameRate),
        1 => any::<u64>().prop_map(Event::Speed),
        1 => Just(Event::Reset),
    ]
}

proptest! {
    /// False reports and clocks that jump break nothing and let nothing grow without bound.
    #[test]
    fn the_bounds_hold_whatever_a_peer_reports(
        known in any::<Option<(u64, u64)>>(),
        events in prop::collection::vec((event(), prop_oneof![0..50_000_u64, 0..1_u64 << 40]), 0..100),
    ) {
        let mut flow = known.map_or_else(Flow::default, |(capacity, way)| Flow::resumed(capacity, way));
        let (mut sequence, mut now) = (0, 0_u64);
        for (event, later) in events {
            now += later;
            match event {
                Event::Sent(bytes) => {
                    flow.on_sent(sequence, bytes, now);
                    sequence += 1;
                }
                Event::Reported(sequence, missing) => flow.on_partial_report(sequence, missing, now),
                Event::Ping => flow.on_ping_sent(now),
                Event::Pong(sent) => flow.on_pong(sent, now),
                Event::RoundTrip(round_trip) => flow.set_round_trip(round_trip),
                Event::MaxAge(max_age) => flow.set_max_age(max_age),
                Event::FrameRate(millifps) => {
                    let codec = crate::Codec::Jpeg;
                    flow.set_frame_rate(&Config::new(codec, 8, 8, millifps));
                }
                Event::Speed(times) => flow.set_speed(times),
                Event::Reset => flow.reset(),
            }
            prop_assert!(flow.unreported.len() <= MAX_REMEMBERED && flow.link.samples.len() <= capacity::SAMPLE_COUNT);
            prop_assert!(flow.capacity().is_none_or(|capacity| capacity >= MIN_CAPACITY));
            prop_assert!(flow.target().is_none_or(|target| target <= flow.capacity().unwrap_or(0)));
            prop_assert_eq!(flow.is_open(now), flow.opens_at(now).is_some_and(|at| at <= now));
        }
        // Once all frames are reported the next may be sent.
        flow.on_report(sequence.saturating_sub(1), now);
        prop_assert!(flow.newest.is_none() || flow.is_open(now));
    }

    /// On any steady link, frames stay fresh and the link is used.
    #[test]
    fn a_steady_link_is_used_and_its_frames_are_fresh(
        rate in 1_000_000..30_000_000_u64,
        delay in 100..80_000_u64,
        burst in 0..12_000_u64,
        miss in 0..30_u64,
        random in any::<u64>(),
    ) {
        let camera = Camera { miss, random, ..Camera::REAL };
        let seen = camera.send(&mut Path { burst: rate * burst / SECOND, ..Path::new(&[(0, rate)], delay) }, 20 * SECOND);
        let Phase { fps, p95, load, .. } = phase(&seen, 10 * SECOND, rate);
        prop_assert!(fps >= 29.0 && p95 < 4 * DEFAULT_INTERVAL + delay, "{fps} fps, p95 {p95}");
        prop_assert!(load > 0.75 || rate > 12 * MEGABIT, "load {load}");
    }
}

#[test]
fn a_link_that_rises_is_filled_within_a_second_and_a_half() {
    let mut path = Path::new(&[(0, 2 * MEGABIT), (10 * SECOND, 20 * MEGABIT)], 10_000);
    let seen = Camera::REAL.send(&mut path, 15 * SECOND);
    let full = seen.iter().find(|seen| seen.captured > 10 * SECOND && seen.bytes >= 50_000).unwrap();
    assert!(full.captured < 11_500_000, "{full:?}");
}

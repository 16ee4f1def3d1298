//! Scenarios with two ends on a simulated link.

use framewire_proto::{
    Micros,
    flow::{Flow, MAX_UNREPORTED},
    wire::native::{Message, Report},
};

use crate::util::{Link, Pair, frame};

const CLIENT: usize = 0;
const HUB: usize = 1;
const FAST: u64 = 1_000_000_000;

#[test]
fn two_ends_exchange_hellos_and_measure_their_clock_offset() {
    let links = [Link::new(&[20_000], FAST), Link::new(&[20_000], FAST)];
    let mut pair = Pair::new([7_000_000, 90_000_000_000], links);
    pair.pass(50_000);
    for end in [CLIENT, HUB] {
        let received = &pair.ends[end].received;
        assert!(matches!(received.as_slice(), [(_, Message::Hello { .. })]), "{received:?}");
    }
    let truth = pair.time(HUB).cast_signed() - pair.time(CLIENT).cast_signed();
    assert!(pair.ends[CLIENT].offset.theirs_minus_ours().unwrap().abs_diff(truth) <= 200);
    assert!(pair.ends[HUB].offset.theirs_minus_ours().unwrap().abs_diff(-truth) <= 200);
    assert!(pair.ends[HUB].offset.round_trip().unwrap().abs_diff(40_000) <= 400);
}

#[test]
fn the_clock_offset_is_measured_over_a_link_with_high_jitter() {
    // Some sample has a low delay in both directions. Otherwise half of the extra delay would be the error.
    let there = Link::new(&[80_000, 5_000, 130_000, 61_000, 90_000], FAST);
    let back = Link::new(&[2_000, 300_000, 2_000, 70_000, 9_000, 44_000, 5_000], FAST);
    let mut pair = Pair::new([500_000_000, 1], [there, back]);
    pair.pass(9_000_000);
    let truth = pair.time(HUB).cast_signed() - pair.time(CLIENT).cast_signed();
    for (end, truth) in [(CLIENT, truth), (HUB, -truth)] {
        let offset = &pair.ends[end].offset;
        let wrong = offset.theirs_minus_ours().unwrap().abs_diff(truth);
        let most = offset.round_trip().unwrap() / 2;
        assert!(wrong <= most + 200, "{wrong} µs wrong, at most {most} allowed");
        assert!(most < 30_000, "a sample with a short round trip is used, not one of {}", 2 * most);
    }
}

/// Sends 60 KB frames at 30 a second for 10 s over a link of 2 Mbit/s. Only the newest frame waits at the sender. Returns each
/// frame's age on arrival.
fn ages_over_a_slow_link(reports: bool) -> Vec<Micros> {
    let links = [Link::new(&[10_000], FAST), Link::new(&[10_000], 250_000)];
    let mut pair = Pair::new([1, 1], links);
    let (mut flow, mut waiting) = (Flow::default(), None);
    let (mut seen_by_client, mut seen_by_hub) = (0, 0);
    let mut ages = Vec::new();
    for millisecond in 0..10_000_u64 {
        if millisecond % 33 == 0 {
            let mut newest = frame(millisecond / 33, 60_000);
            newest.times.captured = pair.time(HUB);
            waiting = Some(newest);
        }
        if let Some(frame) = waiting.take_if(|_| flow.is_open(pair.now)) {
            flow.on_sent(frame.sequence, frame.data.len(), pair.now);
            pair.ends[HUB].send_message(&Message::Frame(frame));
        }
        pair.pass(1_000);
        let client = &mut pair.ends[CLIENT];
        for (received, message) in client.received.split_off(seen_by_client) {
            let Message::Frame(frame) = message else { continue };
            ages.push(received - frame.times.captured);
            if reports {
                client.send_message(&Message::Report(Report {
                    sequence: frame.sequence,
                    received,
                    ..Report::default()
                }));
            }
        }
        seen_by_client = client.received.len();
        for (_, message) in &pair.ends[HUB].received[seen_by_hub..] {
            if let Message::Report(report) = message {
                flow.on_report(report.sequence, pair.now);
            }
        }
        seen_by_hub = pair.ends[HUB].received.len();
        pair.ends[HUB].answered.take().into_iter().for_each(|pinged| flow.on_pong(pinged, pair.now));
    }
    ages
}

#[test]
fn a_receiver_that_reports_gets_no_old_frames() {
    let ages = ages_over_a_slow_link(true);
    // A frame takes 240 ms on this link, so with two in flight each is at most 480 ms old.
    let bound = MAX_UNREPORTED as u64 * 240_000 + 60_000;
    let settled = &ages[ages.len() / 2..];
    assert!(settled.iter().all(|age| *age <= bound), "{settled:?}");
    assert!(ages.len() >= 38, "the link is kept busy: {} frames", ages.len());
}

#[test]
fn a_receiver_that_never_reports_gets_frames_without_a_bound() {
    let ages = ages_over_a_slow_link(false);
    assert!(ages.len() >= 38, "{} frames", ages.len());
    assert!(*ages.last().unwrap() > 5_000_000, "this simulated link has an unbounded queue");
}

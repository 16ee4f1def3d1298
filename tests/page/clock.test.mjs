// The offset between two clocks, and the latency figures that stand on it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ClockOffset, LatencyHistory, STAGES, backoff } from "../../crates/framewire/web/wire.js";

const SECOND = 1_000_000;

/** Adds a ping that was sent at `pinged` and took this long each way, to a hub whose clock is `ahead`. */
function add(clock, pinged, there, back, ahead = 0) {
  const received = pinged + there + ahead;
  clock.add({ pinged, received, sent: received + 30 }, pinged + there + 30 + back);
}

test("the offset comes from the shortest round trip", () => {
  const clock = new ClockOffset();
  assert.equal(clock.hubMinusPage, undefined);
  assert.equal(clock.roundTrip, undefined);
  add(clock, 1000, 90_000, 500, 7 * SECOND);
  add(clock, 200_000, 400, 420, 7 * SECOND);
  add(clock, 300_000, 500, 80_000, 7 * SECOND);
  assert.equal(clock.roundTrip, 820);
  assert.ok(Math.abs(clock.hubMinusPage - 7 * SECOND) <= 10, String(clock.hubMinusPage));
});

test("a sample is used for ten seconds", () => {
  const clock = new ClockOffset();
  add(clock, 1, 10, 10, 0);
  add(clock, 9 * SECOND, 5000, 5000, 1234);
  assert.equal(clock.roundTrip, 20);
  add(clock, 10 * SECOND + 100, 5000, 5000, 1234);
  assert.equal(clock.roundTrip, 10_000);
  assert.equal(clock.hubMinusPage, 1234);
});

test("at four pings a second the samples of all ten seconds are kept", () => {
  const clock = new ClockOffset();
  add(clock, 1000, 100, 100);
  for (let turn = 1; turn <= 38; turn += 1) add(clock, 1000 + turn * 250_000, 400, 400);
  assert.equal(clock.roundTrip, 200, "the first sample is 9.5 s old");
  for (let turn = 39; turn <= 42; turn += 1) add(clock, 1000 + turn * 250_000, 400, 400);
  assert.equal(clock.roundTrip, 800);
});

test("the samples are bounded, however many pongs a hub sends", () => {
  const clock = new ClockOffset();
  add(clock, 1000, 100, 100);
  for (let turn = 1; turn <= 47; turn += 1) add(clock, 1000 + turn, 400, 400);
  assert.equal(clock.roundTrip, 200);
  add(clock, 1048, 400, 400);
  assert.equal(clock.roundTrip, 800);
});

test("impossible times are ignored", () => {
  const clock = new ClockOffset();
  clock.add({ pinged: 500, received: 10, sent: 20 }, 400);
  clock.add({ pinged: 500, received: 20, sent: 10 }, 600);
  clock.add({ pinged: 500, received: 0, sent: 1_000_000 }, 600);
  assert.equal(clock.hubMinusPage, undefined);
  assert.equal(clock.pingInterval, 100);
});

test("pings slow down after five answers", () => {
  const clock = new ClockOffset();
  const intervals = [];
  for (let turn = 0; turn < 7; turn += 1) {
    intervals.push(clock.pingInterval);
    add(clock, turn * 1000, 10, 10);
  }
  assert.deepEqual(intervals, [100, 100, 100, 100, 100, 250, 250]);
});

test("the wait between attempts doubles up to ten seconds and is random", () => {
  const longest = [500, 1000, 2000, 4000, 8000, 10_000, 10_000];
  longest.forEach((most, attempts) => {
    const waits = Array.from({ length: 50 }, () => backoff(attempts));
    assert.ok(waits.every((wait) => wait >= most / 2 && wait <= most), `${attempts}: ${waits}`);
    assert.ok(Math.max(...waits) - Math.min(...waits) > most / 4, `${attempts}: ${waits}`);
  });
  assert.ok(backoff(10_000) <= 10_000);
});

/** A frame captured at `captured` on the hub's clock, which is a second ahead of the page's. */
function shownFrame(captured, show = 8000) {
  const times = { captured, encoded: captured + 1000, sent: captured + 3000, received: captured + 6000, forwarded: captured + 10_000 };
  const arrived = times.forwarded - SECOND + 5000;
  return { times, arrived, decoded: arrived + 6000, shown: arrived + 6000 + show };
}

test("each stage of a frame's latency is measured", () => {
  const history = new LatencyHistory();
  const frame = shownFrame(5 * SECOND);
  history.add(frame, SECOND);
  const summary = history.summary(frame.shown);
  const medians = Object.fromEntries(Object.entries(summary).map(([stage, { p50 }]) => [stage, p50]));
  assert.deepEqual(medians, { encode: 1, send: 2, uplink: 3, hub: 4, downlink: 5, decode: 6, show: 8, total: 29 });
  assert.deepEqual(Object.keys(summary), [...STAGES, "total"]);
});

test("a stage is left out while its times or the clock's offset are not known", () => {
  const history = new LatencyHistory();
  const frame = shownFrame(5 * SECOND);
  history.add({ ...frame, times: { ...frame.times, captured: 0, received: 0 } }, undefined);
  assert.deepEqual(Object.keys(history.summary(frame.shown)), ["send", "decode", "show"]);
});

test("no stage is shorter than nothing", () => {
  const history = new LatencyHistory();
  const frame = shownFrame(5 * SECOND);
  history.add(frame, SECOND - 9000);
  assert.equal(history.summary(frame.shown).downlink.p50, 0);
});

test("median, 95th percentile and maximum are those of the last ten seconds", () => {
  const history = new LatencyHistory();
  const frames = Array.from({ length: 101 }, (_, index) => shownFrame(20 * SECOND + index * 10_000, index * 1000));
  history.add(shownFrame(5 * SECOND, 900_000), SECOND);
  for (const frame of frames) history.add(frame, SECOND);
  assert.deepEqual(history.summary(frames.at(-1).shown).show, { p50: 50, p95: 95, max: 100 });
  assert.deepEqual(history.summary(frames.at(-1).shown + 11 * SECOND), {});
});

test("the frame rate is that of the last two seconds", () => {
  const history = new LatencyHistory();
  assert.equal(history.fps(0), 0);
  history.add(shownFrame(SECOND), SECOND);
  assert.equal(history.fps(shownFrame(SECOND).shown), 0, "one frame is no rate");
  history.add(shownFrame(SECOND + 500_000), SECOND);
  assert.equal(history.fps(shownFrame(SECOND + 500_000).shown), 2);
  for (let frame = 0; frame < 60; frame += 1) history.add(shownFrame(5 * SECOND + frame * 100_000), SECOND);
  const last = shownFrame(5 * SECOND + 59 * 100_000).shown;
  assert.equal(history.fps(last).toFixed(3), "10.000");
  assert.equal(history.fps(last + 2 * SECOND), 0, "no frame for two seconds");
  history.clear();
  assert.equal(history.fps(last), 0);
  assert.deepEqual(history.summary(last), {});
});

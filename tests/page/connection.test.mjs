// A viewer's connection: pings, reports, silence, spare connections and reconnecting, on a fake clock and fake sockets.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../../crates/framewire/web/wire.js";
import { FakeBrowser } from "./support/browser.mjs";
import * as hub from "./support/messages.mjs";

const URL = "ws://hub.test:7070/streams/door/ws";

/** A connection that records what it reports, with its first socket open if `open`. */
function connect({ open = true } = {}) {
  const browser = new FakeBrowser();
  const log = [];
  const on = Object.fromEntries(
    ["reconnect", "state", "config", "frame", "service", "error"].map((name) => [name, (body) => log.push([name, body])]),
  );
  const connection = new Connection(URL, on, browser);
  connection.open();
  if (open) browser.socket.open();
  const states = () => log.filter(([name]) => name === "state").map(([, state]) => state);
  return { browser, connection, log, on, states, socket: browser.socket };
}

/** Lets time pass while the hub answers all pings on this socket within 10 ms. */
function advanceAnswered(browser, socket, ms) {
  for (let passed = 0; passed < ms; passed += 10) {
    browser.advance(10);
    hub.answerPings(socket);
  }
}

/** Lets time pass until the connection has a spare. */
function makeQuiet(browser) {
  const sockets = browser.sockets.length;
  browser.advance(800);
  assert.equal(browser.sockets.length, sockets + 1);
}

test("it dials the stream's URL and names its session", () => {
  const { browser, socket, log } = connect({ open: false });
  assert.equal(browser.sockets.length, 1);
  assert.equal(socket.url.origin + socket.url.pathname, "ws://hub.test:7070/streams/door/ws");
  assert.deepEqual(Object.fromEntries(socket.url.searchParams), {
    session: "00112233445566778899aabbccddeeff",
    turn: "1",
  });
  assert.equal(socket.binaryType, "arraybuffer");
  assert.deepEqual(log, [["state", "connecting"], ["reconnect", undefined]]);
  assert.deepEqual(socket.sent, [], "nothing can be sent before the handshake");
});

test("opening twice dials once", () => {
  const { browser, connection } = connect();
  connection.open();
  assert.equal(browser.sockets.length, 1);
});

test("it pings every 100 ms for the first five answers, then four times a second", () => {
  const { browser, socket } = connect();
  const start = browser.time;
  advanceAnswered(browser, socket, 3000);
  const pings = hub.sent(socket, "ping").map(({ at }) => Math.round(at - start));
  assert.deepEqual(pings.slice(0, 6), [0, 100, 200, 300, 400, 500]);
  assert.deepEqual(pings.slice(6), [750, 1000, 1250, 1500, 1750, 2000, 2250, 2500, 2750, 3000]);
});

test("pings without an answer go on every 100 ms", () => {
  const { browser, socket } = connect();
  browser.advance(600);
  assert.equal(hub.sent(socket, "ping").length, 7);
});

test("a ping carries the page's clock in microseconds", () => {
  const { browser, socket } = connect();
  assert.deepEqual(hub.sent(socket, "ping")[0].numbers, [BigInt(Math.floor(browser.time * 1000) + 1)]);
});

test("a pong measures the round trip and the hub's clock", () => {
  const { browser, connection, socket } = connect();
  const [{ numbers }] = hub.sent(socket, "ping");
  const pinged = Number(numbers[0]);
  browser.advance(40);
  socket.receive(hub.pong(pinged, pinged + 9_000_000 + 15_000, pinged + 9_000_000 + 25_000));
  assert.equal(connection.clock.roundTrip, 30_000);
  assert.equal(connection.clock.hubMinusPage, 9_000_000);
});

test("a ping is answered at once with its own time", () => {
  const { browser, socket } = connect();
  browser.advance(50);
  socket.receive(hub.ping(5_011_020));
  const time = BigInt(Math.floor(browser.time * 1000) + 1);
  assert.deepEqual(hub.sent(socket, "pong").map(({ numbers }) => numbers), [[5_011_020n, time, time]]);
});

test("states, configurations, service reports and errors are delivered in order", () => {
  const { socket, log } = connect();
  log.length = 0;
  socket.receive(hub.LIVE);
  socket.receive(hub.JPEG);
  socket.receive(hub.service(3, 4_000_000, 9, 1, 2, 0));
  socket.receive(hub.error("no more room; try again later"));
  assert.deepEqual(log, [
    ["state", "live"],
    ["config", { codec: "jpeg", width: 640, height: 360, extra: new Uint8Array() }],
    ["service", { rendition: "jpeg", capacity: 4_000_000, delivered: 9, dropped: { superseded: 1, undecodable: 2, full: 0 } }],
    ["error", "no more room; try again later"],
  ]);
});

test("each frame is reported when it arrives, and again when it is shown", () => {
  const { browser, connection, socket, log } = connect();
  browser.advance(20);
  const arrived = Math.floor(browser.time * 1000) + 1;
  socket.receive(hub.frame({ sequence: 7 }));
  const [, frame] = log.at(-1);
  assert.equal(frame.arrived, arrived);
  connection.report({ ...frame, decoded: arrived + 1500, shown: arrived + 9000 });
  assert.deepEqual(hub.sent(socket, "report").map(({ numbers }) => numbers.map(Number)), [
    [7, arrived, 0, 0],
    [7, arrived, arrived + 1500, arrived + 9000],
  ]);
});

test("a keyframe is requested on the open connection only", () => {
  const { connection, socket } = connect({ open: false });
  connection.requestKeyframe();
  assert.deepEqual(socket.sent, []);
  socket.open();
  connection.requestKeyframe();
  assert.equal(hub.sent(socket, "keyframe").length, 1);
});

test("asking for JPEG reconnects with codec=jpeg in the URL", () => {
  const { browser, connection, socket } = connect();
  connection.requestJpegOnly();
  assert.ok(socket.abandoned);
  assert.deepEqual([browser.socket.url.searchParams.get("codec"), browser.socket.url.searchParams.get("turn")], ["jpeg", "2"]);
});

test("asking for JPEG before opening dials nothing", () => {
  const browser = new FakeBrowser();
  const nothing = () => {};
  const connection = new Connection(URL, { state: nothing, reconnect: nothing }, browser);
  connection.requestJpegOnly();
  assert.equal(browser.sockets.length, 0);
  connection.open();
  assert.equal(browser.socket.url.searchParams.get("codec"), "jpeg");
});

test("messages of unknown kinds change nothing", () => {
  const { browser, socket, log } = connect();
  const entries = log.length;
  for (const message of [hub.raw(200, [1, 2]), hub.raw(hub.KINDS.bye), hub.state(77)]) socket.receive(message);
  assert.equal(log.length, entries);
  assert.equal(browser.sockets.length, 1);
  assert.ok(!socket.abandoned);
});

test("a message that cannot be read is reported and ends the connection", () => {
  const broken = [hub.raw(hub.KINDS.pong, [1, 2, 3]), hub.frame({}).subarray(0, 30), hub.raw(hub.KINDS.ping), "text"];
  for (const message of broken) {
    const { browser, socket, log, states } = connect();
    socket.receive(message);
    const [, text] = log.find(([name]) => name === "error");
    assert.match(text, /^The hub sent a message that this page cannot read \(.+\)\. Reload the page\.$/);
    assert.ok(socket.abandoned);
    assert.equal(states().at(-1), "connecting");
    browser.advance(500);
    assert.equal(browser.sockets.length, 2, "it reconnects");
  }
});

test("a fault of the page is not blamed on the hub", () => {
  const { socket, log, on } = connect();
  on.frame = () => {
    throw new Error("a bug");
  };
  assert.throws(() => socket.receive(hub.frame({})), { message: "a bug" });
  assert.ok(!log.some(([name]) => name === "error"));
  assert.ok(!socket.abandoned);
});

test("a lost connection is dialled again after a wait", () => {
  const { browser, socket, states } = connect();
  socket.receive(hub.LIVE);
  socket.lose();
  assert.deepEqual(states(), ["connecting", "live", "connecting"]);
  browser.advance(249);
  assert.equal(browser.sockets.length, 1);
  browser.advance(251);
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.socket.url.searchParams.get("turn"), "2");
  assert.equal(browser.socket.url.searchParams.get("session"), socket.url.searchParams.get("session"));
});

/** Milliseconds until the next attempt, to within 10. */
function untilNextAttempt(browser) {
  const [start, sockets] = [browser.time, browser.sockets.length];
  while (browser.sockets.length === sockets) browser.advance(10);
  return browser.time - start;
}

test("the wait grows while no attempt succeeds", () => {
  const { browser, socket } = connect();
  socket.lose();
  for (const most of [500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    const waited = untilNextAttempt(browser);
    assert.ok(waited >= most / 2 - 10 && waited <= most + 10, `${waited} ms, at most ${most}`);
    browser.socket.lose();
  }
});

test("the wait starts over after a frame, when the hub is known to answer, and when the page opens it again", () => {
  const resets = [
    ({ browser }) => {
      untilNextAttempt(browser);
      browser.socket.open();
      browser.socket.receive(hub.frame({}));
    },
    ({ connection }) => connection.retryNow(),
    ({ connection }) => {
      connection.close();
      connection.open();
    },
  ];
  for (const reset of resets) {
    const made = connect();
    for (let turn = 0; turn < 6; turn += 1) {
      made.browser.socket.lose();
      untilNextAttempt(made.browser);
    }
    made.browser.socket.lose();
    reset(made);
    made.browser.socket.lose();
    const waited = untilNextAttempt(made.browser);
    assert.ok(waited <= 510, `${waited} ms`);
  }
});

test("an attempt that does not open is given up after five seconds", () => {
  const { browser, socket } = connect({ open: false });
  browser.advance(4990);
  assert.ok(!socket.abandoned);
  browser.advance(20);
  assert.ok(socket.abandoned);
  browser.advance(500);
  assert.equal(browser.sockets.length, 2);
});

test("a wait ends at once when the hub is known to answer", () => {
  const { browser, connection, socket } = connect();
  connection.retryNow();
  assert.equal(browser.sockets.length, 1, "connected already");
  socket.lose();
  connection.retryNow();
  assert.equal(browser.sockets.length, 2);
  browser.advance(600);
  assert.equal(browser.sockets.length, 2, "the wait that ended does not dial too");
});

test("a closed connection stays closed and leaves no timer", () => {
  const { browser, connection, socket, log } = connect();
  makeQuiet(browser);
  const spare = browser.socket;
  connection.close();
  assert.ok(socket.abandoned && spare.abandoned);
  assert.equal(browser.timersRunning, 0);
  const entries = log.length;
  socket.lose();
  spare.lose();
  connection.retryNow();
  browser.advance(60_000);
  assert.equal(browser.sockets.length, 2);
  assert.equal(log.length, entries);
});

test("closing ends a wait, and opening again dials at once", () => {
  const { browser, connection, socket } = connect();
  socket.lose();
  connection.close();
  assert.equal(browser.timersRunning, 0);
  connection.open();
  assert.equal(browser.sockets.length, 2);
});

test("a connection that receives messages gets no spare", () => {
  const { browser, socket } = connect();
  advanceAnswered(browser, socket, 5000);
  assert.equal(browser.sockets.length, 1);
});

test("a slow handshake does not count as silence", () => {
  const { browser, socket } = connect({ open: false });
  browser.advance(3000);
  socket.open();
  browser.advance(650);
  assert.equal(browser.sockets.length, 1);
});

test("after 0.7 s of silence a spare is dialled in the same session", () => {
  const { browser, socket } = connect();
  browser.advance(690);
  assert.equal(browser.sockets.length, 1);
  browser.advance(110);
  assert.equal(browser.sockets.length, 2);
  assert.ok(!socket.abandoned);
  assert.equal(browser.socket.url.searchParams.get("turn"), "2");
  assert.equal(browser.socket.url.searchParams.get("session"), socket.url.searchParams.get("session"));
});

test("the spare replaces the silent connection when it receives a message", () => {
  const { browser, socket, log } = connect();
  makeQuiet(browser);
  const spare = browser.socket;
  spare.open();
  assert.ok(!socket.abandoned, "an open spare that received nothing is no better");
  log.length = 0;
  spare.receive(hub.LIVE);
  assert.ok(socket.abandoned && !spare.abandoned);
  assert.deepEqual(log, [["reconnect", undefined], ["state", "live"]]);
  assert.equal(hub.sent(spare, "ping").length, 1);
  browser.advance(650);
  assert.equal(browser.sockets.length, 2, "no doubt is left of the connection before");
  advanceAnswered(browser, spare, 3000);
  assert.equal(browser.sockets.length, 2);
});

test("the spare is dropped when the connection answers a ping of since then", () => {
  const { browser, socket } = connect();
  makeQuiet(browser);
  const spare = browser.socket;
  hub.answerPings(socket);
  browser.advance(100);
  assert.ok(spare.abandoned && !socket.abandoned);
  advanceAnswered(browser, socket, 2000);
  assert.equal(browser.sockets.length, 2);
});

test("a spare comes with a ping at once, and its answer is enough to drop the spare", () => {
  const { browser, socket } = connect();
  advanceAnswered(browser, socket, 3000);
  makeQuiet(browser);
  const last = hub.sent(socket, "ping").at(-1);
  const previous = hub.sent(socket, "ping").at(-2);
  assert.ok(last.at - previous.at < 240, "it does not wait for the next of the four pings a second");
  // The ping and the doubt are of the same microsecond.
  socket.receive(hub.pong(last.numbers[0], 1, 1));
  browser.advance(100);
  assert.ok(browser.sockets[1].abandoned);
});

test("a spare stays while the hub sends but answers no ping", () => {
  const { browser, socket } = connect();
  makeQuiet(browser);
  for (let turn = 0; turn < 20; turn += 1) {
    socket.receive(hub.ping(turn));
    browser.advance(100);
  }
  const spares = browser.sockets.slice(1);
  assert.ok(spares.length > 1, "silent spares are replaced");
  assert.ok(!spares.at(-1).abandoned && !socket.abandoned);
  // An answer to a ping from before the silence proves nothing.
  socket.receive(hub.pong(hub.sent(socket, "ping")[0].numbers[0], 1, 1));
  browser.advance(100);
  assert.ok(!browser.socket.abandoned);
});

test("silent spares replace each other, one at a time", () => {
  const { browser, socket } = connect();
  makeQuiet(browser);
  const dialled = [browser.time];
  for (let sockets = 2; browser.time < dialled[0] + 3000; browser.advance(10)) {
    if (browser.sockets.length > sockets) dialled.push(browser.time);
    sockets = browser.sockets.length;
    const spares = browser.sockets.slice(1).filter((spare) => !spare.abandoned);
    assert.equal(spares.length, 1);
  }
  const gaps = dialled.slice(1).map((at, index) => at - dialled[index]);
  assert.ok(gaps.length >= 5 && gaps.every((gap) => gap >= 290 && gap <= 510), String(gaps));
  assert.ok(!socket.abandoned);
});

test("with a long round trip a spare has more time, but at most two seconds", () => {
  for (const [roundTrip, least, most] of [[200, 1200, 1300], [900, 2000, 2100]]) {
    const { browser, connection, socket } = connect();
    const { numbers } = hub.sent(socket, "ping")[0];
    browser.advance(roundTrip);
    socket.receive(hub.pong(numbers[0], 1, 1));
    assert.equal(Math.round(connection.clock.roundTrip / 1000), roundTrip);
    const sockets = browser.sockets.length;
    while (browser.sockets.length === sockets) browser.advance(10);
    const first = browser.time;
    while (browser.sockets.length === sockets + 1) browser.advance(10);
    const waited = browser.time - first;
    assert.ok(waited >= least - 10 && waited <= most + 10, `${waited} ms at a round trip of ${roundTrip} ms`);
  }
});

test("a spare that is refused is dialled again at the next check", () => {
  const { browser } = connect();
  makeQuiet(browser);
  browser.socket.lose();
  browser.advance(100);
  assert.equal(browser.sockets.length, 3);
});

test("an open spare takes over when the hub closes the connection", () => {
  const { browser, socket, states } = connect();
  makeQuiet(browser);
  const spare = browser.socket;
  spare.open();
  socket.lose();
  assert.ok(!spare.abandoned);
  assert.equal(hub.sent(spare, "ping").length, 1);
  assert.deepEqual(states(), ["connecting"], "there was a connection all the time");
  browser.advance(650);
  assert.equal(browser.sockets.length, 2, "its silence counts from now");
  advanceAnswered(browser, spare, 1000);
  assert.equal(browser.sockets.length, 2);
});

test("a spare that is not open yet does not take over", () => {
  const { browser, socket, states } = connect();
  makeQuiet(browser);
  socket.lose();
  assert.ok(browser.socket.abandoned);
  assert.equal(states().at(-1), "connecting");
});

test("an open spare is kept when the connection speaks again: the hub may close the older one", () => {
  const { browser, socket } = connect();
  makeQuiet(browser);
  const spare = browser.socket;
  spare.open();
  hub.answerPings(socket);
  advanceAnswered(browser, socket, 500);
  assert.ok(!spare.abandoned && !socket.abandoned);
  socket.lose();
  advanceAnswered(browser, spare, 500);
  assert.equal(browser.sockets.length, 2);
});

test("after ten seconds of silence the page reconnects", () => {
  const { browser, socket, states } = connect();
  browser.advance(9900);
  assert.ok(!socket.abandoned);
  assert.deepEqual(states(), ["connecting"]);
  browser.advance(250);
  assert.ok(socket.abandoned);
  assert.deepEqual(states(), ["connecting", "connecting"]);
});

test("the clock's offset starts over with each connection", () => {
  const { browser, connection, socket } = connect();
  hub.answerPings(socket, 5_000_000);
  assert.equal(connection.clock.hubMinusPage, 5_000_000);
  socket.lose();
  browser.advance(500);
  assert.equal(connection.clock.hubMinusPage, undefined);
});

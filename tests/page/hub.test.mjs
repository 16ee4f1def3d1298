// The hub's addresses, and polling its list of streams.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Hub, StreamList, isStreamName } from "../../crates/framewire/web/hub.js";
import { FakeBrowser, PAGE, settle } from "./support/browser.mjs";

test("a hub's address always has a port", () => {
  const addresses = ["http://hub.test/", "https://hub.test/", "http://hub.test:7070/", "http://[::1]:7070/"];
  assert.deepEqual(addresses.map((page) => new Hub(page).address), ["hub.test:80", "hub.test:443", "hub.test:7070", "[::1]:7070"]);
});

test("URLs are relative to the page's, and names are escaped", () => {
  const hub = new Hub("https://proxy.test/cameras/?a=b#/door");
  assert.equal(hub.streams, "https://proxy.test/cameras/streams");
  assert.equal(hub.url("door"), "https://proxy.test/cameras/streams/door");
  assert.equal(hub.url("straße@hof:2", "mjpeg"), "https://proxy.test/cameras/streams/stra%C3%9Fe%40hof%3A2/mjpeg");
  assert.equal(hub.url("../x?y#z", "ws"), "https://proxy.test/cameras/streams/..%2Fx%3Fy%23z/ws");
  assert.equal(hub.socketUrl("door"), "wss://proxy.test/cameras/streams/door/ws");
  assert.equal(new Hub(PAGE).socketUrl("http"), "ws://hub.test:7070/streams/http/ws");
});

test("why a WebSocket does not open is asked with the page's origin", async () => {
  const browser = new FakeBrowser();
  const ask = async (answer) => {
    const refusal = new Hub("https://proxy.test/cameras/").socketRefusal("door", browser);
    answer(browser.requests.at(-1));
    return refusal;
  };
  const answered = (status, text) => ask(({ answer }) => answer({ status, text: async () => text }));
  assert.equal(await answered(403, "start the hub with --host-name\n"), "start the hub with --host-name");
  assert.equal(browser.requests[0].url, "https://proxy.test/cameras/streams/door/ws?origin=https%3A%2F%2Fproxy.test");
  assert.equal(await answered(426, "a proxy drops it"), "a proxy drops it");
  assert.equal(await answered(403, ""), "HTTP status 403");
  for (const status of [200, 404, 502]) assert.equal(await answered(status, "away"), null);
  assert.equal(await ask(({ fail }) => fail()), null);
});

test("only valid names of streams are accepted", () => {
  for (const name of ["door", "straße@hof:2", "-x", "a.b", "_", "3", "摄像头", "x".repeat(64)]) assert.ok(isStreamName(name), name);
  for (const name of ["", ".door", "a b", "a/b", "a;reboot", "$(x)", "a'", "x\n", "x".repeat(65), "ß".repeat(33)]) {
    assert.ok(!isStreamName(name), name);
  }
});

/** A list that records what it reports. */
function poll() {
  const browser = new FakeBrowser();
  const log = [];
  const on = { list: (streams) => log.push(streams), failed: (seconds, reason) => log.push({ seconds, reason }) };
  const list = new StreamList(new Hub(PAGE), on, browser);
  list.start();
  return { browser, list, log };
}

const answer = (list) => ({ ok: true, json: async () => list });

test("the list is requested at once and 1.5 s after each answer", async () => {
  const { browser, log } = poll();
  assert.equal(browser.requests.length, 1);
  assert.equal(browser.requests[0].url, "http://hub.test:7070/streams");
  assert.deepEqual(browser.requests[0].options, { cache: "no-store", signal: { timeout: 4000 } });
  browser.advance(3000);
  assert.equal(browser.requests.length, 1, "one request at a time");
  browser.requests[0].answer(answer([{ name: "door" }]));
  await settle();
  assert.deepEqual(log, [[{ name: "door" }]]);
  browser.advance(1490);
  assert.equal(browser.requests.length, 1);
  browser.advance(20);
  assert.equal(browser.requests.length, 2);
});

test("entries without a name are left out", async () => {
  const { browser, log } = poll();
  browser.requests[0].answer(answer([null, 7, {}, { name: 7 }, { name: "door" }]));
  await settle();
  assert.deepEqual(log, [[{ name: "door" }]]);
});

test("each failure has its reason and is tried again", async () => {
  const { browser, log } = poll();
  const failures = [
    [(request) => request.fail(), "does not answer"],
    [(request) => request.answer({ ok: false, status: 503 }), "answered with HTTP status 503"],
    [(request) => request.answer(answer({ name: "door" })), "sent an answer that is not a list of streams"],
    [(request) => request.answer({ ok: true, json: () => Promise.reject(new SyntaxError()) }), "sent an answer that is not a list of streams"],
  ];
  for (const [fail, reason] of failures) {
    const requests = browser.requests.length;
    fail(browser.requests.at(-1));
    await settle();
    const { seconds, reason: reported } = log.at(-1);
    assert.equal(reported, reason);
    assert.ok(seconds >= 1 && seconds <= 10, String(seconds));
    browser.advance(seconds * 1000 - 10);
    assert.equal(browser.requests.length, requests);
    browser.advance(20);
    assert.equal(browser.requests.length, requests + 1);
  }
});

test("the wait is a second at first, grows while no request succeeds, and starts over after an answer", async () => {
  const { browser, log } = poll();
  const fail = async () => {
    browser.requests.at(-1).fail();
    await settle();
    const { seconds } = log.at(-1);
    browser.advance(seconds * 1000 + 10);
    return seconds;
  };
  assert.equal(await fail(), 1);
  for (const most of [1, 2, 4, 8, 10]) {
    const seconds = await fail();
    assert.ok(seconds >= Math.max(1, most / 2) && seconds <= most, `${seconds} s, at most ${most}`);
  }
  browser.requests.at(-1).answer(answer([]));
  await settle();
  browser.advance(1510);
  assert.equal(await fail(), 1);
  assert.equal(await fail(), 1);
});

test("stopping ends a wait", async () => {
  const { browser, list } = poll();
  browser.requests[0].answer(answer([]));
  await settle();
  list.stop();
  assert.equal(browser.timersRunning, 0);
});

test("stopping ends the requests, and starting asks at once", async () => {
  const { browser, list, log } = poll();
  list.stop();
  browser.requests[0].fail();
  await settle();
  browser.advance(60_000);
  assert.deepEqual(log, [], "a stopped request reports nothing");
  assert.equal(browser.requests.length, 1);
  list.start();
  list.start();
  assert.equal(browser.requests.length, 2);
});

test("starting skips the wait for the next attempt", async () => {
  const { browser, list } = poll();
  browser.requests[0].fail();
  await settle();
  list.start();
  assert.equal(browser.requests.length, 2);
  browser.advance(60_000);
  assert.equal(browser.requests.length, 2, "the wait that was skipped does not ask too");
});

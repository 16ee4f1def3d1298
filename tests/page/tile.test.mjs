// A stream's tile: what it shows in each state, and how it reconnects, changes decoders and falls back to Motion JPEG.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Hub } from "../../crates/framewire/web/hub.js";
import { Tile } from "../../crates/framewire/web/tile.js";
import { FakeBrowser, PAGE, makeImage, settle } from "./support/browser.mjs";
import * as hub from "./support/messages.mjs";

const INFO = { name: "door", state: "live", codec: "jpeg", width: 640, height: 360, fps: 25 };
/** The hub's clock minus the page's, in microseconds. */
const AHEAD = 5_000_000;
const SPS_AND_IDR = [0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1f, 0xac, 0, 0, 0, 1, 0x65, 1, 2, 3];

function makeTile({ info = INFO, inView = true, ...options } = {}) {
  const browser = new FakeBrowser(options);
  const tile = new Tile(info, new Hub(PAGE), browser);
  if (inView) tile.setInView(true);
  return new Harness(browser, tile);
}

/** A tile and what it shows. */
class Harness {
  constructor(browser, tile) {
    Object.assign(this, { browser, tile });
  }

  part(selector) {
    return this.tile.element.querySelector(selector);
  }

  /** The state, the overlay's title and its sentence. */
  get texts() {
    return [".state", ".overlay strong", ".overlay span"].map((selector) => this.part(selector).textContent);
  }

  get drawn() {
    return this.part("canvas").drawn.length;
  }

  /** The newest connection opens, and the hub sends its first messages. */
  accept(config = hub.JPEG, state = hub.LIVE) {
    this.browser.socket.open();
    hub.answerPings(this.browser.socket, AHEAD);
    this.receive(state, config);
  }

  receive(...messages) {
    for (const message of messages) this.browser.socket.receive(message);
  }

  /** The time on the hub's clock in microseconds. */
  get hubTime() {
    return Math.floor(this.browser.time * 1000) + 1 + AHEAD;
  }

  /** Lets time pass while the hub answers pings, and updates the tile. */
  pass(ms) {
    for (let passed = 0; passed < ms; passed += 100) {
      this.browser.advance(100);
      hub.answerPings(this.browser.socket, AHEAD);
    }
    this.tile.refresh();
  }

  /** A JPEG frame arrives, captured this many milliseconds ago, is decoded and shown. */
  async show({ age = 20, ...fields } = {}) {
    const jpegs = this.browser.jpegs.length;
    this.receive(hub.frame({ captured: this.hubTime - age * 1000, forwarded: this.hubTime - 1000, ...fields }));
    assert.equal(this.browser.jpegs.length, jpegs + 1, "the frame is decoded");
    this.browser.jpegs.at(-1).done(makeImage());
    await settle();
    this.browser.refreshDisplay();
  }
}

test("a tile has its stream's name, and a link to its own address", () => {
  const harness = makeTile({ info: { ...INFO, name: "straße@hof:2" }, inView: false });
  const { tile } = harness;
  assert.deepEqual([tile.link.textContent, tile.link.title], ["straße@hof:2", "straße@hof:2"]);
  assert.equal(tile.link.href, "#/stra%C3%9Fe%40hof%3A2");
  assert.equal(tile.element.dataset.name, "straße@hof:2");
  assert.equal(harness.part("canvas").getAttribute("aria-label"), "Video of straße@hof:2");
});

test("a tile connects only while it is in view", () => {
  const { browser, tile } = makeTile({ inView: false });
  assert.equal(browser.sockets.length, 0);
  tile.setInView(true);
  tile.setInView(true);
  assert.equal(browser.sockets.length, 1);
  assert.equal(browser.socket.url.pathname, "/streams/door/ws");
  tile.setInView(false);
  assert.ok(browser.socket.abandoned);
  assert.equal(browser.timersRunning, 0);
  tile.setInView(true);
  assert.equal(browser.sockets.length, 2);
});

test("a tile out of view shows the list's state", () => {
  const states = { live: "Live", stalled: "Stalled", idle: "Idle" };
  for (const [state, text] of Object.entries(states)) {
    const harness = makeTile({ info: { ...INFO, state }, inView: false });
    assert.equal(harness.texts[0], text);
    assert.equal(harness.tile.element.dataset.state, state);
  }
});

test("a tile goes from connecting to its first frame", async () => {
  const harness = makeTile();
  assert.deepEqual(harness.texts, ["Connecting", "Connecting…", ""]);
  harness.accept();
  assert.deepEqual(harness.texts, ["Live", "", ""]);
  await harness.show();
  assert.equal(harness.drawn, 1);
  assert.equal(harness.part(".size").textContent, "640×360");
});

test("a frame before its configuration is ignored, on the first connection and on later ones", () => {
  const harness = makeTile();
  harness.browser.socket.open();
  harness.receive(hub.frame({}));
  harness.receive(hub.JPEG);
  harness.browser.socket.lose();
  harness.browser.advance(500);
  harness.browser.socket.open();
  harness.receive(hub.frame({}));
  assert.equal(harness.browser.jpegs.length, 0);
  harness.receive(hub.JPEG, hub.frame({}));
  assert.equal(harness.browser.jpegs.length, 1);
});

test("a frame that was shown is reported with all its times", async () => {
  const harness = makeTile();
  harness.accept();
  await harness.show({ sequence: 9 });
  const [arrived, shown] = hub.sent(harness.browser.socket, "report").map(({ numbers }) => numbers.map(Number));
  assert.deepEqual(arrived.slice(2), [0, 0]);
  assert.deepEqual([shown[0], shown[1]], [9, arrived[1]]);
  assert.ok(shown[2] >= shown[1] && shown[3] >= shown[2]);
});

test("frame rate and latency are those of the frames shown here", async () => {
  const harness = makeTile();
  harness.accept();
  for (let frame = 0; frame < 30; frame += 1) {
    await harness.show({ sequence: frame, age: frame === 0 ? 0 : 42 });
    harness.browser.advance(125);
    hub.answerPings(harness.browser.socket, AHEAD);
  }
  harness.tile.refresh();
  assert.equal(harness.part(".fps").textContent, "8.0 fps");
  assert.equal(harness.part(".latency").textContent, "42 ms");
  assert.equal(harness.part(".latency").title, "Median time from capture to display");
});

test("a replayed GOP counts neither for the latency nor as skipped", async () => {
  const harness = makeTile();
  harness.accept(hub.H264);
  const { hubTime } = harness;
  for (const sequence of [1, 2]) {
    const captured = hubTime - 3_000_000 + sequence * 40_000;
    harness.receive(hub.frame({ sequence, keyframe: sequence === 1, data: SPS_AND_IDR, captured, forwarded: hubTime }));
  }
  const { decoder } = harness.browser;
  for (const chunk of decoder.chunks) decoder.output(chunk);
  harness.browser.refreshDisplay();
  harness.tile.refresh();
  assert.equal(harness.drawn, 1);
  assert.equal(harness.part(".latency").textContent, "");
  assert.equal(harness.tile.display.skipped, 0);
});

test("idle streams and streams without a frame are explained", async () => {
  const harness = makeTile({ info: { ...INFO, age_ms: null } });
  harness.accept(hub.JPEG, hub.IDLE);
  assert.deepEqual(harness.texts, ["Idle", "Idle", "The source starts when a viewer connects."]);
  harness.receive(hub.STALLED);
  assert.deepEqual(harness.texts, ["Stalled", "Stalled", "No frame has arrived yet."]);
  await harness.show();
  assert.equal(harness.texts[2], "No new frame for under a second.", "the first frame updates the text at once");
});

test("a stalled stream shows how old its newest frame is", async () => {
  const harness = makeTile();
  harness.accept();
  await harness.show({ age: 2000 });
  harness.receive(hub.STALLED);
  assert.deepEqual(harness.texts, ["Stalled", "Stalled", "No new frame for 2 s."]);
  harness.pass(9000);
  assert.equal(harness.texts[2], "No new frame for 11 s.");
});

test("a stream without a picture says why, until there is one", async () => {
  const harness = makeTile();
  harness.accept();
  await harness.show({ age: 2000 });
  harness.receive(hub.STALLED, hub.fault("camera /dev/video0 was unplugged"));
  assert.equal(harness.texts[2], "No new frame for 2 s: camera /dev/video0 was unplugged");
  harness.receive(hub.fault(""));
  assert.equal(harness.texts[2], "No new frame for 2 s.");
  const unseen = makeTile({ info: { ...INFO, state: "idle", fault: "no such file" }, inView: false });
  assert.equal(unseen.texts[2], "The source starts when a viewer connects: no such file");
});

test("while the hub's clock is not known, a frame's age counts from its arrival", async () => {
  const harness = makeTile();
  harness.accept();
  await harness.show({ age: 2000 });
  harness.browser.socket.lose();
  harness.browser.advance(500);
  harness.browser.socket.open();
  harness.browser.advance(500);
  harness.receive(hub.STALLED);
  assert.equal(harness.texts[2], "No new frame for 1 s.");
});

test("before the first frame, a stalled stream is as old as the list reports", () => {
  const harness = makeTile();
  harness.tile.update({ ...INFO, age_ms: 60_000 });
  harness.accept(hub.JPEG, hub.STALLED);
  assert.equal(harness.texts[2], "No new frame for 60 s.");
  harness.pass(5000);
  assert.equal(harness.texts[2], "No new frame for 65 s.");
});

test("a lost connection stops decoding, keeps the last image and reconnects", async () => {
  const harness = makeTile();
  const { browser } = harness;
  harness.accept();
  await harness.show();
  harness.receive(hub.frame({ sequence: 2 }));
  const waiting = makeImage();
  browser.socket.lose();
  assert.deepEqual(harness.texts, ["Connecting", "Connecting…", ""]);
  browser.jpegs.at(-1).done(waiting);
  await settle();
  browser.refreshDisplay();
  assert.ok(waiting.closed);
  assert.equal(harness.drawn, 1);
  browser.advance(500);
  assert.equal(browser.sockets.length, 2);
  harness.accept();
  assert.deepEqual(harness.texts, ["Live", "", ""]);
  await harness.show({ sequence: 1 });
  assert.equal(harness.drawn, 2);
});

test("each connection of a tile belongs to one session", () => {
  const harness = makeTile();
  harness.accept();
  harness.browser.socket.lose();
  harness.browser.advance(500);
  const [first, second] = harness.browser.sockets.map(({ url }) => url.searchParams);
  assert.equal(first.get("session"), second.get("session"));
  assert.deepEqual([first.get("turn"), second.get("turn")], ["1", "2"]);
});

test("a silent connection is replaced while the tile stays live", async () => {
  const harness = makeTile();
  const { browser } = harness;
  harness.accept();
  await harness.show();
  browser.advance(900);
  assert.equal(browser.sockets.length, 2);
  harness.tile.refresh();
  assert.equal(harness.texts[0], "Live");
  harness.accept();
  assert.ok(browser.sockets[0].abandoned);
  assert.equal(harness.texts[0], "Live");
  await harness.show({ sequence: 8 });
  assert.equal(harness.drawn, 2);
  assert.equal(hub.sent(browser.socket, "report").length, 2, "reports go over the new connection");
});

test("an error is shown until the stream has a state again", () => {
  const harness = makeTile();
  harness.browser.socket.open();
  harness.receive(hub.error("the hub is full; try again later"));
  harness.browser.socket.lose();
  assert.deepEqual(harness.texts, ["Connecting", "Connecting…", "the hub is full; try again later"]);
  harness.browser.advance(500);
  assert.equal(harness.texts[2], "the hub is full; try again later");
  harness.accept();
  harness.browser.socket.lose();
  assert.equal(harness.texts[2], "");
});

test("a hub that does not answer makes the tile offline, and one that does is dialled at once", () => {
  const harness = makeTile();
  const { browser, tile } = harness;
  harness.accept();
  tile.setHubFailed(true);
  assert.equal(harness.texts[0], "Live", "the stream's connection is still there");
  browser.socket.lose();
  assert.deepEqual(harness.texts, ["Offline", "No connection", "The hub does not answer."]);
  const sockets = browser.sockets.length;
  tile.setHubFailed(false);
  assert.equal(browser.sockets.length, sockets + 1);
  assert.equal(harness.texts[0], "Connecting");
});

test("a tile out of view is offline, too, until the next list", () => {
  const harness = makeTile({ inView: false });
  harness.tile.setHubFailed(true);
  assert.equal(harness.texts[0], "Offline");
  harness.tile.update({ ...INFO, state: "idle" });
  assert.equal(harness.texts[0], "Idle");
});

test("out of view, decoding ends and the frame rate starts over", async () => {
  const harness = makeTile();
  harness.accept();
  for (const sequence of [1, 2, 3]) {
    await harness.show({ sequence });
    harness.pass(100);
  }
  assert.notEqual(harness.part(".fps").textContent, "");
  harness.receive(hub.H264, hub.frame({ sequence: 4, data: SPS_AND_IDR }));
  harness.tile.setInView(false);
  assert.equal(harness.browser.decoder.state, "closed");
  harness.tile.refresh();
  assert.equal(harness.part(".fps").textContent, "");
});

test("figures are those of a live stream only", async () => {
  const harness = makeTile();
  harness.tile.enlarge(true);
  harness.accept();
  for (const sequence of [1, 2, 3]) {
    await harness.show({ sequence });
    harness.pass(100);
  }
  const figures = () => [".fps", ".latency"].map((selector) => harness.part(selector).textContent !== "");
  const hasFact = (name) => harness.part(".facts").children.some(({ textContent }) => textContent === name);
  assert.deepEqual([...figures(), hasFact("Frame age")], [true, true, true]);
  harness.receive(hub.STALLED);
  assert.deepEqual([...figures(), hasFact("Frame age")], [false, false, false]);
});

test("how the hub serves this page is not known on a new connection", () => {
  const harness = makeTile();
  harness.tile.enlarge(true);
  const rendition = () => harness.part(".facts").children.some(({ textContent }) => textContent === "Rendition");
  harness.accept();
  harness.receive(hub.service(0, 4_000_000, 1, 0, 0, 0));
  harness.tile.refresh();
  assert.ok(rendition());
  harness.browser.socket.lose();
  assert.ok(!rendition());
});

test("a new configuration starts a new decoder", async () => {
  const harness = makeTile();
  const { browser } = harness;
  harness.accept(hub.H264);
  harness.receive(hub.frame({ sequence: 1, data: SPS_AND_IDR }));
  const [first] = browser.decoders;
  harness.receive(hub.config(2, { width: 320, height: 180 }));
  assert.equal(first.state, "closed");
  assert.equal(harness.part(".size").textContent, "640×360");
  harness.tile.refresh();
  assert.equal(harness.part(".size").textContent, "320×180");
  assert.equal(harness.part(".picture").style["--shape"], "320 / 180");
  harness.receive(hub.frame({ sequence: 2, data: SPS_AND_IDR }));
  assert.equal(browser.decoders.length, 2);
  harness.receive(hub.JPEG);
  assert.equal(browser.decoder.state, "closed");
  await harness.show({ sequence: 3 });
  assert.equal(harness.drawn, 1);
});

test("an image of the old configuration is not shown after the new one", () => {
  const harness = makeTile();
  harness.accept(hub.H264);
  harness.receive(hub.frame({ sequence: 1, data: SPS_AND_IDR }));
  const image = harness.browser.decoder.output(harness.browser.decoder.chunks[0]);
  harness.receive(hub.H264);
  harness.browser.refreshDisplay();
  assert.ok(image.closed);
  assert.equal(harness.drawn, 0);
});

test("a decoder that needs a keyframe has it requested from the hub", () => {
  const harness = makeTile();
  harness.accept(hub.H264);
  harness.receive(hub.frame({ sequence: 1, keyframe: false, data: [0, 0, 1, 0x41, 1, 2, 3, 4] }));
  assert.equal(hub.sent(harness.browser.socket, "keyframe").length, 1);
});

test("a browser without WebCodecs asks for JPEG from the start", () => {
  const { browser } = makeTile({ webCodecs: false });
  assert.equal(browser.sockets.length, 1);
  assert.equal(browser.socket.url.searchParams.get("codec"), "jpeg");
});

test("a browser that turns out not to decode H.264 asks for JPEG", async () => {
  const harness = makeTile();
  const { browser } = harness;
  harness.accept(hub.H264);
  harness.receive(hub.frame({ sequence: 1, data: SPS_AND_IDR }));
  assert.equal(browser.socket.url.searchParams.get("codec"), null);
  browser.decoder.fail("NotSupportedError");
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.socket.url.searchParams.get("codec"), "jpeg");
  harness.accept();
  await harness.show();
  assert.equal(harness.drawn, 1);
});

test("a stream without a decoder asks for JPEG", () => {
  const harness = makeTile();
  harness.accept(hub.config(4));
  assert.equal(harness.browser.socket.url.searchParams.get("codec"), "jpeg");
});

/** A tile whose hub sends raw video although the page asked for JPEG. */
function makeFallback(options) {
  const harness = makeTile({ webCodecs: false, info: { ...INFO, codec: "i420" }, ...options });
  harness.accept(hub.config(3));
  return harness;
}

test("when the hub sends no JPEG either, the tile shows Motion JPEG", () => {
  const harness = makeFallback();
  const image = harness.part("img");
  assert.ok(harness.browser.socket.abandoned);
  assert.ok(harness.part("canvas").hidden && !image.hidden);
  assert.match(image.src, /^http:\/\/hub\.test:7070\/streams\/door\/mjpeg\?at=\d+$/);
  assert.deepEqual(harness.texts, [
    "Connecting",
    "Waiting…",
    "This browser cannot decode raw I420 here. The hub has sent no JPEG yet.",
  ]);
  image.naturalWidth = 640;
  harness.tile.refresh();
  assert.deepEqual(harness.texts, ["Live", "", ""]);
  assert.equal(harness.part(".fps").textContent, "25 fps", "the hub's own figure");
  harness.tile.setInView(false);
  assert.equal(image.src, "data:,");
});

test("Motion JPEG that fails is loaded again after two seconds, from a new URL", () => {
  const harness = makeFallback();
  const image = harness.part("img");
  const first = image.src;
  image.onerror();
  harness.browser.advance(1990);
  assert.equal(image.src, first);
  harness.browser.advance(20);
  assert.notEqual(image.src, first);
  image.onerror();
  harness.tile.setInView(false);
  assert.deepEqual([image.onerror, image.onload], [null, null]);
  harness.browser.advance(5000);
  assert.equal(image.src, "data:,", "nothing is loaded out of view");
});

test("the fallback ends when the stream's codec changes", () => {
  const harness = makeFallback();
  const sockets = harness.browser.sockets.length;
  harness.tile.update({ ...INFO, codec: "i420" });
  assert.equal(harness.browser.sockets.length, sockets);
  harness.tile.update({ ...INFO, codec: "jpeg" });
  assert.equal(harness.browser.sockets.length, sockets + 1);
  assert.ok(!harness.part("canvas").hidden && harness.part("img").hidden);
  assert.equal(harness.part("img").src, "data:,");
  harness.tile.update({ ...INFO, codec: "h264" });
  assert.equal(harness.browser.sockets.length, sockets + 1, "a later change concerns the connection only");
  harness.accept();
  assert.deepEqual(harness.texts, ["Live", "", ""]);
});

test("the fifth Motion JPEG image shows snapshots, because browsers limit their connections", () => {
  const harnesses = Array.from({ length: 5 }, () => makeFallback());
  const images = harnesses.map((harness) => harness.part("img"));
  const resources = () => images.map(({ src }) => /([a-z.]+)\?/.exec(src)?.[1]);
  assert.deepEqual(resources(), ["mjpeg", "mjpeg", "mjpeg", "mjpeg", "snapshot.jpg"]);
  const moving = images[0].src;
  images[0].onload();
  harnesses[0].browser.advance(5000);
  assert.equal(images[0].src, moving, "a moving image is not loaded again");
  const snapshot = images[4].src;
  images[4].onload();
  harnesses[4].browser.advance(1010);
  assert.notEqual(images[4].src, snapshot);
  harnesses[0].tile.setInView(false);
  harnesses[0].tile.update({ ...INFO, codec: "jpeg" });
  harnesses[4].tile.setInView(false);
  harnesses[4].tile.setInView(true);
  assert.deepEqual(resources().slice(1), ["mjpeg", "mjpeg", "mjpeg", "mjpeg"]);
  harnesses.push(makeFallback());
  assert.match(harnesses[5].part("img").src, /snapshot\.jpg/, "one that ended leaves room for one");
  harnesses.forEach(({ tile }) => tile.remove());
});

/** A tile whose WebSocket does not open, and what the hub says of that. */
async function refused(status, sentence, harness = makeTile()) {
  harness.browser.socket.lose();
  harness.browser.requests.at(-1).answer({ status, text: async () => `${sentence}\n` });
  await settle();
  return harness;
}

test("where the WebSocket is refused, the tile shows Motion JPEG and says why", async () => {
  const harness = await refused(403, "start the hub with --host-name cams.test");
  const refusal = harness.part(".refusal");
  assert.match(harness.part("img").src, /\/streams\/door\/mjpeg\?at=\d+$/);
  assert.ok(!refusal.hidden);
  assert.equal(refusal.textContent, "Motion JPEG instead of a WebSocket: start the hub with --host-name cams.test");
  assert.deepEqual(harness.texts, ["Connecting", "Waiting…", "The hub has sent no JPEG yet."]);
  harness.part("img").naturalWidth = 640;
  harness.tile.refresh();
  assert.deepEqual(harness.texts, ["Live", "", ""]);
  const sockets = harness.browser.sockets.length;
  harness.browser.advance(60_000);
  assert.equal(harness.browser.sockets.length, sockets, "no WebSocket is tried meanwhile");
});

test("once the hub was away, the WebSocket is tried again", async () => {
  const harness = await refused(426, "a proxy drops it");
  const sockets = harness.browser.sockets.length;
  harness.tile.setHubFailed(true);
  harness.tile.setHubFailed(false);
  assert.equal(harness.browser.sockets.length, sockets + 1);
  assert.ok(harness.part(".refusal").hidden && harness.part("img").hidden);
  harness.accept();
  assert.deepEqual(harness.texts, ["Live", "", ""]);
});

test("while the hub is away or knows no reason, the WebSocket is tried further", async () => {
  for (const status of [404, 502]) {
    const harness = await refused(status, "");
    assert.ok(harness.part("img").hidden && harness.part(".refusal").hidden);
    const sockets = harness.browser.sockets.length;
    harness.browser.advance(1000);
    assert.equal(harness.browser.sockets.length, sockets + 1);
  }
  const late = makeTile();
  late.browser.socket.lose();
  late.browser.advance(1000);
  late.accept();
  late.browser.requests.at(-1).answer({ status: 403, text: async () => "too late" });
  await settle();
  assert.deepEqual(late.texts, ["Live", "", ""]);
  assert.ok(late.part("img").hidden, "it has opened meanwhile");
});

test("a connection that was open once is not asked about", () => {
  const harness = makeTile();
  harness.accept();
  harness.browser.socket.lose();
  assert.equal(harness.browser.requests.length, 0);
});

test("an enlarged tile has details and is no link", () => {
  const { browser, tile } = makeTile({ inView: false });
  tile.enlarge(true);
  assert.ok(tile.element.classList.contains("enlarged"));
  assert.equal(tile.link.href, "");
  assert.ok(tile.element.querySelector(".facts").children.length > 0, "the details are filled in at once");
  tile.focus();
  assert.equal(browser.document.activeElement.tag, "h2");
  tile.enlarge(false);
  assert.ok(!tile.element.classList.contains("enlarged"));
  assert.equal(tile.link.href, "#/door");
  assert.equal(tile.element.querySelector(".details"), null);
  tile.focus();
  assert.equal(browser.document.activeElement, tile.link);
});

test("texts that stay the same are not touched, so that selections survive", async () => {
  const harness = makeTile();
  harness.tile.enlarge(true);
  harness.accept();
  await harness.show();
  harness.tile.refresh();
  const { textChanges } = harness.browser.document;
  harness.tile.refresh();
  assert.equal(harness.browser.document.textChanges, textChanges);
});

test("a tile that is removed leaves no connection and no timer", () => {
  const { browser, tile } = makeTile();
  browser.document.body.append(tile.element);
  tile.remove();
  assert.equal(tile.element.parent, null);
  assert.ok(browser.socket.abandoned);
  assert.equal(browser.timersRunning, 0);
});

test("where the browser allows full screen, a button and a double click toggle it", async () => {
  const browser = new FakeBrowser();
  const { document } = browser;
  document.fullscreenEnabled = true;
  document.exitFullscreen = () => (document.fullscreenElement = null);
  const tile = new Tile(INFO, new Hub(PAGE), browser);
  const picture = tile.element.querySelector(".picture");
  picture.requestFullscreen = async () => void (document.fullscreenElement = picture);
  await tile.element.querySelector(".full").fire("click");
  assert.equal(document.fullscreenElement, picture);
  await tile.element.querySelector(".full").fire("click");
  assert.equal(document.fullscreenElement, null);
  await picture.fire("dblclick");
  assert.equal(document.fullscreenElement, null, "in the grid, a double click does nothing");
  tile.enlarge(true);
  await picture.fire("dblclick");
  assert.equal(document.fullscreenElement, picture);
});

test("elsewhere there is no button for full screen", () => {
  assert.equal(makeTile({ inView: false }).part(".full"), null);
});

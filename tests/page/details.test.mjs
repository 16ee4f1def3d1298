// The texts beside an enlarged stream.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Details, command } from "../../crates/framewire/web/details.js";
import { Hub } from "../../crates/framewire/web/hub.js";
import { FakeBrowser, PAGE } from "./support/browser.mjs";

const INFO = {
  name: "door",
  codec: "h264",
  width: 1280,
  height: 720,
  fps: 29.97,
  bitrate: 4_200_000,
  viewers: 3,
  published: 12_345,
  delivered: 30_000,
  missed: 0,
  dropped: { superseded: 5, undecodable: 0, full: 2 },
};
const LOCAL = { fps: 29.5, age: 0.042, skipped: 0, roundTrip: 1800, fallback: false, service: null };

function makeDetails() {
  const browser = new FakeBrowser();
  const details = new Details("door", new Hub(PAGE), browser);
  const part = (selector) => details.element.querySelector(selector);
  /** A list's terms and values. */
  const list = (selector) => {
    const texts = part(selector).children.map(({ textContent }) => textContent);
    return Object.fromEntries(texts.flatMap((text, index) => (index % 2 ? [] : [[text, texts[index + 1]]])));
  };
  return { browser, details, part, list };
}

test("facts of the stream and of this page", () => {
  const { details, list } = makeDetails();
  details.update(INFO, {}, LOCAL);
  assert.deepEqual(list(".facts"), {
    Codec: "H.264",
    Size: "1280×720",
    Published: "30.0 fps, 4.2 Mbit/s",
    "Shown here": "29.5 fps",
    "Frame age": "42 ms",
    "Round trip to the hub": "1.8 ms",
    Viewers: "3",
    "Frames published": "12\u2009345",
    "Frames sent to viewers": "30\u2009000",
  });
});

test("facts that are not known are left out or have a dash", () => {
  const { details, list } = makeDetails();
  details.update({ name: "door" }, {}, { ...LOCAL, fps: 0, age: null, roundTrip: undefined });
  assert.deepEqual(list(".facts"), {
    Codec: "–",
    Size: "–",
    Published: "0.0 fps, 0 kbit/s",
    "Shown here": "0.0 fps",
    Viewers: "0",
    "Frames published": "0",
    "Frames sent to viewers": "0",
  });
});

test("how the hub serves this page, and lists that shrink again", () => {
  const { details, list } = makeDetails();
  const service = { rendition: "low", capacity: 850_000, dropped: {} };
  details.update({ ...INFO, missed: 7 }, {}, { ...LOCAL, service });
  assert.equal(list(".facts").Rendition, "low, for the slowest links");
  assert.equal(list(".facts")["Capacity of the link"], "850 kbit/s");
  assert.equal(list(".facts")["Lost before the hub"], "7");
  details.update(INFO, {}, { ...LOCAL, service: { ...service, rendition: "source", capacity: 0 } });
  assert.equal(list(".facts").Rendition, "source, as published");
  assert.equal(list(".facts")["Capacity of the link"], "not known yet");
  details.update(INFO, {}, LOCAL);
  assert.equal("Rendition" in list(".facts"), false);
});

test("viewers are counted by rendition where there are several", () => {
  const { details, list } = makeDetails();
  const rendition = (name, viewers) => ({ name, viewers });
  details.update({ ...INFO, renditions: [rendition("source", 3), rendition("low", 0)] }, {}, LOCAL);
  assert.equal(list(".facts").Viewers, "3");
  details.update({ ...INFO, renditions: [rendition("source", 1), rendition("low", 2)] }, {}, LOCAL);
  assert.equal(list(".facts").Viewers, "3: 1 source, 2 low");
});

test("Motion JPEG in place of video has figures of all viewers", () => {
  const { details, list, part } = makeDetails();
  details.update(INFO, {}, { ...LOCAL, age: null, fallback: true });
  assert.equal(list(".facts")["Shown here"], "as Motion JPEG");
  assert.equal("Round trip to the hub" in list(".facts"), false);
  assert.equal(part(".hint").textContent, "From capture to display: all viewers.");
});

test("drops are those of all viewers until this page's are known", () => {
  const { details, list, part } = makeDetails();
  details.update(INFO, {}, LOCAL);
  assert.equal(part(".dropped").textContent, "7");
  assert.equal(part(".whose").textContent, "Of all viewers' frames.");
  assert.deepEqual(list(".drops"), { "replaced by a newer frame": "5", "recorder's queue was full": "2" });
  const service = { rendition: "source", capacity: 0, dropped: { superseded: 0, undecodable: 1, full: 0 } };
  details.update(INFO, {}, { ...LOCAL, skipped: 4, service });
  assert.equal(part(".dropped").textContent, "5");
  assert.equal(part(".whose").textContent, "Of this page's frames.");
  assert.deepEqual(list(".drops"), { "depended on a dropped frame": "1", "received but not shown": "4" });
  details.update({ ...INFO, dropped: { ancient: 1 } }, {}, LOCAL);
  assert.deepEqual(list(".drops"), { ancient: "1" }, "a reason that this page does not know keeps its name");
  details.update({ ...INFO, dropped: undefined }, {}, LOCAL);
  assert.equal(part(".dropped").textContent, "none");
  assert.deepEqual(list(".drops"), {});
});

test("the latency by stage, as bars and as a table", () => {
  const { details, part } = makeDetails();
  const latency = { encode: { p50: 3.14, p95: 4, max: 5 }, total: { p50: 41.6, p95: 50, max: 60 } };
  details.update(INFO, latency, LOCAL);
  assert.equal(part(".total").textContent, "42 ms");
  assert.equal(part(".hint").textContent, "From capture to display: this page, last 10 s.");
  const rows = part("tbody").children.map((row) => row.children.map(({ textContent }) => textContent));
  assert.deepEqual(rows[0], ["encode", "3.1", "4.0", "5.0"]);
  assert.deepEqual(rows.slice(1), ["send", "uplink", "hub", "downlink", "decode", "show"].map((stage) => [stage, "–", "–", "–"]));
  const bars = part(".bar").children;
  assert.deepEqual(bars.map(({ style }) => style.flexGrow), [3.14, 0, 0, 0, 0, 0, 0]);
  assert.ok(bars.every(({ title }) => title.length > 10), "each bar says what it is");
  details.update(INFO, {}, LOCAL);
  assert.equal(part(".total").textContent, "–");
});

test("commands and links name this stream", () => {
  const { details, part } = makeDetails();
  const commands = details.element.querySelectorAll(".command code").map(({ textContent }) => textContent);
  assert.deepEqual(commands, [
    "framewire view fw://hub.test:7070/door",
    "framewire record fw://hub.test:7070/door video.mkv",
    'cv2.VideoCapture("http://hub.test:7070/streams/door/mjpeg")',
  ]);
  assert.equal(part(".mjpeg").href, "http://hub.test:7070/streams/door/mjpeg");
  assert.equal(part(".snapshot").href, "http://hub.test:7070/streams/door/snapshot.jpg");
  assert.equal(part(".json").href, "http://hub.test:7070/streams/door");
});

test("a command is copied, and its button says so for a moment", async () => {
  const browser = new FakeBrowser();
  const button = command("View in a window", "framewire view x", browser).querySelector("button");
  await button.fire("click");
  assert.equal(browser.clipboard, "framewire view x");
  assert.equal(button.textContent, "Copied");
  browser.advance(1510);
  assert.equal(button.textContent, "Copy");
});

test("without a clipboard a command is copied in the older way, or the button says that it failed", async () => {
  for (const [works, text] of [[true, "Copied"], [false, "Failed"]]) {
    const browser = new FakeBrowser();
    browser.navigator = {};
    let copied = null;
    browser.document.execCommand = (what) => {
      copied = [what, browser.document.body.lastElementChild.value];
      return works;
    };
    const button = command("View in a window", "framewire view x", browser).querySelector("button");
    await button.fire("click");
    assert.deepEqual(copied, ["copy", "framewire view x"]);
    assert.equal(button.textContent, text);
    assert.notEqual(browser.document.body.lastElementChild.tag, "textarea");
  }
});

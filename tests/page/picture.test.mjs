// From a frame's bytes to the canvas: the newest frame wins, stale frames are not shown, and decoders recover from errors.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Display, createDecoder } from "../../crates/framewire/web/picture.js";
import { FakeBrowser, makeImage, settle } from "./support/browser.mjs";

const SPS = [0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1f, 0xac];
const OTHER_SPS = [0, 0, 1, 0x27, 0x42, 0xc0, 0x0a, 0xac];
const IDR = [0, 0, 0, 1, 0x65, 1, 2, 3];
const SLICE = [0, 0, 0, 1, 0x41, 1, 2, 3];
const JPEG = { codec: "jpeg", extra: new Uint8Array() };
const H264 = { codec: "h264", extra: new Uint8Array() };

/** A display on a new canvas. `ages` maps sequences to ages in microseconds; other ages are not known. */
function makeDisplay({ webCodecs = true } = {}) {
  const browser = new FakeBrowser({ webCodecs });
  const canvas = browser.document.createElement("canvas");
  const shown = [];
  const ages = new Map();
  const on = { shown: (frame) => shown.push(Number(frame.sequence)), age: ({ sequence }) => ages.get(sequence) };
  return { browser, canvas, shown, ages, display: new Display(canvas, on, browser) };
}

/** A decoder on such a display. */
function makeDecoder(config, options) {
  const made = makeDisplay(options);
  const calls = { failed: 0, keyframeNeeded: 0 };
  const on = { failed: () => (calls.failed += 1), keyframeNeeded: () => (calls.keyframeNeeded += 1) };
  return { ...made, calls, decoder: createDecoder(config, made.display, on, made.browser) };
}

function frame(sequence, { keyframe = false, data = keyframe ? [...SPS, ...IDR] : SLICE, captured = 0, forwarded = 0 } = {}) {
  return {
    sequence: BigInt(sequence),
    keyframe,
    data: Uint8Array.from(data),
    times: { captured, encoded: 0, sent: 0, received: 0, forwarded },
    arrived: 1,
    decoded: 0,
    shown: 0,
  };
}

const key = (sequence, fields) => frame(sequence, { keyframe: true, ...fields });

// The display

test("the newest image is drawn at the next refresh, and others are dropped", () => {
  const { browser, canvas, display, shown } = makeDisplay();
  const images = [1, 2, 3].map((sequence) => {
    const image = makeImage();
    display.show(image, frame(sequence));
    return image;
  });
  assert.deepEqual(shown, []);
  browser.refreshDisplay();
  assert.deepEqual(shown, [3]);
  assert.deepEqual(canvas.drawn, [[images[2], 0, 0, 640, 360]]);
  assert.ok(images.every((image) => image.closed));
  assert.equal(display.skipped, 2);
  browser.refreshDisplay();
  assert.deepEqual(shown, [3], "an image is drawn once");
});

test("a canvas is resized only when an image has another size: resizing clears it", () => {
  const { browser, canvas, display } = makeDisplay();
  const sizes = [];
  for (const side of ["width", "height"]) {
    let value = 0;
    Object.defineProperty(canvas, side, { get: () => value, set: (set) => sizes.push(`${side} ${(value = set)}`) });
  }
  const show = (width, height) => {
    sizes.length = 0;
    display.show(makeImage({ width, height }), frame(1));
    browser.refreshDisplay();
    return sizes.join(", ");
  };
  assert.equal(show(320, 240), "width 320, height 240");
  assert.equal(show(320, 240), "");
  assert.equal(show(320, 200), "width 320, height 200");
  assert.equal(show(300, 200), "width 300, height 200");
});

test("the canvas takes the image's size, and the frame the time", () => {
  const { browser, canvas, display } = makeDisplay();
  const [jpeg, video] = [frame(1), frame(2)];
  display.show(makeImage({ width: 320, height: 240 }), jpeg);
  browser.advance(10);
  browser.refreshDisplay();
  assert.deepEqual([canvas.width, canvas.height], [320, 240]);
  assert.equal(jpeg.shown, Math.floor(browser.time * 1000) + 1);
  display.show(makeImage({ displayWidth: 640, displayHeight: 360 }), video);
  browser.refreshDisplay();
  assert.deepEqual([canvas.width, canvas.height], [640, 360]);
});

test("an image is turned and mirrored into the size in which it is shown", () => {
  const { browser, canvas, display } = makeDisplay();
  const image = makeImage({ displayWidth: 640, displayHeight: 360 });
  display.show(image, frame(1), { width: 360, height: 640, mirrored: true, quarters: 1 });
  browser.refreshDisplay();
  assert.deepEqual([canvas.width, canvas.height], [360, 640]);
  assert.deepEqual(canvas.drawn, [
    ["translate", 180, 320],
    ["rotate", Math.PI / 2],
    ["scale", -1, 1],
    [image, -320, -180, 640, 360],
    ["resetTransform"],
  ]);
});

test("a cleared display drops the image that waits and shows later ones", () => {
  const { browser, display, shown } = makeDisplay();
  const image = makeImage();
  display.show(image, frame(1));
  display.clear();
  assert.ok(image.closed);
  browser.refreshDisplay();
  assert.deepEqual(shown, []);
  display.show(makeImage(), frame(2));
  browser.refreshDisplay();
  assert.deepEqual(shown, [2]);
});

test("frames of a replay are not counted as skipped", () => {
  const { display } = makeDisplay();
  display.skip({ ...frame(1), catchingUp: true });
  assert.equal(display.skipped, 0);
  display.skip(frame(2));
  assert.equal(display.skipped, 1);
});

/** Shows frames of these ages in ms, this many ms apart, and returns the ages of those that were drawn. */
function drawn(made, ages, interval = 33) {
  return ages.filter((age) => {
    made.browser.advance(interval);
    const before = made.shown.length;
    made.ages.set(1n, age === undefined ? undefined : age * 1000);
    const image = makeImage();
    made.display.show(image, frame(1));
    made.browser.refreshDisplay();
    assert.ok(image.closed);
    return made.shown.length > before;
  });
}

test("the backlog of an outage is not shown, and fresh frames behind it are", () => {
  const made = makeDisplay();
  assert.equal(drawn(made, new Array(30).fill(40)).length, 30);
  made.browser.advance(5000);
  assert.deepEqual(drawn(made, [5000, 4980, 3000, 1000, 560, 539, 60], 5), [539, 60]);
  assert.equal(made.display.skipped, 5);
});

test("a frame of unknown age is shown", () => {
  const made = makeDisplay();
  assert.deepEqual(drawn(made, [40, 5000, undefined]), [40, undefined]);
});

test("a link that is slow from the start is shown", () => {
  assert.deepEqual(drawn(makeDisplay(), [3000, 3100, 3050]), [3000, 3100, 3050]);
});

test("a link that became slow is shown again after half a second", () => {
  const made = makeDisplay();
  drawn(made, [40, 40]);
  const ages = Array.from({ length: 10 }, (_, index) => 3000 + index);
  assert.deepEqual(drawn(made, ages, 100), [3005, 3006, 3007, 3008, 3009]);
});

test("at a frame a second, a link that became slow is shown again after three frames", () => {
  const made = makeDisplay();
  drawn(made, [40, 40]);
  assert.deepEqual(drawn(made, [3000, 3001, 3002, 3003, 3004], 1000), [3003, 3004]);
});

test("a fresh frame ends a burst", () => {
  const made = makeDisplay();
  drawn(made, [40, 40]);
  assert.deepEqual(drawn(made, [3000, 3001, 3002, 3003, 3004], 100), []);
  assert.deepEqual(drawn(made, [40, 3000, 3001, 3002, 3003, 3004], 100), [40]);
});

test("a few frames that get through an outage do not let the backlog in", () => {
  const made = makeDisplay();
  drawn(made, [40, 40]);
  made.browser.advance(3000);
  assert.deepEqual(drawn(made, [3000]), []);
  made.browser.advance(2000);
  assert.deepEqual(drawn(made, [5000, 4900, 4800, 4700, 60], 10), [60]);
});

test("the usual age follows a link that slows down little by little, and no faster", () => {
  const slow = makeDisplay();
  const creeping = Array.from({ length: 1000 }, (_, index) => 40 + index * 2);
  assert.equal(drawn(slow, creeping).length, 1000);
  const steps = makeDisplay();
  assert.deepEqual(drawn(steps, [40, 500, 542, 544, 547]), [40, 500, 542, 544]);
});

// JPEG

test("while one JPEG is decoded, only the newest of the others is kept", async () => {
  const { browser, decoder, display, shown } = makeDecoder(JPEG);
  for (const sequence of [1, 2, 3, 4]) decoder.push(key(sequence, { data: [sequence] }));
  assert.equal(browser.jpegs.length, 1);
  browser.jpegs[0].done(makeImage());
  await settle();
  assert.equal(browser.jpegs.length, 2);
  assert.deepEqual(new Uint8Array(await browser.jpegs[1].blob.arrayBuffer()), Uint8Array.of(4));
  assert.equal(browser.jpegs[1].blob.type, "image/jpeg");
  assert.equal(display.skipped, 2);
  browser.refreshDisplay();
  browser.jpegs[1].done(makeImage());
  await settle();
  browser.refreshDisplay();
  assert.deepEqual(shown, [1, 4]);
});

test("a decoded JPEG has its time", async () => {
  const { browser, decoder } = makeDecoder(JPEG);
  const pushed = key(1);
  decoder.push(pushed);
  browser.advance(3);
  browser.jpegs[0].done(makeImage());
  await settle();
  assert.equal(pushed.decoded, Math.floor(browser.time * 1000) + 1);
});

test("a damaged JPEG is skipped, and the next one is shown", async () => {
  const { browser, calls, decoder, display, shown } = makeDecoder(JPEG);
  decoder.push(key(1));
  decoder.push(key(2));
  browser.jpegs[0].fail();
  await settle();
  assert.equal(display.skipped, 1);
  browser.jpegs[1].done(makeImage());
  await settle();
  browser.refreshDisplay();
  decoder.push(key(3));
  browser.jpegs[2].done(makeImage());
  await settle();
  browser.refreshDisplay();
  assert.deepEqual(shown, [2, 3]);
  assert.equal(calls.failed, 0);
});

test("a JPEG decoder that was closed shows nothing more", async () => {
  const { browser, decoder, shown } = makeDecoder(JPEG);
  decoder.push(key(1));
  decoder.push(key(2));
  decoder.close();
  const image = makeImage();
  browser.jpegs[0].done(image);
  await settle();
  assert.ok(image.closed);
  assert.equal(browser.jpegs.length, 1);
  browser.refreshDisplay();
  assert.deepEqual(shown, []);
});

// H.264

test("frames are decoded from a keyframe on, without delay", () => {
  const { browser, decoder, shown } = makeDecoder(H264);
  decoder.push(key(1));
  decoder.push(frame(2));
  assert.deepEqual(browser.decoder.config, { codec: "avc1.64001f", optimizeForLatency: true });
  assert.deepEqual(browser.decoder.chunks.map(({ type }) => type), ["key", "delta"]);
  assert.deepEqual(browser.decoder.chunks[0].data, Uint8Array.from([...SPS, ...IDR]));
  for (const chunk of browser.decoder.chunks) {
    browser.decoder.output(chunk);
    browser.refreshDisplay();
  }
  assert.deepEqual(shown, [1, 2]);
});

test("a decoded frame has its time", () => {
  const { browser, decoder } = makeDecoder(H264);
  const pushed = key(1);
  decoder.push(pushed);
  browser.advance(4);
  browser.decoder.output(browser.decoder.chunks[0]);
  assert.equal(pushed.decoded, Math.floor(browser.time * 1000) + 1);
});

test("frames before the first keyframe are skipped, and one keyframe is requested", () => {
  const { browser, calls, decoder, display } = makeDecoder(H264);
  for (const sequence of [5, 6, 7]) decoder.push(frame(sequence));
  assert.equal(browser.decoders.length, 0);
  assert.equal(display.skipped, 3);
  assert.equal(calls.keyframeNeeded, 1);
  decoder.push(key(8));
  assert.equal(browser.decoder.chunks.length, 1);
});

test("parameter sets of the configuration go before a keyframe that has none", () => {
  const config = { codec: "h264", extra: Uint8Array.from(OTHER_SPS) };
  const { browser, decoder } = makeDecoder(config);
  decoder.push(key(1, { data: IDR }));
  assert.equal(browser.decoder.config.codec, "avc1.42c00a");
  assert.deepEqual(browser.decoder.chunks[0].data, Uint8Array.from([...OTHER_SPS, ...IDR]));
  decoder.push(frame(2));
  assert.deepEqual(browser.decoder.chunks[1].data, Uint8Array.from(SLICE));
  decoder.push(key(3));
  assert.deepEqual(browser.decoder.chunks.length, 1, "its own parameter set is of another profile");
  assert.equal(browser.decoder.config.codec, "avc1.64001f");
  assert.deepEqual(browser.decoder.chunks[0].data, Uint8Array.from([...SPS, ...IDR]));
});

test("one decoder serves many keyframes of one profile", () => {
  const { browser, decoder } = makeDecoder(H264);
  for (const pushed of [key(1), frame(2), key(3), frame(4)]) decoder.push(pushed);
  assert.equal(browser.decoders.length, 1);
  assert.equal(browser.decoder.chunks.length, 4);
});

test("a new profile gets a new decoder", () => {
  const { browser, decoder } = makeDecoder(H264);
  decoder.push(key(1));
  decoder.push(key(2, { data: [...OTHER_SPS, ...IDR] }));
  assert.deepEqual(browser.decoders.map(({ state }) => state), ["closed", "configured"]);
  assert.equal(browser.decoder.config.codec, "avc1.42c00a");
});

test("a keyframe after a gap gets a new decoder, since frames behind it may refer to lost ones", () => {
  const { browser, decoder } = makeDecoder(H264);
  for (const pushed of [key(1), frame(2), key(4), frame(5)]) decoder.push(pushed);
  assert.deepEqual(browser.decoders.map(({ chunks }) => chunks.length), [2, 2]);
  assert.equal(browser.decoders[0].state, "closed");
});

test("images of frames captured before the first keyframe are broken and are not shown", () => {
  const { browser, decoder, shown } = makeDecoder(H264);
  decoder.push(key(1, { captured: 5000 }));
  decoder.push(frame(2, { captured: 4000 }));
  decoder.push(frame(3, { captured: 6000 }));
  const images = browser.decoder.chunks.map((chunk) => {
    const image = browser.decoder.output(chunk);
    browser.refreshDisplay();
    return image;
  });
  assert.deepEqual(shown, [1, 3]);
  assert.ok(images.every(({ closed }) => closed));
});

test("after an error decoding continues at the next keyframe, which is requested once", () => {
  const { browser, calls, decoder, shown } = makeDecoder(H264);
  decoder.push(key(1));
  browser.decoder.fail();
  for (const pushed of [frame(2), frame(3)]) decoder.push(pushed);
  assert.equal(calls.keyframeNeeded, 1);
  decoder.push(key(4));
  browser.decoder.output(browser.decoder.chunks[0]);
  browser.refreshDisplay();
  assert.deepEqual(shown, [4]);
  browser.decoder.fail();
  decoder.push(frame(5));
  assert.equal(calls.keyframeNeeded, 2, "a later error requests another");
  assert.equal(calls.failed, 0);
});

test("an error of a decoder that was replaced is ignored", () => {
  const { browser, decoder } = makeDecoder(H264);
  decoder.push(key(1));
  decoder.push(key(3));
  browser.decoders[0].fail();
  decoder.push(frame(4));
  assert.equal(browser.decoder.chunks.length, 2);
});

test("a chunk that the decoder refuses counts as an error", () => {
  const { browser, calls, decoder } = makeDecoder(H264);
  decoder.push(key(1));
  browser.decoder.decode = () => {
    throw new Error("refused");
  };
  decoder.push(frame(2));
  assert.equal(browser.decoder.state, "closed");
  decoder.push(frame(3));
  assert.equal(calls.keyframeNeeded, 1);
});

test("three errors in a row give up, and an image in between starts the count over", () => {
  const { browser, calls, decoder } = makeDecoder(H264);
  const fail = (sequence) => {
    decoder.push(key(sequence));
    browser.decoder.fail();
  };
  fail(1);
  fail(2);
  decoder.push(key(3));
  browser.decoder.output(browser.decoder.chunks[0]);
  browser.decoder.fail();
  fail(4);
  assert.equal(calls.failed, 0);
  fail(5);
  assert.equal(calls.failed, 1);
});

test("a profile that is not supported gives up at once", () => {
  const { browser, calls, decoder } = makeDecoder(H264);
  decoder.push(key(1));
  browser.decoder.fail("NotSupportedError");
  assert.equal(calls.failed, 1);
});

test("a configuration that the browser refuses counts as an error", () => {
  const { browser, calls, decoder } = makeDecoder(H264);
  browser.configureFault = new TypeError("not a codec");
  for (const sequence of [1, 2, 3]) decoder.push(key(sequence));
  assert.equal(calls.failed, 1);
});

test("keyframes without any parameter set give up after three", () => {
  const { browser, calls, decoder } = makeDecoder(H264);
  for (const sequence of [1, 2, 3]) decoder.push(key(sequence, { data: IDR }));
  assert.equal(browser.decoders.length, 0);
  assert.deepEqual([calls.failed, calls.keyframeNeeded], [1, 0], "another keyframe would not help");
});

test("a parameter set behind the first slice, cut off or without a start code does not count", () => {
  const invalid = [[...IDR, ...SPS], [...SLICE, ...SPS], SPS.slice(0, 7), [0, 9, 1, ...SPS.slice(4), 0], [9, 0, 1, ...SPS.slice(4), 0]];
  for (const data of invalid) {
    const { browser, decoder } = makeDecoder(H264);
    decoder.push(key(1, { data }));
    assert.equal(browser.decoders.length, 0, String(data));
  }
});

test("a decoder that is too slow skips to the next keyframe", () => {
  const { browser, calls, decoder, display, shown } = makeDecoder(H264);
  decoder.push(key(1));
  const slow = browser.decoder;
  slow.decodeQueueSize = 8;
  decoder.push(frame(2));
  assert.equal(slow.state, "configured");
  slow.decodeQueueSize = 9;
  decoder.push(frame(3));
  assert.equal(slow.state, "closed");
  assert.deepEqual([display.skipped, calls.keyframeNeeded], [1, 1]);
  decoder.push(key(4));
  browser.decoder.output(browser.decoder.chunks[0]);
  browser.refreshDisplay();
  assert.deepEqual(shown, [4]);
});

test("the replay of a GOP may queue up until it is decoded", () => {
  const { browser, decoder } = makeDecoder(H264);
  const old = { captured: 1_000_000, forwarded: 3_000_000 };
  decoder.push(key(1, old));
  browser.decoder.decodeQueueSize = 300;
  decoder.push(frame(2, old));
  decoder.push(frame(3, { captured: 3_000_000, forwarded: 3_010_000 }));
  assert.equal(browser.decoder.state, "configured");
  browser.decoder.decodeQueueSize = 4;
  decoder.push(frame(4, { captured: 3_040_000, forwarded: 3_050_000 }));
  browser.decoder.decodeQueueSize = 9;
  decoder.push(frame(5, { captured: 3_080_000, forwarded: 3_090_000 }));
  assert.equal(browser.decoder.state, "closed", "once the replay is decoded, the short queue counts");
});

test("frames sent half a second after their capture are a replay", () => {
  for (const [age, state] of [[501_000, "configured"], [499_000, "closed"]]) {
    const { browser, decoder } = makeDecoder(H264);
    const times = { captured: 1_000_000, forwarded: 1_000_000 + age };
    decoder.push(key(1, times));
    browser.decoder.decodeQueueSize = 9;
    decoder.push(frame(2, times));
    assert.equal(browser.decoder.state, state, `${age} µs`);
  }
});

test("an image that comes twice is shown once", () => {
  const { browser, decoder, shown } = makeDecoder(H264);
  decoder.push(key(1));
  for (let turn = 0; turn < 2; turn += 1) {
    const image = browser.decoder.output(browser.decoder.chunks[0]);
    browser.refreshDisplay();
    assert.ok(image.closed);
  }
  assert.deepEqual(shown, [1]);
});

test("even a replay's queue is bounded", () => {
  const { browser, decoder } = makeDecoder(H264);
  const old = { captured: 1_000_000, forwarded: 3_000_000 };
  decoder.push(key(1, old));
  browser.decoder.decodeQueueSize = 601;
  decoder.push(frame(2, old));
  assert.equal(browser.decoder.state, "closed");
});

test("a decoder that was closed shows nothing more and may be closed again", () => {
  const { browser, decoder, shown } = makeDecoder(H264);
  decoder.push(key(1));
  decoder.close();
  decoder.close();
  browser.decoder.output(browser.decoder.chunks[0]);
  browser.refreshDisplay();
  assert.deepEqual(shown, []);
});

test("codecs that the browser cannot decode have no decoder", () => {
  assert.equal(makeDecoder({ codec: "i420" }).decoder, null);
  assert.equal(makeDecoder({ codec: "unknown" }).decoder, null);
  assert.equal(makeDecoder(H264, { webCodecs: false }).decoder, null);
  assert.notEqual(makeDecoder(JPEG, { webCodecs: false }).decoder, null);
});

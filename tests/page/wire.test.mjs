// Messages: what the page decodes and encodes, against the captures that the Rust tests use.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../../crates/framewire/web/wire.js";
import { KINDS, capture, captured, config, frame, ping, pong, raw, service, state, u64s } from "./support/messages.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Decodes a message of its own memory, as a WebSocket delivers it. */
const read = (bytes) => decode(Uint8Array.from(bytes).buffer);

test("a hub's conversation with a viewer is decoded", () => {
  const decoded = capture("to-viewer").map(read);
  const frame = decoded.at(-1);
  assert.deepEqual(decoded, [
    null, // Hello
    { type: "pong", body: { pinged: 2_000_000, received: 5_011_000, sent: 5_011_010 } },
    null, // Accepted
    { type: "ping", body: { sent: 5_011_020 } },
    { type: "state", body: "live" },
    { type: "config", body: { codec: "jpeg", width: 1280, height: 720, extra: new Uint8Array() } },
    {
      type: "frame",
      body: {
        keyframe: true,
        sequence: 7n,
        times: { captured: 5_008_000, encoded: 5_010_500, sent: 5_010_600, received: 5_012_000, forwarded: 5_012_050 },
        data: Uint8Array.of(0xff, 0xd8, 0xff, 0xd9),
        arrived: 0,
        decoded: 0,
        shown: 0,
      },
    },
  ]);
  assert.equal(frame.body.data.byteOffset, 56, "the image is not copied");
});

test("rare fields and values are decoded", () => {
  const decoded = capture("rare").map(read);
  const bodies = (type) => decoded.filter((message) => message?.type === type).map(({ body }) => body);
  const size = { width: 1920, height: 1080 };
  assert.deepEqual(bodies("config"), [
    { codec: "jpeg", ...size, extra: new Uint8Array() },
    { codec: "h264", ...size, extra: Uint8Array.of(0, 0, 0, 1, 0x67) },
    { codec: "i420", ...size, extra: new Uint8Array() },
    { codec: "bgr24", ...size, extra: new Uint8Array() },
  ]);
  assert.deepEqual(bodies("state"), ["stalled", "idle"]);
  const [longest] = bodies("frame");
  assert.deepEqual([longest.sequence, longest.keyframe, longest.data.length], [2n ** 64n - 1n, false, 0]);
  assert.deepEqual(bodies("service"), [
    { rendition: "high", capacity: 4_000_000, delivered: 300, dropped: { superseded: 7, undecodable: 2, full: 0 } },
  ]);
});

test("a configuration tells the size in which pictures are shown, and how to get there", () => {
  const shown = (presentation, width, height) => read(config(2, { width, height, presentation })).body;
  const fields = ({ width, height, presentation }) => [width, height, presentation?.mirrored, presentation?.quarters];
  assert.deepEqual(fields(shown([0, 0, 0], 641, 361)), [641, 361, undefined, undefined]);
  assert.deepEqual(fields(shown([0, 64, 45], 720, 576)), [1024, 576, false, 0]);
  assert.deepEqual(fields(shown([0, 8, 9], 720, 480)), [720, 540, false, 0]);
  assert.deepEqual(fields(shown([5, 0, 0], 1280, 720)), [720, 1280, false, 1]);
  assert.deepEqual(fields(shown([4, 4, 3], 1440, 1080)), [1080, 1920, true, 3]);
  assert.deepEqual(fields(shown([9, 0, 0], 640, 360)), [640, 360, false, 0], "an unknown orientation");
  assert.deepEqual(fields(shown([0, 7, 0], 640, 360)), [640, 360, false, 0], "a pixel without a height");
});

test("an error's sentence is decoded", () => {
  assert.deepEqual(capture("refused").map(read).at(-1), {
    type: "error",
    body: "no stream is called 'dor'; there is: door",
  });
});

test("every rendition and every state has its name", () => {
  const names = [0, 1, 2, 3].map((rendition) => read(service(rendition, 0, 0, 0, 0, 0)).body.rendition);
  assert.deepEqual(names, ["source", "high", "low", "jpeg"]);
  assert.deepEqual([1, 2, 3].map((number) => read(state(number)).body), ["live", "stalled", "idle"]);
});

test("reports are encoded as in the captured conversation", () => {
  const [received, shown] = captured("viewer", "report");
  const report = { sequence: 7n, arrived: 2_000_500, decoded: 0, shown: 0 };
  assert.deepEqual(new Uint8Array(encode.report(report)), received);
  assert.deepEqual(new Uint8Array(encode.report({ ...report, decoded: 2_002_000, shown: 2_010_000 })), shown);
});

test("a report repeats all 64 bits of a frame's number", () => {
  const { body } = read(frame({ sequence: 2n ** 64n - 1n }));
  assert.deepEqual(new Uint8Array(encode.report(body)).subarray(8, 16), new Uint8Array(8).fill(255));
});

test("pings, pongs and keyframe requests are encoded as in the captures", () => {
  assert.deepEqual(new Uint8Array(encode.ping(2_000_000)), captured("viewer", "ping")[0]);
  assert.deepEqual(new Uint8Array(encode.pong(5_000_000, 1_000_400, 1_000_410)), captured("publisher", "pong")[0]);
  assert.deepEqual(new Uint8Array(encode.keyframeRequest()), captured("rare", "keyframe")[0]);
});

test("times above 32 bits survive", () => {
  const time = 2 ** 52 + 12_345;
  assert.equal(read(ping(time)).body.sent, time);
  assert.deepEqual(read(new Uint8Array(encode.pong(time, time + 1, time + 2))).body, {
    pinged: time,
    received: time + 1,
    sent: time + 2,
  });
});

test("a message of a kind that a viewer does not use is skipped", () => {
  for (const kind of [KINDS.hello, KINDS.accepted, KINDS.demand, KINDS.bye, KINDS.keyframe, 16, 200, 0]) {
    assert.equal(read(raw(kind, [1, 2, 3])), null);
  }
});

test("an unknown state, rendition or flag is skipped, and an unknown codec has a name of its own", () => {
  assert.equal(read(state(4)), null);
  assert.equal(read(service(4, 0, 0, 0, 0, 0)), null);
  assert.equal(read(config(9)).body.codec, "unknown");
  const flags = frame({});
  flags[1] = 0b1111_1110;
  assert.equal(read(flags).body.keyframe, false);
});

test("bytes behind the known fields are ignored", () => {
  for (const message of [pong(1, 2, 3), ping(7), service(0, 1, 2, 3, 4, 5), state(1)]) {
    assert.deepEqual(read(raw(message[0], [...message.subarray(8), 9, 9])), read(message));
  }
});

test("a message that is cut anywhere is refused", () => {
  const messages = [...capture("to-viewer"), ...capture("rare"), ...capture("refused")];
  for (const message of messages) {
    for (let length = 0; length < message.length; length += 1) {
      assert.throws(() => read(message.subarray(0, length)), RangeError, `kind ${message[0]}, ${length} bytes`);
    }
  }
});

test("a body that is too short for its fields is refused, and says why", () => {
  const shortest = { config: 12, frame: 48, ping: 8, pong: 24, state: 4, error: 4, service: 48 };
  for (const [name, length] of Object.entries(shortest)) {
    const expected = { name: "RangeError", message: `${name}: ${length - 1} bytes, expected at least ${length}` };
    assert.throws(() => read(raw(KINDS[name], new Array(length - 1).fill(1))), expected);
    assert.doesNotThrow(() => read(raw(KINDS[name], new Array(length).fill(1))), name);
  }
});

test("a body over the wire's limits is refused", () => {
  const longest = {
    [KINDS.config]: 12 + 16 * KIB,
    [KINDS.frame]: 48 + 8 * MIB,
    [KINDS.ping]: KIB,
    [KINDS.pong]: KIB,
    [KINDS.state]: KIB,
    [KINDS.error]: 4 + KIB,
    [KINDS.service]: KIB,
    200: 64 * KIB,
  };
  for (const [kind, length] of Object.entries(longest)) {
    assert.doesNotThrow(() => decode(raw(Number(kind), new Uint8Array(length)).buffer), `kind ${kind}`);
    assert.throws(() => decode(raw(Number(kind), new Uint8Array(length + 1)).buffer), /expected at most/, `kind ${kind}`);
  }
});

test("a message with more bytes than its header says is refused", () => {
  const message = raw(KINDS.ping, u64s(1));
  assert.throws(() => read([...message, 0]), { message: "ping: 9 bytes, but the header says 8" });
  assert.throws(() => read([...raw(200), 0]), { message: "kind 200: 1 bytes, but the header says 0" });
});

test("text in place of bytes is refused", () => {
  assert.throws(() => decode("live"), TypeError);
});

test("random bytes are decoded or refused, and nothing else happens", () => {
  // A linear congruential generator: every run sees the same bytes.
  let seed = 1;
  const random = (below) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  let decoded = 0;
  for (let turn = 0; turn < 20_000; turn += 1) {
    const message = raw(random(18), Array.from({ length: random(70) }, () => random(256)), random(256));
    if (random(4) === 0) message[random(message.length)] = random(256);
    try {
      decoded += decode(message.buffer) === null ? 0 : 1;
    } catch (fault) {
      assert.ok(fault instanceof RangeError, String(fault));
    }
  }
  assert.ok(decoded > 1000, `${decoded} messages were decoded`);
});

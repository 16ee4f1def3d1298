// Numbers and names as people read them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bitrate, codecName, count, duration, frameSize, roughDuration } from "../../crates/framewire/web/format.js";

/** Checks a function with one argument against a table. */
function check(format, table) {
  for (const [value, text] of table) assert.equal(format(value), text, String(value));
}

test("times have two or three digits and the unit that fits", () => {
  check(duration, [
    [0, "0.0 ms"],
    [3.14, "3.1 ms"],
    [9.94, "9.9 ms"],
    [9.95, "10 ms"],
    [42.4, "42 ms"],
    [999.4, "999 ms"],
    [999.6, "1.0 s"],
    [1000, "1.0 s"],
    [12_345, "12.3 s"],
  ]);
});

test("long times are rounded to one unit", () => {
  check(roughDuration, [
    [0.2, "under a second"],
    [1, "1 s"],
    [59.6, "60 s"],
    [89, "89 s"],
    [90, "2 min"],
    [5399, "90 min"],
    [5400, "2 h"],
    [172_799, "48 h"],
    [172_800, "2 days"],
  ]);
});

test("rates change from kbit/s to Mbit/s", () => {
  check(bitrate, [
    [0, "0 kbit/s"],
    [64_000, "64 kbit/s"],
    [999_400, "999 kbit/s"],
    [999_600, "1.0 Mbit/s"],
    [4_250_000, "4.3 Mbit/s"],
    [9_940_000, "9.9 Mbit/s"],
    [9_960_000, "10 Mbit/s"],
    [123_400_000, "123 Mbit/s"],
  ]);
});

test("thousands in counts are apart", () => {
  check(count, [
    [undefined, "0"],
    [0, "0"],
    [999, "999"],
    [1000, "1\u2009000"],
    [1_234_567, "1\u2009234\u2009567"],
  ]);
});

test("a size is shown when it is known", () => {
  assert.equal(frameSize(1280, 720), "1280×720");
  assert.equal(frameSize(0, 720), "");
  assert.equal(frameSize(undefined, undefined), "");
});

test("codecs have their usual names", () => {
  check(codecName, [
    ["jpeg", "JPEG"],
    ["h264", "H.264"],
    ["i420", "raw I420"],
    ["bgr24", "raw BGR"],
    ["av1", "av1"],
    [undefined, "–"],
  ]);
});

// The wire's messages, from the captures that the Rust tests share and made by hand. Nothing here uses the page's own code.

import { readFileSync } from "node:fs";

const CAPTURES = new URL("../../../crates/proto/testdata/native/", import.meta.url);
const PREAMBLE = 8;
const HEADER = 8;

/** The kinds' numbers, as PROTOCOL.md lists them. */
export const KINDS = {
  hello: 1,
  accepted: 4,
  config: 5,
  frame: 6,
  report: 7,
  ping: 8,
  pong: 9,
  demand: 10,
  state: 11,
  error: 12,
  bye: 13,
  keyframe: 14,
  service: 15,
  fault: 17,
};

/** The messages of one direction of a captured connection, as byte arrays: header and body each. */
export function capture(name) {
  const bytes = readFileSync(new URL(`${name}.bin`, CAPTURES));
  const messages = [];
  for (let at = PREAMBLE; at < bytes.length; ) {
    const end = at + HEADER + bytes.readUInt32LE(at + 4);
    messages.push(Uint8Array.from(bytes.subarray(at, end)));
    at = end;
  }
  return messages;
}

/** The messages of this kind in a capture. */
export function captured(name, kind) {
  return capture(name).filter(([number]) => number === KINDS[kind]);
}

/** A message with this body, a list of bytes. */
export function raw(kind, body = [], flags = 0) {
  const message = new Uint8Array(HEADER + body.length);
  message.set([kind, flags]);
  new DataView(message.buffer).setUint32(4, body.length, true);
  message.set(body, HEADER);
  return message;
}

/** The bytes of numbers of 8 bytes each. */
export function u64s(...numbers) {
  return [...new Uint8Array(BigUint64Array.from(numbers, BigInt).buffer)];
}

export const ping = (sent) => raw(KINDS.ping, u64s(sent));
export const pong = (pinged, received, sent) => raw(KINDS.pong, u64s(pinged, received, sent));
export const state = (number) => raw(KINDS.state, [number, 0, 0, 0]);
export const fault = (text) => raw(KINDS.fault, [...new TextEncoder().encode(text)]);
export const LIVE = state(1);
export const STALLED = state(2);
export const IDLE = state(3);

/** A configuration: `codec` is a number, `extra` bytes, `presentation` the orientation's number, a pixel's width and its height. */
export function config(codec, { width = 640, height = 360, extra = [], presentation = [0, 0, 0] } = {}) {
  const size = [width & 255, width >> 8, height & 255, height >> 8];
  return raw(KINDS.config, [codec, ...presentation, ...size, 0, 0, 0, 0, ...extra]);
}
export const JPEG = config(1);
export const H264 = config(2);

/** A frame; times that are not given are 0. */
export function frame({ sequence = 1, keyframe = true, data = [0xff, 0xd8, 0xff, 0xd9], ...times }) {
  const { captured = 0, encoded = 0, sent = 0, received = 0, forwarded = 0 } = times;
  const body = [...u64s(sequence, captured, encoded, sent, received, forwarded), ...data];
  return raw(KINDS.frame, body, keyframe ? 1 : 0);
}

export const service = (...numbers) => raw(KINDS.service, u64s(...numbers));
export const error = (text) => raw(KINDS.error, [2, 0, 0, 0, ...new TextEncoder().encode(text)]);

/** A message that the page sent: its kind's name and its body's numbers. */
export function parse(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [kind] = Object.entries(KINDS).find(([, number]) => number === view.getUint8(0)) ?? [];
  const numbers = [];
  for (let at = HEADER; at < bytes.length; at += 8) numbers.push(view.getBigUint64(at, true));
  return { kind, numbers };
}

/** What the page sent on a socket, of this kind: `{at, numbers}` with the time in milliseconds. */
export function sent(socket, kind) {
  const messages = socket.sent.map(({ at, bytes }) => ({ at, ...parse(bytes) }));
  return messages.filter((message) => message.kind === kind);
}

/** Answers every ping that has not been answered: on a clock this many microseconds ahead of the page's. */
export function answerPings(socket, ahead = 0) {
  socket.answered ??= 0;
  const pings = sent(socket, "ping");
  for (const { numbers } of pings.slice(socket.answered)) {
    const time = Number(numbers[0]) + ahead;
    socket.receive(pong(numbers[0], time, time));
  }
  socket.answered = pings.length;
}

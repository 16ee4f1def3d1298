// The native wire over a WebSocket, from the viewer's side: see PROTOCOL.md.
//
// Each binary WebSocket message is one message of the wire: header and body, without a preamble. The URL names the stream.
// Numbers are little-endian. Times are microseconds on the sender's clock; 0 means "not known".
//
// `browser` is the window. Tests pass a fake one, with a clock and sockets that they control.

/** The stages of a frame's latency, in order. */
export const STAGES = ["encode", "send", "uplink", "hub", "downlink", "decode", "show"];

/** Bytes of a message's header. */
const HEADER = 8;
const KIB = 1024;
const MIB = 1024 * KIB;
/** The longest body of a message of an unknown kind, in bytes. */
const LONGEST_UNKNOWN = 64 * KIB;

const CODECS = { 1: "jpeg", 2: "h264", 3: "i420", 4: "bgr24" };
const STATES = { 1: "live", 2: "stalled", 3: "idle" };
const RENDITIONS = ["source", "high", "low", "jpeg"];
const KEYFRAME_FLAG = 1;
/** How a picture is turned, by its number: mirrored left to right, then turned clockwise by so many quarters. */
const ORIENTATIONS = [[false, 0], [true, 0], [false, 2], [true, 2], [true, 3], [false, 1], [true, 1], [false, 3]];

/** The messages a viewer receives, by kind: name, shortest and longest body in bytes, and how to read the body. */
const RECEIVED = {
  5: { type: "config", shortest: 12, longest: 12 + 16 * KIB, read: readConfig },
  6: { type: "frame", shortest: 48, longest: 48 + 8 * MIB, read: readFrame },
  8: { type: "ping", shortest: 8, longest: KIB, read: (message) => ({ sent: u64(message, 0) }) },
  9: { type: "pong", shortest: 24, longest: KIB, read: readPong },
  11: { type: "state", shortest: 4, longest: KIB, read: (message) => STATES[message.getUint8(HEADER)] ?? null },
  12: { type: "error", shortest: 4, longest: 4 + KIB, read: (message) => text(message, 4) },
  17: { type: "fault", shortest: 0, longest: KIB, read: (message) => text(message, 0) },
  15: { type: "service", shortest: 48, longest: KIB, read: readService },
};

/**
 * Decodes one message into `{type, body}`. Returns null for a message to skip: its kind, its state or its rendition is not
 * known here. A frame's `data` shares the memory of `bytes`.
 *
 * Throws when `bytes`, an ArrayBuffer, do not hold exactly one message within the wire's limits.
 */
export function decode(bytes) {
  const message = new DataView(bytes);
  const kind = message.getUint8(0);
  const announced = message.getUint32(4, true);
  const length = message.byteLength - HEADER;
  const { type, shortest, longest, read } = RECEIVED[kind] ?? { type: `kind ${kind}`, shortest: 0, longest: LONGEST_UNKNOWN };
  if (announced !== length) throw new RangeError(`${type}: ${length} bytes, but the header says ${announced}`);
  if (length < shortest) throw new RangeError(`${type}: ${length} bytes, expected at least ${shortest}`);
  if (length > longest) throw new RangeError(`${type}: ${length} bytes, expected at most ${longest}`);
  const body = read?.(message) ?? null;
  return body === null ? null : { type, body };
}

/** The messages a viewer sends, as ArrayBuffers. */
export const encode = {
  /** How far a frame got: `sequence` is a BigInt, `arrived`, `decoded` and `shown` are times, 0 for "not yet". */
  report: ({ sequence, arrived, decoded, shown }) => compose(7, [sequence, arrived, decoded, shown]),
  ping: (sent) => compose(8, [sent]),
  pong: (pinged, received, sent) => compose(9, [pinged, received, sent]),
  keyframeRequest: () => compose(14, []),
};

/** A message whose body is a list of u64 numbers. */
function compose(kind, numbers) {
  const view = new DataView(new ArrayBuffer(HEADER + 8 * numbers.length));
  view.setUint8(0, kind);
  view.setUint32(4, 8 * numbers.length, true);
  numbers.forEach((number, index) => view.setBigUint64(HEADER + 8 * index, BigInt(number), true));
  return view.buffer;
}

function readConfig(message) {
  const shown = readPresentation(message, message.getUint16(HEADER + 4, true), message.getUint16(HEADER + 6, true));
  return {
    codec: CODECS[message.getUint8(HEADER)] ?? "unknown",
    ...shown,
    extra: new Uint8Array(message.buffer, HEADER + 12),
  };
}

/** The size in which pictures are shown. Where that is not as they are coded, `presentation` says how to get there. */
function readPresentation(message, width, height) {
  const [orientation, across, down] = [1, 2, 3].map((offset) => message.getUint8(HEADER + offset));
  // The side that is too short grows, to an even size.
  const grow = (side, by, from) => 2 * Math.ceil((side * by) / (2 * from));
  if (across > down && down) width = grow(width, across, down);
  if (down > across && across) height = grow(height, down, across);
  const [mirrored, quarters] = ORIENTATIONS[orientation] ?? ORIENTATIONS[0];
  if (quarters % 2) [width, height] = [height, width];
  const plain = !orientation && !across;
  return plain ? { width, height } : { width, height, presentation: { width, height, mirrored, quarters } };
}

function readFrame(message) {
  const time = (index) => u64(message, 8 * index);
  return {
    keyframe: (message.getUint8(1) & KEYFRAME_FLAG) !== 0,
    // A BigInt, so that a report repeats all 64 bits.
    sequence: message.getBigUint64(HEADER, true),
    times: { captured: time(1), encoded: time(2), sent: time(3), received: time(4), forwarded: time(5) },
    data: new Uint8Array(message.buffer, HEADER + 48),
    // When the frame got here, was decoded and was shown, on this page's clock.
    arrived: 0,
    decoded: 0,
    shown: 0,
  };
}

function readPong(message) {
  return { pinged: u64(message, 0), received: u64(message, 8), sent: u64(message, 16) };
}

/** The rendition this page gets, the measured rate of its link in bit/s (0: not known), and its frames that were dropped. */
function readService(message) {
  const [rendition, capacity, delivered, superseded, undecodable, full] = [0, 1, 2, 3, 4, 5].map((index) =>
    u64(message, 8 * index),
  );
  if (!(rendition in RENDITIONS)) return null;
  return { rendition: RENDITIONS[rendition], capacity, delivered, dropped: { superseded, undecodable, full } };
}

/** A number of 8 bytes at this offset in the body. It is exact up to 2^53: 285 years in microseconds. */
function u64(message, offset) {
  return Number(message.getBigUint64(HEADER + offset, true));
}

/** The text from this offset in the body to its end. */
function text(message, offset) {
  return new TextDecoder().decode(new Uint8Array(message.buffer, HEADER + offset));
}

/** The time on this page's clock, in whole microseconds, as messages carry it. It is never zero. */
export function now(browser) {
  return Math.floor(browser.performance.now() * 1000) + 1;
}

/** A connection that receives nothing for this long is closed, in microseconds. */
const SILENCE_TIMEOUT = 10_000_000;
/** After this long without a message, three pings of the hub are missing, in microseconds. A spare connection is then tried. */
const QUIET = 700_000;
/** Milliseconds between two checks of a connection. */
const CHECK_INTERVAL = 100;
/** How long a spare connection may take before the next one is tried: at least and at most, in milliseconds. */
const SPARE_TIMEOUT = { least: 400, most: 2000 };
/** How long the first connection may take to open, in milliseconds. */
const CONNECT_TIMEOUT = 5000;
/** The longest wait between two attempts to connect, in milliseconds. */
const LONGEST_BACKOFF = 10_000;

/**
 * Watches one stream from `open()` to `close()`, and reconnects when the connection is lost.
 *
 * - `on.reconnect()` is called before the messages of each new connection.
 * - `on.state(state)` reports the stream's state: "connecting", "live", "stalled" or "idle".
 * - `on.fault(text)` says why there is no picture; empty once there is one again.
 * - `on.config(config)` describes the frames that follow it.
 * - `on.frame(frame)` delivers each frame.
 * - `on.service(service)` reports once a second how the hub serves this page.
 * - `on.error(text)` reports an error, as a sentence to show.
 * - `on.unopened()` is called after an attempt that did not open: the hub is away, or something refuses the WebSocket.
 */
export class Connection {
  #url;
  #on;
  #browser;
  #jpegOnly = false;
  #socket = null;
  /**
   * A second connection, tried while the first one is silent. The first to receive a message is kept. TCP resends a lost
   * packet only after a second, so a spare that stays silent is soon replaced by another.
   */
  #spare = null;
  #spareSince = 0;
  #wanted = false;
  #attempts = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #checkTimer = 0;
  #lastReceived = 0;
  /**
   * Since when it is not known that the hub receives this page's messages; 0 when it is known. The hub's own messages prove
   * nothing: after packet loss, TCP may take seconds to resend ours.
   */
  #doubtSince = 0;
  /** The hub knows this page by its session, and closes the older of two connections of one session. */
  #session;
  #turn = 0;

  constructor(url, on, browser = window) {
    this.#url = url;
    this.#on = on;
    this.#browser = browser;
    const bytes = browser.crypto.getRandomValues(new Uint8Array(16));
    this.#session = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.clock = new ClockOffset();
  }

  open() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempts = 0;
    this.#connect();
  }

  /** Asks the hub for JPEG only, from now on: this browser cannot decode the stream's codec. */
  requestJpegOnly() {
    this.#jpegOnly = true;
    if (this.#wanted) this.#connect();
  }

  close() {
    this.#wanted = false;
    this.#disconnect();
  }

  /** Skips the rest of a wait before the next attempt: the hub is known to answer. */
  retryNow() {
    if (!this.#wanted || this.#socket) return;
    this.#attempts = 0;
    this.#connect();
  }

  /** Whether the connection is open. */
  get connected() {
    return this.#isOpen(this.#socket);
  }

  /** Reports how far a frame got. The hub paces the next frames by these reports. */
  report(frame) {
    this.#send(encode.report(frame));
  }

  /** Asks for a keyframe: no frame before it can be decoded. */
  requestKeyframe() {
    this.#send(encode.keyframeRequest());
  }

  #connect() {
    this.#disconnect();
    this.#on.state("connecting");
    this.#use(this.#dial());
    // Pings start when the connection opens. Until then the ping timer bounds the wait.
    this.#pingTimer = this.#browser.setTimeout(() => this.#unopened(), CONNECT_TIMEOUT);
  }

  #dial() {
    const url = new URL(this.#url);
    this.#turn += 1;
    // With the session, the hub counts this page once and starts at the rate that its link carried before.
    url.search = new URLSearchParams({
      session: this.#session,
      turn: this.#turn,
      ...(this.#jpegOnly && { codec: "jpeg" }),
    });
    const socket = new this.#browser.WebSocket(url);
    socket.binaryType = "arraybuffer";
    return socket;
  }

  /** Makes this socket the connection. */
  #use(socket) {
    let opened = this.#isOpen(socket);
    this.#socket = socket;
    this.#lastReceived = this.#now();
    this.#doubtSince = 0;
    this.clock = new ClockOffset();
    this.#on.reconnect();
    socket.onopen = () => {
      opened = true;
      this.#opened();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => (opened ? this.#closed() : this.#unopened());
    this.#checkTimer = this.#browser.setInterval(() => this.#check(), CHECK_INTERVAL);
  }

  #opened() {
    // The handshake was an answer. Without this, a slow one would count as silence.
    this.#lastReceived = this.#now();
    this.#ping();
  }

  /** Looks for a better connection while this one is silent, or while the hub may not receive our messages. */
  #check() {
    if (!this.connected) return;
    if (!this.#doubtSince && this.#now() - this.#lastReceived >= QUIET) {
      this.#doubtSince = this.#now();
      // The answer to this ping ends the doubt.
      this.#ping();
      if (!this.connected) return;
    }
    if (this.#doubtSince) this.#trySpare();
    // The hub closes this connection once it sees an open spare, so an open spare is kept.
    else if (!this.#isOpen(this.#spare)) this.#dropSpare();
  }

  /** Dials a spare connection, unless one was dialled a moment ago. One at a time: a browser opens no more at once. */
  #trySpare() {
    const { least, most } = SPARE_TIMEOUT;
    const timeout = Math.min(least + (4 * (this.clock.roundTrip ?? 0)) / 1000, most);
    if (this.#spare && this.#now() - this.#spareSince < timeout * 1000) return;
    this.#dropSpare();
    this.#spareSince = this.#now();
    const spare = this.#dial();
    this.#spare = spare;
    spare.onmessage = ({ data }) => {
      this.#useSpare();
      this.#receive(data);
    };
    spare.onclose = () => (this.#spare = null);
  }

  #useSpare() {
    const spare = this.#spare;
    this.#spare = null;
    this.#disconnect();
    this.#use(spare);
    this.#ping();
  }

  #unopened() {
    this.#retryLater();
    this.#on.unopened?.();
  }

  #closed() {
    if (this.#isOpen(this.#spare)) this.#useSpare();
    else this.#retryLater();
  }

  #disconnect() {
    this.#browser.clearTimeout(this.#retryTimer);
    this.#browser.clearTimeout(this.#pingTimer);
    this.#browser.clearInterval(this.#checkTimer);
    this.#dropSpare();
    abandon(this.#socket);
    this.#socket = null;
  }

  #dropSpare() {
    abandon(this.#spare);
    this.#spare = null;
  }

  #retryLater() {
    this.#disconnect();
    this.#on.state("connecting");
    this.#retryTimer = this.#browser.setTimeout(() => this.#connect(), backoff(this.#attempts));
    this.#attempts += 1;
  }

  #ping() {
    this.#browser.clearTimeout(this.#pingTimer);
    if (this.#now() - this.#lastReceived > SILENCE_TIMEOUT) return this.#retryLater();
    this.#send(encode.ping(this.#now()));
    this.#pingTimer = this.#browser.setTimeout(() => this.#ping(), this.clock.pingInterval);
  }

  #send(bytes) {
    if (this.connected) this.#socket.send(bytes);
  }

  #receive(bytes) {
    this.#lastReceived = this.#now();
    let message;
    try {
      message = decode(bytes);
    } catch (fault) {
      this.#on.error(`The hub sent a message that this page cannot read (${fault.message}). Reload the page.`);
      return this.#retryLater();
    }
    if (message) this.#handle(message, this.#lastReceived);
  }

  #handle({ type, body }, arrived) {
    switch (type) {
      case "frame":
        this.#attempts = 0;
        body.arrived = arrived;
        this.report(body);
        return this.#on.frame(body);
      case "ping":
        return this.#send(encode.pong(body.sent, arrived, this.#now()));
      case "pong":
        if (body.pinged >= this.#doubtSince) this.#doubtSince = 0;
        return this.clock.add(body, arrived);
      default:
        return this.#on[type](body);
    }
  }

  #isOpen(socket) {
    return socket?.readyState === this.#browser.WebSocket.OPEN;
  }

  #now() {
    return now(this.#browser);
  }
}

/** Closes a socket without waiting: a dead connection may take minutes to report that it is closed. */
function abandon(socket) {
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
}

/** Milliseconds until the next attempt: doubles each time. It is random, so that many pages do not return all at once. */
export function backoff(attempts) {
  return Math.min(LONGEST_BACKOFF, 500 * 2 ** attempts) * (0.5 + Math.random() / 2);
}

/**
 * The offset between the hub's clock and this page's. A sample is wrong by at most half its round trip, so the recent
 * sample with the shortest round trip is used.
 */
export class ClockOffset {
  /** How long a sample is used, in microseconds. */
  static #WINDOW = 10_000_000;
  /** The most samples that are kept: more than arrive within the window. */
  static #SAMPLES = 48;
  /** Milliseconds between two pings: for the first answers, then for as long as the connection lasts. */
  static #PING_INTERVAL = { first: 100, later: 250 };
  static #FIRST_ANSWERS = 5;
  #samples = [];
  #answers = 0;

  /** Adds a pong that arrived at this time. One with impossible times is ignored. */
  add({ pinged, received, sent }, arrived) {
    const roundTrip = arrived - pinged - (sent - received);
    if (arrived < pinged || sent < received || roundTrip < 0) return;
    const offset = (received + sent - pinged - arrived) / 2;
    const recent = this.#samples.filter((sample) => sample.arrived + ClockOffset.#WINDOW > arrived);
    this.#samples = [...recent.slice(1 - ClockOffset.#SAMPLES), { arrived, roundTrip, offset }];
    this.#answers += 1;
  }

  /** The hub's clock minus this page's, in microseconds; undefined before the first answer. */
  get hubMinusPage() {
    return this.#best()?.offset;
  }

  /** The shortest recent round trip in microseconds; undefined before the first answer. */
  get roundTrip() {
    return this.#best()?.roundTrip;
  }

  /** Milliseconds until the next ping. */
  get pingInterval() {
    const { first, later } = ClockOffset.#PING_INTERVAL;
    return this.#answers < ClockOffset.#FIRST_ANSWERS ? first : later;
  }

  #best() {
    return this.#samples.reduce((best, next) => (best && best.roundTrip <= next.roundTrip ? best : next), undefined);
  }
}

/** Frame rate and latency of the frames that this page showed in the last ten seconds. */
export class LatencyHistory {
  /** How long a frame counts for the latency and for the rate, in microseconds. */
  static #LATENCY_WINDOW = 10_000_000;
  static #RATE_WINDOW = 2_000_000;
  #frames = [];

  /** Adds a frame that was shown; `offset` is the hub's clock minus this page's. */
  add(frame, offset) {
    this.#forget(frame.shown);
    this.#frames.push({ shown: frame.shown, latency: latency(frame, offset) });
  }

  /** Frames shown a second. */
  fps(now) {
    const recent = this.#frames.filter(({ shown }) => shown > now - LatencyHistory.#RATE_WINDOW);
    if (recent.length < 2) return 0;
    return ((recent.length - 1) * 1e6) / (recent.at(-1).shown - recent[0].shown);
  }

  /** `{stage: {p50, p95, max}}` in milliseconds, with the stage "total". A stage without figures is left out. */
  summary(now) {
    this.#forget(now);
    const stages = {};
    for (const stage of [...STAGES, "total"]) {
      const known = this.#frames.map(({ latency }) => latency[stage]).filter((time) => time !== undefined);
      if (known.length === 0) continue;
      known.sort((one, other) => one - other);
      const percentile = (part) => known[Math.ceil((known.length - 1) * part)] / 1000;
      stages[stage] = { p50: percentile(0.5), p95: percentile(0.95), max: percentile(1) };
    }
    return stages;
  }

  clear() {
    this.#frames = [];
  }

  #forget(now) {
    const first = this.#frames.findIndex(({ shown }) => shown > now - LatencyHistory.#LATENCY_WINDOW);
    this.#frames.splice(0, first < 0 ? this.#frames.length : first);
  }
}

/** Microseconds that a frame spent in each stage. A stage is left out while its begin or its end is not known. */
function latency(frame, offset) {
  const { captured, encoded, sent, received, forwarded } = frame.times;
  const onHubClock = (time) => (time && offset !== undefined ? time + offset : 0);
  const spans = {
    encode: [captured, encoded],
    send: [encoded, sent],
    uplink: [sent, received],
    hub: [received, forwarded],
    downlink: [forwarded, onHubClock(frame.arrived)],
    decode: [frame.arrived, frame.decoded],
    show: [frame.decoded, frame.shown],
    total: [captured, onHubClock(frame.shown)],
  };
  const known = Object.entries(spans).filter(([, [from, to]]) => from && to);
  // The clock offset is wrong by up to half a round trip, so a short stage may seem to end before it begins.
  return Object.fromEntries(known.map(([stage, [from, to]]) => [stage, Math.max(0, to - from)]));
}

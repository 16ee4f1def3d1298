// The native wire over a WebSocket, as a viewer speaks it: each binary message is one message of PROTOCOL.md, header and
// body, without the preamble; the path names the stream. Numbers are little-endian. Times are microseconds on the clock
// of whoever wrote them, and zero stands for "not known".

const HEADER = 8;
const KIND = {
  CONFIG: 5,
  FRAME: 6,
  REPORT: 7,
  PING: 8,
  PONG: 9,
  STATE: 11,
  ERROR: 12,
  BYE: 13,
  KEYFRAME: 14,
  SERVICE: 15,
};
const CODECS = { 1: "jpeg", 2: "h264", 3: "i420", 4: "bgr24" };
const STATES = { 1: "live", 2: "stalled", 3: "idle" };
const RENDITIONS = ["source", "high", "low", "jpeg"];

/** The parts of a frame's way from birth to screen, in their order. */
export const STAGES = ["encode", "send", "uplink", "hub", "downlink", "decode", "show"];

/** Now, on this page's clock, in whole microseconds, as messages carry it; never zero. */
export const now = () => Math.floor(performance.now() * 1000) + 1;

/** A connection that stays silent this long, in microseconds, is taken for dead. */
const SILENCE = 10_000_000;
/** Once it is silent this long, three of the hub's pings are missing: another is tried beside it, until it is known to speak
 * and to hear again. */
const QUIET = 700_000;
/** Milliseconds between two looks whether it is, and how long an attempt has: at least, and at most. */
const LOOK = 100;
const PATIENCE = [400, 2000];
/** The longest wait for a connection, and between two attempts at one, in milliseconds. */
const CONNECT = 5000;
/** The longest wait between two attempts to connect, in milliseconds. */
const LONGEST_WAIT = 10_000;

/**
 * Watches one stream from `open()` until `close()`, through whatever happens to the connection in between.
 *
 * `on.state(word)` tells how the stream is: "connecting", "live", "stalled", "idle". `on.config(config)` comes before
 * the frames it is about, `on.frame(frame)` for each frame, `on.service(service)` once a second how the hub serves this
 * page, `on.error(text)` when the hub says what is wrong. `on.joined()` comes before the messages of another connection.
 */
export class Wire {
  #url;
  #on;
  #jpegs = false;
  #socket = null;
  /** What is tried while the socket is silent; whichever speaks first is kept. A lost packet is sent again only after a
   * second, so it is given up soon for another. */
  #spare = null;
  #tried = 0;
  #wanted = false;
  #attempts = 0;
  #retry = 0;
  #beat = 0;
  #look = 0;
  #heard = 0;
  /** Since when it is not known whether the hub hears this page, 0 where it is: TCP may wait for seconds before it sends again
   * what was lost, though the hub speaks. */
  #doubt = 0;
  /** The hub knows this page by it, and drops an older connection for a newer one. */
  #session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  #turn = 0;

  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    this.clock = new Offset();
  }

  open() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempts = 0;
    this.#connect();
  }

  /** From now on nothing but JPEGs is asked for: this browser decodes no other codec here. */
  onlyJpegs() {
    this.#jpegs = true;
    if (this.#wanted) this.#connect();
  }

  close() {
    this.#wanted = false;
    this.#hangUp();
  }

  /** Ends a wait for the next attempt: the hub was heard of by another way. */
  hurry() {
    if (!this.#wanted || this.#socket) return;
    this.#attempts = 0;
    this.#connect();
  }

  /** Whether the hub is connected and was heard of lately. */
  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Tells the hub how far a frame came; it sends the next ones by that. */
  report(frame) {
    const message = begin(KIND.REPORT, 32);
    message.setBigUint64(HEADER, frame.sequence, true);
    [frame.arrived, frame.decoded, frame.shown].forEach((time, place) => putTime(message, 16 + 8 * place, time));
    this.#send(message);
  }

  /** Asks for a keyframe: nothing that comes before one can be decoded. */
  wishKeyframe() {
    this.#send(begin(KIND.KEYFRAME, 0));
  }

  #connect() {
    this.#hangUp();
    this.#on.state("connecting");
    this.#hold(this.#dial());
    // Until pings go, this is the deadline of the connection itself.
    this.#beat = setTimeout(() => this.#again(), CONNECT);
  }

  #dial() {
    const url = new URL(this.#url);
    // Which page this is, so that it is not counted twice, and gets no more at first than its link carried before.
    this.#turn += 1;
    url.search = new URLSearchParams({ session: this.#session, turn: this.#turn, ...(this.#jpegs && { codec: "jpeg" }) });
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    return socket;
  }

  /** From now on this is the connection. */
  #hold(socket) {
    this.#socket = socket;
    this.#heard = now();
    this.#doubt = 0;
    this.clock = new Offset();
    this.#on.joined();
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = () => this.#lost();
    this.#look = setInterval(() => this.#lookAfter(), LOOK);
  }

  #opened() {
    // The handshake was an answer. Without this, a slow one would count as silence.
    this.#heard = now();
    this.#ping();
  }

  /** Tries another connection while this one is silent or deaf, one at a time: more a browser does not begin. */
  #lookAfter() {
    if (!this.connected) return;
    const opened = this.#spare?.readyState === WebSocket.OPEN;
    if (!this.#doubt && now() - this.#heard >= QUIET) {
      this.#doubt = now();
      // Its answer ends the doubt.
      this.#ping();
      if (!this.connected) return;
    }
    if (!this.#doubt) {
      // The hub has heard of one that is open, and may have dropped this one for it.
      if (!opened) this.#dropSpare();
      return;
    }
    const patience = Math.min(PATIENCE[0] + (4 * (this.clock.roundTrip ?? 0)) / 1000, PATIENCE[1]);
    if (this.#spare && now() - this.#tried < patience * 1000) return;
    this.#dropSpare();
    this.#tried = now();
    const spare = this.#dial();
    this.#spare = spare;
    spare.onmessage = ({ data }) => {
      this.#change();
      this.#take(data);
    };
    spare.onclose = () => (this.#spare = null);
  }

  /** The spare connection takes over. */
  #change() {
    const spare = this.#spare;
    this.#spare = null;
    this.#hangUp();
    this.#hold(spare);
    this.#ping();
  }

  /** The connection has ended: one that is open already takes over. */
  #lost() {
    if (this.#spare?.readyState === WebSocket.OPEN) this.#change();
    else this.#again();
  }

  #hangUp() {
    clearTimeout(this.#retry);
    clearTimeout(this.#beat);
    clearInterval(this.#look);
    this.#dropSpare();
    leave(this.#socket);
    this.#socket = null;
  }

  #dropSpare() {
    leave(this.#spare);
    this.#spare = null;
  }

  #again() {
    this.#hangUp();
    this.#on.state("connecting");
    this.#retry = setTimeout(() => this.#connect(), backoff(this.#attempts));
    this.#attempts += 1;
  }

  #ping() {
    clearTimeout(this.#beat);
    if (now() - this.#heard > SILENCE) return this.#again();
    const message = begin(KIND.PING, 8);
    putTime(message, HEADER, now());
    this.#send(message);
    this.#beat = setTimeout(() => this.#ping(), this.clock.pingEvery());
  }

  #send(message) {
    if (this.connected) this.#socket.send(message.buffer);
  }

  #take(data) {
    const arrived = now();
    this.#heard = arrived;
    try {
      this.#handle(new DataView(data), arrived);
    } catch (fault) {
      this.#on.error(`The hub sent bytes that this page does not understand (${fault.message}); reload the page.`);
      this.#again();
    }
  }

  /** One message. A body that is too short throws by itself; a kind that is not known is passed over. */
  #handle(message, arrived) {
    const length = message.getUint32(4, true);
    if (length !== message.byteLength - HEADER) throw new RangeError(`a length of ${length}`);
    switch (message.getUint8(0)) {
      case KIND.STATE:
        return this.#on.state(STATES[message.getUint8(HEADER)] ?? "live");
      case KIND.CONFIG:
        return this.#on.config(readConfig(message));
      case KIND.FRAME: {
        this.#attempts = 0;
        const frame = readFrame(message, arrived);
        this.report(frame);
        return this.#on.frame(frame);
      }
      case KIND.PING:
        return this.#pong(takeNumber(message, HEADER), arrived);
      case KIND.PONG: {
        const [pinged, received, sent] = [0, 8, 16].map((place) => takeNumber(message, HEADER + place));
        if (pinged >= this.#doubt) this.#doubt = 0;
        return this.clock.push(pinged, received, sent, arrived);
      }
      case KIND.SERVICE:
        return this.#on.service(readService(message));
      case KIND.ERROR:
        return this.#on.error(text(message, HEADER + 4));
    }
  }

  #pong(pinged, received) {
    const message = begin(KIND.PONG, 24);
    putTime(message, HEADER, pinged);
    putTime(message, HEADER + 8, received);
    putTime(message, HEADER + 16, now());
    this.#send(message);
  }
}

/** A dead connection may take minutes to say that it closed: nobody listens to it any more. */
function leave(socket) {
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
}

/** Milliseconds to wait before the next attempt: doubling, with chance in it so that pages do not come back all at once. */
export function backoff(attempts) {
  return Math.min(LONGEST_WAIT, 500 * 2 ** attempts) * (0.5 + Math.random() / 2);
}

/**
 * How much more the hub's clock shows than this page's. The error of a sample is at most half its round trip, so of the
 * recent ones the one with the shortest round trip is believed.
 */
class Offset {
  static #WINDOW = 10_000_000;
  static #SAMPLES = 48;
  static #ENOUGH = 5;
  #samples = [];
  #taken = 0;

  push(sent, received, answered, at) {
    const roundTrip = at - sent - (answered - received);
    if (at < sent || answered < received || roundTrip < 0) return;
    const offset = (received + answered - sent - at) / 2;
    const fresh = this.#samples.filter((sample) => sample.at + Offset.#WINDOW > at);
    this.#samples = [...fresh.slice(1 - Offset.#SAMPLES), { at, roundTrip, offset }];
    this.#taken += 1;
  }

  /** In microseconds; undefined before the first answer. */
  get theirsMinusOurs() {
    return this.#best()?.offset;
  }

  /** The shortest recent round trip in microseconds; undefined before the first answer. */
  get roundTrip() {
    return this.#best()?.roundTrip;
  }

  /** Milliseconds until the next ping: every 100 ms for the first five answers, then four times a second. */
  pingEvery() {
    return this.#taken < Offset.#ENOUGH ? 100 : 250;
  }

  #best() {
    return this.#samples.reduce((best, next) => (best && best.roundTrip <= next.roundTrip ? best : next), undefined);
  }
}

/** The frames shown in the last ten seconds: how many a second, and where their time went. */
export class History {
  static #KEPT = 10_000_000;
  static #RATE = 2_000_000;
  #frames = [];

  /** Takes a frame that was shown; `offset` is the hub's clock minus ours. */
  take(frame, offset) {
    this.#forget(frame.shown);
    this.#frames.push({ at: frame.shown, split: split(frame, offset) });
  }

  /** Frames a second, shown here. */
  fps() {
    const since = now() - History.#RATE;
    const recent = this.#frames.filter(({ at }) => at > since);
    if (recent.length < 2) return 0;
    return ((recent.length - 1) * 1e6) / (recent.at(-1).at - recent[0].at);
  }

  /** `{stage: {p50, p95, max}}` in milliseconds, of the stages of which anything is known, `total` among them. */
  summary() {
    this.#forget(now());
    const stages = {};
    for (const stage of [...STAGES, "total"]) {
      const known = this.#frames.map(({ split }) => split[stage]).filter((time) => time !== undefined);
      if (known.length === 0) continue;
      known.sort((one, other) => one - other);
      const share = (part) => known[Math.ceil((known.length - 1) * part)] / 1000;
      stages[stage] = { p50: share(0.5), p95: share(0.95), max: share(1) };
    }
    return stages;
  }

  clear() {
    this.#frames = [];
  }

  #forget(at) {
    const old = this.#frames.findIndex((frame) => frame.at > at - History.#KEPT);
    this.#frames.splice(0, old < 0 ? this.#frames.length : old);
  }
}

/** How long a frame took at each stage, in microseconds; a stage of which an end is not known is left out. */
function split(frame, offset) {
  const { captured, encoded, sent, received, forwarded } = frame.times;
  const theirs = (time) => (time && offset !== undefined ? time + offset : 0);
  const ways = {
    encode: [captured, encoded],
    send: [encoded, sent],
    uplink: [sent, received],
    hub: [received, forwarded],
    downlink: [forwarded, theirs(frame.arrived)],
    decode: [frame.arrived, frame.decoded],
    show: [frame.decoded, frame.shown],
    total: [captured, theirs(frame.shown)],
  };
  // Two clocks agree only to within half a round trip, so a short way may seem to end before it begins.
  const known = Object.entries(ways).filter(([, [from, to]]) => from && to);
  return Object.fromEntries(known.map(([stage, [from, to]]) => [stage, Math.max(0, to - from)]));
}

function readConfig(message) {
  return {
    codec: CODECS[message.getUint8(HEADER)] ?? "unknown",
    width: message.getUint16(HEADER + 4, true),
    height: message.getUint16(HEADER + 6, true),
    extra: new Uint8Array(message.buffer, HEADER + 12),
  };
}

function readFrame(message, arrived) {
  const time = (place) => takeNumber(message, HEADER + 8 * place);
  return {
    keyframe: (message.getUint8(1) & 1) !== 0,
    // Kept whole, for the hub knows a report by it.
    sequence: message.getBigUint64(HEADER, true),
    times: { captured: time(1), encoded: time(2), sent: time(3), received: time(4), forwarded: time(5) },
    data: new Uint8Array(message.buffer, HEADER + 48),
    arrived,
    decoded: 0,
    shown: 0,
  };
}

/** What the page gets, what its link carries in bits a second (0: not known), and what was dropped of its frames. */
function readService(message) {
  const [rendition, capacity, delivered, superseded, undecodable, full] = [0, 1, 2, 3, 4, 5].map((place) =>
    takeNumber(message, HEADER + 8 * place),
  );
  return { rendition: RENDITIONS[rendition] ?? "unknown", capacity, delivered, dropped: { superseded, undecodable, full } };
}

function begin(kind, length) {
  const message = new DataView(new ArrayBuffer(HEADER + length));
  message.setUint8(0, kind);
  message.setUint32(4, length, true);
  return message;
}

/** A plain number, which is exact up to 2^53: for 285 years of microseconds. */
function takeNumber(message, place) {
  return message.getUint32(place, true) + message.getUint32(place + 4, true) * 2 ** 32;
}

function putTime(message, place, time) {
  message.setUint32(place, time % 2 ** 32, true);
  message.setUint32(place + 4, time / 2 ** 32, true);
}

function text(message, place) {
  return new TextDecoder().decode(new Uint8Array(message.buffer, place));
}

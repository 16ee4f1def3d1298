// A browser whose clock, network, decoders and display are controlled by the test. Nothing happens unless a test asks for it.

import { loadPage } from "./dom.mjs";

/** The page's URL in these tests. */
export const PAGE = "http://hub.test:7070/";

/** Lets everything run that waits for promises only. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeBrowser {
  /** The clock, in milliseconds. It begins with a fraction of a microsecond, as browsers' clocks do. */
  time = 1000.0007;
  performance = { now: () => this.time };
  crypto = { getRandomValues: (bytes) => bytes.map((_, index) => 17 * index) };
  AbortSignal = { timeout: (ms) => ({ timeout: ms }) };
  Blob = globalThis.Blob;
  navigator = { clipboard: { writeText: async (text) => void (this.clipboard = text) } };
  clipboard = null;
  /** All sockets that the page has opened, the newest last. */
  sockets = [];
  /** Requests, JPEGs and video decoders that the page has begun, the newest last. */
  requests = [];
  jpegs = [];
  decoders = [];
  #timers = new Map();
  #handles = 0;
  #refreshes = new Map();

  constructor({ webCodecs = true, page = PAGE } = {}) {
    const browser = this;
    this.document = loadPage(page);
    this.WebSocket = class extends FakeSocket {
      constructor(url) {
        super(url, browser);
      }
    };
    if (!webCodecs) return;
    this.EncodedVideoChunk = class {
      constructor(fields) {
        Object.assign(this, fields);
      }
    };
    this.VideoDecoder = class extends FakeVideoDecoder {
      constructor(callbacks) {
        super(callbacks, browser);
      }
    };
  }

  setTimeout = (run, wait) => this.#addTimer({ run, at: this.time + wait });

  setInterval = (run, every) => this.#addTimer({ run, at: this.time + every, every });

  clearTimeout = (handle) => void this.#timers.delete(handle);

  clearInterval = (handle) => void this.#timers.delete(handle);

  requestAnimationFrame = (run) => {
    this.#handles += 1;
    this.#refreshes.set(this.#handles, run);
    return this.#handles;
  };

  cancelAnimationFrame = (handle) => void this.#refreshes.delete(handle);

  createImageBitmap = (blob) =>
    new Promise((resolve, reject) => {
      const done = (image) => resolve(image);
      this.jpegs.push({ blob, done, fail: () => reject(new Error("not a JPEG")) });
    });

  fetch = (url, options) =>
    new Promise((resolve, reject) => this.requests.push({ url, options, answer: resolve, fail: () => reject(new Error()) }));

  /** Lets time pass. Timers run in their order, each at its own time. */
  advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const [handle, timer] = [...this.#timers].sort(([, one], [, other]) => one.at - other.at)[0] ?? [];
      // Sums of fractions are inexact: a timer that is due at the end runs now.
      if (!timer || timer.at > end + 1e-6) break;
      this.time = Math.max(this.time, timer.at);
      if (timer.every) timer.at += timer.every;
      else this.#timers.delete(handle);
      timer.run();
    }
    this.time = end;
  }

  /** Refreshes the display. */
  refreshDisplay() {
    const runs = [...this.#refreshes.values()];
    this.#refreshes.clear();
    runs.forEach((run) => run());
  }

  get timersRunning() {
    return this.#timers.size;
  }

  /** The newest socket. */
  get socket() {
    return this.sockets.at(-1);
  }

  /** The newest video decoder. */
  get decoder() {
    return this.decoders.at(-1);
  }

  #addTimer(timer) {
    this.#handles += 1;
    this.#timers.set(this.#handles, timer);
    return this.#handles;
  }
}

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  binaryType = "blob";
  onopen = null;
  onmessage = null;
  onclose = null;
  /** What the page sent: `{at, bytes}`, with the time in milliseconds. */
  sent = [];

  constructor(url, browser) {
    this.url = new URL(url);
    this.browser = browser;
    browser.sockets.push(this);
  }

  /** The handshake succeeds. */
  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  /** These bytes of a message arrive. */
  receive(bytes) {
    this.onmessage?.({ data: bytes instanceof Uint8Array ? Uint8Array.from(bytes).buffer : bytes });
  }

  /** The connection is lost, or was never made. */
  lose() {
    this.readyState = 3;
    this.onclose?.();
  }

  /** What the page does. */
  send(buffer) {
    if (this.readyState !== 1) throw new Error("send() on a socket that is not open");
    this.sent.push({ at: this.browser.time, bytes: new Uint8Array(buffer.slice(0)) });
  }

  close() {
    this.readyState = 2;
  }

  /** Whether the page has given up this socket. */
  get abandoned() {
    return this.readyState === 2;
  }
}

/** A VideoDecoder that decodes when the test calls `output`. */
class FakeVideoDecoder {
  state = "unconfigured";
  decodeQueueSize = 0;
  /** The chunks that it was given. */
  chunks = [];
  #callbacks;

  constructor(callbacks, browser) {
    this.#callbacks = callbacks;
    this.browser = browser;
    browser.decoders.push(this);
  }

  configure(config) {
    if (this.browser.configureFault) throw this.browser.configureFault;
    this.config = config;
    this.state = "configured";
  }

  decode(chunk) {
    if (this.state !== "configured") throw new Error(`decode() while ${this.state}`);
    if (this.chunks.length === 0 && chunk.type !== "key") throw new Error("the first chunk is not a key frame");
    this.chunks.push(chunk);
  }

  close() {
    if (this.state === "closed") throw new Error("close() on a closed decoder");
    this.state = "closed";
  }

  /** A chunk's image is ready. Returns the image. */
  output(chunk, size) {
    const image = makeImage({ timestamp: chunk.timestamp, displayWidth: 640, displayHeight: 360, ...size });
    if (this.state !== "closed") this.#callbacks.output(image);
    return image;
  }

  /** Decoding fails, which closes a decoder. */
  fail(name = "EncodingError") {
    this.state = "closed";
    this.#callbacks.error(Object.assign(new Error(name), { name }));
  }
}

/** An ImageBitmap or a VideoFrame with these fields. It may be closed once. */
export function makeImage(fields = { width: 640, height: 360 }) {
  const image = { ...fields, closed: false };
  image.close = () => {
    if (image.closed) throw new Error("close() on a closed image");
    image.closed = true;
  };
  return image;
}

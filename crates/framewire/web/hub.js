// The hub's addresses and its list of streams.

import { backoff } from "./wire.js";

/** Milliseconds between two requests for the list of streams. */
const POLL_INTERVAL = 1500;
/** Milliseconds that the hub has to answer. */
const ANSWER_TIMEOUT = 4000;
/** The shortest wait after a request that failed, in milliseconds. */
const SHORTEST_RETRY = 1000;
/** The hub's answers where a WebSocket may not be opened, and where only a WebSocket may: then something in between drops it. */
const SOCKET_REFUSALS = [403, 426];
/** The longest name of a stream, in bytes. */
const LONGEST_NAME = 64;

/** Whether a stream can have this name. A link to this page can contain any text, and commands to copy contain the name. */
export function isStreamName(name) {
  const allowed = /^[\p{Alphabetic}\p{N}_:@-][\p{Alphabetic}\p{N}_.:@-]*$/u.test(name);
  return allowed && new TextEncoder().encode(name).length <= LONGEST_NAME;
}

/** The hub that serves this page. `page` is the page's own URL. */
export class Hub {
  #base;

  constructor(page) {
    this.#base = new URL(".", page);
    const { hostname, port, protocol } = this.#base;
    /** The hub's address as programs need it: always with a port. */
    this.address = `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
    /** The URL of the list of streams. */
    this.streams = new URL("streams", this.#base).href;
  }

  /** The URL of a stream's JSON, or with `resource` of something else that the hub serves of it. */
  url(name, resource = "") {
    return new URL(`streams/${encodeURIComponent(name)}${resource && `/${resource}`}`, this.#base).href;
  }

  /** The URL of a stream's WebSocket. */
  socketUrl(name) {
    return this.url(name, "ws").replace(/^http/, "ws");
  }

  /**
   * Why a stream's WebSocket does not open, as a sentence; null where the hub does not say that it refuses it. Browsers do not
   * tell a page what the answer was, so it is asked for by other means.
   */
  async socketRefusal(name, browser = window) {
    const url = new URL(this.url(name, "ws"));
    url.searchParams.set("origin", url.origin);
    const options = { cache: "no-store", signal: browser.AbortSignal.timeout(ANSWER_TIMEOUT) };
    const answer = await browser.fetch(url.href, options).catch(() => null);
    if (!answer || !SOCKET_REFUSALS.includes(answer.status)) return null;
    return (await answer.text().catch(() => "")).trim() || `HTTP status ${answer.status}`;
  }
}

/**
 * Polls the hub's list of streams. `on.list(streams)` is called with each answer, `on.failed(seconds, reason)` when there is
 * none and the next request follows after so many seconds.
 */
export class StreamList {
  #hub;
  #on;
  #browser;
  #timer = 0;
  #failures = 0;
  #running = false;
  #asking = false;

  constructor(hub, on, browser = window) {
    this.#hub = hub;
    this.#on = on;
    this.#browser = browser;
  }

  /** Asks at once, and then at regular intervals. */
  start() {
    this.#running = true;
    this.#browser.clearTimeout(this.#timer);
    if (!this.#asking) this.#poll();
  }

  stop() {
    this.#running = false;
    this.#browser.clearTimeout(this.#timer);
  }

  async #poll() {
    this.#asking = true;
    let wait = POLL_INTERVAL;
    try {
      const streams = await this.#request();
      this.#failures = 0;
      this.#on.list(streams);
    } catch (fault) {
      wait = Math.max(SHORTEST_RETRY, backoff(this.#failures));
      this.#failures += 1;
      if (this.#running) this.#on.failed(wait / 1000, fault.message);
    }
    this.#asking = false;
    if (this.#running) this.#timer = this.#browser.setTimeout(() => this.#poll(), wait);
  }

  async #request() {
    const options = { cache: "no-store", signal: this.#browser.AbortSignal.timeout(ANSWER_TIMEOUT) };
    const answer = await this.#browser.fetch(this.#hub.streams, options).catch(() => {
      throw new Error("does not answer");
    });
    if (!answer.ok) throw new Error(`answered with HTTP status ${answer.status}`);
    const streams = await answer.json().catch(() => null);
    if (!Array.isArray(streams)) throw new Error("sent an answer that is not a list of streams");
    return streams.filter((info) => typeof info?.name === "string");
  }
}

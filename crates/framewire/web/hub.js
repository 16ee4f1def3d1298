// Where the hub is, and which streams it has.

import { backoff } from "./wire.js";

const BASE = new URL(".", document.baseURI);
/** Milliseconds between two looks at the list of streams. */
const EVERY = 1500;
/** Milliseconds after which a hub that has not answered counts as gone. */
const PATIENCE = 4000;

/** The hub's address as programs need it: always with its port. */
export const address = `${BASE.hostname}:${BASE.port || (BASE.protocol === "https:" ? 443 : 80)}`;

/** The address of a stream's page, picture or data. */
export function url(name, what = "") {
  return new URL(`streams/${encodeURIComponent(name)}${what && `/${what}`}`, BASE).href;
}

/** The address of a stream's WebSocket. */
export function socketUrl(name) {
  return url(name, "ws").replace(/^http/, "ws");
}

/** Follows the hub's list of streams: `came(list)` at each answer, `gone(seconds, why)` when there is none. */
export class Streams {
  #came;
  #gone;
  #timer = 0;
  #failures = 0;
  #running = false;
  #asking = false;

  constructor(came, gone) {
    this.#came = came;
    this.#gone = gone;
  }

  /** Looks at once, and from now on again and again. */
  start() {
    this.#running = true;
    clearTimeout(this.#timer);
    if (!this.#asking) this.#ask();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  async #ask() {
    this.#asking = true;
    let wait = EVERY;
    try {
      const list = await read();
      this.#failures = 0;
      this.#came(list);
    } catch (fault) {
      wait = Math.max(1000, backoff(this.#failures));
      this.#failures += 1;
      if (this.#running) this.#gone(wait / 1000, fault.message);
    }
    this.#asking = false;
    if (this.#running) this.#timer = setTimeout(() => this.#ask(), wait);
  }
}

async function read() {
  const signal = AbortSignal.timeout(PATIENCE);
  const answer = await fetch(new URL("streams", BASE), { cache: "no-store", signal }).catch(() => {
    throw new Error("does not answer");
  });
  if (!answer.ok) throw new Error(`answers with error ${answer.status}`);
  const list = await answer.json().catch(() => null);
  if (!Array.isArray(list)) throw new Error("answers with something that is not a list of streams");
  return list.filter((info) => typeof info?.name === "string");
}

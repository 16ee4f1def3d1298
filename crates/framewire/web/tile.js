// One stream on the page: its picture, its words and figures, and its connection for as long as somebody looks at it.

import { Details } from "./details.js";
import { size, span, time } from "./format.js";
import { socketUrl, url } from "./hub.js";
import { Screen, decoder, decodesH264 } from "./picture.js";
import { History, Wire, now } from "./wire.js";

const WORDS = { live: "Live", stalled: "Stalled", idle: "Idle", connecting: "Connecting", gone: "Offline" };

export class Tile {
  #info;
  #polled = 0;
  #hubGone = false;
  #watched = false;
  #said = "connecting";
  #fault = "";
  #config = null;
  /** How the hub serves this page; null while it has not said so. */
  #service = null;
  #decoder = null;
  #last = null;
  /** When this connection's first frame was sent here, on the hub's clock. */
  #joined = 0;
  #details = null;
  #still = null;
  #jpegs = false;
  /** The codec, as the list of streams calls it, that this browser cannot decode. */
  #undecodable = null;

  constructor(info) {
    this.name = info.name;
    this.#info = info;
    this.element = document.querySelector("#tile").content.firstElementChild.cloneNode(true);
    this.element.dataset.name = info.name;
    this.link = this.#part(".name");
    this.link.textContent = info.name;
    this.link.title = info.name;
    this.link.href = `#/${encodeURIComponent(info.name)}`;
    this.#part("canvas").setAttribute("role", "img");
    this.#part("canvas").setAttribute("aria-label", `The picture of ${info.name}`);
    this.history = new History();
    this.screen = new Screen(this.#part("canvas"), {
      shown: (frame) => this.#shown(frame),
      age: ({ times }) => this.#since(times.captured),
    });
    this.wire = new Wire(socketUrl(info.name), {
      joined: () => (this.#joined = 0),
      state: (word) => this.#hear(word),
      config: (config) => this.#configure(config),
      frame: (frame) => this.#take(frame),
      service: (service) => (this.#service = service),
      error: (text) => (this.#fault = text),
    });
    if (!decodesH264) this.#onlyJpegs();
    this.#fullScreen();
    this.refresh();
  }

  /** Takes what the hub tells of the stream. */
  update(info) {
    this.#info = info;
    this.#polled = now();
    this.#hubGone = false;
    if (this.#undecodable && info.codec !== this.#undecodable) this.#decodeAgain();
    this.refresh();
  }

  /** The hub does not answer, or does again. */
  hub(gone) {
    this.#hubGone = gone;
    if (!gone) this.wire.hurry();
    this.refresh();
  }

  /** Somebody looks at the tile, or nobody: what nobody sees is not sent for. */
  watch(watched) {
    if (watched === this.#watched) return;
    this.#watched = watched;
    if (watched) return this.#open();
    this.wire.close();
    this.#still?.stop();
    this.#stopDecoding();
    // The rate of frames before a pause tells nothing of those after it.
    this.history.clear();
  }

  enlarge(enlarged) {
    this.element.classList.toggle("one", enlarged);
    if (enlarged) this.link.removeAttribute("href");
    else this.link.href = `#/${encodeURIComponent(this.name)}`;
    this.#details?.element.remove();
    this.#details = enlarged ? new Details(this.name) : null;
    if (enlarged) this.element.append(this.#details.element);
    this.refresh();
  }

  focus() {
    const target = this.link.href ? this.link : this.#part("h2");
    target.focus({ preventScroll: true });
  }

  remove() {
    this.watch(false);
    this.element.remove();
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#part(".picture").requestFullscreen?.().catch(() => {});
  }

  /** Says anew how the stream is. */
  refresh() {
    const state = this.#state();
    const [title, more] = this.#words(state);
    this.element.dataset.state = state;
    write(this.#part(".state"), WORDS[state]);
    write(this.#part(".veil strong"), title);
    write(this.#part(".veil span"), more);
    this.#figures(state);
  }

  #figures(state) {
    const live = state === "live";
    const summary = this.#still ? (this.#info.latency_ms ?? {}) : this.history.summary();
    const fps = this.#still ? this.#info.fps : this.history.fps();
    write(this.#part(".fps"), live && fps ? `${fps.toFixed(fps < 9.95 ? 1 : 0)} fps` : "");
    write(this.#part(".latency"), live && summary.total ? time(summary.total.p50) : "");
    write(this.#part(".size"), this.#size());
    this.#part(".latency").title = "From capture until shown here; half of the frames took at most this";
    const here = {
      fps,
      age: live && !this.#still ? this.#age() : null,
      skipped: this.screen.skipped,
      roundTrip: this.wire.clock.roundTrip,
      still: Boolean(this.#still),
      service: this.#service,
    };
    this.#details?.update(this.#info, summary, here);
  }

  #size() {
    const { width, height } = this.#config ?? this.#info;
    if (width && height) this.#part(".picture").style.setProperty("--shape", `${width} / ${height}`);
    return size(width, height);
  }

  #state() {
    if (this.#still || !this.#watched) {
      const state = this.#hubGone ? "gone" : (this.#info.state ?? "live");
      return state === "live" && this.#still && !this.#still.shows ? "connecting" : state;
    }
    if (this.wire.connected) return this.#said;
    return this.#hubGone ? "gone" : "connecting";
  }

  #words(state) {
    switch (state) {
      case "connecting":
        if (this.#still) return ["Waiting…", `This browser cannot decode ${this.#undecodable} here; the hub has sent no JPEG yet.`];
        return ["Connecting…", this.#fault];
      case "gone":
        return ["No connection", "The hub does not answer."];
      case "idle":
        return ["Idle", "The source sleeps until somebody watches."];
      case "stalled": {
        const age = this.#age();
        return ["Stalled", age === null ? "No picture has come yet." : `No new picture for ${span(age)}.`];
      }
      default:
        return ["", ""];
    }
  }

  /** Seconds since the newest picture was captured, as far as that is known; null when there was none. */
  #age() {
    const age = this.#since(this.#last?.times.captured);
    if (age !== undefined) return Math.max(0, age) / 1e6;
    if (this.#last) return (now() - this.#last.arrived) / 1e6;
    const told = this.#info.age_ms;
    return typeof told === "number" ? told / 1000 + (this.#polled ? (now() - this.#polled) / 1e6 : 0) : null;
  }

  /** Microseconds since a time of the hub's; undefined while either is not known. */
  #since(time) {
    const offset = this.wire.clock.theirsMinusOurs;
    return time && offset !== undefined ? now() + offset - time : undefined;
  }

  #open() {
    if (this.#undecodable) this.#still.start();
    else this.wire.open();
  }

  #hear(word) {
    this.#said = word;
    if (word === "connecting") {
      this.#stopDecoding();
      this.#service = null;
    } else this.#fault = "";
    this.refresh();
  }

  #take(frame) {
    const { captured, forwarded } = frame.times;
    this.#joined ||= forwarded;
    // What was there before only leads up to the present: its age tells nothing of the way, nor are pictures missed of it.
    frame.ledUp = captured > 0 && captured < this.#joined;
    this.#decoder?.push(frame);
  }

  #configure(config) {
    this.#stopDecoding();
    this.#config = config;
    this.#decoder = decoder(config, this.screen, {
      giveUp: () => this.#giveUp(),
      wishKeyframe: () => this.wire.wishKeyframe(),
    });
    if (!this.#decoder) this.#giveUp();
  }

  #stopDecoding() {
    this.#decoder?.close();
    this.#decoder = null;
    this.screen.clear();
  }

  #shown(frame) {
    const offset = this.wire.clock.theirsMinusOurs;
    const first = this.#last === null || !this.wire.connected;
    this.#last = frame;
    this.wire.report(frame);
    if (!frame.ledUp && this.#said === "live") this.history.take(frame, offset);
    if (first) this.refresh();
  }

  /** This browser cannot decode what comes: it asks for JPEGs, or where it has done so already, shows stills. */
  #giveUp() {
    if (this.#jpegs) this.#showStills();
    else this.#onlyJpegs();
  }

  #onlyJpegs() {
    this.#jpegs = true;
    this.wire.onlyJpegs();
  }

  /** This browser cannot decode what the hub sends though JPEGs were asked for: it shows the hub's Motion JPEG. */
  #showStills() {
    this.#undecodable = this.#config.codec;
    this.#stopDecoding();
    this.#service = null;
    this.wire.close();
    this.#still ??= new Still(this.#part("img"), this.name);
    this.#part("canvas").hidden = true;
    this.#part("img").hidden = false;
    if (this.#watched) this.#still.start();
    this.refresh();
  }

  #decodeAgain() {
    this.#undecodable = null;
    this.#still.stop();
    this.#still = null;
    this.#part("canvas").hidden = false;
    this.#part("img").hidden = true;
    if (this.#watched) this.wire.open();
  }

  #fullScreen() {
    const button = this.#part(".full");
    if (!document.fullscreenEnabled) return button.remove();
    button.addEventListener("click", () => this.fullScreen());
    this.#part(".picture").addEventListener("dblclick", () => this.#details && this.fullScreen());
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

/**
 * A stream as Motion JPEG in an image. Browsers open only six connections to one host, and the list of streams needs
 * one: beyond four such streams it is one picture a second.
 */
class Still {
  static #MOVING = 4;
  static #moving = 0;
  #image;
  #name;
  #timer = 0;
  #running = false;
  #moves = false;

  constructor(image, name) {
    this.#image = image;
    this.#name = name;
    image.alt = `The picture of ${name}`;
  }

  start() {
    this.stop();
    this.#running = true;
    this.#moves = Still.#moving < Still.#MOVING;
    Still.#moving += this.#moves;
    this.#image.onerror = () => this.#later(2000);
    // Of a moving picture this comes once or at each part, depending on the browser.
    this.#image.onload = () => !this.#moves && this.#later(1000);
    this.#load();
  }

  /** Whether a picture has come. */
  get shows() {
    return this.#image.naturalWidth > 0;
  }

  stop() {
    if (this.#running) Still.#moving -= this.#moves;
    this.#running = false;
    clearTimeout(this.#timer);
    this.#image.onerror = this.#image.onload = null;
    // Ends the connection.
    this.#image.src = "data:,";
  }

  #later(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), wait);
  }

  #load() {
    const address = url(this.#name, this.#moves ? "mjpeg" : "snapshot.jpg");
    // An address of its own each time, for images are taken from memory when theirs is known.
    this.#image.src = `${address}?at=${Math.round(now())}`;
  }
}

/** Sets a text, when it is another one: what stays is left alone, for those who select it or have it read to them. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

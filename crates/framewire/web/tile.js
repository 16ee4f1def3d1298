// One stream on the page: its video, its state and figures, and its connection while the tile is in view.
//
// `browser` is the window. Tests pass a fake one.

import { Details, fromTemplate, setText } from "./details.js";
import { codecName, duration, frameSize, roughDuration } from "./format.js";
import { Display, createDecoder, decodesH264 } from "./picture.js";
import { Connection, LatencyHistory, now } from "./wire.js";

const STATE_NAMES = { live: "Live", stalled: "Stalled", idle: "Idle", connecting: "Connecting", offline: "Offline" };

export class Tile {
  #hub;
  #browser;
  /** What the hub's list says of the stream, and when the list came. */
  #info;
  #infoTime = 0;
  #hubFailed = false;
  #inView = false;
  /** The state that the connection reports. */
  #state = "connecting";
  /** The last error that the hub or the connection reported. */
  #error = "";
  /** Why the hub has no picture; empty while it has. */
  #fault = "";
  #config = null;
  /** How the hub serves this page; null until it has reported that. */
  #service = null;
  #decoder = null;
  #lastShown = null;
  /** When the hub sent this connection's first frame, on the hub's clock. */
  #firstForwarded = 0;
  #details = null;
  #jpegOnly = false;
  /**
   * Shows Motion JPEG where neither the stream's codec nor the hub's JPEGs can be decoded, and where WebSockets do not get
   * through; null elsewhere.
   */
  #fallback = null;
  /** The stream's codec when the fallback began; null where that was not the reason. */
  #undecodable = null;
  /** Why the WebSocket does not open, as a sentence; empty where it does. */
  #refusal = "";
  #askingWhy = false;

  constructor(info, hub, browser = window) {
    this.#info = info;
    this.#hub = hub;
    this.#browser = browser;
    this.name = info.name;
    this.element = fromTemplate("#tile", browser.document);
    this.element.dataset.name = info.name;
    this.link = this.#part(".name");
    this.link.textContent = info.name;
    this.link.title = info.name;
    this.link.href = `#/${encodeURIComponent(info.name)}`;
    const canvas = this.#part("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Video of ${info.name}`);
    this.#part(".latency").title = "Median time from capture to display";
    this.history = new LatencyHistory();
    const events = { shown: (frame) => this.#shown(frame), age: ({ times }) => this.#timeSince(times.captured) };
    this.display = new Display(canvas, events, browser);
    this.connection = this.#makeConnection();
    if (!decodesH264(browser)) this.#requestJpegOnly();
    this.#setUpFullScreen();
    this.refresh();
  }

  #makeConnection() {
    const events = {
      reconnect: () => {
        this.#firstForwarded = 0;
        this.#fault = "";
      },
      state: (state) => this.#setState(state),
      config: (config) => this.#configure(config),
      frame: (frame) => this.#decode(frame),
      service: (service) => (this.#service = service),
      fault: (text) => this.#setFault(text),
      error: (text) => (this.#error = text),
      unopened: () => this.#askWhy(),
    };
    return new Connection(this.#hub.socketUrl(this.name), events, this.#browser);
  }

  /** Takes what the hub's list says of the stream. */
  update(info) {
    this.#info = info;
    this.#infoTime = now(this.#browser);
    this.#hubFailed = false;
    if (this.#undecodable && info.codec !== this.#undecodable) this.#endFallback();
    this.refresh();
  }

  /** The hub stopped answering requests for its list, or answers again. */
  setHubFailed(failed) {
    this.#hubFailed = failed;
    // What refused the WebSocket may have been mended meanwhile.
    if (!failed && this.#refusal) this.#endFallback();
    if (!failed) this.connection.retryNow();
    this.refresh();
  }

  /** Connects while the tile is in view, and only then: what nobody sees is not worth sending. */
  setInView(inView) {
    if (inView === this.#inView) return;
    this.#inView = inView;
    if (inView) return this.#open();
    this.connection.close();
    this.#fallback?.stop();
    this.#stopDecoding();
    // Frame rate and latency start over: a pause would distort them.
    this.history.clear();
  }

  /** Makes this the only tile on the page, with details, or one of many again. */
  enlarge(enlarged) {
    this.element.classList.toggle("enlarged", enlarged);
    if (enlarged) this.link.removeAttribute("href");
    else this.link.href = `#/${encodeURIComponent(this.name)}`;
    this.#details?.element.remove();
    this.#details = enlarged ? new Details(this.name, this.#hub, this.#browser) : null;
    if (enlarged) this.element.append(this.#details.element);
    this.refresh();
  }

  focus() {
    const target = this.link.href ? this.link : this.#part("h2");
    target.focus({ preventScroll: true });
  }

  remove() {
    this.setInView(false);
    this.element.remove();
  }

  toggleFullScreen() {
    const { document } = this.#browser;
    if (document.fullscreenElement) document.exitFullscreen();
    // A browser may refuse, for instance inside a frame.
    else this.#part(".picture").requestFullscreen?.().catch(() => {});
  }

  /** Updates all texts and figures. */
  refresh() {
    const state = this.#visibleState();
    const [title, explanation] = this.#explain(state);
    this.element.dataset.state = state;
    setText(this.#part(".state"), STATE_NAMES[state]);
    setText(this.#part(".overlay strong"), title);
    setText(this.#part(".overlay span"), explanation);
    this.#part(".refusal").hidden = !this.#refusal;
    setText(this.#part(".refusal"), this.#refusal && `Motion JPEG instead of a WebSocket: ${this.#refusal}`);
    this.#showFigures(state === "live");
  }

  #showFigures(live) {
    const fallback = Boolean(this.#fallback);
    const time = now(this.#browser);
    const latency = fallback ? (this.#info.latency_ms ?? {}) : this.history.summary(time);
    const fps = fallback ? this.#info.fps : this.history.fps(time);
    setText(this.#part(".fps"), live && fps ? `${fps.toFixed(fps < 9.95 ? 1 : 0)} fps` : "");
    setText(this.#part(".latency"), live && latency.total ? duration(latency.total.p50) : "");
    setText(this.#part(".size"), this.#showSize());
    this.#details?.update(this.#info, latency, {
      fps,
      age: live && !fallback ? this.#age() : null,
      skipped: this.display.skipped,
      roundTrip: this.connection.clock.roundTrip,
      fallback,
      service: this.#service,
    });
  }

  #showSize() {
    const { width, height } = this.#config ?? this.#info;
    if (width && height) this.#part(".picture").style.setProperty("--shape", `${width} / ${height}`);
    return frameSize(width, height);
  }

  #visibleState() {
    if (this.#fallback || !this.#inView) {
      const state = this.#hubFailed ? "offline" : (this.#info.state ?? "live");
      return state === "live" && this.#fallback && !this.#fallback.hasImage ? "connecting" : state;
    }
    if (this.connection.connected) return this.#state;
    return this.#hubFailed ? "offline" : "connecting";
  }

  /** The title and the sentence over the video; both are empty while the stream is live. */
  #explain(state) {
    switch (state) {
      case "connecting":
        if (!this.#fallback) return ["Connecting…", this.#error];
        if (this.#refusal) return ["Waiting…", "The hub has sent no JPEG yet."];
        return ["Waiting…", `This browser cannot decode ${codecName(this.#undecodable)} here. The hub has sent no JPEG yet.`];
      case "offline":
        return ["No connection", "The hub does not answer."];
      case "idle":
        return ["Idle", this.#because("The source starts when a viewer connects")];
      case "stalled": {
        const age = this.#age();
        return ["Stalled", this.#because(age === null ? "No frame has arrived yet" : `No new frame for ${roughDuration(age)}`)];
      }
      default:
        return ["", ""];
    }
  }

  /** A sentence, and behind it why there is no picture: from the connection, or else from the list. */
  #because(sentence) {
    const connected = this.#inView && !this.#fallback && this.connection.connected;
    const fault = connected ? this.#fault : this.#info.fault;
    return fault ? `${sentence}: ${fault}` : `${sentence}.`;
  }

  /** The age of the newest frame in seconds, as exactly as it is known; null when there is no frame. */
  #age() {
    const age = this.#timeSince(this.#lastShown?.times.captured);
    if (age !== undefined) return Math.max(0, age) / 1e6;
    if (this.#lastShown) return (now(this.#browser) - this.#lastShown.arrived) / 1e6;
    const listed = this.#info.age_ms;
    if (typeof listed !== "number") return null;
    return listed / 1000 + (this.#infoTime ? (now(this.#browser) - this.#infoTime) / 1e6 : 0);
  }

  /** Microseconds since a time on the hub's clock; undefined while the time or the clock's offset is not known. */
  #timeSince(time) {
    const offset = this.connection.clock.hubMinusPage;
    return time && offset !== undefined ? now(this.#browser) + offset - time : undefined;
  }

  #open() {
    if (this.#fallback) this.#fallback.start();
    else this.connection.open();
  }

  #setState(state) {
    this.#state = state;
    if (state === "connecting") {
      this.#stopDecoding();
      this.#service = null;
    } else this.#error = "";
    this.refresh();
  }

  #setFault(text) {
    this.#fault = text;
    this.refresh();
  }

  #decode(frame) {
    const { captured, forwarded } = frame.times;
    this.#firstForwarded ||= forwarded;
    // Frames captured before this connection are a replay of the current GOP. Their age is no latency, and a skipped one is no loss.
    frame.catchingUp = captured > 0 && captured < this.#firstForwarded;
    this.#decoder?.push(frame);
  }

  #configure(config) {
    this.#stopDecoding();
    this.#config = config;
    const events = { failed: () => this.#decodingFailed(), keyframeNeeded: () => this.connection.requestKeyframe() };
    this.#decoder = createDecoder(config, this.display, events, this.#browser);
    if (!this.#decoder) this.#decodingFailed();
  }

  #stopDecoding() {
    this.#decoder?.close();
    this.#decoder = null;
    this.display.clear();
  }

  #shown(frame) {
    const first = this.#lastShown === null || !this.connection.connected;
    this.#lastShown = frame;
    this.connection.report(frame);
    if (!frame.catchingUp && this.#state === "live") this.history.add(frame, this.connection.clock.hubMinusPage);
    if (first) this.refresh();
  }

  /** Asks the hub for JPEG, or if it was asked already, falls back to Motion JPEG in an image. */
  #decodingFailed() {
    if (!this.#jpegOnly) return this.#requestJpegOnly();
    this.#undecodable = this.#config.codec;
    this.#startFallback();
  }

  /** Falls back to Motion JPEG where the hub says that the WebSocket is refused, or never got there. */
  async #askWhy() {
    if (this.#askingWhy) return;
    this.#askingWhy = true;
    const refusal = await this.#hub.socketRefusal(this.name, this.#browser);
    this.#askingWhy = false;
    if (!refusal || !this.#inView || this.#fallback || this.connection.connected) return;
    this.#refusal = refusal;
    this.#startFallback();
  }

  #requestJpegOnly() {
    this.#jpegOnly = true;
    this.connection.requestJpegOnly();
  }

  #startFallback() {
    this.#stopDecoding();
    this.#service = null;
    this.connection.close();
    this.#fallback ??= new MotionJpeg(this.#part("img"), this.name, this.#hub, this.#browser);
    this.#part("canvas").hidden = true;
    this.#part("img").hidden = false;
    if (this.#inView) this.#fallback.start();
    this.refresh();
  }

  #endFallback() {
    this.#undecodable = null;
    this.#refusal = "";
    this.#fallback.stop();
    this.#fallback = null;
    this.#part("canvas").hidden = false;
    this.#part("img").hidden = true;
    if (this.#inView) this.connection.open();
  }

  #setUpFullScreen() {
    const button = this.#part(".full");
    if (!this.#browser.document.fullscreenEnabled) return button.remove();
    button.addEventListener("click", () => this.toggleFullScreen());
    this.#part(".picture").addEventListener("dblclick", () => this.#details && this.toggleFullScreen());
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

/**
 * Shows a stream as Motion JPEG in an image. Browsers open at most six connections to one host, and the list of streams
 * needs one: when four images move, further ones show one snapshot a second.
 */
class MotionJpeg {
  static #MOST_MOVING = 4;
  static #SNAPSHOT_INTERVAL = 1000;
  static #RETRY_INTERVAL = 2000;
  static #movingImages = 0;
  #image;
  #name;
  #hub;
  #browser;
  #timer = 0;
  #running = false;
  #moving = false;

  constructor(image, name, hub, browser) {
    this.#image = image;
    this.#name = name;
    this.#hub = hub;
    this.#browser = browser;
    image.alt = `Video of ${name}`;
  }

  start() {
    this.stop();
    this.#running = true;
    this.#moving = MotionJpeg.#movingImages < MotionJpeg.#MOST_MOVING;
    if (this.#moving) MotionJpeg.#movingImages += 1;
    this.#image.onerror = () => this.#loadAfter(MotionJpeg.#RETRY_INTERVAL);
    // Browsers call this once for a moving image, or once for each of its frames.
    this.#image.onload = () => !this.#moving && this.#loadAfter(MotionJpeg.#SNAPSHOT_INTERVAL);
    this.#load();
  }

  /** Whether an image has arrived. */
  get hasImage() {
    return this.#image.naturalWidth > 0;
  }

  stop() {
    if (this.#running && this.#moving) MotionJpeg.#movingImages -= 1;
    this.#running = false;
    this.#browser.clearTimeout(this.#timer);
    this.#image.onerror = this.#image.onload = null;
    // Another source ends the connection.
    this.#image.src = "data:,";
  }

  #loadAfter(wait) {
    this.#browser.clearTimeout(this.#timer);
    this.#timer = this.#browser.setTimeout(() => this.#load(), wait);
  }

  #load() {
    const url = this.#hub.url(this.#name, this.#moving ? "mjpeg" : "snapshot.jpg");
    // A new URL each time: an image with a known one comes from the browser's memory.
    this.#image.src = `${url}?at=${now(this.#browser)}`;
  }
}

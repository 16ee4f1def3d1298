// From a frame's bytes to pixels on a canvas. Nothing queues here: a newer frame replaces one that waits.
//
// `browser` is the window. Tests pass a fake one, with decoders and display refreshes that they control.

import { now } from "./wire.js";

/** Whether this browser may decode H.264: WebCodecs exist only on https and on localhost. */
export const decodesH264 = (browser) => "VideoDecoder" in browser;

/**
 * A decoder for the frames that `config` describes; null when this browser has none.
 *
 * It has `push(frame)`, which calls `display.show(image, frame)` when the frame is decoded, and `close()`. It calls
 * `on.failed()` when this browser turns out not to decode these frames, and `on.keyframeNeeded()` when it cannot continue
 * without a keyframe: a stream may send none unless it is asked.
 */
export function createDecoder(config, display, on, browser = window) {
  if (config.codec === "jpeg") return new JpegDecoder(display, browser);
  if (config.codec === "h264" && decodesH264(browser)) return new H264Decoder(config, display, on, browser);
  return null;
}

/**
 * A canvas that shows the newest image at each refresh of the display. `on.shown(frame)` reports each frame that was shown.
 * `on.age(frame)` returns a frame's age in microseconds, undefined when it is not known.
 */
export class Display {
  #canvas;
  #context;
  #on;
  #browser;
  #stale = new StaleFilter();
  #next = null;
  #refresh = 0;

  constructor(canvas, on, browser = window) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#on = on;
    this.#browser = browser;
    /** Frames that arrived and were not shown: stale, replaced by a newer one, or not decodable. */
    this.skipped = 0;
  }

  /**
   * Shows the image at the next refresh, unless it is stale or a newer one comes first. Takes over the image. `presentation` says
   * how to show an image that is not to be shown as it is.
   */
  show(image, frame, presentation) {
    if (this.#stale.isStale(this.#on.age(frame), now(this.#browser))) {
      this.skip(frame);
      return image.close();
    }
    if (this.#next) {
      this.#next.image.close();
      this.skip(this.#next.frame);
    }
    this.#next = { image, frame, presentation };
    this.#refresh ||= this.#browser.requestAnimationFrame(() => this.#draw());
  }

  /** Counts a frame that will not be shown. */
  skip(frame) {
    if (!frame.catchingUp) this.skipped += 1;
  }

  /** Drops the image that waits for the next refresh. The canvas keeps what it shows. */
  clear() {
    this.#browser.cancelAnimationFrame(this.#refresh);
    this.#refresh = 0;
    this.#next?.image.close();
    this.#next = null;
  }

  #draw() {
    const { image, frame, presentation } = this.#next;
    this.#next = null;
    this.#refresh = 0;
    // A VideoFrame has a display size, an ImageBitmap only a size.
    const width = presentation?.width ?? image.displayWidth ?? image.width;
    const height = presentation?.height ?? image.displayHeight ?? image.height;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    if (presentation) drawPresented(this.#context, image, presentation);
    else this.#context.drawImage(image, 0, 0, width, height);
    image.close();
    frame.shown = now(this.#browser);
    this.#on.shown(frame);
  }
}

/** Draws an image mirrored, then turned, so that it fills the canvas. */
function drawPresented(context, image, { width, height, mirrored, quarters }) {
  const [across, down] = quarters % 2 ? [height, width] : [width, height];
  context.translate(width / 2, height / 2);
  context.rotate((quarters * Math.PI) / 2);
  if (mirrored) context.scale(-1, 1);
  context.drawImage(image, -across / 2, -down / 2, across, down);
  context.resetTransform();
}

/**
 * Finds stale frames: after an outage the backlog arrives in one burst, and none of it is to be shown. framewire's window
 * uses the same rule. All times are microseconds.
 */
class StaleFilter {
  /** A frame is stale when it is older than the usual age by this much. */
  static #EXCESS_AGE = 500_000;
  /** When all frames are stale for this long, that age is the new usual one: the link has become slow. */
  static #LONGEST_BURST = 500_000;
  /** A pause between two stale frames counts for at most this: a few frames get through even in an outage. */
  static #LONGEST_PAUSE = 200_000;
  /** The usual age grows by at most this from frame to frame. */
  static #DRIFT = 2000;
  #usualAge;
  /** When the last stale frame came, and for how long only stale ones have come. */
  #burst = null;

  /** Whether a frame of this age is stale; one of unknown age is not. */
  isStale(age, now) {
    if (age === undefined) return false;
    this.#usualAge ??= age;
    if (age <= this.#usualAge + StaleFilter.#EXCESS_AGE) {
      this.#usualAge = Math.min(age, this.#usualAge + StaleFilter.#DRIFT);
    } else {
      const { last, duration } = this.#burst ?? { last: now, duration: 0 };
      this.#burst = { last: now, duration: duration + Math.min(now - last, StaleFilter.#LONGEST_PAUSE) };
      if (this.#burst.duration < StaleFilter.#LONGEST_BURST) return true;
      this.#usualAge = age;
    }
    this.#burst = null;
    return false;
  }
}

class JpegDecoder {
  #display;
  #browser;
  #next = null;
  #busy = false;
  #closed = false;

  constructor(display, browser) {
    this.#display = display;
    this.#browser = browser;
  }

  push(frame) {
    if (this.#next) this.#display.skip(this.#next);
    this.#next = frame;
    if (!this.#busy) this.#decodeAll();
  }

  close() {
    this.#closed = true;
    this.#next = null;
  }

  async #decodeAll() {
    this.#busy = true;
    while (this.#next) {
      const frame = this.#next;
      this.#next = null;
      const jpeg = new this.#browser.Blob([frame.data], { type: "image/jpeg" });
      // A damaged JPEG is skipped: the next one does not depend on it.
      const image = await this.#browser.createImageBitmap(jpeg).catch(() => null);
      if (this.#closed) return image?.close();
      if (!image) {
        this.#display.skip(frame);
        continue;
      }
      frame.decoded = now(this.#browser);
      this.#display.show(image, frame);
    }
    this.#busy = false;
  }
}

class H264Decoder {
  /** With more frames than this in its queue the decoder is too slow, and skips to the next keyframe. */
  static #LONGEST_QUEUE = 8;
  /** The same while it catches up with the GOP that the hub replays to a new viewer. The hub replays at most 300 frames. */
  static #LONGEST_REPLAY_QUEUE = 600;
  /** A frame that was sent this long after its capture, in microseconds, is part of a replay. */
  static #REPLAY_AGE = 500_000;
  /** Failures in a row, without an image in between, after which decoding is given up. */
  static #MOST_FAILURES = 3;
  #config;
  #display;
  #on;
  #browser;
  #decoder = null;
  #codec = "";
  #chunks = 0;
  /** The frames in the decoder, by the timestamps of their chunks. */
  #decoding = new Map();
  #lastSequence = 0n;
  /** When the keyframe was captured that decoding began with. */
  #firstCaptured = 0;
  #replay = false;
  #keyframeRequested = false;
  #failures = 0;

  constructor(config, display, on, browser) {
    this.#config = config;
    this.#display = display;
    this.#on = on;
    this.#browser = browser;
  }

  push(frame) {
    if (this.#isTooSlow(frame)) this.close();
    // After a gap, start a new decoder: frames behind this keyframe may refer to frames before it that never came.
    if (frame.keyframe && frame.sequence !== this.#lastSequence + 1n) this.close();
    this.#lastSequence = frame.sequence;
    if (frame.keyframe && !this.#prepare(frame)) return;
    if (!this.#decoder) return this.#skipToKeyframe(frame);
    this.#keyframeRequested = false;
    const timestamp = this.#chunks++;
    this.#decoding.set(timestamp, frame);
    const type = frame.keyframe ? "key" : "delta";
    try {
      this.#decoder.decode(new this.#browser.EncodedVideoChunk({ type, timestamp, data: this.#withParameterSets(frame) }));
    } catch (fault) {
      this.#fail(fault);
    }
  }

  close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#decoding.clear();
  }

  #isTooSlow(frame) {
    const queued = this.#decoder?.decodeQueueSize ?? 0;
    const { captured, forwarded } = frame.times;
    if (captured && forwarded - captured > H264Decoder.#REPLAY_AGE) this.#replay = true;
    else if (queued <= H264Decoder.#LONGEST_QUEUE) this.#replay = false;
    return queued > (this.#replay ? H264Decoder.#LONGEST_REPLAY_QUEUE : H264Decoder.#LONGEST_QUEUE);
  }

  #skipToKeyframe(frame) {
    this.#display.skip(frame);
    // One request is enough: the hub remembers it until a keyframe comes.
    if (!this.#keyframeRequested) this.#on.keyframeNeeded();
    this.#keyframeRequested = true;
  }

  /** Prepares for a keyframe: makes a decoder when there is none or when the stream's profile changed. */
  #prepare(frame) {
    const codec = codecString(frame.data) ?? codecString(this.#config.extra);
    if (codec && codec === this.#codec && this.#decoder?.state === "configured") return true;
    this.close();
    try {
      if (!codec) throw new TypeError("a keyframe without a parameter set");
      this.#decoder = this.#startDecoder(codec);
    } catch (fault) {
      this.#fail(fault);
      return false;
    }
    this.#codec = codec;
    this.#firstCaptured = frame.times.captured;
    return true;
  }

  #startDecoder(codec) {
    const decoder = new this.#browser.VideoDecoder({
      output: (image) => this.#output(image),
      error: (fault) => this.#decoder === decoder && this.#fail(fault),
    });
    decoder.configure({ codec, optimizeForLatency: true });
    return decoder;
  }

  /** The frame's bytes; of a keyframe without parameter sets, those of the configuration come first. */
  #withParameterSets(frame) {
    const { extra } = this.#config;
    if (!frame.keyframe || extra.length === 0 || codecString(frame.data)) return frame.data;
    const whole = new Uint8Array(extra.length + frame.data.length);
    whole.set(extra);
    whole.set(frame.data, extra.length);
    return whole;
  }

  #output(image) {
    const frame = this.#decoding.get(image.timestamp);
    this.#decoding.delete(image.timestamp);
    // Frames captured before the first keyframe refer to frames that were not decoded: their images are broken.
    if (!frame || (frame.times.captured && frame.times.captured < this.#firstCaptured)) return image.close();
    this.#failures = 0;
    frame.decoded = now(this.#browser);
    this.#display.show(image, frame, this.#config.presentation);
  }

  /** Waits for the next keyframe, or gives up when that cannot help. */
  #fail(fault) {
    this.close();
    this.#failures += 1;
    if (fault.name === "NotSupportedError" || this.#failures >= H264Decoder.#MOST_FAILURES) this.#on.failed();
  }
}

/** The stream's profile and level as WebCodecs name them, such as "avc1.64001f"; null without a parameter set. */
function codecString(bytes) {
  for (let at = 0; at + 6 < bytes.length; at++) {
    if (bytes[at] || bytes[at + 1] || bytes[at + 2] !== 1) continue;
    const type = bytes[at + 3] & 31;
    if (type === 7) {
      return "avc1." + [4, 5, 6].map((offset) => bytes[at + offset].toString(16).padStart(2, "0")).join("");
    }
    // Parameter sets come before the slices, so the slices need no search.
    if (type === 1 || type === 5) return null;
  }
  return null;
}

// From a frame's bytes to pixels on a canvas. Nothing queues here: whatever is newer replaces what waits.

import { now } from "./wire.js";

/** Whether H.264 may be decodable: WebCodecs, which that needs, exist only on https and on localhost. */
export const decodesH264 = "VideoDecoder" in window;

/**
 * A decoder for what a configuration announces, or null when this browser cannot decode it.
 *
 * It has `push(frame)`, which calls `screen.offer(image, frame)` when the picture is there, and `close()`.
 * `on.giveUp()` is called when decoding turns out not to work, `on.wishKeyframe()` when it cannot go on before a keyframe
 * comes, which may never come by itself.
 */
export function decoder(config, screen, on) {
  if (config.codec === "jpeg") return new Jpeg(screen);
  if (config.codec === "h264" && decodesH264) return new H264(config, screen, on);
  return null;
}

/**
 * A canvas that shows the newest picture whenever the display is refreshed. `on.shown(frame)` tells of each one that it
 * showed; `on.age(frame)` is asked how old one is, in microseconds, undefined when that is not known.
 */
export class Screen {
  #canvas;
  #context;
  #on;
  #bound = new Bound();
  #next = null;
  #refresh = 0;

  constructor(canvas, on) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#on = on;
    /** Pictures that were too old to be shown, or replaced by a newer one before they were. */
    this.skipped = 0;
  }

  offer(image, frame) {
    if (!this.#bound.shows(this.#on.age(frame), now())) {
      this.skip(frame);
      return image.close();
    }
    if (this.#next) {
      this.#next.image.close();
      this.skip(this.#next.frame);
    }
    this.#next = { image, frame };
    this.#refresh ||= requestAnimationFrame(() => this.#draw());
  }

  /** A frame's picture will not be shown. */
  skip(frame) {
    if (!frame.ledUp) this.skipped += 1;
  }

  clear() {
    cancelAnimationFrame(this.#refresh);
    this.#refresh = 0;
    this.#next?.image.close();
    this.#next = null;
  }

  #draw() {
    const { image, frame } = this.#next;
    this.#next = null;
    this.#refresh = 0;
    // An ImageBitmap and a VideoFrame call their size differently.
    const width = image.displayWidth ?? image.width;
    const height = image.displayHeight ?? image.height;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#context.drawImage(image, 0, 0, width, height);
    image.close();
    frame.shown = now();
    this.#on.shown(frame);
  }
}

/** Tells pictures from those that a link held back while it was gone: as `latency::Bound` does in the program. */
class Bound {
  /** Microseconds above the usual age from which on a picture is the past, and for how long only such are waited through. */
  static #PAST = 500_000;
  static #HELD_BACK = 500_000;
  /** A pause between two of them counts for no longer than this: one may slip through a link that is all but gone. */
  static #PAUSE = 200_000;
  /** What the usual age may grow by from one picture to the next. */
  static #DRIFT = 2000;
  #usual;
  #past;

  shows(age, at) {
    if (age === undefined) return true;
    this.#usual ??= age;
    if (age <= this.#usual + Bound.#PAST) {
      this.#usual = Math.min(age, this.#usual + Bound.#DRIFT);
    } else {
      const { last, lasted } = this.#past ?? { last: at, lasted: 0 };
      this.#past = { last: at, lasted: lasted + Math.min(at - last, Bound.#PAUSE) };
      if (this.#past.lasted < Bound.#HELD_BACK) return false;
      this.#usual = age;
    }
    this.#past = undefined;
    return true;
  }
}

class Jpeg {
  #screen;
  #waiting = null;
  #busy = false;
  #closed = false;

  constructor(screen) {
    this.#screen = screen;
  }

  push(frame) {
    if (this.#waiting) this.#screen.skip(this.#waiting);
    this.#waiting = frame;
    if (!this.#busy) this.#work();
  }

  close() {
    this.#closed = true;
    this.#waiting = null;
  }

  async #work() {
    this.#busy = true;
    while (this.#waiting) {
      const frame = this.#waiting;
      this.#waiting = null;
      try {
        const image = await createImageBitmap(new Blob([frame.data], { type: "image/jpeg" }));
        if (this.#closed) return image.close();
        frame.decoded = now();
        this.#screen.offer(image, frame);
      } catch {
        // A damaged picture is passed over; the next one stands for itself.
        this.#screen.skip(frame);
      }
    }
    this.#busy = false;
  }
}

class H264 {
  /** Frames in the decoder beyond which it is behind, and skips to the next keyframe. */
  static #BEHIND = 8;
  /** Frames that it may be behind while it is led up to the present: more than the hub keeps for who joins. */
  static #LED_UP = 600;
  /** What was captured so many microseconds before it was sent here was kept, in the hub or before it, for who joins. */
  static #KEPT = 500_000;
  /** Failures in a row, without a picture in between, after which it is given up. */
  static #FAILURES = 3;
  #config;
  #screen;
  #on;
  #wished = false;
  #decoder = null;
  #codec = "";
  #pushed = 0;
  #ledUp = false;
  #last = 0n;
  #began = 0;
  #inside = new Map();
  #failures = 0;

  constructor(config, screen, on) {
    this.#config = config;
    this.#screen = screen;
    this.#on = on;
  }

  push(frame) {
    if (this.#behind(frame)) this.close();
    // After a gap a new decoder: what follows a keyframe may still look back to what did not come.
    if (frame.keyframe && frame.sequence !== this.#last + 1n) this.close();
    this.#last = frame.sequence;
    if (frame.keyframe && !this.#begin(frame)) return this.#fail();
    if (!this.#decoder) {
      this.#screen.skip(frame);
      // Once is enough: the hub remembers until a keyframe comes.
      if (!this.#wished) this.#on.wishKeyframe();
      this.#wished = true;
      return;
    }
    this.#wished = false;
    const timestamp = this.#pushed++;
    this.#inside.set(timestamp, frame);
    const type = frame.keyframe ? "key" : "delta";
    try {
      this.#decoder.decode(new EncodedVideoChunk({ type, timestamp, data: this.#whole(frame) }));
    } catch (fault) {
      this.#fail(fault);
    }
  }

  close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#inside.clear();
  }

  /** Whether it has to skip to the next keyframe; not while what it decodes only leads up to the present. */
  #behind(frame) {
    const waiting = this.#decoder?.decodeQueueSize ?? 0;
    const { captured, forwarded } = frame.times;
    if (captured && forwarded - captured > H264.#KEPT) this.#ledUp = true;
    else if (waiting <= H264.#BEHIND) this.#ledUp = false;
    return waiting > (this.#ledUp ? H264.#LED_UP : H264.#BEHIND);
  }

  /** Makes the decoder ready for a keyframe: a new one when there is none or when the stream's profile changed. */
  #begin(frame) {
    const codec = codecString(frame.data) ?? codecString(this.#config.extra);
    if (!codec) return false;
    if (this.#decoder?.state === "configured" && codec === this.#codec) return true;
    this.close();
    this.#began = frame.times.captured;
    this.#codec = codec;
    const made = new VideoDecoder({
      output: (image) => this.#output(image),
      error: (fault) => this.#decoder === made && this.#fail(fault),
    });
    this.#decoder = made;
    made.configure({ codec, optimizeForLatency: true });
    return true;
  }

  /** The keyframe with the parameter sets that it needs, when those are told apart from it. */
  #whole(frame) {
    const { extra } = this.#config;
    if (!frame.keyframe || extra.length === 0 || codecString(frame.data)) return frame.data;
    const whole = new Uint8Array(extra.length + frame.data.length);
    whole.set(extra);
    whole.set(frame.data, extra.length);
    return whole;
  }

  #output(image) {
    const frame = this.#inside.get(image.timestamp);
    this.#inside.delete(image.timestamp);
    // What is shown before the keyframe that decoding began with is not whole.
    if (!frame || (frame.times.captured && frame.times.captured < this.#began)) return image.close();
    this.#failures = 0;
    frame.decoded = now();
    this.#screen.offer(image, frame);
  }

  /** Begins anew at the next keyframe, unless it is hopeless. */
  #fail(fault) {
    this.close();
    this.#failures += 1;
    if (fault?.name === "NotSupportedError" || this.#failures >= H264.#FAILURES) this.#on.giveUp();
  }
}

/** What WebCodecs call a stream's profile and level, such as "avc1.64001f", from the parameter set among these bytes. */
function codecString(bytes) {
  for (let at = 0; at + 6 < bytes.length; at++) {
    if (bytes[at] || bytes[at + 1] || bytes[at + 2] !== 1) continue;
    const kind = bytes[at + 3] & 31;
    if (kind === 7) {
      return "avc1." + [4, 5, 6].map((place) => bytes[at + place].toString(16).padStart(2, "0")).join("");
    }
    // Parameter sets stand before the picture, which need not be searched.
    if (kind === 1 || kind === 5) return null;
  }
  return null;
}

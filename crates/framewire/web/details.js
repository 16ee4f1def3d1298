// The panel beside an enlarged stream: its latency, facts and dropped frames, and commands to copy.

import { bitrate, codecName, count, duration, frameSize } from "./format.js";
import { STAGES } from "./wire.js";

const STAGE_TITLES = {
  encode: "From capture until encoded",
  send: "Waiting at the publisher",
  uplink: "From the publisher to the hub",
  hub: "Waiting in the hub",
  downlink: "From the hub to this page",
  decode: "Waiting for the decoder, and decoding",
  show: "Waiting for the next refresh of the display",
};
const RENDITIONS = {
  source: "source, as published",
  high: "high, for slower links",
  low: "low, for the slowest links",
  jpeg: "jpeg, encoded by the hub",
};
/** Why the hub dropped frames, by the names in its JSON. */
const DROP_REASONS = {
  superseded: "replaced by a newer frame",
  undecodable: "depended on a dropped frame",
  full: "recorder's queue was full",
  left: "viewer disconnected",
  stale: "older than the maximum age",
};
/** Milliseconds for which a button says that its command was copied. */
const COPIED = 1500;

export class Details {
  #document;
  #bars = new Map();
  #rows = new Map();

  constructor(name, hub, browser = window) {
    this.#document = browser.document;
    this.element = fromTemplate("#details", this.#document);
    for (const stage of STAGES) this.#addStage(stage);
    const stream = `fw://${hub.address}/${name}`;
    const mjpeg = hub.url(name, "mjpeg");
    this.#part(".commands").append(
      command("View in a window", `framewire view ${stream}`, browser),
      command("Record to a file", `framewire record ${stream} video.mkv`, browser),
      command("Read in Python, with OpenCV", `cv2.VideoCapture("${mjpeg}")`, browser),
    );
    this.#part(".mjpeg").href = mjpeg;
    this.#part(".snapshot").href = hub.url(name, "snapshot.jpg");
    this.#part(".json").href = hub.url(name);
  }

  /** `info` is what the hub's list says of the stream, `latency` a summary by stage, `local` what this page measured. */
  update(info, latency, local) {
    this.#showLatency(latency, local.fallback);
    this.#setList(this.#part(".facts"), facts(info, local));
    this.#showDrops(info, local);
  }

  /** The hub's drops for this page, or for all viewers while those are not known, and the frames this page did not show. */
  #showDrops(info, { service, skipped }) {
    const dropped = Object.entries(service?.dropped ?? info.dropped ?? {}).filter(([, frames]) => frames > 0);
    const total = dropped.reduce((sum, [, frames]) => sum + frames, skipped);
    setText(this.#part(".dropped"), total ? count(total) : "none");
    setText(this.#part(".whose"), service ? "Of this page's frames." : "Of all viewers' frames.");
    const rows = dropped.map(([reason, frames]) => [DROP_REASONS[reason] ?? reason, count(frames)]);
    if (skipped) rows.push(["received but not shown", count(skipped)]);
    this.#setList(this.#part(".drops"), rows);
  }

  #showLatency(latency, fallback) {
    setText(this.#part(".total"), latency.total ? duration(latency.total.p50) : "–");
    const scope = fallback ? "all viewers" : "this page, last 10 s";
    setText(this.#part(".hint"), `From capture to display: ${scope}.`);
    for (const stage of STAGES) {
      const known = latency[stage];
      this.#bars.get(stage).style.flexGrow = known?.p50 ?? 0;
      const cells = this.#rows.get(stage).querySelectorAll("td");
      ["p50", "p95", "max"].forEach((figure, index) => setText(cells[index], known ? known[figure].toFixed(1) : "–"));
    }
  }

  #addStage(stage) {
    const bar = this.#document.createElement("i");
    const row = this.#document.createElement("tr");
    const head = this.#document.createElement("th");
    bar.dataset.stage = row.dataset.stage = stage;
    bar.title = row.title = STAGE_TITLES[stage];
    head.scope = "row";
    head.textContent = stage;
    row.append(head, ...[0, 1, 2].map(() => this.#document.createElement("td")));
    this.#part(".bar").append(bar);
    this.#part("tbody").append(row);
    this.#bars.set(stage, bar);
    this.#rows.set(stage, row);
  }

  /** Sets the terms and values of a list; unchanged ones are not touched. */
  #setList(list, rows) {
    while (list.children.length > 2 * rows.length) list.lastElementChild.remove();
    while (list.children.length < 2 * rows.length) {
      list.append(this.#document.createElement("dt"), this.#document.createElement("dd"));
    }
    rows.flat().forEach((text, index) => setText(list.children[index], text));
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

/** A titled line of text with a button that copies it. */
export function command(title, line, browser = window) {
  const element = fromTemplate("#command", browser.document);
  const button = element.querySelector("button");
  element.querySelector(".what").textContent = title;
  element.querySelector("code").textContent = line;
  button.setAttribute("aria-label", `Copy: ${line}`);
  button.addEventListener("click", async () => {
    button.textContent = (await copy(line, browser)) ? "Copied" : "Failed";
    browser.setTimeout(() => (button.textContent = "Copy"), COPIED);
  });
  return element;
}

/** A new copy of a template's element. */
export function fromTemplate(selector, document) {
  return document.querySelector(selector).content.firstElementChild.cloneNode(true);
}

/** Sets an element's text only if it changes, so that selections and screen readers are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Copies a text. Browsers have a clipboard only on https and on localhost; elsewhere the older way still works. */
async function copy(text, { document, navigator }) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

function facts(info, { fps, age, roundTrip, fallback, service }) {
  const rate = (number) => `${(number ?? 0).toFixed(1)} fps`;
  return [
    ["Codec", codecName(info.codec)],
    ["Size", frameSize(info.width, info.height) || "–"],
    ["Published", `${rate(info.fps)}, ${bitrate(info.bitrate ?? 0)}`],
    ["Shown here", fallback ? "as Motion JPEG" : rate(fps)],
    ...(age === null ? [] : [["Frame age", duration(age * 1000)]]),
    ...serviceFacts(service),
    ...(roundTrip === undefined || fallback ? [] : [["Round trip to the hub", duration(roundTrip / 1000)]]),
    ["Viewers", viewers(info)],
    ["Frames published", count(info.published)],
    ["Frames sent to viewers", count(info.delivered)],
    ...(info.missed ? [["Lost before the hub", count(info.missed)]] : []),
  ];
}

/** How the hub serves this page; nothing until it has reported that. */
function serviceFacts(service) {
  if (!service) return [];
  return [
    ["Rendition", RENDITIONS[service.rendition] ?? service.rendition],
    ["Capacity of the link", service.capacity ? bitrate(service.capacity) : "not known yet"],
  ];
}

/** The number of viewers, and of each rendition's when not all of them get the source. */
function viewers({ viewers, renditions = [] }) {
  const watched = renditions.filter((rendition) => rendition.viewers > 0);
  if (watched.every(({ name }) => name === "source")) return count(viewers);
  return `${count(viewers)}: ${watched.map((rendition) => `${count(rendition.viewers)} ${rendition.name}`).join(", ")}`;
}

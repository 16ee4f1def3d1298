// What is told of a stream that is enlarged.

import { count, rate, size, time } from "./format.js";
import { address, url } from "./hub.js";
import { STAGES } from "./wire.js";

const CODECS = { jpeg: "JPEG", h264: "H.264", i420: "raw I420", bgr24: "raw BGR" };
const STAGE_TITLES = {
  encode: "From capture until it was encoded",
  send: "Waiting at the publisher",
  uplink: "On the way to the hub",
  hub: "In the hub until it was begun to be sent here",
  downlink: "On the way from the hub",
  decode: "Waiting for the decoder and being decoded",
  show: "Waiting for the display's next refresh",
};
const RENDITIONS = {
  source: "source, as published",
  high: "high, for slower links",
  low: "low, for the slowest links",
  jpeg: "jpeg, by the hub",
};
const REASONS = {
  superseded: "a newer one came first",
  undecodable: "its predecessor was dropped",
  full: "a recorder's queue was full",
  left: "the viewer left",
  stale: "older than it may be",
};

export class Details {
  #bars = new Map();
  #rows = new Map();

  constructor(name) {
    this.element = document.querySelector("#details").content.firstElementChild.cloneNode(true);
    for (const stage of STAGES) this.#addStage(stage);
    const hub = `fw://${address}/${name}`;
    this.#part(".commands").append(
      command("In a window", `framewire view ${hub}`),
      command("To a file", `framewire record ${hub} video.mkv`),
      command("In Python, with OpenCV", `cv2.VideoCapture("${url(name, "mjpeg")}")`),
    );
    this.#part(".mjpeg").href = url(name, "mjpeg");
    this.#part(".snapshot").href = url(name, "snapshot.jpg");
    this.#part(".json").href = url(name);
  }

  /** `info` is the hub's, `split` the latency by stage, `here` what this page itself knows. */
  update(info, split, here) {
    this.#latency(split, here.still);
    list(this.#part(".facts"), facts(info, here));
    this.#drops(here.service?.dropped ?? info.dropped ?? {}, here);
  }

  /** What the hub dropped of this page's frames, or of all viewers' while that is not known, and what the page itself did. */
  #drops(byHub, here) {
    const dropped = Object.entries(byHub).filter(([, frames]) => frames > 0);
    const all = dropped.reduce((sum, [, frames]) => sum + frames, here.skipped);
    write(this.#part(".dropped"), all ? count(all) : "none");
    write(this.#part(".whose"), here.service ? "Of this page's frames." : "Of all viewers' frames.");
    const rows = dropped.map(([reason, frames]) => [REASONS[reason] ?? reason, count(frames)]);
    if (here.skipped) rows.push(["replaced on this page", count(here.skipped)]);
    list(this.#part(".drops"), rows);
  }

  #latency(split, still) {
    write(this.#part(".total"), split.total ? time(split.total.p50) : "–");
    write(this.#part(".hint"), still ? "Over all viewers, from capture on." : "From capture until shown on this page, last 10 s.");
    for (const stage of STAGES) {
      const known = split[stage];
      this.#bars.get(stage).style.flexGrow = known?.p50 ?? 0;
      const cells = this.#rows.get(stage).querySelectorAll("td");
      ["p50", "p95", "max"].forEach((share, place) => write(cells[place], known ? known[share].toFixed(1) : "–"));
    }
  }

  #addStage(stage) {
    const bar = document.createElement("i");
    const row = document.createElement("tr");
    const head = document.createElement("th");
    bar.dataset.stage = row.dataset.stage = stage;
    bar.title = row.title = STAGE_TITLES[stage];
    head.scope = "row";
    head.textContent = stage;
    row.append(head, ...[0, 1, 2].map(() => document.createElement("td")));
    this.#part(".bar").append(bar);
    this.#part("tbody").append(row);
    this.#bars.set(stage, bar);
    this.#rows.set(stage, row);
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

/** A line to copy. */
export function command(what, line) {
  const element = document.querySelector("#command").content.firstElementChild.cloneNode(true);
  const button = element.querySelector("button");
  element.querySelector(".what").textContent = what;
  element.querySelector("code").textContent = line;
  button.setAttribute("aria-label", `Copy: ${line}`);
  button.addEventListener("click", async () => {
    button.textContent = (await copy(line)) ? "Copied" : "Failed";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return element;
}

/** Browsers have a clipboard only on https and on localhost; elsewhere the old way still works. */
async function copy(line) {
  try {
    await navigator.clipboard.writeText(line);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = line;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function facts(info, here) {
  const fps = (number) => `${(number ?? 0).toFixed(1)} fps`;
  return [
    ["Codec", CODECS[info.codec] ?? info.codec ?? "–"],
    ["Size", size(info.width, info.height) || "–"],
    ["Sent to the hub", `${fps(info.fps)}, ${rate(info.bitrate ?? 0)}`],
    ...(here.still ? [["Shown here", "as Motion JPEG"]] : [["Shown here", fps(here.fps)]]),
    ...(here.age === null ? [] : [["Age of the picture", time(here.age * 1000)]]),
    ...service(here.service),
    ...(here.roundTrip === undefined || here.still ? [] : [["Round trip to the hub", time(here.roundTrip / 1000)]]),
    ["Viewers", viewers(info)],
    ["Frames sent to the hub", count(info.published)],
    ["Frames to viewers", count(info.delivered)],
    ...(info.missed ? [["Lost before the hub", count(info.missed)]] : []),
  ];
}

/** How many watch, and which renditions they get where there are several. */
function viewers({ viewers, renditions = [] }) {
  const taken = renditions.filter((form) => form.viewers > 0);
  if (taken.every(({ name }) => name === "source")) return count(viewers);
  return `${count(viewers)}: ${taken.map((form) => `${count(form.viewers)} ${form.name}`).join(", ")}`;
}

/** How the hub serves this page, once it has said so. */
function service(told) {
  if (!told) return [];
  return [
    ["Rendition", RENDITIONS[told.rendition] ?? told.rendition],
    ["Capacity of the link", told.capacity ? rate(told.capacity) : "not known yet"],
  ];
}

/** Writes terms and values, and leaves alone what stays. */
function list(element, rows) {
  while (element.children.length > 2 * rows.length) element.lastElementChild.remove();
  while (element.children.length < 2 * rows.length) {
    element.append(document.createElement("dt"), document.createElement("dd"));
  }
  rows.flat().forEach((text, place) => write(element.children[place], text));
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// The page: a tile for each of the hub's streams. The address `#/NAME` enlarges one of them. So does `/NAME`, which another site's
// page may embed: in a frame the page shows that stream only.

import { command } from "./details.js";
import { Hub, StreamList, isStreamName } from "./hub.js";
import { Tile } from "./tile.js";

/** Milliseconds between two updates of the figures. */
const REFRESH_INTERVAL = 500;
/** A tile connects when it comes this close to the visible part of the page. */
const VIEW_MARGIN = "120px";
/** The longest part of an unknown name that is shown, in characters. */
const LONGEST_SHOWN_NAME = 64;

const part = (selector) => document.querySelector(selector);
const hub = new Hub(document.baseURI);
const grid = part(".grid");
/** The tiles by the names of their streams. */
const tiles = new Map();
const tilesInView = new Set();
const viewObserver = new IntersectionObserver(viewChanged, { rootMargin: VIEW_MARGIN });
const streams = new StreamList(hub, { list: listReceived, failed: listFailed });
/** Whether another site's page embeds this one. */
const framed = window.top !== window;
let listKnown = false;
let hubFailed = false;
/** The name of the enlarged stream; null while the grid is shown. */
let enlarged = null;
/** How far the grid was scrolled when a stream was enlarged. */
let gridScroll = 0;

start();

function start() {
  if (framed) document.body.dataset.framed = "";
  // Outside of frames each stream has one address.
  else if (nameInPath() && !window.location.hash) window.history.replaceState(null, "", `./#/${nameInPath()}`);
  document.addEventListener("visibilitychange", visibilityChanged);
  window.addEventListener("online", visibilityChanged);
  window.addEventListener("hashchange", addressChanged);
  window.addEventListener("keydown", keyPressed);
  part(".notice button").addEventListener("click", () => streams.start());
  window.setInterval(() => tilesInView.forEach((tile) => tile.refresh()), REFRESH_INTERVAL);
  addressChanged();
  visibilityChanged();
}

/** A hidden page requests nothing. */
function visibilityChanged() {
  if (document.hidden) streams.stop();
  else streams.start();
  tiles.forEach(updateInView);
}

function updateInView(tile) {
  tile.setInView(tilesInView.has(tile) && !document.hidden);
}

function viewChanged(entries) {
  for (const { target, isIntersecting } of entries) {
    const tile = tiles.get(target.dataset.name);
    if (!tile) continue;
    if (isIntersecting) tilesInView.add(tile);
    else tilesInView.delete(tile);
    updateInView(tile);
  }
}

function listReceived(list) {
  part(".notice").hidden = true;
  const recovered = hubFailed;
  listKnown = true;
  hubFailed = false;
  const names = new Set(list.map((info) => info.name));
  tiles.forEach((tile, name) => names.has(name) || removeTile(tile));
  list.forEach(placeTile);
  if (recovered) tiles.forEach((tile) => tile.setHubFailed(false));
  const live = list.filter((info) => info.state === "live").length;
  part(".summary").textContent = list.length ? `${list.length} stream${list.length > 1 ? "s" : ""}, ${live} live` : "";
  arrange();
}

function listFailed(seconds, reason) {
  hubFailed = true;
  part(".notice span").textContent = `The hub at ${hub.address} ${reason}. Next attempt in ${seconds.toFixed(0)} s.`;
  part(".notice").hidden = false;
  tiles.forEach((tile) => tile.setHubFailed(true));
}

/** Shows a stream at its position in the list. A tile that is there already is not moved, so that nothing flickers. */
function placeTile(info, index) {
  let tile = tiles.get(info.name);
  if (!tile) {
    tile = new Tile(info, hub);
    tiles.set(info.name, tile);
    viewObserver.observe(tile.element);
    if (info.name === enlarged) tile.enlarge(true);
  }
  tile.update(info);
  if (grid.children[index] !== tile.element) grid.insertBefore(tile.element, grid.children[index] ?? null);
}

function removeTile(tile) {
  viewObserver.unobserve(tile.element);
  tilesInView.delete(tile);
  tiles.delete(tile.name);
  tile.remove();
}

/** Shows what the address names. */
function addressChanged() {
  const before = enlarged;
  enlarged = nameInAddress();
  if (before === null && enlarged !== null) gridScroll = window.scrollY;
  tiles.get(before)?.enlarge(false);
  tiles.get(enlarged)?.enlarge(true);
  arrange();
  document.title = enlarged ? `${enlarged} · framewire` : "framewire";
  window.scrollTo(0, enlarged === null ? gridScroll : 0);
  tiles.get(enlarged ?? before)?.focus();
}

function nameInAddress() {
  const { hash } = window.location;
  const name = hash.startsWith("#/") ? hash.slice(2) : nameInPath();
  if (!name) return framed ? "" : null;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** What follows the last slash of the page's path, as it is written there. */
function nameInPath() {
  const { pathname } = window.location;
  return pathname.slice(pathname.lastIndexOf("/") + 1);
}

/** Shows the grid, one stream, or why there is none. */
function arrange() {
  const missing = listKnown && (enlarged === null ? tiles.size === 0 : !tiles.has(enlarged));
  document.body.dataset.view = enlarged === null ? "all" : "one";
  part(".back").hidden = enlarged === null || framed;
  part(".summary").hidden = enlarged !== null;
  part(".empty").hidden = !missing;
  if (missing) explainMissing();
}

function explainMissing() {
  const named = enlarged !== null;
  const valid = named && isStreamName(enlarged);
  const target = `fw://${hub.address}/${valid ? enlarged : "hello"}`;
  if (framed && enlarged === "") return explainFrame();
  part(".empty h1").textContent = named ? `No stream named “${enlarged.slice(0, LONGEST_SHOWN_NAME)}”` : "No streams yet";
  part(".empty p").textContent =
    named && !valid
      ? "A stream cannot have this name. Names have at most 64 letters, digits and - _ . : @, and do not begin with a dot."
      : "This page shows a stream as soon as it is sent, from this machine or any other that reaches the hub.";
  const commands = part(".empty .commands");
  if (commands.dataset.target === target) return;
  commands.dataset.target = target;
  commands.replaceChildren(
    command("Send a moving test pattern", `framewire send pattern ${target}`),
    command("Send the first camera", `framewire send camera ${target}`),
  );
}

function explainFrame() {
  part(".empty h1").textContent = "Which stream?";
  part(".empty p").textContent = "In a frame this page shows one stream. Embed its own address: the hub's, a slash, and the stream's name.";
}

/** Escape shows all streams, the arrow keys show the previous and the next one, f toggles full screen. */
function keyPressed(event) {
  if (enlarged === null || framed || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape" && !document.fullscreenElement) window.location.hash = "#/";
  if (event.key === "f") tiles.get(enlarged)?.toggleFullScreen();
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || tiles.size < 2) return;
  const names = [...grid.children].map((element) => element.dataset.name);
  const next = (names.indexOf(enlarged) + step + names.length) % names.length;
  window.location.hash = `#/${encodeURIComponent(names[next])}`;
}

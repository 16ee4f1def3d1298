// The page: a tile for each of the hub's streams, one of them enlarged when the address names it, `#/NAME`.

import { command } from "./details.js";
import { Streams, address } from "./hub.js";
import { Tile } from "./tile.js";

/** Milliseconds between two updates of the figures. */
const FIGURES = 500;
/** What a stream may be called. A link to this page can name anything, and commands to copy are made of it. */
const NAME = /^[\p{L}\p{N}_:@-][\p{L}\p{N}_.:@-]*$/u;

const part = (selector) => document.querySelector(selector);
const grid = part(".grid");
const tiles = new Map();
let known = false;
let hubGone = false;
let enlarged = null;
let scrolled = 0;

const streams = new Streams(came, gone);
// A tile is connected a little before it is scrolled into view.
const eyes = new IntersectionObserver(look, { rootMargin: "120px" });
const inView = new Set();

start();

function start() {
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  window.addEventListener("hashchange", follow);
  window.addEventListener("keydown", press);
  part(".notice button").addEventListener("click", () => streams.start());
  setInterval(() => inView.forEach((tile) => tile.refresh()), FIGURES);
  follow();
  wake();
}

/** Nobody sees a hidden page: it asks for nothing. */
function wake() {
  if (document.hidden) streams.stop();
  else streams.start();
  tiles.forEach(attend);
}

function attend(tile) {
  tile.watch(inView.has(tile) && !document.hidden);
}

function look(entries) {
  for (const { target, isIntersecting } of entries) {
    const tile = tiles.get(target.dataset.name);
    if (!tile) continue;
    if (isIntersecting) inView.add(tile);
    else inView.delete(tile);
    attend(tile);
  }
}

function came(list) {
  part(".notice").hidden = true;
  const back = hubGone;
  known = true;
  hubGone = false;
  const names = new Set(list.map((info) => info.name));
  tiles.forEach((tile, name) => names.has(name) || drop(tile));
  list.forEach(place);
  if (back) tiles.forEach((tile) => tile.hub(false));
  const live = list.filter((info) => info.state === "live").length;
  part(".summary").textContent = list.length ? `${list.length} stream${list.length > 1 ? "s" : ""}, ${live} live` : "";
  arrange();
}

function gone(seconds, why) {
  hubGone = true;
  part(".notice span").textContent = `The hub at ${address} ${why}. Trying again in ${seconds.toFixed(0)} s.`;
  part(".notice").hidden = false;
  tiles.forEach((tile) => tile.hub(true));
}

/** Shows a stream at its place in the list; what is there already is not moved, so that nothing flickers. */
function place(info, index) {
  let tile = tiles.get(info.name);
  if (!tile) {
    tile = new Tile(info);
    tiles.set(info.name, tile);
    eyes.observe(tile.element);
    if (info.name === enlarged) tile.enlarge(true);
  }
  tile.update(info);
  if (grid.children[index] !== tile.element) grid.insertBefore(tile.element, grid.children[index] ?? null);
}

function drop(tile) {
  eyes.unobserve(tile.element);
  inView.delete(tile);
  tiles.delete(tile.name);
  tile.remove();
}

/** Goes where the address says. */
function follow() {
  const before = enlarged;
  enlarged = named();
  if (before === null && enlarged !== null) scrolled = window.scrollY;
  tiles.get(before)?.enlarge(false);
  tiles.get(enlarged)?.enlarge(true);
  arrange();
  document.title = enlarged === null ? "framewire" : `${enlarged} · framewire`;
  window.scrollTo(0, enlarged === null ? scrolled : 0);
  tiles.get(enlarged ?? before)?.focus();
}

function named() {
  if (!location.hash.startsWith("#/") || location.hash.length < 3) return null;
  try {
    return decodeURIComponent(location.hash.slice(2));
  } catch {
    return location.hash.slice(2);
  }
}

/** The grid, one stream, or a word about there being none. */
function arrange() {
  const missing = known && (enlarged === null ? tiles.size === 0 : !tiles.has(enlarged));
  document.body.dataset.view = enlarged === null ? "all" : "one";
  part(".back").hidden = enlarged === null;
  part(".summary").hidden = enlarged !== null;
  part(".empty").hidden = !missing;
  if (missing) explain();
}

function explain() {
  const named = enlarged !== null;
  const proper = !named || NAME.test(enlarged);
  const target = `fw://${address}/${(proper && enlarged) || "hello"}`;
  part(".empty h1").textContent = named ? `There is no stream “${enlarged.slice(0, 64)}”` : "No streams yet";
  part(".empty p").textContent = named && !proper
    ? "That is no name a stream can have: letters, digits and - _ . : @ are what it is made of."
    : "It appears here by itself as soon as it is sent, from this machine or any other that reaches it.";
  const commands = part(".empty .commands");
  if (commands.dataset.target === target) return;
  commands.dataset.target = target;
  commands.replaceChildren(
    command("A moving test picture", `framewire send pattern ${target}`),
    command("The first camera", `framewire send camera ${target}`),
  );
}

/** Escape goes back, the arrows go to the neighbours, f fills the screen. */
function press(event) {
  if (enlarged === null || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape" && !document.fullscreenElement) location.hash = "#/";
  if (event.key === "f") tiles.get(enlarged)?.fullScreen();
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || tiles.size < 2) return;
  const names = [...grid.children].map((element) => element.dataset.name);
  const next = (names.indexOf(enlarged) + step + names.length) % names.length;
  location.hash = `#/${encodeURIComponent(names[next])}`;
}

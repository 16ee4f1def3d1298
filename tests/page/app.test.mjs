// The page as a whole: its list of streams, its addresses, and its explanations when there is no stream to show.
//
// app.js starts when it is loaded, in the window it finds. So all tests share one page, and each begins with its own list.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeBrowser, settle } from "./support/browser.mjs";
import { Element } from "./support/dom.mjs";
import { answerPings } from "./support/messages.mjs";

const browser = new FakeBrowser();
const { document } = browser;
const window = Object.assign(browser, { location: { hash: "", pathname: "/" }, scrollY: 0, scrolledTo: null, top: browser });
window.scrollTo = (_, y) => (window.scrolledTo = y);
const events = new Element("window", document);
window.addEventListener = events.addEventListener.bind(events);
let observer;
class IntersectionObserver {
  observed = new Set();

  constructor(callback, options) {
    observer = this;
    Object.assign(this, { callback, options });
  }

  observe(element) {
    this.observed.add(element);
  }

  unobserve(element) {
    this.observed.delete(element);
  }
}
Object.assign(globalThis, { window, document, IntersectionObserver });
await import("../../crates/framewire/web/app.js");

const part = (selector) => document.querySelector(selector);
const stream = (name, state = "live") => ({ name, state, codec: "jpeg", width: 640, height: 360 });
const names = () => part(".grid").children.map(({ dataset }) => dataset.name);
const tile = (name) => part(".grid").children.find(({ dataset }) => dataset.name === name);

/** The hub answers with this list. */
async function list(...streams) {
  browser.requests.at(-1).answer({ ok: true, json: async () => streams });
  await settle();
  browser.advance(1500);
}

function goTo(hash) {
  window.location.hash = hash;
  return events.fire("hashchange");
}

function setInView(name, isIntersecting = true) {
  observer.callback([{ target: tile(name), isIntersecting }]);
}

const press = (key, modifiers = {}) => events.fire("keydown", { key, ...modifiers });

/** A test that begins with an empty list and the grid. */
const pageTest = (name, run) =>
  test(name, async () => {
    await list();
    await goTo("");
    window.scrollY = 0;
    await run();
  });

pageTest("without a stream the page shows how to send one", async () => {
  assert.ok(!part(".empty").hidden);
  assert.equal(part(".empty h1").textContent, "No streams yet");
  const commands = part(".empty .commands").querySelectorAll("code").map(({ textContent }) => textContent);
  assert.deepEqual(commands, [
    "framewire send pattern fw://hub.test:7070/hello",
    "framewire send camera fw://hub.test:7070/hello",
  ]);
  await list(stream("door"));
  assert.ok(part(".empty").hidden);
});

pageTest("tiles follow the list's order, and those that stay are not moved", async () => {
  await list(stream("b"), stream("d"));
  const [b, d] = part(".grid").children;
  await list(stream("a"), stream("b"), stream("c", "idle"), stream("d"));
  assert.deepEqual(names(), ["a", "b", "c", "d"]);
  assert.ok(tile("b") === b && tile("d") === d);
  assert.equal(part(".summary").textContent, "4 streams, 3 live");
  await list(stream("c"));
  assert.deepEqual(names(), ["c"]);
  assert.equal(part(".summary").textContent, "1 stream, 1 live");
  assert.equal(observer.observed.size, 1);
});

pageTest("only tiles in view of a visible page are connected", async () => {
  const sockets = browser.sockets.length;
  await list(stream("a"), stream("b"));
  assert.equal(browser.sockets.length, sockets);
  setInView("b");
  assert.equal(browser.sockets.length, sockets + 1);
  assert.equal(browser.socket.url.pathname, "/streams/b/ws");
  setInView("b", false);
  assert.ok(browser.socket.abandoned);
  setInView("a");
  document.hidden = true;
  await document.fire("visibilitychange");
  assert.ok(browser.socket.abandoned);
  const requests = browser.requests.length;
  browser.requests.at(-1).answer({ ok: true, json: async () => [stream("a"), stream("b")] });
  await settle();
  browser.advance(60_000);
  assert.equal(browser.requests.length, requests, "a hidden page asks for nothing");
  document.hidden = false;
  await document.fire("visibilitychange");
  assert.equal(browser.requests.length, requests + 1);
  assert.equal(browser.socket.url.pathname, "/streams/a/ws");
  assert.ok(!browser.socket.abandoned);
});

pageTest("figures of tiles in view are updated twice a second", async () => {
  await list(stream("a"));
  setInView("a");
  browser.socket.open();
  answerPings(browser.socket);
  for (let turn = 0; turn < 4; turn += 1) {
    tile("a").querySelector(".state").textContent = "old";
    browser.advance(500);
    assert.notEqual(tile("a").querySelector(".state").textContent, "old");
  }
});

pageTest("a notice names a hub that does not answer, until it answers", async () => {
  await list(stream("a"));
  setInView("a");
  browser.requests.at(-1).fail();
  await settle();
  assert.ok(!part(".notice").hidden);
  assert.match(part(".notice span").textContent, /^The hub at hub\.test:7070 does not answer\. Next attempt in 1 s\.$/);
  assert.equal(tile("a").dataset.state, "offline");
  const requests = browser.requests.length;
  await part(".notice button").fire("click");
  assert.equal(browser.requests.length, requests + 1);
  await list(stream("a"));
  assert.ok(part(".notice").hidden);
  assert.equal(tile("a").dataset.state, "connecting");
});

pageTest("an address enlarges its stream, and going back restores the grid", async () => {
  await list(stream("a"), stream("straße"));
  window.scrollY = 700;
  await goTo("#/stra%C3%9Fe");
  assert.equal(document.body.dataset.view, "one");
  assert.equal(document.title, "straße · framewire");
  assert.ok(tile("straße").classList.contains("enlarged"));
  assert.ok(!part(".back").hidden && part(".summary").hidden);
  assert.equal(window.scrolledTo, 0);
  await goTo("#/");
  assert.equal(document.body.dataset.view, "all");
  assert.equal(document.title, "framewire");
  assert.ok(!tile("straße").classList.contains("enlarged"));
  assert.equal(window.scrolledTo, 700);
  assert.equal(document.activeElement, tile("straße").querySelector(".name"));
});

pageTest("a stream that its address names is enlarged when it appears", async () => {
  await goTo("#/late");
  assert.equal(part(".empty h1").textContent, "No stream named “late”");
  assert.equal(part(".empty code").textContent, "framewire send pattern fw://hub.test:7070/late");
  await list(stream("late"));
  assert.ok(part(".empty").hidden);
  assert.ok(tile("late").classList.contains("enlarged"));
});

pageTest("an invalid name in the address never gets into a command", async () => {
  for (const hash of ["#/x;reboot", "#/$(reboot)", "#/%0a", "#/a b", "#/%zz"]) {
    await goTo(hash);
    assert.equal(part(".empty code").textContent, "framewire send pattern fw://hub.test:7070/hello", hash);
    assert.match(part(".empty p").textContent, /^A stream cannot have this name\./);
  }
  await goTo(`#/${"x".repeat(1000)}`);
  assert.equal(part(".empty h1").textContent, `No stream named “${"x".repeat(64)}”`);
});

pageTest("arrow keys show the next streams, Escape shows the grid", async () => {
  await list(stream("a"), stream("b"), stream("c"));
  await press("ArrowRight");
  assert.equal(window.location.hash, "", "the grid scrolls as usual");
  await goTo("#/c");
  await press("ArrowRight");
  assert.equal(window.location.hash, "#/a");
  await goTo("#/a");
  await press("ArrowLeft", { altKey: true });
  assert.equal(window.location.hash, "#/a", "the browser's own shortcuts are left alone");
  await press("ArrowLeft");
  assert.equal(window.location.hash, "#/c");
  await press("Escape");
  assert.equal(window.location.hash, "#/");
});

pageTest("a path that ends in a stream's name enlarges it, and a hash goes first", async () => {
  await list(stream("door"), stream("straße"));
  window.location.pathname = "/cameras/stra%C3%9Fe";
  await goTo("");
  assert.deepEqual([document.title, document.body.dataset.view], ["straße · framewire", "one"]);
  await goTo("#/door");
  assert.equal(document.title, "door · framewire");
  await goTo("#/");
  assert.deepEqual([document.title, document.body.dataset.view], ["framewire", "all"]);
  window.location.pathname = "/cameras/";
});

// As much of the DOM as the page uses, over the page's real HTML: a selector that does not match it fails here too.

import { readFileSync } from "node:fs";

const HTML = new URL("../../../crates/framewire/web/index.html", import.meta.url);
/** Elements that have no end tag. */
const VOID = new Set(["meta", "link", "img"]);
const TOKEN = /<!--.*?-->|<!doctype[^>]*>|<(\/?)([a-z0-9]+)((?:\s+[^\s=>/]+(?:="[^"]*")?)*)\s*(\/?)>|[^<]+/gis;

export class Element {
  /** The element's child elements and texts. */
  nodes = [];
  parent = null;
  dataset = {};
  attributes = new Map();
  style = { setProperty: (name, value) => (this.style[name] = value) };
  classList = {
    contains: (name) => this.classes.includes(name),
    toggle: (name, on) => {
      const others = this.classes.filter((other) => other !== name);
      this.setAttribute("class", [...others, ...(on ? [name] : [])].join(" "));
    },
  };
  #listeners = [];

  constructor(tag, document) {
    this.tag = tag;
    this.document = document;
    if (tag === "template") this.content = new Element("content", document);
    if (tag === "canvas") Object.assign(this, { width: 0, height: 0, drawn: [], getContext: () => this.#context() });
    if (tag === "img") this.naturalWidth = 0;
  }

  get classes() {
    return (this.getAttribute("class") ?? "").split(/\s+/).filter(Boolean);
  }

  get children() {
    return this.nodes.filter((node) => node instanceof Element);
  }

  get firstElementChild() {
    return this.children[0] ?? null;
  }

  get lastElementChild() {
    return this.children.at(-1) ?? null;
  }

  get textContent() {
    return this.nodes.map((node) => node.textContent ?? node).join("");
  }

  set textContent(text) {
    this.replaceChildren(...(text === "" ? [] : [String(text)]));
    this.document.textChanges += 1;
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  get hidden() {
    return this.attributes.has("hidden");
  }

  set hidden(hidden) {
    if (hidden) this.setAttribute("hidden", "");
    else this.removeAttribute("hidden");
  }

  append(...nodes) {
    nodes.forEach((node) => this.insertBefore(node, null));
  }

  insertBefore(node, before) {
    if (node instanceof Element) {
      node.remove();
      node.parent = this;
    }
    const index = before ? this.nodes.indexOf(before) : this.nodes.length;
    this.nodes.splice(index, 0, node);
  }

  remove() {
    if (!this.parent) return;
    this.parent.nodes = this.parent.nodes.filter((node) => node !== this);
    this.parent = null;
  }

  replaceChildren(...nodes) {
    this.children.forEach((child) => child.remove());
    this.nodes = [];
    this.append(...nodes);
  }

  cloneNode(deep = false) {
    const clone = new Element(this.tag, this.document);
    this.attributes.forEach((value, name) => clone.setAttribute(name, value));
    if (deep) clone.append(...this.nodes.map((node) => (node instanceof Element ? node.cloneNode(true) : node)));
    return clone;
  }

  querySelectorAll(selector) {
    const steps = selector.split(" ");
    const inside = this.children.flatMap((child) => [child, ...child.querySelectorAll("*")]);
    return selector === "*" ? inside : inside.filter((element) => element.#matches(steps));
  }

  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null;
  }

  addEventListener(type, listener) {
    this.#listeners.push({ type, listener });
  }

  /** Calls the listeners for this type of event. */
  fire(type, event = {}) {
    return Promise.all(this.#listeners.filter((one) => one.type === type).map(({ listener }) => listener(event)));
  }

  focus() {
    this.document.activeElement = this;
  }

  select() {}

  #matches(steps) {
    const [, tag, id, classes] = /^([a-z0-9]*)(#[\w-]+)?((?:\.[\w-]+)*)$/.exec(steps.at(-1));
    const matches =
      (!tag || tag === this.tag) &&
      (!id || id === `#${this.getAttribute("id")}`) &&
      classes.split(".").filter(Boolean).every((name) => this.classList.contains(name));
    if (!matches || steps.length === 1) return matches;
    for (let ancestor = this.parent; ancestor; ancestor = ancestor.parent) {
      if (ancestor.#matches(steps.slice(0, -1))) return true;
    }
    return false;
  }

  #context() {
    const moves = ["translate", "rotate", "scale", "resetTransform"];
    const moved = moves.map((name) => [name, (...parameters) => this.drawn.push([name, ...parameters])]);
    return { drawImage: (...parameters) => this.drawn.push(parameters), ...Object.fromEntries(moved) };
  }
}

for (const name of ["href", "title", "alt", "src", "scope"]) {
  Object.defineProperty(Element.prototype, name, {
    get() {
      return this.getAttribute(name) ?? "";
    },
    set(value) {
      this.setAttribute(name, value);
    },
  });
}

/** The page's document, freshly loaded from this URL. */
export function loadPage(baseURI) {
  const document = new Element("document");
  document.document = document;
  Object.assign(document, { baseURI, hidden: false, activeElement: null, fullscreenElement: null, textChanges: 0 });
  document.createElement = (tag) => new Element(tag, document);
  let parent = document;
  const open = [];
  for (const [token, end, tag, attributes, closed] of readFileSync(HTML, "utf8").matchAll(TOKEN)) {
    if (!tag) {
      if (!token.startsWith("<") && token.trim()) parent.append(token);
    } else if (end) {
      const expected = open.pop();
      if (expected.element.tag !== tag) throw new Error(`index.html: </${tag}> closes <${expected.element.tag}>`);
      parent = expected.parent;
    } else {
      const element = new Element(tag, document);
      for (const [, name, value = ""] of attributes.matchAll(/([^\s=]+)(?:="([^"]*)")?/g)) element.setAttribute(name, value);
      parent.append(element);
      if (closed || VOID.has(tag)) continue;
      open.push({ element, parent });
      parent = element.content ?? element;
    }
  }
  document.body = document.querySelector("body");
  return document;
}

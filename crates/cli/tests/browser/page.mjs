// Opens the hub's page in a browser and checks that it shows a live stream.
//
//     node page.mjs BASE_URL STREAM_NAME SCREENSHOT_PATH [RENDITION]
//
// It says `READY` once the stream was seen moving. On a line `stalled?` on its standard input it waits until the page says
// that the stream is stalled and says `STALLED`; at the input's end it is done. Exit status: 0 when all is well, 1 with a
// sentence on standard error that says what is not.
//
// playwright-core is found in the directory named by PLAYWRIGHT_CORE, else by NODE_PATH; the browser at CHROMIUM, else
// /usr/bin/chromium.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

/** Milliseconds that one thing may take on a busy machine, and all of them. */
const PATIENCE = 15_000;
const ALL = 90_000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const [base, name, screenshot, rendition = "source"] = process.argv.slice(2);
const article = `article[data-name=${JSON.stringify(name)}]`;
// Lines that come early are kept until they are asked for.
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const complaints = [];
let browser;

setTimeout(() => end(`not done after ${ALL / 1000} s`), ALL).unref();
main().then(() => end(), (fault) => end(fault.message));

async function main() {
  if (!screenshot) fail("usage: node page.mjs BASE_URL STREAM_NAME SCREENSHOT_PATH [RENDITION]");
  const page = await open();
  await within("the page lists the stream", page.waitForSelector(article));
  await moves(page);
  await isFast(page);
  await enlarges(page);
  await page.screenshot({ path: screenshot });
  const sockets = page.sockets.length;
  isQuiet();
  console.log("READY");
  for await (const line of lines) {
    if (line.trim() !== "stalled?") fail(`'${line}' is no question: ask 'stalled?'`);
    await stalls(page);
    if (page.sockets.length !== sockets) fail("the page dropped its connection to a stream and made another");
    isQuiet();
    console.log("STALLED");
  }
}

async function open() {
  const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE ?? "playwright-core");
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  page.setDefaultTimeout(PATIENCE);
  page.sockets = [];
  page.on("websocket", (socket) => page.sockets.push(socket.url()));
  page.on("pageerror", (fault) => complaints.push(`a script failed: ${fault.message}`));
  page.on("console", (message) => message.type() === "error" && complaints.push(`the console says: ${message.text()}`));
  await page.exposeFunction("complain", (what) => complaints.push(what));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      window.complain(`the content security policy refused ${event.blockedURI} (${event.violatedDirective})`);
    });
  });
  await within("the page opens", page.goto(base));
  return page;
}

/** The canvas has a picture with something in it, and later another. */
async function moves(page) {
  const canvas = `${article} canvas`;
  const first = await within("there is a picture", page.waitForFunction(picture, [canvas, null], { polling: 50 }));
  const seen = await first.jsonValue();
  await within("the picture changes", page.waitForFunction(picture, [canvas, seen], { polling: 50 }));
}

/** In the page: the canvas in small, as text, unless it is empty, of one colour, or as it was before. */
function picture([selector, before]) {
  const canvas = document.querySelector(selector);
  if (!canvas || canvas.width < 2 || canvas.height < 2) return null;
  const small = new OffscreenCanvas(64, 36).getContext("2d");
  small.drawImage(canvas, 0, 0, 64, 36);
  const pixels = small.getImageData(0, 0, 64, 36).data;
  const now = pixels.join();
  const colours = new Set(new Uint32Array(pixels.buffer));
  return colours.size > 1 && now !== before ? now : null;
}

/** The latency comes under a second; the first frames may take longer, while the browser still starts. */
async function isFast(page) {
  const selector = `${article} .latency`;
  const fast = await within("the latency is shown as under 1000 ms", page.waitForFunction(latency, selector, { polling: 50 }));
  console.log(`from capture until shown: ${await fast.jsonValue()}`);
}

/** In the page: the latency as it is shown, unless it is a second or more. */
function latency(selector) {
  const text = document.querySelector(selector)?.textContent ?? "";
  const [, ms] = /^([\d.]+) ms$/.exec(text) ?? [];
  return ms !== undefined && Number(ms) < 1000 ? text : null;
}

/** A click on the tile gives the stream an address of its own, with the latency split. */
async function enlarges(page) {
  await within("the tile can be clicked", page.click(`${article} a.name`));
  const hash = new URL(page.url()).hash;
  if (hash !== `#/${encodeURIComponent(name)}`) fail(`the enlarged stream's address ends in '${hash}'`);
  await within(
    "the latency split has figures",
    page.locator(`${article} tr[data-stage=downlink] td`).first().filter({ hasText: /\d/ }).waitFor(),
  );
  const fact = (name) => page.locator(`${article} .facts dt`, { hasText: name }).locator("xpath=following-sibling::dd[1]");
  await within("the page says what it gets", fact("Rendition").filter({ hasText: new RegExp(`^${rendition}, `) }).waitFor());
  await within(
    "the page says what its link carries",
    fact("Capacity of the link").filter({ hasText: /^\d[\d.]* [kM]bit\/s$/ }).waitFor(),
  );
  await within(
    "the drops are this page's",
    page.locator(`${article} .whose`).filter({ hasText: "Of this page's frames." }).waitFor(),
  );
  const commands = await page.locator(`${article} .command code`).allTextContents();
  const view = `framewire view fw://${new URL(base).host}/${name}`;
  if (!commands.includes(view)) fail(`'${view}' is not among the commands: ${commands.join("; ")}`);
}

async function stalls(page) {
  const stalled = page.locator(`${article}[data-state=stalled]`);
  await within("the page says that the stream is stalled", stalled.waitFor());
  const words = await stalled.locator(".overlay").innerText();
  if (!/^Stalled\s+No new frame for /.test(words)) fail(`of a stalled stream the page says '${words}'`);
}

function isQuiet() {
  if (complaints.length > 0) fail(complaints[0]);
}

function within(what, promise) {
  return promise.catch((fault) => fail(`it did not happen that ${what}: ${fault.message.split("\n")[0]}`));
}

function fail(why) {
  throw new Error(why);
}

/** The browser does not outlive the test. */
async function end(why) {
  const said = why ? [...new Set([why, ...complaints])] : [];
  said.forEach((line) => console.error(line));
  await browser?.close();
  process.exit(why ? 1 : 0);
}

// A page of another site that embeds a hub's snapshot, its MJPEG and its page with one stream, and reads a snapshot by script.
//
//     node embedded.mjs BASE_URL STREAM_NAME PORT SCREENSHOT_PATH
//
// The page is http://home.test:PORT/, on this machine. It prints which of them the browser lets it have. playwright-core and the browser are found as in page.mjs.

import { createServer } from "node:http";
import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE ?? "playwright-core");
const [base, name, port, screenshot] = process.argv.slice(2);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP home.test 127.0.0.1"];
const stream = `${base}streams/${name}/`;
const html = `<!doctype html><body style="background: #ddd">
  <img class="picture" src="${stream}snapshot.jpg"><img class="video" src="${stream}mjpeg">
  <iframe src="${base}${name}" width="640" height="480"></iframe></body>`;

const server = createServer((_, answer) => answer.writeHead(200, { "content-type": "text/html" }).end(html));
await new Promise((listening) => server.listen(port, "127.0.0.1", listening));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(5_000);
  await page.goto(`http://home.test:${port}/`, { waitUntil: "commit" });
  const yes = (promise) => promise.then((is) => (is === false ? "no" : "yes"), () => "no");
  const shown = (image) => yes(page.waitForFunction((image) => document.querySelector(image)?.naturalWidth > 0, image));
  const read = (url) => fetch(url).then((answer) => answer.ok && answer.headers.has("x-timestamp"));
  const live = page.frameLocator("iframe").locator("article[data-state=live]").first();
  const [picture, video, fetched, frame] = await Promise.all([
    shown(".picture"),
    shown(".video"),
    yes(page.evaluate(read, `${stream}snapshot.jpg`)),
    yes(live.waitFor()),
  ]);
  console.log(`picture: ${picture}, video: ${video}, fetch: ${fetched}, frame: ${frame}`);
  await page.screenshot({ path: screenshot });
} finally {
  await browser.close();
  server.close();
}

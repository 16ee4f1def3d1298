// Opens the hub's page where WebSockets do not get through, and checks that it shows the stream as Motion JPEG.
//
//     node refused.mjs BASE_URL STREAM_NAME SCREENSHOT_PATH
//
// It prints why the page says that the WebSocket is refused. playwright-core and the browser are found as in page.mjs.

import { createRequire } from "node:module";

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE ?? "playwright-core");
const [base, name, screenshot] = process.argv.slice(2);
const article = `article[data-name=${JSON.stringify(name)}]`;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  page.setDefaultTimeout(15_000);
  await page.goto(base);
  const refusal = page.locator(`${article} .refusal`);
  await refusal.waitFor();
  await page.waitForFunction((image) => document.querySelector(image)?.naturalWidth > 0, `${article} img`);
  await page.locator(`${article}[data-state=live]`).waitFor();
  console.log(await refusal.textContent());
  await page.screenshot({ path: screenshot });
} finally {
  await browser.close();
}

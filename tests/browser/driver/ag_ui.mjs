// Opens the page of tests/clients/ag_ui in mid-answer, loads it again, and stops the answer. Prints the page's content as JSON.
// node ag_ui.mjs '{"url": "http://…", "browser": "ws://…"}'
import { chromium } from "playwright-core";

const { url, browser: address } = JSON.parse(process.argv[2]);
const browser = await chromium.connect(address);
const page = await browser.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
const seen = [];
const look = async (state) => {
  await page.locator("#text", { hasText: "Hello" }).waitFor();
  await page.locator("#state", { hasText: state }).waitFor({ state: "attached" });
  seen.push([await page.locator("#text").textContent(), await page.locator("#state").textContent()]);
};
await page.goto(url);
await look("");
await page.reload();
await look("");
await page.locator("#stop").click();
await look("cancelled");
await browser.close();
console.log(JSON.stringify({ seen, errors }));

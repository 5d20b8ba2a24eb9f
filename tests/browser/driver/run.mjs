// Plays one story in Chromium and prints what the page held, as JSON.
// node run.mjs '{"story": "send", "url": "http://…", "chromium": "/usr/bin/chromium", "screenshots": "…"}'
import { join } from "node:path";
import { chromium } from "playwright-core";
import * as stories from "./stories.mjs";
import { Tab } from "./tab.mjs";

const { story, url, chromium: executablePath, screenshots } = JSON.parse(process.argv[2]);

// Chromium refuses its sandbox to root, and containers have little shared memory.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const errors = [];
const tabs = [];

/** What a story gets: tabs of one browser profile, and a camera. */
async function stage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 820 }, ...options });
  await context.request.post(`${url}/api/guest`);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const newTab = async (chat = "c1") => {
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    const tab = new Tab(page, url, chat);
    tabs.push(tab);
    return tab.open();
  };
  return { newTab, shoot };
}

function shoot(tab, name) {
  const file = `${name.replaceAll(/\W+/g, "-")}.png`;
  return tab.page.screenshot({ path: join(screenshots, file), animations: "disabled" });
}

try {
  const result = await stories[story](stage);
  console.log(JSON.stringify({ ...result, errors }));
} catch (error) {
  for (const [number, tab] of tabs.entries()) await shoot(tab, `failed ${story}, tab ${number + 1}`).catch(() => undefined);
  console.error(error, errors);
  process.exitCode = 1;
} finally {
  await browser.close();
}

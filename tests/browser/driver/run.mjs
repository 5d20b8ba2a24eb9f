// Plays stories in Chromium, and returns the content of the page for each; see serving.mjs.
// {"story": "send", "page": "", "url": "http://…", "browser": "ws://…", "screenshots": "…"}
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "../../serving.mjs";
import * as followers from "./followers.mjs";
import * as kills from "./kills.mjs";
import * as phones from "./phones.mjs";
import * as scenarios from "./scenarios.mjs";
import * as stories from "./stories.mjs";
import { Tab } from "./tab.mjs";

async function play({ story, url, page: path, browser: address, screenshots, ...options }) {
  // What a story leaves open is closed with its connection.
  const browser = await chromium.connect(address);
  const errors = [];
  const tabs = [];

  /** The tools of a story: tabs of one browser profile, and a camera. */
  async function stage(options = {}) {
    const context = await browser.newContext({ viewport: { width: 1180, height: 820 }, ...options });
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const newPage = async () => {
      const page = await context.newPage();
      page.on("pageerror", (error) => errors.push(String(error)));
      return page;
    };
    const newTab = async (chat = "c1", prepare = async () => undefined) => {
      const page = await newPage();
      await prepare(page);
      const tab = new Tab(page, url, path, chat);
      tabs.push(tab);
      return tab.open();
    };
    /** Photograph a tab, and check that the page is accessible. */
    const shoot = async (tab, name) => {
      await photograph(tab, name);
      errors.push(...(await tab.barriers()).map((each) => `${name}: ${each}`));
    };
    return { newTab, newPage, shoot, context, url };
  }

  function photograph(tab, name) {
    const file = `${name.replaceAll(/\W+/g, "-")}.png`;
    return tab.page.screenshot({ path: join(screenshots, file), animations: "disabled" });
  }

  try {
    return { ...(await { ...stories, ...scenarios, ...followers, ...kills, ...phones }[story](stage, options)), errors };
  } catch (error) {
    for (const [number, tab] of tabs.entries()) await photograph(tab, `failed ${story}, tab ${number + 1}`).catch(() => undefined);
    return { errors: [error.stack ?? String(error), ...errors] };
  } finally {
    await browser.close();
  }
}

await serve(play);

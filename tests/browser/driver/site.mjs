// Opens pages of the documentation site in Chromium, without any other host, and prints what it sees.
// node site.mjs '{"url": "http://…", "browser": "ws://…", "pages": ["usechat/"], "screenshots": "…", "searches": true}'
import { join } from "node:path";
import { chromium } from "playwright-core";

const { url, browser: address, pages, screenshots, searches } = JSON.parse(process.argv[2]);
const PHONE = { width: 360, height: 780 };
const DESK = { width: 1280, height: 900 };

const browser = await chromium.connect(address);
const looked = [];
const trouble = [];

async function open(viewport) {
  const context = await browser.newContext({ viewport });
  await context.route(
    (asked) => asked.origin !== url,
    (route) => {
      trouble.push(`asked for ${route.request().url()}`);
      return route.abort();
    },
  );
  const page = await context.newPage();
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("response", (response) => response.status() >= 400 && trouble.push(`${response.status()} ${response.url()}`));
  return page;
}

/** Runs in the page: how far it is wider than the window, and which signatures or drawings are cut. */
function measure() {
  const wide = (each) => each.scrollWidth > each.clientWidth + 1;
  const beyond = (each) => each.getBoundingClientRect().right > innerWidth + 1;
  return {
    overflow: document.documentElement.scrollWidth - innerWidth,
    cut: [...document.querySelectorAll(".doc-signature code, .doc-signature pre")].filter((each) => wide(each) || beyond(each)).map((each) => each.innerText.slice(0, 60)),
    broken: [...document.images].filter((each) => each.complete && !each.naturalWidth).map((each) => each.src),
    drawings: document.querySelectorAll(".drawing svg").length,
    undrawn: document.querySelectorAll(".mermaid").length,
  };
}

try {
  const page = await open(PHONE);
  for (const path of pages) {
    await page.goto(`${url}/${path}`);
    for (const viewport of [PHONE, DESK]) {
      await page.setViewportSize(viewport);
      // The lists beside the text slide to their places.
      await page.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth, null, { timeout: 5000 }).catch(() => undefined);
      looked.push({ page: path, width: viewport.width, ...(await page.evaluate(measure)) });
      for (const colorScheme of screenshots ? ["light", "dark"] : []) {
        await page.emulateMedia({ colorScheme });
        // The theme looks at the scheme when a page is loaded.
        await page.reload();
        const name = `site-${path.replaceAll(/\W+/g, "-") || "index-"}${viewport.width}-${colorScheme}.png`;
        await page.screenshot({ path: join(screenshots, name) });
      }
    }
  }
  console.log(JSON.stringify({ looked, trouble, found: searches ? [await search(DESK), await search(PHONE)] : [] }));
} finally {
  await browser.close();
}

/** Searches for a word that stands on several pages, opens the first page found, and returns it and all titles. */
async function search(viewport) {
  const page = await open(viewport);
  await page.goto(`${url}/`, { waitUntil: "load" });
  if (viewport === PHONE) await page.locator("label[for=__search].md-header__button").click();
  // The theme looks at the word when a key is released.
  await page.locator(".md-search__input").pressSequentially("successor");
  const results = page.locator(".md-search-result__item > a");
  await results.first().waitFor();
  const titles = await page.locator(".md-search-result__item > a h1").allInnerTexts();
  await results.first().click();
  await page.waitForURL((now) => now.pathname !== "/");
  return { titles, opened: new URL(page.url()).pathname };
}

// Pages of the tutorial, as their users act on them; see serving.mjs.
// {"page": 0, "act": ["click", "Ask"]}, and in the first one of a page {"url": "http://…", "browser": "ws://…", "act": ["open", "/"]}
import { chromium } from "playwright-core";
import { serve } from "../../serving.mjs";

const connections = new Map();
const users = new Map();

/** A new page, each in a browser profile of its own: what its user can do, and its errors. */
async function user({ url, browser: address }) {
  if (!connections.has(address)) connections.set(address, chromium.connect(address));
  const page = await (await connections.get(address)).newPage();
  page.setDefaultTimeout(90_000);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  const acts = {
    open: (path) => page.goto(url + path).then(() => undefined),
    reload: () => page.reload().then(() => undefined),
    fill: (label, text) => page.getByLabel(label, { exact: true }).fill(text),
    press: (label, key) => page.getByLabel(label, { exact: true }).press(key),
    click: (name) => page.getByRole("button", { name, exact: true }).click(),
    /** Press the mouse on a button, until `release` is called. */
    hold: (name) => page.getByRole("button", { name, exact: true }).hover().then(() => page.mouse.down()),
    release: () => page.mouse.up(),
    can: (name) => page.getByRole("button", { name, exact: true }).isEnabled(),
    follow: (name) => page.getByRole("link", { name }).click(),
    /** Wait for a text of the page; return everything that its chat shows. */
    sees: async (text) => {
      await page.getByText(text).first().waitFor();
      return page.locator("main, form").first().innerText();
    },
    /** Wait until a text is gone. */
    misses: (text) => page.getByText(text).first().waitFor({ state: "detached" }),
    /** Wait for a text and for the end of the answer; return everything that the chat shows then. */
    reads: async (text) => {
      const shown = page.locator("main, form").first();
      await page.getByText(text).first().waitFor();
      for (let before; ; ) {
        await page.getByRole("button", { name: "Ask", exact: true }).waitFor();
        const now = await shown.innerText();
        if (now === before) return now;
        // A page that was just loaded is about to read the answer once more.
        before = now;
        await page.waitForTimeout(500);
      }
    },
    /** Wait until a button or a progress bar is there; return its value. */
    finds: (role, name) => page.getByRole(role, { name, exact: true }).first().evaluate((element) => element.value),
    holds: (label) => page.getByLabel(label, { exact: true }).inputValue(),
    /** Break off each request to a path, until `mend` is called. */
    cut: (path) => page.route(url + path, (route) => route.abort()),
    mend: (path) => page.unroute(url + path),
    /** End the session of the user. */
    expire: () => page.context().clearCookies(),
    /** Carry the next request to a path a second later than those that follow. */
    delay: (path) => page.route(url + path, (route) => void setTimeout(() => route.continue(), 1000), { times: 1 }),
    /** Wait until a request cannot reach the server. */
    failed: () => page.waitForEvent("requestfailed").then(() => undefined),
    /** Leave for good. */
    close: () => page.context().close(),
  };
  return { acts, errors };
}

async function act({ page, act: [name, ...options], ...setting }) {
  try {
    if (!users.has(page)) users.set(page, await user(setting));
    const { acts, errors } = users.get(page);
    const result = await acts[name](...options);
    return errors.length ? { error: errors.join("\n") } : { result };
  } catch (error) {
    return { error: String(error) };
  }
}

await serve(act);

// The page of the chat example in one browser tab, in the words of its user.

import { fileURLToPath } from "node:url";

const PATIENCE = 45_000;
const AXE = fileURLToPath(import.meta.resolve("axe-core/axe.min.js"));

export class Tab {
  constructor(page, base, path, chat) {
    this.page = page;
    this.base = base;
    this.path = path;
    this.chat = chat;
    this.app = page.getByTestId("app");
    this.answer = page.getByTestId("message-assistant").last();
    page.setDefaultTimeout(PATIENCE);
  }

  async open() {
    await this.page.goto(`${this.base}/${this.path}?chat=${this.chat}`);
    await this.app.waitFor();
    return this;
  }

  async reload() {
    await this.page.reload();
    await this.app.waitFor();
  }

  async ask(text) {
    const answers = this.page.getByTestId("message-assistant");
    const before = await answers.count();
    await this.page.getByTestId("composer").fill(text);
    await this.page.getByTestId("send").click();
    // A short answer may have ended before a busy browser looks for its stop button.
    await this.page.getByTestId("stop").or(answers.nth(before)).first().waitFor();
  }

  /** Wait until the answer shows at least this many characters; return its text. */
  async shows(characters) {
    const wanted = (least) => {
      const texts = document.querySelectorAll("[data-testid=message-assistant]:last-of-type > .markdown");
      const text = [...texts].map((each) => each.innerText).join("\n");
      return text.length >= least && text;
    };
    return (await this.page.waitForFunction(wanted, characters)).jsonValue();
  }

  /** Wait until the app carries these data attributes. */
  async is(attributes) {
    const selector = Object.entries(attributes).map(([name, value]) => `[data-${name}="${value}"]`);
    await this.page.locator(`[data-testid=app]${selector.join("")}`).waitFor();
  }

  /** Wait until the last answer has ended, and the page has counted what the server stored. */
  async untilEnded() {
    await this.answer.getByTestId("regenerate").waitFor();
    await this.is({ status: "ready", connection: "connected" });
    const { version, chunks } = await this.serverStatus();
    await this.counts({ version, chunks });
  }

  /** Wait until the details count this. */
  async counts(facts) {
    for (const [name, value] of Object.entries(facts)) {
      await this.page.locator(`[data-testid=status-${name}][data-value="${value}"]`).waitFor({ state: "attached" });
    }
  }

  /** The content of the tab once its last answer has ended. */
  async ended() {
    await this.untilEnded();
    return {
      messageId: await this.answer.getAttribute("data-message-id"),
      visible: await this.shows(0),
      copied: await this.copy(),
      stopped: await this.answer.getByText("Stopped", { exact: true }).isVisible(),
      questions: await this.page.getByTestId("message-user").allInnerTexts(),
      answers: await this.page.getByTestId("message-assistant").count(),
      tools: await this.answer.getByTestId("tool-card").evaluateAll((cards) => cards.map((card) => card.dataset.state)),
      version: Number(await this.page.getByTestId("status-version").getAttribute("data-value")),
      chunks: Number(await this.page.getByTestId("status-chunks").getAttribute("data-value")),
    };
  }

  /** The Markdown of the last answer, from its copy button. */
  async copy() {
    await this.page.bringToFront();
    await this.answer.getByLabel("Copy the answer").click();
    await this.answer.getByLabel("Copied").waitFor();
    return this.page.evaluate(() => navigator.clipboard.readText());
  }

  /** Wait until the last answer shows this many words. */
  async words(count) {
    const shown = (count) => {
      const text = document.querySelector("[data-testid=message-assistant]:last-of-type > .markdown")?.innerText ?? "";
      return text.split(/\s+/).filter(Boolean).length === count;
    };
    await this.page.waitForFunction(shown, count);
  }

  /** Everything that the page shows. */
  async holds() {
    const texts = (testId) => this.page.getByTestId(testId).locator(".markdown").allInnerTexts();
    const alert = this.page.getByRole("alert");
    return {
      status: await this.app.getAttribute("data-status"),
      questions: await this.page.getByTestId("message-user").allInnerTexts(),
      answers: await texts("message-assistant"),
      alert: (await alert.count()) ? await alert.innerText() : null,
    };
  }

  /** Wait until the status line says this; a part of it is enough. */
  says = (text) => this.page.locator(".headline").getByText(text).waitFor();

  /** Wait until the page is at rest; return what it shows. */
  async rests(status = "ready") {
    await this.page.getByTestId("stop").waitFor({ state: "detached" });
    await this.is({ status });
    return this.holds();
  }

  /** The accessibility problems that axe-core finds on the page now: rule, element, reason. */
  async barriers() {
    await this.page.addScriptTag({ path: AXE });
    return this.page.evaluate(async () => {
      // A color in the middle of a transition does not count.
      const transitions = document.getAnimations().filter((animation) => animation instanceof CSSTransition);
      await Promise.allSettled(transitions.map((transition) => transition.finished));
      const { violations } = await axe.run();
      return violations.flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}, ${target}: ${any.map((each) => each.message)}`));
    });
  }

  /** Let the scripted answer continue. */
  go = () => this.page.request.post(`${this.base}/test/go/${this.chat}`);

  /** Keep the first text of an element, however briefly it shows; return a function that waits for it. */
  async keeps(testId) {
    await this.page.evaluate((testId) => {
      window.kept = new Promise((keep) => {
        const look = () => document.querySelectorAll(`[data-testid=${testId}]`).forEach((element) => keep(element.innerText));
        new MutationObserver(look).observe(document, { subtree: true, childList: true });
      });
    }, testId);
    return () => this.page.evaluate(() => window.kept);
  }

  /** `break` or `end` the streams of all tabs. */
  cut = (how) => this.page.request.post(`${this.base}/test/cut/${how}`);

  /** Switch to another window, or back to this one. */
  async turns(visibility) {
    await this.page.evaluate((state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, visibility);
  }

  async serverStatus() {
    // Killing a server resets its connections; the next connection reaches another process.
    return (await this.page.request.get(`${this.base}/api/chat/${this.chat}/status`, { maxRetries: 5 })).json();
  }
}

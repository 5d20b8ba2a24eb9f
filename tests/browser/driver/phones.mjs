// The chat on phones of several widths, in each of its states. test_phones.py checks what is measured.

const WIDTHS = [320, 360, 390, 430];
const SHORT = 520;

export async function phones(stage) {
  const looked = [];
  for (const [number, width] of WIDTHS.entries()) {
    const { newTab, shoot } = await stage({ viewport: { width, height: SHORT }, hasTouch: true, colorScheme: number % 2 ? "dark" : "light" });
    const tab = await newTab(`c${width}`);
    const look = async (state) => {
      looked.push({ width, state, ...(await tab.page.evaluate(measure)) });
      await shoot(tab, `${width} px, ${state}`);
    };
    await tab.page.getByTestId("crash").waitFor();
    await look("empty");
    await tab.page.getByRole("button", { name: "Chats" }).click();
    await tab.page.getByRole("link", { name: "Sign in" }).waitFor();
    await look("chats");
    await tab.page.keyboard.press("Escape");
    await tab.ask("What is the weather in Lisbon right now?");
    await tab.shows(30);
    await look("answering");
    await tab.untilEnded();
    for (const summary of await tab.answer.locator("summary").all()) await summary.click();
    await look("answered");
    await tab.page.getByRole("button", { name: "Details" }).click();
    await look("details");
    await tab.page.getByRole("button", { name: "Chats" }).click();
    await tab.page.getByRole("button", { name: /^Rename: / }).waitFor();
    await look("a chat in the list");
    await tab.page.getByRole("button", { name: /^Rename: / }).click();
    await look("renaming");
    await tab.page.keyboard.press("Escape");
    await tab.page.getByLabel("Search chats").fill("submarine");
    await tab.page.getByText("No chat is called “submarine”.").waitFor();
    await look("no chat found");
    await tab.page.close();
  }
  return { looked };
}

/** The names of the animations that run while an answer begins. */
export async function calm(stage, { reducedMotion }) {
  const { newTab } = await stage({ reducedMotion });
  const tab = await newTab();
  await tab.ask("Tell me a long story about a lighthouse keeper.");
  await tab.shows(30);
  return { moving: await tab.page.evaluate(() => document.getAnimations().map((each) => each.animationName)) };
}

/** How far away the end is after each turn of the wheel, at many moments of an answer that grows. The button leads back to the end. */
export async function leave(stage) {
  const { newTab } = await stage({ viewport: { width: 1180, height: 420 } });
  const tab = await newTab();
  const left = () => {
    const box = document.querySelector(".conversation");
    return box.scrollHeight - box.scrollTop - box.clientHeight;
  };
  await tab.ask("Tell me a long story about a lighthouse keeper.");
  await tab.shows(1000);
  await tab.page.mouse.move(700, 200);
  const away = [];
  for (let turn = 0; turn < 12; turn++) {
    await tab.page.mouse.wheel(0, -200);
    const button = tab.page.getByLabel("Go to the latest message");
    await button.waitFor();
    // The answer grows, and must not pull the reader along.
    await tab.page.waitForTimeout(150);
    away.push(await tab.page.evaluate(left));
    await button.click();
    await tab.page.waitForFunction(`(${left})() < 1`);
    await button.waitFor({ state: "detached" });
  }
  return { away };
}

/** How the page loads and answers on a phone and on a desktop: milliseconds, and the layout shift as the sum of all unexpected ones. */
export async function figures(stage) {
  const measured = {};
  for (const width of [360, 1280]) {
    const { newTab } = await stage({ viewport: { width, height: 800 } });
    const tab = await newTab(`c${width}`, (page) => page.addInitScript(watch));
    await tab.page.getByTestId("crash").waitFor();
    await tab.ask("How can a streamed answer survive a crash of its server?");
    await tab.untilEnded();
    await tab.reload();
    await tab.untilEnded();
    measured[width] = await tab.page.evaluate(() => {
      const [{ startTime }] = performance.getEntriesByName("first-contentful-paint");
      return { first_paint: startTime, first_text: Number(sessionStorage.firstText), layout_shift: Number(sessionStorage.shift ?? 0) };
    });
  }
  return { measured };
}

/** Runs in the page before all else, at each load: collects what `figures` returns. */
function watch() {
  new PerformanceObserver((list) => {
    const shift = list.getEntries().reduce((sum, each) => sum + (each.hadRecentInput ? 0 : each.value), 0);
    sessionStorage.shift = Number(sessionStorage.shift ?? 0) + shift;
  }).observe({ type: "layout-shift", buffered: true });
  addEventListener("click", ({ target }) => {
    if (!target.closest?.("[data-testid=send]")) return;
    const asked = performance.now();
    const look = () => {
      if (document.querySelector("[data-testid=message-assistant] > .markdown")?.innerText) sessionStorage.firstText = performance.now() - asked;
      else requestAnimationFrame(look);
    };
    look();
  }, true);
}

/** Runs in the page: what does not fit, what a finger could miss, and what lies under something else. */
function measure() {
  const shown = [...document.querySelectorAll("button, a, summary, textarea, input")].filter((each) => each.checkVisibility({ visibilityProperty: true }));
  const box = (selector) => document.querySelector(selector)?.getBoundingClientRect();
  const name = (each) => each.ariaLabel ?? each.innerText;
  // A link in a sentence is as high as its line.
  const small = ({ width, height }) => width < 44 || height < 44;
  const targets = shown.filter((each) => !each.closest(".markdown p"));
  const [composer, headline] = [box("[data-testid=composer]"), box(".empty h2")];
  const listed = document.querySelector(":popover-open");
  const atComposer = document.elementFromPoint(composer.x + composer.width / 2, composer.y + composer.height / 2);
  return {
    overflow: document.documentElement.scrollWidth - innerWidth,
    cut: shown.filter((each) => each.getBoundingClientRect().right > innerWidth || each.getBoundingClientRect().left < 0).map(name),
    small: targets.filter((each) => small(each.getBoundingClientRect())).map(name),
    covered: !listed && atComposer?.dataset.testid !== "composer",
    hidden: headline !== undefined && headline.top < box(".header").bottom,
    fonts: [...new Set([document.body, ...shown].map((each) => getComputedStyle(each).fontFamily))],
  };
}

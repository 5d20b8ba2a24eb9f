// Scenarios for a page of the scripted server, one function each. test_scenarios.py checks the outcome.
// A question is the script of its answer: "20 | 20" is 20 words, and 20 more after `go`.

const STREAM = /\/api\/chat\/[^/]+\/stream(\?|$)/;

export async function noRun(stage) {
  const { newTab } = await stage();
  const tab = await newTab("c1", recordStatuses);
  await tab.is({ status: "ready" });
  await resumed(tab);
  const before = await tab.page.evaluate(() => window.statuses);
  await ask(tab, "20");
  await tab.words(20);
  return { ended: await tab.rests(), before };
}

export async function activeRun(stage) {
  const { newTab } = await stage();
  const first = await newTab();
  await ask(first, "20 | 20");
  await first.words(20);
  const second = await newTab();
  await second.words(20);
  await first.go();
  await second.words(40);
  return { ended: await first.rests(), other: await second.rests() };
}

/** An answer begins while a tab of the chat is idle, and one of another chat shows the list. */
export async function beganElsewhere(stage) {
  const { newTab } = await stage();
  const [asking, idle, elsewhere] = [await newTab(), await newTab(), await newTab("c2")];
  await ask(asking, "20 | 20");
  await idle.words(20);
  const mark = elsewhere.page.getByRole("navigation", { name: "Chats" }).getByRole("img", { name: "answering" });
  await mark.waitFor();
  await asking.go();
  await idle.words(40);
  await mark.waitFor({ state: "detached" });
  return { ended: await asking.rests(), other: await idle.rests() };
}

export async function reloadTwice(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20 | 20");
  for (const count of [20, 40]) {
    await tab.words(count);
    await tab.reload();
    await tab.words(count);
    await tab.go();
  }
  await tab.words(60);
  return { ended: await tab.rests() };
}

/** Three more questions are typed while an answer runs; another tab takes one back, and the page is loaded anew. */
export async function queued(stage) {
  const { newTab, shoot } = await stage({ viewport: { width: 360, height: 740 } });
  const tab = await newTab();
  await ask(tab, "20 | 20");
  await tab.words(20);
  for (const script of ["5", "10", "15"]) await ask(tab, script);
  await tab.page.getByLabel("Take back: 15").waitFor();
  const other = await newTab();
  await other.page.getByLabel("Take back: 10").click();
  await other.page.getByLabel("Take back: 10").waitFor({ state: "detached" });
  const draft = await other.page.getByTestId("composer").inputValue();
  await tab.page.getByLabel("Take back: 10").waitFor({ state: "detached" });
  await shoot(tab, "phone light, questions wait");
  await tab.reload();
  await tab.words(20);
  await tab.page.getByLabel("Take back: 15").waitFor();
  const waiting = await tab.page.getByRole("region", { name: "Messages to be sent" }).getByRole("listitem").allInnerTexts();
  await tab.go();
  await tab.words(15);
  await other.words(15);
  return { ended: await tab.rests(), other: await other.rests(), waiting, draft };
}

/** A question waits while the answer before it fails. */
export async function queuedBehindAnError(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | !");
  await tab.words(20);
  await ask(tab, "5");
  await tab.page.getByLabel("Take back: 5").waitFor();
  await tab.go();
  await tab.words(5);
  return { ended: await tab.rests() };
}

/** The answer ends with the result of a tool. The page is loaded while it runs, and after it. */
export async function resultAtTheEnd(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | =t");
  await tab.words(20);
  const other = await newTab();
  await other.words(20);
  await tab.go();
  const ended = await tab.rests();
  await other.rests();
  await tab.reload();
  await resumed(tab);
  return { ended, other: await other.rests(), reloaded: await tab.rests() };
}

/** Answers that fail before a page has asked for their status: in a tab that watches, and in one that is loaded afterwards. */
export async function failsAtOnce(stage) {
  const { newTab } = await stage();
  const [tab, other] = [await newTab(), await newTab()];
  await ask(tab, "20");
  await Promise.all([tab, other].map((each) => each.says("The answer is complete")));
  await ask(tab, "5 !");
  await Promise.all([tab, other].map((each) => each.says("The answer ended with an error")));
  await tab.reload();
  await tab.says("The answer ended with an error");
  await ask(tab, "20");
  await Promise.all([tab, other].map((each) => each.says("The answer is complete")));
  return { ended: await tab.rests(), other: await other.rests() };
}

/** The tools of the calls as they are listed, and all that the card of each one shows when it is opened. */
export async function toolNames(stage, { names }) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await ask(tab, names.map((name) => `=${name}`).join(" "));
  await tab.rests();
  const cards = tab.answer.getByTestId("tool-card");
  const listed = await cards.evaluateAll((cards) => cards.map((card) => card.innerText.replace(/\s*Done\s*$/, "")));
  for (const summary of await cards.locator("summary").all()) await summary.press("Enter");
  await shoot(tab, "desktop light, tools by their names");
  const opened = await cards.evaluateAll((cards) => cards.map((card) => card.innerText));
  return { listed, opened };
}

/** The page's timers stand still, so only a switch back to the window can reconnect the stream. */
export async function killThenVisible(stage) {
  const { newTab } = await stage();
  const tab = await newTab("c1", holdTimers);
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.page.evaluate(() => window.timers.hold());
  await tab.turns("hidden");
  await lose(tab);
  await tab.turns("visible");
  await tab.is({ status: "streaming" });
  await tab.go();
  await tab.words(40);
  await tab.page.evaluate(() => window.timers.release());
  return { ended: await tab.rests() };
}

export async function offlineThenOnline(stage) {
  const { newTab, context, shoot } = await stage();
  const tab = await newTab("c1", holdTimers);
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.page.evaluate(() => window.timers.hold());
  await context.setOffline(true);
  await lose(tab);
  await shoot(tab, "desktop light, without a network");
  await context.setOffline(false);
  await tab.go();
  await tab.words(40);
  await tab.page.evaluate(() => window.timers.release());
  return { ended: await tab.rests() };
}

/** The server responds, but no longer admits this reader. */
export async function refused(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20");
  await tab.words(20);
  let requests = 0;
  await tab.page.route(STREAM, async (route) => {
    requests += 1;
    await route.fulfill({ status: 403, contentType: "text/plain", body: "You may not read this chat." });
  });
  await tab.cut("break");
  await tab.page.getByText("You may not read this chat.").waitFor();
  await tab.go();
  return { requests };
}

/** Two tabs ask at the same time, before either knows of the other's question. */
export async function askTogether(stage) {
  const { newTab } = await stage();
  const [first, second] = [await newTab(), await newTab()];
  await resumed(second);
  let learn;
  const learns = new Promise((resolve) => (learn = resolve));
  await second.page.route("**/api/chat/*/status", (route) => learns.then(() => route.continue()));
  await ask(first, "20 | 20");
  await first.words(20);
  await ask(second, "30");
  await first.page.getByLabel("Take back: 30").waitFor();
  learn();
  await first.go();
  await second.words(30);
  await first.words(30);
  // The second tab takes the first question from the history once it is at rest.
  await second.page.getByTestId("message-user").getByText("20 | 20").waitFor();
  return { ended: await second.rests(), other: await first.rests() };
}

/** The server does not take the second question. */
export async function notTaken(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20");
  await tab.words(20);
  await tab.rests();
  await tab.page.route(/\/api\/chat(\?|$)/, (route) => route.fulfill({ status: 403, contentType: "text/plain", body: "No more today." }));
  await ask(tab, "30");
  await tab.rests("error");
  await tab.says("The question was not answered.");
  // Several statuses later it is still so.
  await tab.page.waitForResponse((response) => response.url().endsWith("/status"));
  await tab.page.waitForResponse((response) => response.url().endsWith("/status"));
  await tab.says("The question was not answered.");
  return { alert: (await tab.holds()).alert };
}

/** A page loaded just after the end of an answer gets it replayed. */
export async function justEnded(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20");
  await tab.words(20);
  const ended = await tab.rests();
  await tab.page.addInitScript(recordHeadlines);
  await tab.reload();
  await resumed(tab);
  await tab.rests();
  return { ended, said: await tab.page.evaluate(() => window.headlines) };
}

export async function doubleKill(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20 | 20");
  for (const count of [20, 40]) {
    await tab.words(count);
    await lose(tab);
    await tab.is({ status: "streaming" });
    await tab.go();
  }
  await tab.words(60);
  return { ended: await tab.rests() };
}

/** The answer continues and ends while nobody reads it. */
export async function endedMeanwhile(stage) {
  const { newTab } = await stage();
  const tab = await newTab("c1", holdTimers);
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.page.evaluate(() => window.timers.hold());
  await lose(tab);
  await tab.go();
  await closed(tab);
  await tab.page.evaluate(() => window.timers.release());
  await tab.words(40);
  return { ended: await tab.rests() };
}

export async function cleanEnd(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.cut("end");
  await tab.go();
  await tab.words(40);
  return { ended: await tab.rests() };
}

export async function stockCleanEnd(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.cut("end");
  const early = await tab.rests();
  await tab.go();
  await tab.reload();
  await tab.words(40);
  return { early, ended: await tab.rests() };
}

export async function serverDownOnMount(stage) {
  const { newTab, shoot } = await stage();
  const first = await newTab();
  await ask(first, "20 | 20");
  await first.words(20);
  const second = await newTab("c1", refuse);
  await second.is({ connection: "reconnecting" });
  await shoot(second, "desktop light, opened while the server is down");
  await second.page.unroute(STREAM);
  await second.words(20);
  await first.go();
  await second.words(40);
  return { ended: await first.rests(), other: await second.rests() };
}

export async function stockServerDownOnMount(stage) {
  const { newTab } = await stage();
  const first = await newTab();
  await ask(first, "20 | 20");
  await first.words(20);
  const second = await newTab("c1", refuse);
  const early = await second.rests("error");
  await second.page.unroute(STREAM);
  await second.turns("hidden");
  await second.turns("visible");
  const still = await second.rests("error");
  await second.reload();
  await second.words(20);
  await first.go();
  await second.words(40);
  return { early, still, ended: await first.rests(), other: await second.rests() };
}

export async function threeTabs(stage) {
  const { newTab } = await stage();
  const first = await newTab();
  await ask(first, "20 | 20 | 20");
  await first.words(20);
  const second = await newTab();
  await second.words(20);
  await first.go();
  const third = await newTab();
  await third.words(40);
  await first.go();
  const tabs = [first, second, third];
  await Promise.all(tabs.map((tab) => tab.words(60)));
  const [ended, other, another] = await Promise.all(tabs.map((tab) => tab.rests()));
  return { ended, other, another };
}

export async function stopThenReload(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.page.getByTestId("stop").click();
  const ended = await tab.rests();
  await tab.reload();
  await resumed(tab);
  return { ended, other: await tab.rests() };
}

export async function unmount(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await ask(tab, "20 | 20");
  await tab.words(20);
  await tab.page.getByTestId("new-chat").click();
  await tab.page.getByTestId("message-user").waitFor({ state: "detached" });
  await tab.page.goBack();
  await tab.words(20);
  await tab.go();
  await tab.words(40);
  return { ended: await tab.rests() };
}

/** The 204 for the resume of a fresh chat arrives long after the question was asked. */
export async function lateNothing(stage) {
  const { newTab } = await stage();
  let deliver;
  const arrives = new Promise((resolve) => (deliver = resolve));
  const delay = (page) =>
    page.route(STREAM, async (route) => {
      const response = await route.fetch();
      await arrives;
      await route.fulfill({ response });
    });
  const tab = await newTab("c1", delay);
  await tab.page.getByTestId("composer").fill("20 | 20");
  await tab.page.getByTestId("send").click();
  // The stock page has asked by now; the other page asks once its resume is done.
  if (tab.path) await tab.words(20);
  deliver();
  await tab.words(20);
  await tab.go();
  await tab.words(40);
  return { ended: await tab.rests() };
}

export async function errorChunk(stage) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await ask(tab, "20 !");
  const failed = await tab.rests("error");
  await shoot(tab, `${tab.path || "desktop "}light, failed`);
  if (!tab.path) await tab.says("The answer ended with an error");
  // A page that wrongly resumed the failed answer would have done so by the end of the next one.
  await ask(tab, "40");
  await tab.words(40);
  return { failed, ended: await tab.rests() };
}

export async function burst(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  const began = Date.now();
  await ask(tab, "^5000 | 5");
  await tab.words(5000);
  const live = Date.now() - began;
  await tab.reload();
  const reloaded = Date.now();
  await tab.words(5000);
  const replayed = Date.now() - reloaded;
  await tab.go();
  await tab.words(5005);
  return { ended: await tab.rests(), live, replayed };
}

/** Everything with the keyboard: ask, stop, read the log, ask again, begin another chat. */
export async function keyboard(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  const { keyboard } = tab.page;
  await resumed(tab);
  await keyboard.type("20 | 20");
  await keyboard.press("Enter");
  await tab.words(20);
  await keyboard.press("Escape");
  const ended = await tab.rests();
  const reached = [];
  // Focus moves in a ring: one round passes every control.
  for (let times = 0; times < 20; times += 1) {
    await keyboard.press("Tab");
    reached.push(await tab.page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.innerText));
  }
  await tab.answer.getByTestId("regenerate").focus();
  await keyboard.press("Enter");
  await tab.page.getByTestId("stop").waitFor();
  await tab.words(20);
  await tab.go();
  await tab.words(40);
  return { ended, again: await tab.rests(), reached };
}

/** Each response breaks after a number of bytes, even in the middle of an event. */
export async function cutAnywhere(stage) {
  const { newTab } = await stage();
  const held = [];
  for (const bytes of [401, 557, 709]) {
    const tab = await newTab(`c${bytes}`, (page) => page.addInitScript(dieAfter, bytes));
    await ask(tab, "25 | 25 | 25 | 25");
    for (const count of [25, 50, 75]) {
      await tab.words(count);
      await tab.go();
    }
    await tab.words(100);
    held.push({ chat: tab.chat, ended: await tab.rests(), cuts: await tab.page.evaluate(() => window.cuts) });
    await tab.page.close();
  }
  return { held };
}

async function ask(tab, script) {
  // Otherwise the resume of a page that was just opened could find the answer to this question.
  await resumed(tab);
  await tab.page.getByTestId("composer").fill(script);
  await tab.page.getByTestId("send").click();
}

/** Break the connection, and wait until the page has noticed. */
async function lose(tab) {
  await tab.cut("break");
  const signs = ["[data-connection=reconnecting]", "[data-connection=offline]", "[data-status=error]"];
  await tab.page.locator(signs.join(", ")).and(tab.app).waitFor();
}

const refuse = (page) => page.route(STREAM, (route) => route.abort("connectionrefused"));

const recordStatuses = (page) =>
  page.addInitScript(() => {
    window.statuses = [];
    const look = () => {
      const status = document.querySelector("[data-testid=app]")?.dataset.status;
      if (status && status !== window.statuses.at(-1)) window.statuses.push(status);
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  });

function recordHeadlines() {
  window.headlines = [];
  const look = () => {
    const text = document.querySelector(".headline")?.innerText;
    if (text && text !== window.headlines.at(-1)) window.headlines.push(text);
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}

/** Wait until a response to the page's resume has ended. */
const resumed = (tab) =>
  tab.page.waitForFunction(() => performance.getEntriesByType("resource").some((each) => new URL(each.name).pathname.endsWith("/stream")));

/** Wait until the server has stored the end of the answer. */
async function closed(tab) {
  while ((await tab.serverStatus()).state !== "closed");
}

/** Timers of 100 ms and more can be held: backoffs and polls, but not the rendering of chunks. */
const holdTimers = (page) =>
  page.addInitScript(() => {
    const { setTimeout, clearTimeout } = window;
    const held = new Map();
    let holding = false;
    let last = 0;
    window.timers = {
      hold: () => (holding = true),
      release: () => {
        holding = false;
        // One that runs may clear another that is still held.
        for (const [id, run] of held) {
          held.delete(id);
          run();
        }
      },
    };
    window.setTimeout = (run, delay = 0, ...rest) => {
      if (!holding || delay < 100) return setTimeout(run, delay, ...rest);
      held.set((last -= 1), () => run(...rest));
      return last;
    };
    window.clearTimeout = (id) => (id < 0 ? held.delete(id) : clearTimeout(id));
  });

function dieAfter(bytes) {
  const { fetch } = window;
  window.cuts = 0;
  window.fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
    let left = bytes;
    const die = new TransformStream({
      transform(piece, out) {
        out.enqueue(piece.slice(0, left));
        left -= piece.length;
        if (left > 0) return;
        window.cuts += 1;
        out.error(new TypeError("network error"));
      },
    });
    return new Response(response.body.pipeThrough(die), response);
  };
}

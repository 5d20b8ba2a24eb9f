// Stories of a user and the page, one function each. test_stories.py checks the outcome.

const LONG = "Tell me a long story about a lighthouse keeper.";
const EXPLAIN = "How can a streamed answer survive a crash of its server?";
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const MID_ANSWER = 200;

export async function send(stage) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await shoot(tab, "desktop light, empty");
  await tab.ask(EXPLAIN);
  await tab.shows(MID_ANSWER);
  await shoot(tab, "desktop light, mid-answer");
  const ended = await tab.ended();
  await shoot(tab, "desktop light, answered");
  await tab.answer.getByLabel("Copy the code").click();
  return { ended, code: await tab.page.evaluate(() => navigator.clipboard.readText()) };
}

export async function reload(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await tab.ask(LONG);
  const seen = [];
  let shown = "";
  for (let times = 0; times < 3; times += 1) {
    shown = await tab.shows(shown.length + MID_ANSWER);
    await tab.reload();
    seen.push(shown, await tab.shows(shown.length));
  }
  const wasRunning = await tab.page.getByTestId("stop").isVisible();
  return { ended: await tab.ended(), seen, wasRunning };
}

export async function secondTab(stage) {
  const { newTab, shoot } = await stage();
  const first = await newTab();
  await first.ask(LONG);
  const seen = [await first.shows(MID_ANSWER)];
  const second = await newTab();
  seen.push(await second.shows(seen[0].length));
  const wasRunning = await second.page.getByTestId("stop").isVisible();
  await shoot(second, "desktop light, second tab opened in mid-answer");
  return { ended: await first.ended(), other: await second.ended(), seen, wasRunning };
}

export async function crashButton(stage) {
  const stages = [await stage(), await stage(PHONE)];
  const looks = ["desktop light", "phone light"];
  const tabs = [await stages[0].newTab("c1"), await stages[1].newTab("c2")];
  await Promise.all(tabs.map((tab) => tab.ask(LONG)));
  const seen = await Promise.all(tabs.map((tab) => tab.shows(MID_ANSWER)));
  const before = await footerPid(tabs[0]);
  // The answer in the other tab may be written by another process, which lives on.
  const said = await tabs[0].keeps("outage");
  await tabs[0].page.getByTestId("crash").click();
  await Promise.all(tabs.map(async (tab, number) => {
    const seconds = tab.page.getByTestId("outage").getByText(/^\d+ s$/);
    const photo = seconds.waitFor({ timeout: 5000 }).then(() => stages[number].shoot(tab, `${looks[number]}, server crashed`));
    await photo.catch(() => undefined);
  }));
  await Promise.all(tabs.map((tab, number) => tab.shows(seen[number].length + MID_ANSWER)));
  await stages[0].shoot(tabs[0], "desktop light, another server took over");
  const [ended, other] = [await tabs[0].ended(), await tabs[1].ended()];
  await tabs[0].page.getByRole("button", { name: "Details" }).click();
  await stages[0].shoot(tabs[0], "desktop light, what happened");
  return { ended, other, seen, said: await said(), before, after: await footerPid(tabs[0]) };
}

export async function crashWhileIdle(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  const crashed = tab.page.waitForResponse("**/api/demo/crash*");
  await tab.page.getByTestId("crash").click();
  const { pid } = await (await crashed).json();
  await tab.page.locator(`[data-testid=status-process]:not([data-value="${pid}"])`).waitFor({ state: "attached" });
  return { killed: pid, named: await footerPid(tab) };
}

/** Kill the process that writes the answer, whichever of the servers it is. */
export async function killWriter(stage) {
  const { newTab, shoot } = await stage();
  const tabs = [await newTab(), await newTab()];
  await tabs[0].ask(EXPLAIN);
  await tabs[0].shows(MID_ANSWER);
  const before = await footerPid(tabs[0]);
  process.kill(before, "SIGKILL");
  const [ended, other] = [await tabs[0].ended(), await tabs[1].ended()];
  await shoot(tabs[0], "desktop light, answered after a kill -9");
  return { ended, other, before, after: await footerPid(tabs[1]) };
}

export async function stockCrash(stage) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await tab.page.getByTestId("composer").fill("What is the weather in Lisbon right now?");
  await tab.page.getByTestId("send").click();
  await tab.shows(50);
  await tab.page.request.post(`${tab.base}/api/demo/crash?chat=${tab.chat}`);
  await tab.is({ status: "error" });
  for (let attempt = 1; attempt < 2; { attempt } = await tab.serverStatus());
  const ended = await tab.rests();
  await shoot(tab, "stock page, answered after a kill -9");
  return { ended };
}

export async function stop(stage) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await tab.ask(LONG);
  const seen = [await tab.shows(MID_ANSWER)];
  await tab.page.getByTestId("stop").click();
  const ended = await tab.ended();
  await shoot(tab, "desktop light, stopped");
  await tab.reload();
  return { ended, other: await tab.ended(), seen };
}

export async function stopInAnotherTab(stage) {
  const { newTab } = await stage();
  const first = await newTab();
  await first.ask(LONG);
  // A tab that loads before the question is stored has no question in its history.
  await first.shows(1);
  const second = await newTab();
  const seen = [await second.shows(MID_ANSWER)];
  await second.page.getByTestId("stop").click();
  return { ended: await first.ended(), other: await second.ended(), seen };
}

export async function askAgain(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  await tab.ask("Hello!");
  const first = await tab.ended();
  await tab.page.getByTestId("regenerate").click();
  await tab.page.locator(`[data-testid=status-version]:not([data-value="${first.version}"])`).waitFor({ state: "attached" });
  const ended = await tab.ended();
  await tab.page.getByTestId("new-chat").click();
  await tab.page.getByTestId("message-user").waitFor({ state: "detached" });
  await tab.page.goBack();
  return { first, ended, other: await tab.ended() };
}

/** A visitor chats at once, and later takes the chat into an account. */
export async function signUp(stage) {
  const { newTab, shoot } = await stage(PHONE);
  const tab = await newTab();
  await tab.ask("Hello!");
  const before = await tab.ended();
  await tab.page.getByRole("button", { name: "Chats" }).click();
  await shoot(tab, "phone light, chats");
  await tab.page.getByRole("link", { name: "Sign in" }).click();
  await tab.page.getByLabel("Name").fill("ann");
  await tab.page.getByLabel("Password").fill("correct horse");
  await shoot(tab, "phone light, signing up");
  await tab.page.getByRole("button", { name: "Create an account" }).click();
  await tab.app.waitFor();
  const ended = await tab.ended();
  await tab.page.getByRole("button", { name: "Chats" }).click();
  await tab.page.getByTestId("sign-out").click();
  await tab.page.getByText("Your chats will be listed here.").waitFor({ state: "attached" });
  return { before, ended, left: await tab.page.getByTestId("message-user").count() };
}

/** Leave a chat that answers, and come back to it by the list. */
export async function chatList(stage) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await tab.ask(LONG);
  await tab.shows(MID_ANSWER);
  await tab.page.getByTestId("new-chat").click();
  await tab.page.getByTestId("message-user").waitFor({ state: "detached" });
  const list = tab.page.getByRole("navigation", { name: "Chats" });
  await list.getByRole("link", { name: `${LONG} answering` }).waitFor();
  await shoot(tab, "desktop light, another chat answers");
  await list.getByRole("link").first().click();
  const ended = await tab.ended();
  await list.getByRole("link", { name: LONG, exact: true }).waitFor();
  return { ended, open: await list.locator("[aria-current]").allInnerTexts() };
}

/** Ask in other words: think better of it once, then send. */
export async function edit(stage) {
  const { newTab, shoot } = await stage(PHONE);
  const tab = await newTab();
  await tab.ask("Hello!");
  const first = await tab.ended();
  await tab.page.getByLabel("Edit the question").click();
  const box = tab.page.getByLabel("Question", { exact: true });
  await box.fill("Nothing of that.");
  await shoot(tab, "phone light, a question is edited");
  await box.press("Escape");
  const kept = await tab.page.getByTestId("message-user").innerText();
  await tab.page.getByLabel("Edit the question").click();
  await box.fill(EXPLAIN);
  await box.press("Enter");
  await tab.counts({ version: first.version + 1 });
  const ended = await tab.ended();
  await tab.reload();
  return { kept, ended, other: await tab.ended(), overflow: await overflow(tab) };
}

/** Look for chats in the list while an answer runs, and open one that was found. */
export async function searchChats(stage) {
  const { newTab, shoot } = await stage({ viewport: { width: 1280, height: 800 } });
  const tab = await newTab();
  const list = tab.page.getByRole("navigation", { name: "Chats" });
  const search = list.getByLabel("Search chats");
  const said = (text) => list.getByRole("status").getByText(text, { exact: true }).waitFor();
  for (const question of ["Hello!", "What is the weather in Zürich?"]) {
    await tab.ask(question);
    await tab.answer.getByTestId("regenerate").waitFor();
    await tab.page.getByTestId("new-chat").click();
    await tab.page.getByTestId("message-user").waitFor({ state: "detached" });
  }
  await tab.ask(LONG);
  await list.getByRole("link", { name: `${LONG} answering` }).waitFor();
  await search.fill("zurich WEATHER");
  await said("1 chat found");
  const found = await list.getByRole("link", { name: /\?$/ }).allInnerTexts();
  await shoot(tab, "desktop light, a chat is searched");
  await search.fill("submarine");
  await said("No chat is called “submarine”.");
  const others = await list.getByRole("listitem").count();
  await shoot(tab, "desktop light, no chat is found");
  await list.getByLabel("Clear the search").click();
  await search.press("Escape");
  const all = await list.getByRole("listitem").count();
  await tab.shows(MID_ANSWER);
  const running = await tab.page.getByTestId("stop").isVisible();
  // Neither a chat that is not found any more nor one that is deleted takes the focus with it.
  await search.fill("zurich");
  await list.getByRole("button", { name: /^Rename: / }).press("Enter");
  await tab.page.keyboard.type("Weather");
  await tab.page.keyboard.press("Enter");
  await said("No chat is called “zurich”.");
  const focused = [await list.evaluate((nav) => nav === document.activeElement)];
  await search.fill("weather");
  await list.getByRole("button", { name: "Delete: Weather" }).press("Enter");
  await tab.page.getByRole("dialog").getByRole("button", { name: "Delete" }).press("Enter");
  await said("No chat is called “weather”.");
  focused.push(await list.evaluate((nav) => nav === document.activeElement));
  await search.fill("hello");
  await said("1 chat found");
  await tab.page.keyboard.press("Tab");
  await tab.page.keyboard.press("Enter");
  await tab.page.getByTestId("message-user").getByText("Hello!").waitFor();
  return { found, others, all, running, focused, left: await search.inputValue() };
}

/** By keyboard alone, while an answer runs: give a chat a title, think better of another one, and take the title away. */
export async function renameByKeyboard(stage) {
  const { newTab, shoot } = await stage({ viewport: { width: 1280, height: 800 } });
  const [other, tab] = [await newTab(), await newTab()];
  const { keyboard } = tab.page;
  const listed = (tab, title) => tab.page.getByRole("navigation", { name: "Chats" }).getByRole("link", { name: new RegExp(`^${title}( answering)?$`) });
  await tab.ask(LONG);
  await listed(tab, LONG).focus();
  // The other tab must not wait until it loads its list by itself.
  await other.page.evaluate(() => {
    const channel = new BroadcastChannel("chats");
    window.told = new Promise((told) => (channel.onmessage = () => told()));
  });
  await keyboard.press("F2");
  await keyboard.type("A keeper and his light");
  await shoot(tab, "desktop light, a chat is renamed");
  await keyboard.press("Enter");
  await listed(tab, "A keeper and his light").waitFor();
  await other.page.evaluate(() => told);
  await listed(other, "A keeper and his light").waitFor();
  await tab.page.getByRole("button", { name: "Rename: A keeper and his light" }).and(tab.page.locator(":focus")).press("Enter");
  await keyboard.type("Nothing of that");
  await keyboard.press("Escape");
  const focus = await tab.page.evaluate(() => document.activeElement.ariaLabel);
  await tab.shows(MID_ANSWER);
  const running = await tab.page.getByTestId("stop").isVisible();
  await tab.page.getByTestId("stop").click();
  await tab.reload();
  await listed(tab, "A keeper and his light").waitFor();
  const named = await tab.page.title();
  await listed(tab, "A keeper and his light").press("F2");
  await keyboard.press("Delete");
  await keyboard.press("Enter");
  await listed(tab, LONG).waitFor();
  return { focus, running, named, unnamed: await tab.page.title() };
}

/** On a phone the list stays open while a chat is renamed; a server that cannot be reached is named. */
export async function renameOnPhone(stage) {
  const { newTab, shoot, context } = await stage(PHONE);
  const tab = await newTab();
  await tab.ask("Hello!");
  await tab.untilEnded();
  await tab.page.getByRole("button", { name: "Chats" }).click();
  await tab.page.getByRole("button", { name: "Rename: Hello!" }).click();
  const title = tab.page.getByLabel("Title", { exact: true });
  await title.press("Escape");
  await tab.page.getByRole("button", { name: "Rename: Hello!" }).click();
  await title.fill("Greetings");
  await context.setOffline(true);
  await tab.page.getByRole("button", { name: "Save the title" }).click();
  await tab.page.getByRole("alert").waitFor();
  await shoot(tab, "phone light, a chat was not renamed");
  await context.setOffline(false);
  await tab.page.getByRole("button", { name: "Save the title" }).click();
  await tab.page.getByRole("link", { name: "Greetings" }).waitFor();
  return { overflow: await overflow(tab) };
}

/** By keyboard alone: ask, keep the chat after all, then delete it. */
export async function deleteByKeyboard(stage) {
  const { newTab, shoot } = await stage({ viewport: { width: 1280, height: 800 } });
  const tab = await newTab();
  const { keyboard } = tab.page;
  await keyboard.type("Hello!");
  await keyboard.press("Enter");
  await tab.untilEnded();
  const marked = () => tab.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  await tab.page.locator("main").focus();
  await keyboard.press("Shift+Tab");
  await keyboard.press("Tab");
  const outlines = [await marked()];
  await tab.page.getByRole("button", { name: "Delete: Hello!" }).focus();
  outlines.push(await marked());
  await shoot(tab, "desktop light, the keyboard on a chat");
  await keyboard.press("Enter");
  await tab.page.getByRole("dialog", { name: "Delete this chat?" }).waitFor();
  await shoot(tab, "desktop light, before a chat is deleted");
  await keyboard.press("Escape");
  await tab.page.getByRole("dialog").waitFor({ state: "hidden" });
  const kept = await tab.page.getByTestId("message-user").count();
  // The focus is back on the button.
  await keyboard.press("Enter");
  await keyboard.press("Tab");
  await keyboard.press("Enter");
  await tab.page.getByTestId("message-user").waitFor({ state: "detached" });
  await tab.page.getByText("Your chats will be listed here.").waitFor();
  return { kept, outlines, left: (await tab.serverStatus()).state, focus: await tab.page.evaluate(() => document.activeElement.dataset.testid) };
}

/** A chat is deleted while another tab shows it, which then begins it anew. */
export async function deletedElsewhere(stage) {
  const { newTab, shoot } = await stage();
  const [tab, other] = [await newTab(), await newTab()];
  await tab.ask("Hello!");
  await Promise.all([tab.untilEnded(), other.untilEnded()]);
  await tab.page.getByRole("button", { name: "Delete: Hello!" }).click();
  await tab.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await other.says("This chat was deleted in another tab");
  await shoot(other, "desktop light, deleted in another tab");
  const left = await other.page.getByTestId("message-user").count();
  await other.ask(EXPLAIN);
  return { left, ended: await other.ended() };
}

/** Two tabs show a question of the answer; one of them is asked to decide. */
export async function approval(stage, { choice }) {
  const { newTab, shoot } = await stage();
  const tab = await newTab();
  await tab.ask("Delete the file old.txt.");
  await tab.page.getByRole("button", { name: "Allow" }).waitFor();
  const other = await newTab();
  await other.page.getByRole("button", { name: "Allow" }).waitFor();
  // The user sees which file it is about.
  await other.answer.getByTestId("tool-card").getByText("old.txt").waitFor();
  await other.says("The answer waits for your decision.");
  await shoot(other, `desktop light, before ${choice}`);
  await tab.page.getByRole("button", { name: choice }).click();
  const last = tab.page.getByText(choice === "Allow" ? "Only the first decision counts." : "after a reload the card still says so.");
  await last.waitFor();
  const ended = await tab.ended();
  await shoot(tab, `desktop light, after ${choice}`);
  return { ended, other: await other.ended() };
}

/** The user asks something else instead of deciding. */
export async function undecided(stage) {
  const { newTab, shoot } = await stage(PHONE);
  const tab = await newTab();
  await tab.ask("Delete the file old.txt.");
  await tab.page.getByRole("button", { name: "Allow" }).waitFor();
  await tab.ask("Hello!");
  await tab.untilEnded();
  await shoot(tab, "phone light, nothing was decided");
  const card = tab.page.getByTestId("tool-card");
  return { card: await card.innerText(), buttons: await card.getByRole("button").count() };
}

/** An answer of each other kind: progress, a picture, a form that is filled in, an error. */
export async function parts(stage) {
  const { newTab, shoot } = await stage(PHONE);
  const tab = await newTab();
  await tab.page.getByRole("button", { name: "Search the archive" }).click();
  await tab.page.getByText("Shelves read: 2 of 8").waitFor();
  await shoot(tab, "phone light, a long tool");
  await tab.untilEnded();
  await tab.ask("Draw a picture of the lighthouse.");
  await tab.untilEnded();
  const picture = await tab.answer.getByRole("img").evaluate((image) => image.naturalWidth);
  await shoot(tab, "phone light, a picture");
  await tab.ask("Reserve a table for tonight.");
  await tab.untilEnded();
  await shoot(tab, "phone light, a form");
  const form = tab.page.getByRole("form", { name: "A table for tonight" });
  await form.getByLabel("Guests").selectOption("3");
  await form.getByLabel("Name").fill("Ann");
  await form.getByRole("button", { name: "Book it" }).click();
  await tab.page.getByText("It is booked.").waitFor();
  await tab.untilEnded();
  const closed = await form.getByLabel("Name").isDisabled();
  await tab.ask("Fail in mid-answer.");
  await tab.page.getByRole("alert").waitFor();
  await tab.says("The answer ended with an error.");
  await shoot(tab, "phone light, an error");
  const dot = await tab.page.locator(".headline").evaluate((line) => getComputedStyle(line, "::before").backgroundColor);
  return { dot, picture, closed, questions: await tab.page.getByTestId("message-user").allInnerTexts(), overflow: await overflow(tab) };
}

/** The page in each color scheme and size, all answering at once. */
export async function looks(stage) {
  const looks = {
    "phone light": PHONE,
    "phone dark": { ...PHONE, colorScheme: "dark" },
    "desktop light": {},
    "desktop dark": { colorScheme: "dark" },
  };
  const portraits = Object.entries(looks).map(async ([look, options], number) => {
    const { newTab, shoot } = await stage(options);
    const tab = await newTab(`c${number + 1}`);
    await shoot(tab, `${look}, empty`);
    await tab.ask("What is the weather in Lisbon right now?");
    await tab.answer.locator("[data-testid=tool-card][data-state=output-available]").waitFor();
    await tab.counts({ version: 0 });
    await shoot(tab, `${look}, mid-answer`);
    await tab.untilEnded();
    await shoot(tab, `${look}, answered`);
    return { look, tab };
  });
  const held = [];
  // One after another, since the tabs share a clipboard.
  for (const { look, tab } of await Promise.all(portraits)) {
    const shape = { background: await background(tab), overflow: await overflow(tab) };
    held.push({ look, ...shape, chat: tab.chat, ended: await tab.ended() });
  }
  return { held };
}

/** Pixels by which the page is wider than its window. */
const overflow = (tab) => tab.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
const background = (tab) => tab.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const footerPid = async (tab) => Number(await tab.page.getByTestId("status-process").getAttribute("data-value"));

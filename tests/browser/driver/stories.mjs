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
  return { ended };
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
  await tabs[0].page.getByTestId("crash").click();
  // The answer in the other tab may be written by another process, which lives on.
  const said = tabs[0].page.getByTestId("outage").innerText();
  await Promise.all(tabs.map(async (tab, number) => {
    const seconds = tab.page.getByTestId("outage").getByText(/^\d+ s$/);
    const photo = seconds.waitFor({ timeout: 5000 }).then(() => stages[number].shoot(tab, `${looks[number]}, server crashed`));
    await photo.catch(() => undefined);
  }));
  await Promise.all(tabs.map((tab, number) => tab.shows(seen[number].length + MID_ANSWER)));
  await stages[0].shoot(tabs[0], "desktop light, another server took over");
  const [ended, other] = [await tabs[0].ended(), await tabs[1].ended()];
  await tabs[0].page.getByRole("button", { name: "What happened" }).click();
  await stages[0].shoot(tabs[0], "desktop light, what happened");
  return { ended, other, seen, said: [await said], before, after: await footerPid(tabs[0]) };
}

export async function crashWhileIdle(stage) {
  const { newTab } = await stage();
  const tab = await newTab();
  const before = await tab.serverPid();
  await tab.page.getByTestId("crash").click();
  await tab.page.locator(`[data-testid=status-process]:not([data-value="${before}"])`).waitFor();
  return { after: await tab.serverPid(), footer: await footerPid(tab), before };
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
  process.kill(await tab.serverPid(), "SIGKILL");
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
  await tab.page.locator(`[data-testid=status-version]:not([data-value="${first.version}"])`).waitFor();
  const ended = await tab.ended();
  await tab.page.getByTestId("new-chat").click();
  await tab.page.getByTestId("message-user").waitFor({ state: "detached" });
  await tab.page.goBack();
  return { first, ended, other: await tab.ended() };
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

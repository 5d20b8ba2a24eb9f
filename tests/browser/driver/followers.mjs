// Followers of the events of chats, in pages that have nothing else. test_chat_events.py checks what they hear.

const EVENTS = "/api/chat/events";

/** Opens pages of one browser profile. In each, `follow(name)` returns the function that leaves, and `heard` names what each follower was told. */
async function pages(stage, source) {
  const { newPage, context, url } = await stage();
  const requests = [];
  context.on("request", (request) => new URL(request.url()).pathname === EVENTS && requests.push(request));
  await context.route(`${url}/followers`, (route) => route.fulfill({ contentType: "text/html", body: `<script type="module">
    import { followChats } from "/chat-events.js";
    window.heard = [];
    const listener = (name) => ({ chatId, state, ending }) => heard.push([name, chatId, ending ?? state].join(" "));
    window.follow = (name) => followChats("/api/chat", (turns, running, missed) => {
      if (running) heard.push(name + (missed ? " missed some" : " hears all"));
      turns.forEach(listener(name));
    }, (queued, running) => heard.push([name, running ? "hears that all wait:" : "hears that these wait:", JSON.stringify(queued)].join(" ")));
    window.locks = () => navigator.locks.query().then(({ held, pending }) => held.length + " held, " + pending.length + " pending");
  </script>` }));
  await context.route(`${url}/chat-events.js`, (route) => route.fulfill({ contentType: "text/javascript", body: source }));
  const open = async () => {
    const page = await newPage();
    await page.goto(`${url}/followers`);
    await page.waitForFunction(() => window.follow);
    return page;
  };
  const ask = async (chat, script, headers = {}) => {
    const message = { id: script, role: "user", parts: [{ type: "text", text: script }] };
    await context.request.post(`${url}/api/chat`, { data: { id: chat, messages: [message] }, headers });
  };
  /** Ask for some words, and wait until these followers know that they were said. */
  const answer = async (page, chat, names) => {
    await ask(chat, "5");
    await hears(page, ...names.map((name) => `${name} ${chat} finish`));
  };
  return { open, ask, answer, requests, context, url };
}

const hears = (page, ...wanted) => page.waitForFunction((wanted) => wanted.every((each) => heard.includes(each)), wanted);
const locks = (page, wanted) => page.waitForFunction(async (wanted) => (await locks()) === wanted, wanted);

/** Called, left and called again in one tick, as React does in StrictMode. */
export async function leavesAtOnce(stage, { source }) {
  const { open, answer } = await pages(stage, source);
  const page = await open();
  await page.evaluate(() => {
    follow("one")();
    follow("two");
  });
  await hears(page, "two hears all");
  await answer(page, "c1", ["two"]);
  await locks(page, "1 held, 0 pending");
  return { heard: await page.evaluate(() => heard) };
}

/** One leads, two wait; one of them leaves, and then the one that leads, each of them twice. */
export async function leavesWhileItWaits(stage, { source }) {
  const { open, answer } = await pages(stage, source);
  const page = await open();
  await page.evaluate(() => (window.leaves = ["one", "two", "three"].map((name) => follow(name))));
  await locks(page, "1 held, 2 pending");
  await hears(page, "one hears all", "two hears all", "three hears all");
  await page.evaluate(() => (leaves[1](), leaves[1]()));
  await locks(page, "1 held, 1 pending");
  await answer(page, "c1", ["one", "three"]);
  await page.evaluate(() => (heard.push("one leaves"), leaves[0](), leaves[0]()));
  await locks(page, "1 held, 0 pending");
  await hears(page, "one leaves", "three hears all");
  await answer(page, "c2", ["three"]);
  return { heard: await page.evaluate(() => heard) };
}

/** The tab that leads is closed while another one follows too; an answer begins and ends before that one has connected. */
export async function leadingTabCloses(stage, { source }) {
  const { open, ask, context, url } = await pages(stage, source);
  const [first, second] = [await open(), await open()];
  await first.evaluate(() => void follow("one"));
  await hears(first, "one hears all");
  await second.evaluate(() => void follow("two"));
  await hears(second, "two hears all");
  const connects = new Promise((connects) => context.route(`${url}${EVENTS}*`, connects));
  await first.close();
  const request = await connects;
  await ask("c1", "5");
  await request.continue();
  await second.waitForFunction(() => heard.filter((each) => each === "two hears all").length === 2);
  return { heard: await second.evaluate(() => heard) };
}

/** A tab joins one that leads, whose connection then goes on from long ago. */
export async function sleepsLong(stage, { source }) {
  const { open, context, url } = await pages(stage, source);
  const [first, second] = [await open(), await open()];
  await first.evaluate(() => void follow("one"));
  await hears(first, "one hears all");
  await context.route(`${url}${EVENTS}*`, (route) => route.continue({ url: `${url}${EVENTS}?after=1000000000.000000-0` }));
  await second.evaluate(() => void follow("two"));
  await hears(first, "one missed some");
  await hears(second, "two missed some");
  return { heard: [...(await first.evaluate(() => heard)), ...(await second.evaluate(() => heard))] };
}

/** Leaves before the server has answered, and then while it waits to ask again after a refusal. */
export async function leavesWhileItConnects(stage, { source }) {
  const { open, answer, requests, context, url } = await pages(stage, source);
  const page = await open();
  await page.clock.install();
  const asks = new Promise((asks) => context.route(url + EVENTS, asks));
  await page.evaluate(() => (window.leave = follow("one")));
  await asks;
  await page.evaluate(() => leave());
  await locks(page, "0 held, 0 pending");

  await context.unroute(url + EVENTS);
  await context.route(url + EVENTS, (route) => route.fulfill({ status: 502 }));
  await page.evaluate(() => {
    const later = setTimeout;
    window.setTimeout = (...timer) => (window.timer = later(...timer));
    window.leave = follow("two");
  });
  await page.waitForFunction(() => window.timer);
  await page.evaluate(() => leave());
  await locks(page, "0 held, 0 pending");
  await context.unroute(url + EVENTS);
  await page.clock.runFor(60_000);
  const asked = requests.length;

  await page.evaluate(() => void follow("three"));
  await hears(page, "three hears all");
  await answer(page, "c1", ["three"]);
  return { heard: await page.evaluate(() => heard), asked, requests: requests.length };
}

/** Two questions come while an answer runs; a tab that leads, one that follows, and one that is opened then. */
export async function questionsWait(stage, { source }) {
  const { open, ask, context, url } = await pages(stage, source);
  const [leading, following, late] = [await open(), await open(), await open()];
  for (const page of [leading, following]) {
    await page.evaluate(() => void follow("one"));
    await hears(page, "one hears that all wait: {}");
  }
  const later = { prefer: "respond-async" };
  await ask("c1", "5 | 5", later);
  for (const [count, script] of ["10", "15"].entries()) {
    await ask("c1", script, later);
    for (const page of [leading, following]) await hears(page, `one hears that these wait: {"c1":${count + 1}}`);
  }
  await late.evaluate(() => void follow("late"));
  await hears(late, 'late hears that all wait: {"c1":2}');
  await context.request.post(`${url}/test/go/c1`);
  for (const page of [leading, following]) await hears(page, 'one hears that these wait: {"c1":0}');
  const turns = await following.evaluate(() => heard.filter((each) => each.endsWith("undefined")));
  return { turns };
}

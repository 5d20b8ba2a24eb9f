// Kills the process that writes an answer again and again, and looks at the page every 50 ms.
const LONG = "Tell me a long story about a lighthouse keeper.";
/** Letters and digits of the story after which it is too near its end for another kill. */
const LAST_KILL = 1000;

/** Runs in the page. Markdown that is not closed yet may show its marks, so only letters and digits count. */
function sample() {
  window.looks = { frames: 0, shrunk: [], grown: [] };
  let id, shown = "";
  setInterval(() => {
    const answer = [...document.querySelectorAll("[data-testid=message-assistant]")].at(-1);
    if (!answer) return;
    const text = [...answer.querySelectorAll(":scope > .markdown")].map((each) => each.innerText).join("\n").replaceAll(/[^\p{L}\p{N}]/gu, "");
    const writer = document.querySelector("[data-testid=status-process]")?.dataset.value;
    const { looks } = window;
    looks.frames += 1;
    if (answer.dataset.messageId === id && !text.startsWith(shown)) looks.shrunk.push([shown, text]);
    if (answer.dataset.messageId === id && text.length > shown.length) looks.grown.push({ at: Date.now(), writer: Number(writer), length: text.length });
    id = answer.dataset.messageId;
    shown = text;
  }, 50);
}

export async function kills(stage, { kills }) {
  const { newTab } = await stage();
  const seconds = [], stories = [], shrunk = [];
  let frames = 0;
  for (let chat = 1; seconds.length < kills; chat += 1) {
    const tab = await newTab(`c${chat}`, (page) => page.addInitScript(sample));
    await tab.ask(LONG);
    while (seconds.length < kills && (await moreBy(tab, 0, 0)).length < LAST_KILL) seconds.push(await kill(tab));
    const { copied, visible } = await tab.ended();
    stories.push(copied);
    const looks = await tab.page.evaluate(() => window.looks);
    frames += looks.frames;
    shrunk.push(...looks.shrunk);
    if (!visible) throw new Error("the story is not shown");
    await tab.page.close();
  }
  return { seconds, stories, shrunk, frames };
}

/** Wait for text by another writer than this one, shown after a time; return when it came, by whom, and its length. */
async function moreBy(tab, writer, after) {
  const newest = ([writer, after]) => window.looks.grown.find((each) => each.at > after && each.writer && each.writer !== writer);
  const found = await tab.page.waitForFunction(newest, [writer, after], { polling: 25 });
  const first = await found.jsonValue();
  const latest = await tab.page.evaluate(() => window.looks.grown.at(-1));
  return { ...latest, at: first.at };
}

/** Kill the writer at a random moment; return the seconds until the page shows the next character of another one. */
async function kill(tab) {
  await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 800));
  const { writer } = await moreBy(tab, 0, 0);
  process.kill(writer, "SIGKILL");
  const killed = Date.now();
  return ((await moreBy(tab, writer, killed)).at - killed) / 1000;
}

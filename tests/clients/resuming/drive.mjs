// Lets chats of many releases of `ai` lose their connection and come back. One JSON line in, a story, gives one out, in any order.
//
// Story: {key, client, api, headers, id, earlier, answers, script, cuts, views}. A chat asks; with `earlier` it asks that first, gets
// the whole reply, answers its calls as `answers` says, and goes on. The response is cut. Then each view of `views` comes back at the same time.
import { createInterface } from 'node:readline';
import { release, report } from './chats.mjs';
import { cutting, plainErrors } from './networks.mjs';

const AT_ONCE = 12;
const QUESTION = { id: 'u1', role: 'user', parts: [{ type: 'text', text: 'hi' }] };

const VIEWS = {
  'same tab': ({ chat }) => chat,
  // The work-around for releases that show twice what they had: drop it first. See networks.mjs for what 5.0.277 needs besides.
  'same tab, emptied': ({ chat, before }) => {
    chat.messages = before;
    return chat;
  },
  'refresh': ({ open }) => open([QUESTION]),
  'refresh over what was shown': ({ chat, open }) => open(chat.messages),
  'refresh over what was answered': ({ before, open }) => open(before),
};

async function answer(chat, { outputs = {}, approvals = {} }) {
  for (const part of chat.messages.at(-1).parts) {
    const tool = part.toolName ?? part.type.slice('tool-'.length);
    if (part.toolCallId in outputs) await (chat.addToolOutput ?? chat.addToolResult)({ tool, toolCallId: part.toolCallId, output: outputs[part.toolCallId] });
    if (part.approval?.id in approvals) await chat.addToolApprovalResponse({ id: part.approval.id, ...approvals[part.approval.id] });
  }
}

async function tell({ key, client, api, headers, id, earlier, answers, script, cuts, views }) {
  const openChat = await release(client);
  const emptied = views.includes('same tab, emptied');
  const open = (messages, fetch = globalThis.fetch) => openChat({ id, messages, transport: { api, headers, fetch } });
  const log = [];
  const network = cutting(earlier ? [null, ...cuts] : cuts, log);
  const chat = open([], emptied ? plainErrors(network) : network);
  const ask = (message, script) => chat.sendMessage(message, { body: { script } });
  if (earlier) {
    await ask(QUESTION, earlier);
    await answer(chat, answers);
  }
  const before = earlier ? structuredClone(chat.messages) : [QUESTION];
  await (earlier ? ask(undefined, script) : ask(QUESTION, script));
  const cut = structuredClone({ ...report(chat), log });
  const resumed = views.map(view => [view, VIEWS[view]({ chat, before, open })]);
  for (const [, each] of resumed) each.seen.calls = [];
  await Promise.all(resumed.map(([, each]) => each.resumeStream()));
  return { key, before, cut, views: Object.fromEntries(resumed.map(([view, each]) => [view, report(each)])) };
}

async function work(stories) {
  for (const story of stories) console.log(JSON.stringify(await tell(story)));
}

const stories = [];
for await (const line of createInterface({ input: process.stdin })) stories.push(JSON.parse(line));
// The iterator is shared: each takes the next one.
const next = stories.values();
await Promise.all(Array.from({ length: AT_ONCE }, () => work(next)));

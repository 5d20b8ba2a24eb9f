// Lets chats of many releases of `ai` lose their connection and come back; see serving.mjs.
//
// Story: {client, api, headers, id, earlier, answers, script, cuts, goesOn, views, workflow, viewCuts, viewWorkflow}. A chat asks; with
// `earlier` it asks that first, gets the whole reply, answers its calls as `answers` says, and goes on. Its responses end as `cuts`
// says, see networks.mjs. Then each view of `views` comes back at the same time. Chats use the default transport, or that of
// `workflow` and, in a page of its own, of `viewWorkflow`: {startIndex, replays}.
import { answer, QUESTION, release, report, workflowTransport } from './chats.mjs';
import { cutting, goingOn, plainErrors } from './networks.mjs';
import { serve } from '../../serving.mjs';

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

// The transport of @ai-sdk/workflow says on the console that a connection broke, and that a tail begins inside a part.
console.error = console.warn = () => {};

function opener({ id, api, headers }, openChat) {
  return async (messages, cuts, workflow, wrap = fetch => fetch) => {
    const log = [];
    const network = { api, headers, fetch: wrap(cutting(cuts, log)) };
    const transport = workflow ? await workflowTransport(network, workflow) : network;
    return Object.assign(openChat({ id, messages, transport }), { log });
  };
}

async function tell(story) {
  const { client, earlier, answers, script, cuts, goesOn, views, workflow, viewCuts = [], viewWorkflow } = story;
  const openNew = opener(story, await release(client));
  const open = messages => openNew(messages, viewCuts, viewWorkflow);
  const continuing = goesOn ? fetch => goingOn(fetch, story.api, story.id) : undefined;
  const wrap = views.includes('same tab, emptied') ? plainErrors : continuing;
  const chat = await openNew([], earlier ? [null, ...cuts] : cuts, workflow, wrap);
  const ask = (message, script) => chat.sendMessage(message, { body: { id: story.id, script } });
  if (earlier) {
    await ask(QUESTION, earlier);
    await answer(chat, answers);
  }
  const before = earlier ? structuredClone(chat.messages) : [QUESTION];
  if (script) await ask(earlier ? undefined : QUESTION, script);
  const cut = structuredClone(report(chat));
  const resumed = {};
  for (const view of views) resumed[view] = await VIEWS[view]({ chat, before, open });
  chat.forget();
  await Promise.all(Object.values(resumed).map(each => each.resumeStream()));
  return { before, cut, views: Object.fromEntries(Object.entries(resumed).map(([view, each]) => [view, report(each)])) };
}

await serve(tell);

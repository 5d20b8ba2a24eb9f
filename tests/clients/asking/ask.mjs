// Lets pages of many releases of `ai` ask by themselves (`sendAutomaticallyWhen`); see serving.mjs.
//
// Story: {key, client, api, id, headers, cause, history, answers, value}. The page asks the question, or resumes over `history` if there is
// one. Once it is at rest, the user answers the calls as `answers` says, or the interrupt of a graph with `value`, and the page comes to rest
// again. {key, posts, statuses, error, messages} says how often it asked, before and after the answers.
import { setImmediate, setTimeout } from 'node:timers/promises';
import { answer, QUESTION, release } from '../resuming/chats.mjs';
import { serve } from '../../serving.mjs';

/** After so many questions a page gets no answer any more. */
const ENOUGH = 5;

const helpers = {};
async function askingOf(version) {
  const ai = (helpers[version] ??= await import(`ai-${version}`));
  const { lastAssistantMessageIsCompleteWithToolCalls: tools, lastAssistantMessageIsCompleteWithApprovalResponses: approvals } = ai;
  // `ai` 5 has no approvals.
  return messages => tools(messages) || (approvals?.(messages) ?? false);
}

function counting() {
  const network = { posts: 0, statuses: [] };
  network.fetch = async (url, init) => {
    if (init?.method === 'POST' && (network.posts += 1) > ENOUGH) throw new TypeError('Failed to fetch');
    const response = await fetch(url, init);
    network.statuses.push(response.status);
    return response;
  };
  return network;
}

// A chat decides whether to ask again in the microtasks after its response has ended.
async function atRest(chat) {
  for (let quiet = 0; quiet < 10; quiet += 1) {
    await setImmediate();
    for (; chat.status === 'submitted' || chat.status === 'streaming'; quiet = 0) await setTimeout(5);
  }
}

async function tell({ key, client, api, id, headers, cause, history, answers, value }) {
  const network = counting();
  const chat = (await release(client))({
    id,
    messages: history ?? [],
    transport: { api, headers, body: { cause }, fetch: network.fetch },
    sendAutomaticallyWhen: await askingOf(client),
  });
  await (history ? chat.resumeStream() : chat.sendMessage(QUESTION));
  await atRest(chat);
  const posts = [network.posts];
  if (answers) {
    await answer(chat, answers);
    await atRest(chat);
    posts.push(network.posts - posts[0]);
  }
  if (value != null) {
    const part = chat.messages.at(-1).parts.findLast(each => each.type === 'data-interrupt');
    await chat.sendMessage(undefined, { body: { resume: { [part.id]: value } } });
    await atRest(chat);
    posts.push(network.posts - posts[0]);
  }
  return { key, posts, statuses: network.statuses, error: chat.error?.message ?? null, messages: chat.messages };
}

await serve(tell);

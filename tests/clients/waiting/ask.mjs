// Lets several pages of one chat ask at the same time; see serving.mjs.
//
// Story: {key, client, api, headers, pages, workflow, cut}. Each page has a transport of `ai`, or of @ai-sdk/workflow; with `cut`, the
// responses to questions that wait break off once. {key, pages} has what came of each page: {status, error, messages, requests}.
import { release, workflowTransport } from '../resuming/chats.mjs';
import { serve } from '../../serving.mjs';

// The transport of @ai-sdk/workflow says on the console that a connection broke.
console.warn = console.error = () => undefined;

function counting(cut) {
  const network = { requests: [] };
  network.fetch = async (url, init) => {
    const response = await fetch(url, init);
    network.requests.push([init?.method ?? 'GET', response.status]);
    const waits = /~q\d+$/.test(response.headers.get('x-workflow-run-id') ?? '');
    if (!cut || !waits || init?.method !== 'POST') return response;
    const reader = response.body.getReader();
    await reader.read();
    await reader.cancel();
    const broken = new ReadableStream({ pull: out => out.error(new TypeError('network error')) });
    return new Response(broken, { status: response.status, headers: response.headers });
  };
  return network;
}

async function ask({ client, api, headers, key, workflow, cut }, number) {
  const network = counting(cut);
  const options = { api, headers, fetch: network.fetch };
  const transport = workflow ? await workflowTransport(options, { startIndex: 0, replays: true }) : options;
  const chat = (await release(client))({ id: key, messages: [], transport });
  const message = { id: `u${number}`, role: 'user', parts: [{ type: 'text', text: `question ${number}` }] };
  await chat.sendMessage(message, { body: { id: key } });
  return { status: chat.status, error: chat.error?.message ?? null, messages: chat.messages, requests: network.requests };
}

await serve(async story => {
  const pages = await Promise.all(Array.from({ length: story.pages }, (_, number) => ask(story, number)));
  return { key: story.key, pages };
});

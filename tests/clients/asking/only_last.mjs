// Lets pages of many releases of `ai` ask, edit, ask again and decide with a `prepareSendMessagesRequest`; see serving.mjs.
//
// Story: {client, api, id, prepared}: the module that exports it as `onlyLast`. {bodies, messages} are what the page sent and shows.
import { answer, QUESTION, release } from '../resuming/chats.mjs';
import { serve } from '../../serving.mjs';

async function tell({ client, api, id, prepared }) {
  const { onlyLast } = await import(prepared);
  const bodies = [];
  const recording = async (url, init) => {
    if (init?.method === 'POST') bodies.push(JSON.parse(init.body));
    return fetch(url, init);
  };
  const chat = (await release(client))({
    id,
    messages: [],
    transport: { api, body: { own: 'key' }, fetch: recording, prepareSendMessagesRequest: onlyLast },
  });
  await chat.sendMessage(QUESTION);
  await chat.sendMessage({ text: 'and now?' });
  await chat.regenerate();
  await chat.sendMessage({ text: 'and then?', messageId: chat.messages.at(-2).id });
  await answer(chat, { outputs: { call: 'green' } });
  await chat.sendMessage();
  return { bodies, error: chat.error?.message ?? null, messages: chat.messages };
}

await serve(tell);

// What the npm package `ai` makes of chunk sequences. For {client, chunks, settled}, see serving.mjs, it says
// {refused: chunks that the schema refuses, errors: of the reader, message: what a page would show, valid: of `settled`, resent}.
import { serve } from '../serving.mjs';

const clients = {};
for (const version of ['5.0.100', '5.0.277', '6.0.100', '6.0.326', '7.0.173']) clients[version] = await import(`ai-${version}`);

// The reader shows steps and resets only at the next part, so one is added and taken away again.
const mark = { test: { added: true } };
const added = { type: 'text-start', id: 'added by read.mjs', providerMetadata: mark };
const isAdded = part => part.providerMetadata?.test?.added === true;

async function refusedBy({ uiMessageChunkSchema: schema }, chunks) {
  const { validate } = typeof schema === 'function' ? schema() : schema;
  const refused = [];
  for (const chunk of chunks) if (!(await validate(chunk)).success) refused.push(chunk);
  return refused;
}

function streamOf(chunks) {
  const end = chunks.findIndex(chunk => chunk.type === 'error');
  const shown = end < 0 ? [...chunks, added] : [...chunks.slice(0, end), added, ...chunks.slice(end)];
  return new ReadableStream({
    start(controller) {
      for (const chunk of shown) controller.enqueue(structuredClone(chunk));
      controller.close();
    },
  });
}

async function answer({ client, chunks, settled }) {
  const ai = clients[client];
  const refused = await refusedBy(ai, chunks);
  if (client.endsWith('.100')) return { refused };
  const errors = [];
  let message = null;
  const onError = error => errors.push(String(error.message));
  for await (const snapshot of ai.readUIMessageStream({ stream: streamOf(chunks), onError })) message = snapshot;
  if (message) message = { ...message, parts: message.parts.filter(part => !isAdded(part)) };
  const valid = settled === undefined || (await ai.safeValidateUIMessages({ messages: [settled] })).success;
  // Whether a page with `sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls` would send the message again.
  const resent = message !== null && ai.lastAssistantMessageIsCompleteWithToolCalls({ messages: [message] });
  return { refused, errors, message, valid, resent };
}

await serve(answer);

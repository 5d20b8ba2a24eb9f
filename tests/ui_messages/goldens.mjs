// Makes goldens/ai-7.json: messages that `readUIMessageStream` of the npm package `ai` builds.
// Run it in a folder after `npm install --ignore-scripts ai@7 zod`: node <this file> > goldens/ai-7.json
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const resolved = createRequire(join(process.cwd(), 'x.js')).resolve('ai');
const { readUIMessageStream, uiMessageChunkSchema } = await import(pathToFileURL(resolved));
const { version } = JSON.parse(readFileSync(join(dirname(dirname(resolved)), 'package.json')));
const schema = typeof uiMessageChunkSchema === 'function' ? uiMessageChunkSchema() : uiMessageChunkSchema;

const start = { type: 'start', messageId: 'm1' };
const step = { type: 'start-step' };
const endStep = { type: 'finish-step' };
const finish = { type: 'finish', finishReason: 'stop' };
const text = (id, ...deltas) => [
  { type: 'text-start', id },
  ...deltas.map(delta => ({ type: 'text-delta', id, delta })),
  { type: 'text-end', id },
];
const reasoning = (id, ...deltas) => [
  { type: 'reasoning-start', id },
  ...deltas.map(delta => ({ type: 'reasoning-delta', id, delta })),
  { type: 'reasoning-end', id },
];
const call = (toolCallId, more = {}) => ({ toolCallId, toolName: 'weather', dynamic: true, ...more });
const inputStart = (id, more) => ({ type: 'tool-input-start', ...call(id, more) });
const inputDelta = (toolCallId, inputTextDelta) => ({ type: 'tool-input-delta', toolCallId, inputTextDelta });
const available = (id, input, more) => ({ type: 'tool-input-available', ...call(id, more), input });
const output = (toolCallId, value, more) => ({ type: 'tool-output-available', toolCallId, output: value, dynamic: true, ...more });
const failed = (toolCallId, more) => ({ type: 'tool-output-error', toolCallId, errorText: 'broke', dynamic: true, ...more });
const approval = (toolCallId, more) => ({ type: 'tool-approval-request', approvalId: 'a1', toolCallId, ...more });
const still = { dynamic: undefined };
const provider = value => ({ providerMetadata: { openai: { value } } });

const cases = {
  'nothing at all': [],
  'one text': [start, step, ...text('t', 'Hel', 'lo'), endStep, finish],
  'a text without start and without end': [{ type: 'text-start', id: 't' }, { type: 'text-delta', id: 't', delta: 'Hi' }],
  'two texts interleaved': [
    start, step, { type: 'text-start', id: 'a' }, { type: 'text-start', id: 'b' }, { type: 'text-delta', id: 'b', delta: '1' },
    { type: 'text-delta', id: 'a', delta: '2' }, { type: 'text-end', id: 'a' }, { type: 'text-delta', id: 'b', delta: '3' }, endStep,
  ],
  'a text id started twice': [start, { type: 'text-start', id: 't' }, { type: 'text-delta', id: 't', delta: 'old' }, ...text('t', 'new')],
  'a text id used again': [start, ...text('t', 'one'), ...text('t', 'two')],
  'text and reasoning under one id': [start, step, ...reasoning('x', 'hm', 'm'), ...text('x', 'so')],
  'provider metadata of text': [
    start, { type: 'text-start', id: 't', ...provider(1) }, { type: 'text-delta', id: 't', delta: 'a', ...provider(2) },
    { type: 'text-delta', id: 't', delta: 'b' }, { type: 'text-end', id: 't', ...provider(3), citations: [] },
  ],
  'provider metadata of reasoning': [start, { type: 'reasoning-start', id: 'r', ...provider(1) }, { type: 'reasoning-end', id: 'r' }],
  'a delta without start': [start, ...text('t', 'kept'), { type: 'text-delta', id: 'u', delta: 'x' }, ...text('v', 'dropped')],
  'an end twice': [start, ...text('t', 'kept'), { type: 'text-end', id: 't' }],
  'a tool from first to last': [
    start, step, inputStart('c1'), inputDelta('c1', '{"city":'), inputDelta('c1', '"Paris"}'), available('c1', { city: 'Paris' }),
    output('c1', { temp: 21 }), endStep, step, ...text('t', 'Warm'), endStep, finish,
  ],
  'a static tool from first to last': [
    start, step, inputStart('c1', still), inputDelta('c1', '{"city":"P'), available('c1', { city: 'P' }, still),
    output('c1', 'warm', still), endStep, finish,
  ],
  'half a tool input': [start, step, inputStart('c1'), inputDelta('c1', '{"city":"Par'), inputDelta('c1', 'is","days":[1,2')],
  'half a static tool input': [start, step, inputStart('c1', still), inputDelta('c1', '{"a":tr')],
  'a tool input that is no JSON': [start, step, inputStart('c1'), inputDelta('c1', 'cats'), output('c1', null)],
  'a tool input that is text': [start, step, inputStart('c1', { inputEncoding: 'text' }), inputDelta('c1', 'print('), inputDelta('c1', '1)')],
  'a text input that becomes whole': [
    start, step, inputStart('c1', { inputEncoding: 'text' }), inputDelta('c1', 'x'), available('c1', 'x'), output('c1', 1),
  ],
  'a tool input without start': [start, step, ...text('t', 'kept'), inputDelta('c1', '{}')],
  'an input that is whole at once': [start, step, available('c1', { n: 1 }), output('c1', null)],
  'two calls at once': [
    start, step, inputStart('c1'), inputStart('c2'), inputDelta('c1', '{"n":1'), inputDelta('c2', '{"n":2'), inputDelta('c1', '}'),
    inputDelta('c2', '}'), available('c2', { n: 2 }), available('c1', { n: 1 }), output('c2', 4), output('c1', 1), endStep,
  ],
  'a tool that fails': [start, step, inputStart('c1'), available('c1', {}), failed('c1'), endStep],
  'a static tool that fails while its input streams': [start, step, inputStart('c1', still), inputDelta('c1', '{"a":1'), failed('c1', still)],
  'a dynamic tool that fails while its input streams': [start, step, inputStart('c1'), inputDelta('c1', '{"a":1'), failed('c1')],
  'an input error after half an input': [
    start, step, inputStart('c1'), inputDelta('c1', '{"a"'), { type: 'tool-input-error', ...call('c1'), input: null, errorText: 'bad' },
  ],
  'an input error out of nothing': [start, step, { type: 'tool-input-error', ...call('c1', still), input: 'raw', errorText: 'bad' }],
  'an input error of the other kind': [
    start, step, inputStart('c1', { title: 'T' }), { type: 'tool-input-error', ...call('c1', { dynamic: undefined, title: 'U' }), input: {}, errorText: 'x' },
  ],
  'an output for an unknown call': [start, ...text('t', 'kept'), output('c9', 1)],
  'an output in a later step': [start, step, available('c1', {}), endStep, step, ...text('t', 'so'), output('c1', 'late')],
  'an id used again in a later step': [
    start, step, available('c1', { n: 1 }), output('c1', 1), endStep, step, available('c1', { n: 2 }), output('c1', 2), endStep,
  ],
  'an input after the output': [start, step, available('c1', { n: 1 }), output('c1', 1), available('c1', { n: 2 })],
  'a preliminary output': [start, step, available('c1', {}), output('c1', 'half', { preliminary: true }), output('c1', 'whole')],
  'a preliminary output that stays': [start, step, available('c1', {}), output('c1', 'half', { preliminary: true })],
  'everything a call can carry': [
    start, step, inputStart('c1', { title: 'Weather', toolMetadata: { a: 1 }, providerExecuted: true, ...provider(1) }),
    inputDelta('c1', '{}'), available('c1', {}, { title: 'Wetter', ...provider(2) }), output('c1', 1, { toolMetadata: { b: 2 }, ...provider(3) }),
  ],
  'a start of one kind and an input of the other': [start, step, inputStart('c1'), available('c1', { n: 1 }, still)],
  'an approval': [
    start, step, inputStart('c1'), available('c1', {}), approval('c1', { reason: 'costly', isAutomatic: true, signature: 's', approvalDescriptor: { a: 1 } }),
  ],
  'an approval granted': [
    start, step, available('c1', {}), approval('c1'), { type: 'tool-approval-response', approvalId: 'a1', approved: true, reason: 'ok' }, output('c1', 1),
  ],
  'an approval denied': [
    start, step, available('c1', {}), approval('c1'),
    { type: 'tool-approval-response', approvalId: 'a1', approved: false, providerExecuted: true, ...provider(1) },
    { type: 'tool-output-denied', toolCallId: 'c1' },
  ],
  'an approval of nothing': [start, ...text('t', 'kept'), { type: 'tool-approval-response', approvalId: 'a9', approved: true }],
  'an output without the answer to its approval': [start, step, available('c1', {}), approval('c1'), output('c1', 1)],
  'sources and files': [
    start, { type: 'source-url', sourceId: 's1', url: 'https://a', title: 'A', ...provider(1) }, { type: 'source-url', sourceId: 's2', url: 'https://b' },
    { type: 'source-document', sourceId: 's3', mediaType: 'text/plain', title: 'C', filename: 'c.txt' },
    { type: 'file', url: 'data:image/png;base64,AA==', mediaType: 'image/png', filename: 'dropped.png' },
    { type: 'reasoning-file', url: 'https://c', mediaType: 'text/plain', ...provider(2) }, { type: 'custom', kind: 'acme.thing', ...provider(3) },
  ],
  'data parts': [
    start, { type: 'data-a', data: 1 }, { type: 'data-a', data: 2 }, { type: 'data-a', id: 'x', data: 3 }, { type: 'data-b', id: 'x', data: 4 },
    { type: 'data-a', id: 'x', data: { five: 5 } }, { type: 'data-c', data: 6, transient: true }, { type: 'data-d', data: null },
  ],
  'steering': [start, { type: 'steering-message', id: 's', parts: [{ type: 'text', text: 'left' }] }, ...text('t', 'ok')],
  'metadata that merges': [
    { type: 'start', messageId: 'm1', messageMetadata: { a: { b: 1, c: [1, 2] }, d: 1 } },
    { type: 'message-metadata', messageMetadata: { a: { b: 2, e: 3, c: [3] } } }, { type: 'finish', finishReason: 'stop', messageMetadata: { d: { f: 4 } } },
  ],
  'a step that is reset': [
    start, step, ...text('a', 'kept'), endStep, step, ...text('b', 'gone'), inputStart('c1'), inputDelta('c1', '{'), { type: 'reset-step' },
    ...text('c', 'instead'), endStep,
  ],
  'a delta for a part that was reset': [start, step, { type: 'text-start', id: 't' }, { type: 'reset-step' }, { type: 'text-delta', id: 't', delta: 'x' }],
  'a reset while a text of an earlier step is open': [
    start, step, { type: 'text-start', id: 't' }, step, { type: 'text-delta', id: 't', delta: 'kept' }, { type: 'reset-step' }, ...text('u', 'new'),
  ],
  'an input that goes on in a later step': [
    start, step, inputStart('c1'), inputStart('c2', still), step, inputDelta('c1', '{"a":1'), inputDelta('c2', '{"a":1'),
  ],
  'input with keys that are refused': [
    start, step, inputStart('c1'), inputDelta('c1', '{"__proto__":1}'), inputStart('c2'), inputDelta('c2', '{"constructor":{"prototype":1'),
    inputStart('c3'), inputDelta('c3', '{"constructor":1}'),
  ],
  'a denial of a call that has its result': [start, step, available('c1', { a: 1 }), output('c1', 1), { type: 'tool-output-denied', toolCallId: 'c1' }],
  'a question about a call that has failed': [start, step, available('c1', { a: 1 }), failed('c1'), approval('c1')],
  'an input that was changed after the question': [start, step, available('c1', { a: 1 }), approval('c1'), available('c1', { a: 2 })],
  'a second start with the same id': [start, ...text('t', 'one'), start, ...text('u', 'two')],
  'a second start with another id': [start, ...text('t', 'one'), { type: 'start', messageId: 'm2' }, ...text('u', 'two')],
  'text after finish-step': [start, step, { type: 'text-start', id: 't' }, endStep, { type: 'text-delta', id: 't', delta: 'late' }],
  'an error': [start, step, ...text('t', 'half'), endStep, { type: 'error', errorText: 'An error occurred.' }, { type: 'finish' }],
  'a stop': [
    start, step, available('c1', {}), output('c1', 1), endStep, step, { type: 'message-metadata', messageMetadata: { stopped: true } }, { type: 'abort' },
    { type: 'finish' },
  ],
  'names from the prototype': [start, ...text('__proto__', 'a'), available('constructor', {}), output('constructor', 1)],
};

async function read(chunks) {
  const clean = JSON.parse(JSON.stringify(chunks));
  for (const chunk of clean) {
    const result = await schema.validate(chunk);
    if (!result.success) throw new Error(`schema refuses ${JSON.stringify(chunk)}: ${result.error}`);
  }
  // The reader does not write after `start-step` alone; an empty metadata chunk makes it write.
  const flush = { type: 'message-metadata', messageMetadata: {} };
  const stream = new ReadableStream({
    start(controller) {
      for (const chunk of [...clean, flush]) controller.enqueue(structuredClone(chunk));
      controller.close();
    },
  });
  const errors = [];
  let message = null;
  for await (const snapshot of readUIMessageStream({ stream, onError: error => errors.push(String(error.message)) })) message = snapshot;
  if (message?.metadata && Object.keys(message.metadata).length === 0) delete message.metadata;
  return { chunks: clean, message, errors };
}

const goldens = {};
for (const [name, chunks] of Object.entries(cases)) goldens[name] = await read(chunks);
console.log(JSON.stringify({ ai: version, cases: goldens }, null, 1));

// What `HttpAgent` of @ag-ui/client makes of a run. One JSON line in gives one out.
// In: {body} is an SSE response; {post} is where it asks; {url, cut} asks there and, with `cut`, loses the connection after each event and resumes.
// Out: {messages, outcome, interrupts, error: a run's, failure: of the client, warnings: of what it has dropped, custom: names, cuts}.
import { HttpAgent } from '@ag-ui/client';
import { createInterface } from 'node:readline';

const headers = { 'content-type': 'text/event-stream' };

async function* framesOf(response) {
  let text = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const frames = (text + piece).split('\n\n');
    text = frames.pop();
    for (const frame of frames) if (!frame.startsWith(':')) yield `${frame}\n\n`;
  }
}

// A `fetch` for HttpAgent that replays the run of a chat, and reads on after the last event when the connection is lost.
function resuming(seen, cut) {
  return async (url, { signal }) => {
    let last;
    const open = () => fetch(url, { signal, headers: last === undefined ? {} : { 'last-event-id': last } });
    const first = await open();
    if (!first.ok) return first;
    async function* events() {
      for (let response = first; response.status === 200; response = await open()) {
        for await (const frame of framesOf(response)) {
          yield frame;
          last = frame.match(/^id: (.*)$/m)?.[1];
          if (cut) break;
        }
        if (!cut) return;
        seen.cuts += 1;
      }
    }
    return new Response(ReadableStream.from(events()).pipeThrough(new TextEncoderStream()), { headers });
  };
}

async function answer({ body, post, url, cut }) {
  const seen = { outcome: null, interrupts: null, error: null, failure: null, warnings: [], custom: [], cuts: 0 };
  console.warn = (...words) => seen.warnings.push(words.join(' '));
  console.error = () => {};
  const agent = new HttpAgent({
    url: post ?? url ?? 'http://nowhere.invalid',
    threadId: 'c1',
    fetch: post ? undefined : url ? resuming(seen, cut) : async () => new Response(body, { headers }),
  });
  try {
    await agent.runAgent({ runId: 'asked' }, {
      onRunFinishedEvent: ({ event }) => void (seen.outcome = event.outcome?.type ?? 'success'),
      onRunErrorEvent: ({ event }) => void (seen.error = event.message),
      onCustomEvent: ({ event }) => void seen.custom.push(event.name),
    });
  } catch (error) {
    seen.failure = String(error.message);
  }
  return { ...seen, messages: agent.messages, interrupts: agent.pendingInterrupts };
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);

// What `ai` 7 and `@ai-sdk/anthropic` make of recorded bodies. One JSON line in, {body}, gives one out: {message, errors}.
import { createInterface } from 'node:readline';
import { createAnthropic } from '@ai-sdk/anthropic';
import { dynamicTool, jsonSchema, readUIMessageStream, streamText } from 'ai-7.0.173';

async function answer({ body }) {
  const respond = async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  const anthropic = createAnthropic({ apiKey: 'none', fetch: respond });
  const inputSchema = jsonSchema({ type: 'object' });
  const tools = {
    weather: dynamicTool({ inputSchema }),
    web_search: anthropic.tools.webSearch_20250305({}),
    web_fetch: anthropic.tools.webFetch_20250910({}),
    code_execution: anthropic.tools.codeExecution_20250825({}),
  };
  const errors = [];
  const onError = error => errors.push(String(error?.message ?? error));
  const result = streamText({ model: anthropic('claude-opus-5-5'), prompt: 'Hi', tools, maxRetries: 0, onError: ({ error }) => onError(error) });
  const stream = result.toUIMessageStream({
    sendSources: true,
    messageMetadata: ({ part }) => (part.type === 'finish' ? { finishReason: part.finishReason, usage: part.totalUsage } : undefined),
  });
  let message = null;
  for await (const snapshot of readUIMessageStream({ stream, onError })) message = snapshot;
  return { message, errors };
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await answer(JSON.parse(line))));

// A page that shows the run of a chat, from its first event on, and a button that stops it. Bundled for Chromium by tests/browser.
import { HttpAgent } from '@ag-ui/client';

const show = (id, text) => void (document.getElementById(id).textContent = text);
const agent = new HttpAgent({
  url: '/api/chat/c1/stream?protocol=ag-ui',
  threadId: 'c1',
  fetch: (url, { signal }) => fetch(url, { signal }),
});
document.getElementById('stop').onclick = () => fetch('/api/chat/c1/stop', { method: 'POST' });
await agent.runAgent({}, {
  onMessagesChanged: ({ messages }) => show('text', messages.map(message => message.content).join('|')),
  onRunFinishedEvent: ({ event }) => show('state', event.outcome?.type ?? 'success'),
  onRunErrorEvent: ({ event }) => show('state', event.message),
});

// The chat of each release of `ai`, over plain memory instead of React.

class MemoryState {
  status = 'ready';
  error = undefined;
  constructor(messages) {
    this.messages = messages;
  }
  snapshot = value => structuredClone(value);
  pushMessage = message => {
    this.messages = [...this.messages, this.snapshot(message)];
  };
  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };
  replaceMessage = (index, message) => {
    this.messages = this.messages.with(index, this.snapshot(message));
  };
}

const opened = new Map();

// Returns a function that opens chats of one release: ({id, messages, transport}) => chat, which notes what it is called back with.
export async function release(version) {
  if (!opened.has(version)) opened.set(version, opener(await import(`ai-${version}`)));
  return opened.get(version);
}

function opener({ AbstractChat, DefaultChatTransport }) {
  class HeadlessChat extends AbstractChat {
    constructor({ messages, ...options }) {
      super({ ...options, state: new MemoryState(structuredClone(messages)) });
    }
  }
  return ({ id, messages, transport, ...options }) => {
    const seen = { calls: [], data: [], ended: [] };
    const chat = new HeadlessChat({
      id,
      messages,
      transport: transport.reconnectToStream ? transport : new DefaultChatTransport(transport),
      onToolCall: ({ toolCall }) => void seen.calls.push(toolCall.toolCallId),
      onData: part => void seen.data.push(part.type),
      onFinish: ({ isDisconnect, isError, isAbort }) => void seen.ended.push({ isDisconnect, isError, isAbort }),
      ...options,
    });
    return Object.assign(chat, { seen });
  };
}

export const report = chat => ({
  messages: chat.messages,
  status: chat.status,
  error: chat.error == null ? null : String(chat.error.message),
  ...chat.seen,
});

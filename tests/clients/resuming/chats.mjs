// The chat of each release of `ai`, over plain memory instead of React.

export const QUESTION = { id: 'u1', role: 'user', parts: [{ type: 'text', text: 'hi' }] };

class MemoryState {
  status = 'ready';
  error = undefined;
  /** The states of each call that the page showed, by its id. */
  states = {};
  constructor(messages) {
    this.messages = messages;
  }
  snapshot = value => structuredClone(value);
  note = message => {
    for (const { toolCallId, state } of message.parts)
      if (toolCallId && (this.states[toolCallId] ??= []).at(-1) !== state) this.states[toolCallId].push(state);
  };
  pushMessage = message => {
    this.note(message);
    this.messages = [...this.messages, this.snapshot(message)];
  };
  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };
  replaceMessage = (index, message) => {
    this.note(message);
    this.messages = this.messages.with(index, this.snapshot(message));
  };
}

// Returns a function that opens chats of one release, which keep what they are called back with. `transport` is one, or the options
// of the default one.
export async function release(version) {
  const { AbstractChat, DefaultChatTransport } = await import(`ai-${version}`);
  class HeadlessChat extends AbstractChat {
    seen = {};
    constructor({ messages, transport, ...options }) {
      super({
        ...options,
        state: new MemoryState(structuredClone(messages)),
        transport: transport.reconnectToStream ? transport : new DefaultChatTransport(transport),
        onToolCall: ({ toolCall }) => void this.seen.calls.push(toolCall.toolCallId),
        onData: part => void this.seen.data.push(part.type),
      });
      this.forget();
    }
    forget() {
      this.seen = { calls: [], data: [] };
      this.state.states = {};
    }
  }
  return options => new HeadlessChat(options);
}

// Gives the calls of the last message the user's answers: {outputs by call id, approvals by approval id, or `any`}.
export async function answer(chat, { outputs = {}, approvals = {} }) {
  for (const part of chat.messages.at(-1).parts) {
    const { toolCallId, toolName: tool = part.type.slice('tool-'.length) } = part;
    if (toolCallId in outputs) await (chat.addToolOutput ?? chat.addToolResult)({ tool, toolCallId, output: outputs[toolCallId] });
    const decision = part.approval && (approvals[part.approval.id] ?? approvals.any);
    if (decision) await chat.addToolApprovalResponse({ id: part.approval.id, ...decision });
  }
}

export async function workflowTransport(network, { startIndex, replays }) {
  const { WorkflowChatTransport } = await import('@ai-sdk/workflow/client');
  const transport = new WorkflowChatTransport({ ...network, initialStartIndex: startIndex });
  // It lacks this, so `ai` takes it for a transport that goes on where the last response broke off.
  return replays ? Object.assign(transport, { resumeStreamIsReplay: true }) : transport;
}

export const report = chat => ({
  messages: chat.messages,
  status: chat.status,
  error: chat.error == null ? null : String(chat.error.message),
  log: chat.log,
  ...chat.seen,
  states: chat.state.states,
});

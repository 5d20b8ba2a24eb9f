import type { ChatSession } from "../useChatSession";
import { Alert, Refresh } from "./icons";
import { Message } from "./Message";

export function MessageList({ session, onSend }: { session: ChatSession; onSend: (text: string) => void }) {
  const { chat, busy, outage, regenerate, edit, refused: error } = session;
  const last = chat.messages.at(-1);
  const waiting = busy && !outage && (last?.role !== "assistant" || last.parts.length === 0);

  return (
    <div className="messages" role="log" aria-label="Conversation" aria-busy={busy}>
      {chat.messages.map((message) => (
        <Message
          key={message.id}
          message={message}
          active={busy && message === last}
          paused={busy && message === last && outage !== null}
          replies={message === last && !busy ? { decide: session.decide, send: onSend } : undefined}
          onEdit={busy ? undefined : edit}
          onRegenerate={message === last && message.role === "assistant" && !busy && !error ? () => void regenerate() : undefined}
        />
      ))}
      {waiting && (
        <div className="thinking" role="status" aria-label="Waiting for the answer">
          <i /> <i /> <i />
        </div>
      )}
      {outage && (
        <div className="interruption" data-testid="outage">
          <span className="spinner" />
          {outage.text}
          {outage.seconds > 0 && <span className="seconds">{outage.seconds} s</span>}
        </div>
      )}
      {error && (
        <div className="notice error" role="alert">
          <Alert />
          <p>
            <strong>{last?.role === "assistant" ? "The answer could not be finished." : "The question was not answered."}</strong> {error.message}
          </p>
          <button type="button" className="button" data-testid="regenerate" onClick={() => void regenerate()}>
            <Refresh /> Try again
          </button>
        </div>
      )}
    </div>
  );
}

import type { ChatSession } from "../useChatSession";
import { isConnectionError } from "../transport";
import { Alert, Refresh } from "./icons";
import { Message } from "./Message";

export function MessageList({ session }: { session: ChatSession }) {
  const { chat, busy, outage, regenerate } = session;
  const last = chat.messages.at(-1);
  const error = chat.error && !isConnectionError(chat.error) ? chat.error : null;
  const waiting = busy && !outage && (last?.role !== "assistant" || last.parts.length === 0);

  return (
    <div className="messages" role="log" aria-label="Conversation" aria-busy={busy}>
      {chat.messages.map((message) => (
        <Message
          key={message.id}
          message={message}
          active={busy && message === last}
          paused={busy && message === last && outage !== null}
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

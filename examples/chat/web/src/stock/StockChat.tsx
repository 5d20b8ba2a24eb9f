import { useChat } from "@ai-sdk/react";
import { isTextUIPart, lastAssistantMessageIsCompleteWithToolCalls } from "ai";
import type { FormEvent } from "react";
import type { ChatMessage } from "../api";

/**
 * Plain `useChat`, without any code of ours. It resumes after a reload, when the tab of a broken stream becomes visible, and, with the
 * one line of `onFinish`, while the user is looking. A connection that is refused when the page opens stays an error.
 */
export function StockChat({ id, messages: known }: { id: string; messages: ChatMessage[] }) {
  const { messages, status, error, sendMessage, resumeStream, stop } = useChat<ChatMessage>({
    id,
    messages: known,
    resume: true,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    onFinish: ({ isDisconnect }) => {
      if (isDisconnect) setTimeout(() => void resumeStream(), 1000);
    },
  });
  const busy = status === "submitted" || status === "streaming";

  const stopAnswer = async () => {
    // `stop` alone would only close the connection of this tab.
    await fetch(`/api/chat/${encodeURIComponent(id)}/stop`, { method: "POST" });
    await stop();
  };

  const ask = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    void sendMessage({ text: String(new FormData(form).get("text")) });
    form.reset();
  };

  return (
    <main data-testid="app" data-status={status}>
      <h1>Stock useChat</h1>
      {messages.map((message) => (
        <article key={message.id} className={message.role} data-testid={`message-${message.role}`} data-message-id={message.id}>
          {message.parts.filter(isTextUIPart).map((part, index) => (
            <p key={index} className="markdown">
              {part.text}
            </p>
          ))}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={ask}>
        <input name="text" data-testid="composer" aria-label="Message" placeholder="Ask anything" autoComplete="off" required />
        {busy ? (
          <button type="button" data-testid="stop" onClick={() => void stopAnswer()}>
            Stop
          </button>
        ) : (
          <button data-testid="send">Send</button>
        )}
      </form>
    </main>
  );
}

import { isDataUIPart, isReasoningUIPart, isTextUIPart, isToolUIPart, type UIMessagePart, type UITools } from "ai";
import { type FormEvent, type KeyboardEvent, memo, useState } from "react";
import type { ChatData, ChatMessage } from "../api";
import { messageText } from "../useChatSession";
import { CopyButton } from "./CopyButton";
import { DataPart } from "./DataPart";
import { Chevron, Pencil, Refresh } from "./icons";
import { Markdown } from "./Markdown";
import { ToolCard } from "./ToolCard";

/** How the user answers the last message: by a decision on a call, or by a form. */
export type Replies = { decide: (approvalId: string, approved: boolean) => void; send: (text: string) => void };

type Props = { message: ChatMessage; active: boolean; paused: boolean; replies?: Replies; onRegenerate?: () => void; onEdit?: (messageId: string, text: string) => void };

export const Message = memo(function Message({ message, active, paused, replies, onRegenerate, onEdit }: Props) {
  if (message.role === "user") return <Question text={messageText(message)} onEdit={onEdit && ((text) => onEdit(message.id, text))} />;
  const between = active && !paused && message.parts.length > 0 && !isGrowing(message.parts.at(-1));
  return (
    <article className={paused ? "message assistant paused" : "message assistant"} data-testid="message-assistant" data-message-id={message.id} aria-label="Assistant">
      {message.parts.map((part, index) => (
        <Part key={index} part={part} active={active} replies={replies} growing={active && !paused && index === message.parts.length - 1} />
      ))}
      {between && (
        <div className="thinking" aria-hidden="true">
          <i /> <i /> <i />
        </div>
      )}
      {message.metadata?.stopped && <p className="stopped">Stopped</p>}
      {message.metadata?.failed && <p className="stopped">Incomplete</p>}
      {!active && <Actions text={messageText(message)} onRegenerate={onRegenerate} />}
    </article>
  );
});

/** A question, which can be asked anew in other words. */
function Question({ text, onEdit }: { text: string; onEdit?: (text: string) => void }) {
  const [draft, setDraft] = useState<string | null>(null);
  const changed = draft?.trim() ?? "";
  const ready = changed !== "" && changed !== text;

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (!ready || !onEdit) return;
    onEdit(changed);
    setDraft(null);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") setDraft(null);
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };

  if (draft !== null && onEdit) {
    return (
      <form className="message user editing" aria-label="Edit the question" onSubmit={submit}>
        <textarea autoFocus rows={Math.min(8, draft.split("\n").length + 1)} aria-label="Question" value={draft} onChange={(event) => setDraft(event.target.value)} onKeyDown={onKeyDown} />
        <p>What followed this question is replaced.</p>
        <div className="choice">
          <button type="button" className="button" onClick={() => setDraft(null)}>
            Cancel
          </button>
          <button type="submit" className="button primary" disabled={!ready}>
            Ask anew
          </button>
        </div>
      </form>
    );
  }
  return (
    <article className="message user" data-testid="message-user" aria-label="You">
      {text}
      {onEdit && (
        <button type="button" className="icon-button" aria-label="Edit the question" title="Edit" onClick={() => setDraft(text)}>
          <Pencil />
        </button>
      )}
    </article>
  );
}

type AnyPart = UIMessagePart<ChatData, UITools>;

/** True for a part that already shows that more is coming. */
function isGrowing(part: AnyPart | undefined): boolean {
  if (!part) return false;
  if (isTextUIPart(part) || isReasoningUIPart(part)) return part.state === "streaming";
  return isToolUIPart(part) && (part.state === "input-streaming" || part.state === "input-available");
}

type PartProps = { part: AnyPart; active: boolean; replies?: Replies; growing: boolean };

function Part({ part, active, replies, growing }: PartProps) {
  if (isTextUIPart(part)) return <Markdown text={part.text} growing={growing && part.state === "streaming"} />;
  if (isReasoningUIPart(part)) return <Reasoning text={part.text} growing={growing && part.state === "streaming"} />;
  if (isToolUIPart(part)) return <ToolCard part={part} active={active} onDecide={replies?.decide} />;
  if (isDataUIPart(part)) return <DataPart part={part} onSend={replies?.send} />;
  if (part.type === "source-url") {
    return (
      <a className="source" href={part.url} target="_blank" rel="noreferrer noopener">
        {part.title ?? part.url}
      </a>
    );
  }
  if (part.type === "file" && part.mediaType.startsWith("image/")) return <img className="picture" src={part.url} alt={part.filename ?? "Picture"} />;
  return null;
}

function Reasoning({ text, growing }: { text: string; growing: boolean }) {
  if (!text && !growing) return null;
  return (
    <details className="reasoning">
      <summary>
        <Chevron />
        <span className={growing ? "shimmer" : undefined}>{growing ? "Thinking…" : "Thought about it"}</span>
      </summary>
      <Markdown text={text} growing={false} />
    </details>
  );
}

function Actions({ text, onRegenerate }: { text: string; onRegenerate?: () => void }) {
  return (
    <div className="actions">
      {text && <CopyButton text={text} label="Copy the answer" />}
      {onRegenerate && (
        <button type="button" className="icon-button" data-testid="regenerate" aria-label="Answer again" title="Answer again" onClick={onRegenerate}>
          <Refresh />
        </button>
      )}
    </div>
  );
}

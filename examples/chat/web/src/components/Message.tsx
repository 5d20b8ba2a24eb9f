import { getToolName, isReasoningUIPart, isTextUIPart, isToolUIPart, type UIMessagePart, type UIDataTypes, type UITools } from "ai";
import { memo, useState } from "react";
import type { ChatMessage } from "../api";
import { messageText } from "../useChatSession";
import { Check, Chevron, Copy, Refresh } from "./icons";
import { Markdown } from "./Markdown";
import { ToolCard } from "./ToolCard";

type Props = { message: ChatMessage; active: boolean; paused: boolean; onRegenerate?: () => void };

export const Message = memo(function Message({ message, active, paused, onRegenerate }: Props) {
  if (message.role === "user") {
    return (
      <article className="message user" data-testid="message-user" aria-label="You">
        {messageText(message)}
      </article>
    );
  }
  const between = active && !paused && message.parts.length > 0 && !isGrowing(message.parts.at(-1));
  return (
    <article className={paused ? "message assistant paused" : "message assistant"} data-testid="message-assistant" data-message-id={message.id} aria-label="Assistant">
      {message.parts.map((part, index) => (
        <Part key={index} part={part} active={active} growing={active && !paused && index === message.parts.length - 1} />
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

type AnyPart = UIMessagePart<UIDataTypes, UITools>;

/** True for a part that already shows that more is coming. */
function isGrowing(part: AnyPart | undefined): boolean {
  if (!part) return false;
  if (isTextUIPart(part) || isReasoningUIPart(part)) return part.state === "streaming";
  return isToolUIPart(part) && (part.state === "input-streaming" || part.state === "input-available");
}

function Part({ part, active, growing }: { part: AnyPart; active: boolean; growing: boolean }) {
  if (isTextUIPart(part)) return <Markdown text={part.text} growing={growing && part.state === "streaming"} />;
  if (isReasoningUIPart(part)) return <Reasoning text={part.text} growing={growing && part.state === "streaming"} />;
  if (isToolUIPart(part)) return <ToolCard part={part} name={part.title ?? getToolName(part)} active={active} />;
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
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div className="actions">
      {text && navigator.clipboard && (
        <button type="button" className="icon-button" aria-label={copied ? "Copied" : "Copy the answer"} title="Copy" onClick={() => void copy()}>
          {copied ? <Check /> : <Copy />}
        </button>
      )}
      {onRegenerate && (
        <button type="button" className="icon-button" data-testid="regenerate" aria-label="Answer again" title="Answer again" onClick={onRegenerate}>
          <Refresh />
        </button>
      )}
    </div>
  );
}

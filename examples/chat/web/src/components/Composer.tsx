import { type FormEvent, type KeyboardEvent, useEffect, useLayoutEffect, useRef } from "react";
import type { ChatSession } from "../useChatSession";
import { ArrowUp, Square } from "./icons";

type Props = { session: ChatSession; onSend: (text: string) => void };

export function Composer({ session, onSend }: Props) {
  const { draft, setDraft, busy, stopping, notice, stop } = session;
  const box = useRef<HTMLTextAreaElement>(null);
  const ready = draft.trim() !== "";

  useEffect(() => {
    // On a touch screen focus would open the keyboard over the page.
    if (matchMedia("(hover: hover)").matches) box.current?.focus();
  }, []);

  useLayoutEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [draft]);

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (!ready) return;
    onSend(draft.trim());
    setDraft("");
  };

  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes a character, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };

  return (
    <>
      {notice && (
        <p className="notice hint" role="status">
          {notice}
        </p>
      )}
      <form className="composer" onSubmit={submit}>
        <textarea
          ref={box}
          rows={1}
          value={draft}
          data-testid="composer"
          aria-label="Message"
          aria-keyshortcuts="Enter"
          enterKeyHint="send"
          placeholder={busy ? "Ask the next question" : "Ask anything"}
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={onKeyDown}
        />
        {(ready || !busy) && (
          <button type="submit" className="round" data-testid="send" aria-label={busy ? "Send when the answer ends" : "Send"} title="Send (Enter)" disabled={!ready}>
            <ArrowUp />
          </button>
        )}
        {busy && (
          <button type="button" className="round stop" data-testid="stop" aria-label="Stop the answer" title="Stop (Esc)" disabled={stopping} onClick={() => void stop()}>
            <Square />
          </button>
        )}
      </form>
    </>
  );
}

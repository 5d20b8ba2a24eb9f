import { useEffect } from "react";
import type { ChatMessage } from "./api";
import { Composer } from "./components/Composer";
import { EmptyState } from "./components/EmptyState";
import { Header } from "./components/Header";
import { ArrowDown } from "./components/icons";
import { MessageList } from "./components/MessageList";
import { Queue } from "./components/Queue";
import { StatusBar } from "./components/StatusBar";
import { messageText, useChatSession } from "./useChatSession";
import { useServerInfo } from "./useServerInfo";
import { useStickToBottom } from "./useStickToBottom";

/** `title`: that of the list, once it is known. */
type Props = { chatId: string; title: string | undefined; initialMessages: ChatMessage[]; onNewChat: () => void };

export function Chat({ chatId, title, initialMessages, onNewChat }: Props) {
  const session = useChatSession(chatId, initialMessages);
  const { chat, busy, outage, reconnecting, stopping, stop } = session;
  const reach = session.reach === "connected" && reconnecting ? "reconnecting" : session.reach;
  const info = useServerInfo(reach === "connected", session.crashes, session.tell);
  const empty = chat.messages.length === 0 && !busy;
  const { scroller, content, away, toBottom } = useStickToBottom(empty);
  const question = chat.messages.find((message) => message.role === "user");
  const writer = chat.messages.findLast((message) => message.role === "assistant")?.metadata?.pid;

  useEffect(() => {
    const name = title ?? (question && messageText(question));
    document.title = name ? `${name.slice(0, 60)} · monostream_ai` : "monostream_ai chat";
  }, [title, question]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const closesOther = document.querySelector(":popover-open, dialog[open]") !== null;
      const isTaken = closesOther || event.defaultPrevented || event.isComposing;
      if (event.key === "Escape" && busy && !stopping && !isTaken) void stop();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });

  const send = (text: string) => {
    void session.send(text);
    toBottom();
  };

  return (
    <div className="page" data-testid="app" data-status={chat.status} data-connection={reach}>
      <Header onNewChat={onNewChat} onCrash={info?.demo ? () => void session.crash() : undefined} crashable={reach === "connected"} />
      <main className="conversation" ref={scroller} tabIndex={0}>
        <div className="column" ref={content}>
          {empty ? <EmptyState onPick={send} /> : <MessageList session={session} onSend={send} />}
        </div>
      </main>
      <footer className="dock">
        {away && (
          <button type="button" className="to-latest" onClick={toBottom} aria-label="Go to the latest message">
            <ArrowDown />
          </button>
        )}
        <Queue session={session} />
        <Composer session={session} onSend={send} />
        <StatusBar reach={reach} outage={outage} busy={busy} begun={session.begun} asks={session.asks} latency={session.latency} status={session.status} story={session.story} info={info} writer={writer} />
      </footer>
    </div>
  );
}

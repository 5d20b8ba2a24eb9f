import { useEffect, useState } from "react";
import { Chat } from "./Chat";
import { type ChatMessage, fetchHistory } from "./api";
import { Chats } from "./components/Chats";
import { Header } from "./components/Header";
import { useChatId } from "./useChatId";

const TRY_AGAIN_AFTER = 1000;

export function App() {
  const { id, fresh, newChat, openChat } = useChatId();
  const [title, setTitle] = useState<string>();
  return (
    <div className="app">
      <Chats openId={id} onOpen={openChat} onNewChat={newChat} onTitle={setTitle} />
      <OpenChat key={id} chatId={id} title={title} fresh={fresh} onNewChat={newChat} />
    </div>
  );
}

type Props = { chatId: string; title: string | undefined; fresh: boolean; onNewChat: () => void };

/** Shows the chat once its history has loaded: `useChat` takes initial messages only when it is created. */
function OpenChat({ chatId, title, fresh, onNewChat }: Props) {
  const [messages, setMessages] = useState<ChatMessage[] | null>(fresh ? [] : null);
  const [unreachable, setUnreachable] = useState(false);

  useEffect(() => {
    if (fresh) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let left = false;
    const load = () =>
      fetchHistory(chatId).then(
        (history) => left || setMessages(history),
        () => {
          if (left) return;
          setUnreachable(true);
          timer = setTimeout(load, TRY_AGAIN_AFTER);
        },
      );
    void load();
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [chatId, fresh]);

  if (messages) return <Chat chatId={chatId} title={title} initialMessages={messages} onNewChat={onNewChat} />;
  return (
    <div className="page">
      <Header onNewChat={onNewChat} />
      <p className="loading" role="status">
        {unreachable ? "Cannot reach the server. Trying again…" : "Opening the chat…"}
      </p>
    </div>
  );
}

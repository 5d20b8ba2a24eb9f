import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { type ChatMessage, fetchHistory } from "../api";
import { StockChat } from "./StockChat";
import "./stock.css";

const chatId = new URLSearchParams(location.search).get("chat") ?? "stock";

/** `useChat` takes initial messages only when it is created, so the history is loaded first. */
function Page() {
  const [messages, setMessages] = useState<ChatMessage[]>();
  useEffect(() => {
    fetchHistory(chatId).then(setMessages, () => setTimeout(() => location.reload(), 1000));
  }, []);
  return messages ? <StockChat id={chatId} messages={messages} /> : <p role="status">Opening the chat…</p>;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);

import { followChats } from "monostream-reconnecting-transport/chat-events";
import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import { CHAT_API, type ChatList, fetchChats } from "./api";

const EVERY = 10_000;

/** The chats of the user, loaded anew while the list is visible. Events tell at once which of them run. */
export function useChats(list: RefObject<HTMLElement | null>, openChat: string): ChatList & { reload: () => Promise<void> } {
  const loader = useRef(async () => {});
  const [chats, setChats] = useState<ChatList>({ chats: [] });
  const [running, setRunning] = useState<ReadonlySet<string>>(new Set());

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let left = false;
    const load = async () => {
      clearTimeout(timer);
      const visible = document.visibilityState === "visible" && list.current?.checkVisibility();
      const next = visible ? await fetchChats().catch(() => null) : null;
      if (left) return;
      if (next) setChats(next);
      clearTimeout(timer);
      timer = setTimeout(load, EVERY);
    };
    loader.current = load;
    const box = list.current;
    void load();
    box?.addEventListener("toggle", load);
    const unfollow = followChats(CHAT_API, (turns, all) => {
      setRunning((known) => {
        const next = new Set(all ? [] : known);
        for (const { chatId, state } of turns) if (state === "closed" || state === "idle") next.delete(chatId);
        else next.add(chatId);
        return next;
      });
      // A chat may be new, or have moved to the top.
      void load();
    });
    return () => {
      left = true;
      clearTimeout(timer);
      box?.removeEventListener("toggle", load);
      unfollow();
    };
  }, [list, openChat]);

  const reload = useCallback(() => loader.current(), []);
  return { ...chats, reload, chats: chats.chats.map((chat) => ({ ...chat, running: running.has(chat.id) })) };
}

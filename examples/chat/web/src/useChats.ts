import { followChats } from "monostream-reconnecting-transport/chat-events";
import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import { CHAT_API, type ChatList, fetchChats } from "./api";

const EVERY = 10_000;

/**
 * The chats of the user, loaded anew while the list is visible. Events tell at once which of them run, and other tabs of this browser
 * that a chat was renamed or deleted.
 */
export function useChats(list: RefObject<HTMLElement | null>, openChat: string): ChatList & { reload: () => Promise<void> } {
  const loader = useRef(async () => {});
  const [chats, setChats] = useState<ChatList>({ chats: [] });
  const [running, setRunning] = useState<ReadonlySet<string>>(new Set());

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let left = false;
    let loads = 0;
    const load = async () => {
      clearTimeout(timer);
      const number = ++loads;
      const visible = document.visibilityState === "visible" && list.current?.checkVisibility();
      const next = visible ? await fetchChats().catch(() => null) : null;
      // A newer load knows more, such as a title that was given meanwhile.
      if (left || number !== loads) return;
      if (next) setChats(next);
      clearTimeout(timer);
      timer = setTimeout(load, EVERY);
    };
    const otherTabs = new BroadcastChannel("chats");
    otherTabs.onmessage = load;
    loader.current = () => {
      otherTabs.postMessage("changed");
      return load();
    };
    const box = list.current;
    void load();
    box?.addEventListener("toggle", load);
    document.addEventListener("visibilitychange", load);
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
      otherTabs.close();
      box?.removeEventListener("toggle", load);
      document.removeEventListener("visibilitychange", load);
      unfollow();
    };
  }, [list, openChat]);

  const reload = useCallback(() => loader.current(), []);
  return { ...chats, reload, chats: chats.chats.map((chat) => ({ ...chat, running: running.has(chat.id) })) };
}

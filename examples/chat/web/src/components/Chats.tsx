import { type MouseEvent, useEffect, useRef } from "react";
import { useChats } from "../useChats";
import { Account } from "./Account";
import { ChatItem } from "./ChatItem";

type Props = { openId: string; onOpen: (id: string) => void; onNewChat: () => void; onTitle: (title: string | undefined) => void };

/** The list of chats: beside the open one on a wide screen, else a popover of the header's button. */
export function Chats({ openId, onOpen, onNewChat, onTitle }: Props) {
  const nav = useRef<HTMLElement>(null);
  const { chats, user, reload } = useChats(nav, openId);

  const title = chats.find(({ id }) => id === openId)?.title;
  useEffect(() => onTitle(title), [onTitle, title]);

  const open = (event: MouseEvent, id: string) => {
    // The browser opens it in another tab.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (nav.current?.matches(":popover-open")) nav.current.hidePopover();
    onOpen(id);
  };

  return (
    <nav className="chats" id="chats" popover="auto" aria-label="Chats" ref={nav}>
      <h2>Chats</h2>
      {chats.length === 0 && <p>Your chats will be listed here.</p>}
      <ul>
        {chats.map((chat) => (
          <ChatItem
            key={chat.id}
            chat={chat}
            open={chat.id === openId}
            onOpen={(event) => open(event, chat.id)}
            onRenamed={reload}
            onDeleted={() => {
              if (chat.id === openId) onNewChat();
              void reload();
            }}
          />
        ))}
      </ul>
      <Account user={user} />
    </nav>
  );
}

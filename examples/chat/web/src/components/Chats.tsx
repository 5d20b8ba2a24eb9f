import { type MouseEvent, useRef } from "react";
import { useChats } from "../useChats";
import { Account } from "./Account";
import { DeleteChat } from "./DeleteChat";

type Props = { openId: string; onOpen: (id: string) => void; onNewChat: () => void };

/** The list of chats: beside the open one on a wide screen, else a popover of the header's button. */
export function Chats({ openId, onOpen, onNewChat }: Props) {
  const nav = useRef<HTMLElement>(null);
  const { chats, user, reload } = useChats(nav, openId);

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
        {chats.map(({ id, title, running }) => (
          <li key={id}>
            <a href={`?chat=${encodeURIComponent(id)}`} aria-current={id === openId ? "page" : undefined} onClick={(event) => open(event, id)}>
              <span>{title}</span>
              {running && <i className="running" role="img" aria-label="answering" />}
            </a>
            <DeleteChat
              id={id}
              title={title}
              onDeleted={() => {
                if (id === openId) onNewChat();
                void reload();
              }}
            />
          </li>
        ))}
      </ul>
      <Account user={user} />
    </nav>
  );
}

import { type KeyboardEvent, type MouseEvent, useEffect, useRef, useState } from "react";
import { useChats } from "../useChats";
import { Account } from "./Account";
import { ChatItem } from "./ChatItem";
import { Cross } from "./icons";

type Props = { openId: string; onOpen: (id: string) => void; onNewChat: () => void; onTitle: (title: string | undefined) => void };

/** The list of chats: beside the open one on a wide screen, else a popover of the header's button. */
export function Chats({ openId, onOpen, onNewChat, onTitle }: Props) {
  const nav = useRef<HTMLElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const { chats, user, reload } = useChats(nav, openId);

  const [search, setSearch] = useState("");
  const found = chats.filter(({ title }) => matches(title, search));
  const title = chats.find(({ id }) => id === openId)?.title;
  useEffect(() => onTitle(title), [onTitle, title]);

  const open = (event: MouseEvent, id: string) => {
    // The browser opens it in another tab.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (nav.current?.matches(":popover-open")) nav.current.hidePopover();
    setSearch("");
    onOpen(id);
  };
  const clear = () => {
    setSearch("");
    field.current?.focus();
  };
  const onSearchKey = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || event.nativeEvent.isComposing) return;
    // An empty field lets the key close the list. It never stops an answer.
    if (search === "" && nav.current?.matches(":popover-open")) return;
    event.preventDefault();
    setSearch("");
  };

  return (
    <nav className="chats" id="chats" popover="auto" aria-label="Chats" tabIndex={-1} ref={nav}>
      <h2>Chats</h2>
      <search>
        <input ref={field} type="search" aria-label="Search chats" placeholder="Search" enterKeyHint="search" autoComplete="off" value={search} onChange={(event) => setSearch(event.target.value)} onKeyDown={onSearchKey} />
        {search !== "" && (
          // As in a field of the browser, Tab leads from the words to the chats; Escape clears them too.
          <button type="button" tabIndex={-1} className="icon-button" aria-label="Clear the search" title="Clear (Esc)" onClick={clear}>
            <Cross />
          </button>
        )}
      </search>
      {chats.length === 0 && <p>Your chats will be listed here.</p>}
      <p className={found.length > 0 ? "visually-hidden" : undefined} role="status">
        {chats.length > 0 && search.trim() !== "" && count(found.length, search.trim())}
      </p>
      <ul>
        {found.map((chat) => (
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

function count(found: number, search: string): string {
  if (found === 0) return `No chat is called “${search}”.`;
  return found === 1 ? "1 chat found" : `${found} chats found`;
}

/** True if the title contains each word of the search, whatever the case and the accents. */
function matches(title: string, search: string): boolean {
  const plain = (text: string) => text.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();
  const words = plain(search).split(/\s+/);
  return words.every((word) => plain(title).includes(word));
}

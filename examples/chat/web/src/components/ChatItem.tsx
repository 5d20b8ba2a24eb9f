import { type KeyboardEvent, type MouseEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { ListedChat } from "../api";
import { DeleteChat } from "./DeleteChat";
import { Pencil } from "./icons";
import { RenameChat } from "./RenameChat";

type Props = { chat: ListedChat; open: boolean; onOpen: (event: MouseEvent) => void; onRenamed: () => Promise<void>; onDeleted: () => void };

/** A link to a chat, which can be renamed and deleted. */
export function ChatItem({ chat: { id, title, running }, open, onOpen, onRenamed, onDeleted }: Props) {
  const [renaming, setRenaming] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const wasRenaming = useRef(false);
  const item = useRef<HTMLLIElement>(null);

  useLayoutEffect(() => {
    const box = item.current;
    // Deleted, or no longer found: the keyboard goes on at the beginning of the list.
    return () => {
      if (box?.contains(document.activeElement)) box.closest("nav")?.focus();
    };
  }, []);

  useEffect(() => {
    if (wasRenaming.current && !renaming) button.current?.focus();
    wasRenaming.current = renaming;
  }, [renaming]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "F2") setRenaming(true);
  };

  if (renaming) {
    return (
      <li ref={item}>
        <RenameChat id={id} title={title} onRenamed={onRenamed} onClose={() => setRenaming(false)} />
      </li>
    );
  }
  return (
    <li ref={item}>
      <a href={`?chat=${encodeURIComponent(id)}`} aria-current={open ? "page" : undefined} aria-keyshortcuts="F2" title={title} onClick={onOpen} onKeyDown={onKeyDown}>
        <span>{title}</span>
        {running && <i className="running" role="img" aria-label="answering" />}
      </a>
      <div className="chat-actions">
        <button ref={button} type="button" className="icon-button" aria-label={`Rename: ${title}`} title="Rename (F2)" onClick={() => setRenaming(true)}>
          <Pencil />
        </button>
        <DeleteChat id={id} title={title} onDeleted={onDeleted} />
      </div>
    </li>
  );
}

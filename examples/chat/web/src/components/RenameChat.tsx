import { type FormEvent, type KeyboardEvent, useState } from "react";
import { renameChat } from "../api";
import { Check, Cross } from "./icons";

type Props = { id: string; title: string; onRenamed: () => Promise<void>; onClose: () => void };

/** The title of a chat as a field. An empty one brings the automatic title back. */
export function RenameChat({ id, title, onRenamed, onClose }: Props) {
  const [draft, setDraft] = useState(title);
  const [failed, setFailed] = useState(false);

  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (draft.trim() === title) return onClose();
    try {
      await renameChat(id, draft);
    } catch {
      return setFailed(true);
    }
    await onRenamed();
    onClose();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || event.nativeEvent.isComposing) return;
    // Otherwise the list would close, or an answer stop.
    event.preventDefault();
    onClose();
  };

  return (
    <form className="renaming" aria-label={`Rename: ${title}`} onSubmit={(event) => void save(event)} onKeyDown={onKeyDown}>
      <input autoFocus aria-label="Title" placeholder="The first question" enterKeyHint="done" autoComplete="off" maxLength={100} value={draft} onFocus={(event) => event.target.select()} onChange={(event) => setDraft(event.target.value)} />
      <button type="submit" className="icon-button" aria-label="Save the title" title="Save (Enter)">
        <Check />
      </button>
      <button type="button" className="icon-button" aria-label="Keep the old title" title="Cancel (Esc)" onClick={onClose}>
        <Cross />
      </button>
      {failed && <p role="alert">It could not be renamed. Please try again.</p>}
    </form>
  );
}

import { useRef, useState } from "react";
import { deleteChat } from "../api";
import { Bin } from "./icons";

type Props = { id: string; title: string; onDeleted: () => void };

/** Deletes a chat, once the user has confirmed it. */
export function DeleteChat({ id, title, onDeleted }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [failed, setFailed] = useState(false);

  const remove = async () => {
    try {
      await deleteChat(id);
    } catch {
      return setFailed(true);
    }
    dialog.current?.close();
    onDeleted();
  };

  return (
    <>
      <button type="button" className="icon-button" aria-label={`Delete: ${title}`} title="Delete" onClick={() => dialog.current?.showModal()}>
        <Bin />
      </button>
      <dialog className="confirm" ref={dialog} aria-labelledby={`delete-${id}`} onClose={() => setFailed(false)}>
        <h2 id={`delete-${id}`}>Delete this chat?</h2>
        <p>“{title}” and its answers are removed from the server. An answer that runs ends.</p>
        {failed && <p role="alert">It could not be deleted. Please try again.</p>}
        <div className="choice">
          <button type="button" className="button" autoFocus onClick={() => dialog.current?.close()}>
            Keep it
          </button>
          <button type="button" className="button danger" onClick={() => void remove()}>
            Delete
          </button>
        </div>
      </dialog>
    </>
  );
}

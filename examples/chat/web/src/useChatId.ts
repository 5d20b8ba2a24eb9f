import { generateId } from "ai";
import { useCallback, useEffect, useState } from "react";

type OpenChat = { id: string; /** Just created in this tab: the server does not know it yet. */ fresh: boolean };

function fromLocation(): OpenChat {
  const id = new URLSearchParams(location.search).get("chat");
  return id ? { id, fresh: false } : { id: generateId(), fresh: true };
}

const addressOf = (id: string) => `${location.pathname}?chat=${encodeURIComponent(id)}`;

/** The chat id from the URL (`/?chat=<id>`), so that a reload, a second tab and the back button open the same chat. */
export function useChatId() {
  const [open, setOpen] = useState(fromLocation);

  useEffect(() => {
    if (fromLocation().id !== open.id) history.replaceState(null, "", addressOf(open.id));
  }, [open.id]);

  useEffect(() => {
    const onPopState = () => setOpen(fromLocation());
    window.addEventListener("popstate", onPopState);
    return () => window.removeEventListener("popstate", onPopState);
  }, []);

  const go = useCallback((to: OpenChat) => {
    history.pushState(null, "", addressOf(to.id));
    setOpen(to);
  }, []);
  const newChat = useCallback(() => go({ id: generateId(), fresh: true }), [go]);
  const openChat = useCallback((id: string) => go({ id, fresh: false }), [go]);

  return { ...open, newChat, openChat };
}

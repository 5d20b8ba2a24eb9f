// Follows the turns of all chats of the user, wherever they began. Install the package, or copy this file; it needs nothing else.
//
//   useEffect(() => followChats("/api/chat", (turns) => {
//     if (turns.some((turn) => turn.chatId === id && turn.state === "open")) void resumeStream();
//   }), [id]);

/** The id of the last event that a tab has heard, by the address of the events: the next connection goes on from there. */
const places = new Map<string, string>();

/** A turn of a chat. `ending` tells how a closed one has ended: `finish`, `error` or `abort`. */
export type ChatTurn = { chatId: string; state: "open" | "waiting" | "lost" | "closed" | "idle"; version: number; attempt: number; messageId: string | null; ending: string | null };

/**
 * Calls `onTurns` with each turn whose state has changed. If `running` is true, these are all turns that run now: other chats run none. If
 * `missed` is true as well, others may have ended unheard, for instance while the computer slept.
 * Calls `onQueued` with the number of questions that wait in a chat, by its id, when they have changed; if `running` is true, with those
 * of all chats in which any wait. All tabs share one connection, because browsers allow six to a server of HTTP/1.1. Returns a function
 * that ends it.
 */
export function followChats(
  api: string,
  onTurns: (turns: ChatTurn[], running: boolean, missed: boolean) => void,
  onQueued: (queued: Record<string, number>, running: boolean) => void = () => undefined,
): () => void {
  const url = `${api}/events`;
  const channel = new BroadcastChannel(url);
  const left = new AbortController();
  let events: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = (name: string, data: string, id: string, missed: boolean) => {
    const event = JSON.parse(data);
    // A tab that was loaded before the page was updated tells none.
    if (id) places.set(url, id);
    if (name === "turn") onTurns([event], false, false);
    else if (name === "queue") onQueued({ [event.chatId]: event.queued }, false);
    // `queued` is missing if questions never wait.
    else (onTurns(event.turns, true, missed), onQueued(event.queued ?? {}, true));
  };
  const open = () => {
    clearTimeout(timer);
    events?.close();
    const place = places.get(url);
    const opened = (events = new EventSource(place ? `${url}?after=${place}` : url, { withCredentials: true }));
    for (const name of ["running", "turn", "queue"]) {
      opened.addEventListener(name, ({ data, lastEventId }) => {
        const missed = name === "running" && places.has(url) && JSON.parse(data).startsOver === true;
        channel.postMessage([name, data, lastEventId, missed]);
        tell(name, data, lastEventId, missed);
      });
    }
    // A browser comes back by itself, except after a refusal, such as that of a proxy whose server restarts.
    opened.addEventListener("error", () => opened.readyState === EventSource.CLOSED && (timer = setTimeout(open, 5000)));
  };
  // A tab that joins needs to know what runs, which the first event of a connection tells.
  channel.onmessage = ({ data }) => (data === "hello" ? events && open() : tell(data[0], data[1], data[2], data[3]));
  channel.postMessage("hello");
  const lead = () =>
    new Promise<void>((end) => {
      // A lock may be granted just after its request was aborted, as in the StrictMode of React.
      if (left.signal.aborted) return end();
      open();
      left.signal.addEventListener("abort", () => end());
    });
  // Browsers have locks only on HTTPS and localhost.
  void (navigator.locks ? navigator.locks.request(url, { signal: left.signal }, lead).catch(() => undefined) : lead());
  return () => (left.abort(), clearTimeout(timer), events?.close(), channel.close());
}

import { followChats } from "monostream-reconnecting-transport/chat-events";
import { useEffect, useRef, useState } from "react";
import { CHAT_API, fetchStatus, type StreamStatus } from "./api";

const WHILE_BUSY = 500;
const WHILE_IDLE = 2000;
const ANSWER_WITHIN = 4000;
const UNREACHABLE_IS_OFFLINE_AFTER = 15_000;

export type Reach = "connected" | "reconnecting" | "offline";

type Options = {
  chatId: string;
  /** An answer is running or reconnecting: poll faster, and in the background too. */
  busy: boolean;
  /** Chunks are arriving: poll at once, so that the page never shows a count of 0 beside the first of them. */
  arriving: boolean;
  /** Called with each status requested since `busy` or `arriving` last changed. */
  onStatus: (status: StreamStatus) => void;
};

/** Asks for the stored state of the chat's stream, at once after an event and else again and again, and so notices a lost server or an answer in another tab. */
export function useStreamStatus({ chatId, busy, arriving, onStatus }: Options) {
  const [status, setStatus] = useState<StreamStatus | null>(null);
  const [reach, setReach] = useState<Reach>("connected");
  const listener = useRef(onStatus);
  const failingSince = useRef<number | null>(null);

  useEffect(() => {
    listener.current = onStatus;
  });

  useEffect(() => {
    // Aborting with the effect drops responses that describe the state before the change.
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;

    const failed = () => {
      failingSince.current ??= Date.now();
      const lasting = Date.now() - failingSince.current > UNREACHABLE_IS_OFFLINE_AFTER;
      setReach(lasting || !navigator.onLine ? "offline" : "reconnecting");
    };
    const arrived = (next: StreamStatus) => {
      failingSince.current = null;
      setReach("connected");
      setStatus((last) => (JSON.stringify(last) === JSON.stringify(next) ? last : next));
      listener.current(next);
    };
    const poll = async () => {
      clearTimeout(timer);
      if (busy || document.visibilityState === "visible") {
        const next = await fetchStatus(chatId, AbortSignal.any([abort.signal, AbortSignal.timeout(ANSWER_WITHIN)])).catch(() => null);
        if (abort.signal.aborted) return;
        if (next) arrived(next);
        else failed();
      }
      clearTimeout(timer);
      timer = setTimeout(poll, busy || failingSince.current !== null ? WHILE_BUSY : WHILE_IDLE);
    };

    void poll();
    // Events say that there is something to ask for, in whatever tab or device it began.
    const unfollow = followChats(
      CHAT_API,
      (turns, running) => !running && turns.some((turn) => turn.chatId === chatId) && void poll(),
      (queued, running) => !running && chatId in queued && void poll(),
    );
    document.addEventListener("visibilitychange", poll);
    window.addEventListener("online", poll);
    window.addEventListener("offline", failed);
    return () => {
      abort.abort();
      unfollow();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", poll);
      window.removeEventListener("online", poll);
      window.removeEventListener("offline", failed);
    };
  }, [chatId, busy, arriving]);

  return { status, reach };
}

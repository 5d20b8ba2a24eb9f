import type { ChatStatus } from "ai";
import { useEffect, useState } from "react";
import { isConnectionError, type PageTransport } from "./transport";

const PAUSE = 250;

type Chat = { status: ChatStatus; error: Error | undefined; resumeStream: () => Promise<void> };

/** While no chunk arrives: the whole seconds since the last one, and whether the connection is gone. */
export type Waiting = { seconds: number; reconnecting: boolean };

/**
 * Returns for how long the page has waited for a chunk, or null while they arrive.
 *
 * Usually the transport reconnects by itself, and `useChat` notices nothing. Two failures become errors of the chat instead: a newer
 * version of the answer, and a question without a response. Then this hook resumes: the server replays the current answer from its
 * first chunk under the same message id, so it replaces the message on the page and nothing appears twice.
 */
export function useReconnect({ status, error, resumeStream }: Chat, transport: PageTransport): Waiting | null {
  const [waiting, setWaiting] = useState<Waiting | null>(null);
  const broken = status === "error" && isConnectionError(error);

  useEffect(() => {
    transport.onWaiting = (seconds, reconnecting) => setWaiting(seconds === null ? null : { seconds, reconnecting });
  }, [transport]);

  useEffect(() => {
    if (!broken) return;
    // A resume has its own backoff; this pause only keeps an unexpected error from looping.
    const timer = setTimeout(() => void resumeStream(), PAUSE);
    return () => clearTimeout(timer);
  }, [broken, error, resumeStream]);

  return broken ? { seconds: waiting?.seconds ?? 0, reconnecting: true } : waiting;
}

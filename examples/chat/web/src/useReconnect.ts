import type { ChatStatus } from "ai";
import { useEffect, useRef } from "react";
import { isConnectionError } from "./transport";

const FIRST_DELAY = 250;
const LONGEST_DELAY = 5000;

/** Milliseconds before the next attempt: doubled per failure, and spread so that not all tabs of a restarted server come at once. */
function backoff(failures: number): number {
  const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures);
  return longest * (0.75 + Math.random() * 0.25);
}

type Chat = { status: ChatStatus; error: Error | undefined; resumeStream: () => Promise<void> };

/**
 * Brings a broken stream back. Copy this hook into your own page.
 *
 * `useChat` by itself resumes only when the page is loaded or becomes visible again. A stream that breaks while the
 * user is looking (server restarted, network gone) leaves it in status `error`; this hook then calls `resumeStream()`
 * until the server answers. It needs no bookkeeping of its own, because every outcome is a status of `useChat`:
 *
 * - a stream opened: `submitted`, then `streaming`. The server replays the answer from its first chunk under the same
 *   message id, so the message on the page is replaced and nothing doubles, also when a newer version was run;
 * - nothing runs any more (204): `ready`; the transport has fetched the history by then;
 * - still no server: `error` again, with a new error object, which arms the next attempt.
 *
 * Returns true while it is trying.
 */
export function useReconnect({ status, error, resumeStream }: Chat): boolean {
  const broken = status === "error" && isConnectionError(error);
  const failures = useRef(0);

  useEffect(() => {
    if (status === "streaming" || status === "ready") failures.current = 0;
  }, [status]);

  useEffect(() => {
    if (!broken) return;
    const attempt = () => {
      clearTimeout(timer);
      failures.current += 1;
      // Overlapping attempts are harmless: the last one wins.
      void resumeStream();
    };
    const attemptWhenVisible = () => {
      if (document.visibilityState === "visible") attempt();
    };
    const timer = setTimeout(attempt, backoff(failures.current));
    window.addEventListener("online", attempt);
    document.addEventListener("visibilitychange", attemptWhenVisible);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("online", attempt);
      document.removeEventListener("visibilitychange", attemptWhenVisible);
    };
  }, [broken, error, resumeStream]);

  return broken;
}

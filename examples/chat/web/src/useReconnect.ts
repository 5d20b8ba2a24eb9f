import type { ChatStatus } from "ai";
import { useEffect, useState } from "react";
import { isConnectionError, type PageTransport } from "./transport";

const PAUSE = 250;

type Chat = { status: ChatStatus; error: Error | undefined; resumeStream: () => Promise<void> };

/**
 * Returns true while the page is reconnecting.
 *
 * Usually the transport reconnects by itself, and `useChat` notices nothing. Two failures become errors of the chat instead: a newer
 * version of the answer, and a question without a response. Then this hook resumes: the server replays the current answer from its
 * first chunk under the same message id, so it replaces the message on the page and nothing appears twice.
 */
export function useReconnect({ status, error, resumeStream }: Chat, transport: PageTransport): boolean {
  const [reconnecting, setReconnecting] = useState(false);
  const broken = status === "error" && isConnectionError(error);

  useEffect(() => {
    transport.onReconnecting = setReconnecting;
  }, [transport]);

  useEffect(() => {
    if (!broken) return;
    // A resume has its own backoff; this pause only keeps an unexpected error from looping.
    const timer = setTimeout(() => void resumeStream(), PAUSE);
    return () => clearTimeout(timer);
  }, [broken, error, resumeStream]);

  return reconnecting || broken;
}

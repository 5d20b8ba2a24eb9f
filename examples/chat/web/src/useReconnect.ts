import type { ChatStatus } from "ai";
import { useEffect, useState } from "react";
import { isConnectionError, type PageTransport } from "./transport";

const PAUSE = 250;

type Chat = { status: ChatStatus; error: Error | undefined; resumeStream: () => Promise<void> };

/**
 * Returns true while the connection is being brought back.
 *
 * The transport does that by itself, and `useChat` notices nothing. What the transport cannot mend is an error of the chat: a newer
 * version of the answer, a question without a response. Then the resume asks what runs now; the server replays it from its first
 * chunk under the same message id, so the message on the page is replaced and nothing doubles.
 */
export function useReconnect({ status, error, resumeStream }: Chat, transport: PageTransport): boolean {
  const [reconnecting, setReconnecting] = useState(false);
  const broken = status === "error" && isConnectionError(error);

  useEffect(() => {
    transport.onReconnecting = setReconnecting;
  }, [transport]);

  useEffect(() => {
    if (!broken) return;
    // The resume has a backoff of its own; this only keeps an unforeseen error from spinning.
    const timer = setTimeout(() => void resumeStream(), PAUSE);
    return () => clearTimeout(timer);
  }, [broken, error, resumeStream]);

  return reconnecting || broken;
}

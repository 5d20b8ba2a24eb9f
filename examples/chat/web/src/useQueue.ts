import { generateId } from "ai";
import { useCallback, useEffect, useRef, useState } from "react";
import { cancelQuestion, fetchQueue, type QueuedQuestion, queueQuestion, type StreamStatus } from "./api";

/** The questions that wait on the server for the end of an answer, whichever tab or device has asked them. */
export function useQueue(chatId: string, status: StreamStatus | null) {
  const [queue, setQueue] = useState<QueuedQuestion[]>([]);
  const load = useCallback(async () => setQueue(await fetchQueue(chatId)), [chatId]);

  const queued = status?.queued ?? 0;
  useEffect(() => {
    if (queued > 0) void load().catch(() => undefined);
    else setQueue([]);
  }, [queued, status?.version, load]);

  const last = useRef(Promise.resolve());
  /** Throws if the server does not take the question. */
  const enqueue = async (text: string) => {
    // One request after another, or they could arrive in another order.
    const taken = last.current.then(() => queueQuestion(chatId, { id: generateId(), role: "user", parts: [{ type: "text", text }] }));
    last.current = taken.catch(() => undefined);
    await taken;
    await load().catch(() => undefined);
  };
  /** Returns false if it was too late: the question begins. */
  const takeOut = async (number: number) => {
    const cancelled = await cancelQuestion(chatId, number);
    setQueue((queue) => queue.filter((question) => question.number !== number));
    return cancelled;
  };
  return { queue, enqueue, takeOut };
}

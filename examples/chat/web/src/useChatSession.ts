import { useChat } from "@ai-sdk/react";
import { lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { useCallback, useEffect, useRef, useState } from "react";
import { type ChatMessage, crashServer, fetchHistory, type StreamStatus } from "./api";
import { isBusy, isConnectionError, PageTransport } from "./transport";
import { useReconnect } from "./useReconnect";
import { useQueue } from "./useQueue";
import { useStory } from "./useStory";
import { useStreamStatus } from "./useStreamStatus";

/** Why nobody writes, in a sentence, and the whole seconds since the last chunk. */
export type Outage = { text: string; seconds: number };

export const KEPT = "Everything shown so far is stored.";
const FAILED = "The answer ended with an error. Everything before it is stored.";
const STILL_BUSY = "Your message was not sent, because this chat was still answering another one.";
const NOT_TAKEN = "Your message did not reach the server.";
const RENDER_EVERY = 40;
const ENDING_ARRIVES_WITHIN = 1000;

/** One chat: `useChat` that reconnects when its stream breaks and stays in step with other tabs. */
export function useChatSession(chatId: string, initialMessages: ChatMessage[]) {
  const [transport] = useState(() => new PageTransport());
  const [draft, setDraft] = useState("");
  const [notice, setNotice] = useState<string | null>(null);
  const [stopping, setStopping] = useState(false);
  const [crashes, setCrashes] = useState(0);
  const [killed, setKilled] = useState(false);
  const { story, tell } = useStory();

  const chat = useChat<ChatMessage>({ id: chatId, messages: initialMessages, resume: true, transport, sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses, throttle: RENDER_EVERY });
  const { setMessages, resumeStream } = chat;
  const waiting = useReconnect(chat, transport);
  const reconnecting = waiting?.reconnecting ?? false;
  const streaming = chat.status === "submitted" || chat.status === "streaming";
  const busy = streaming || reconnecting;

  const asks = asksUser(chat.messages.at(-1));
  const begun = chat.messages.at(-1)?.role === "assistant";
  const refused = chat.error && !isConnectionError(chat.error) ? chat.error : null;
  const latest = useRef({ streaming, reconnecting, begun, refused });
  latest.current = { streaming, reconnecting, begun, refused };

  const intoDraft = (text: string) => setDraft((draft) => [text, draft].filter(Boolean).join("\n\n"));

  /** Loads the history from the server and returns its last message. A message that never arrived there goes back into the composer. */
  const takeHistory = useCallback(
    async ({ idle }: { idle: boolean }) => {
      const history = await fetchHistory(chatId);
      const { streaming, refused } = latest.current;
      if (streaming) return undefined;
      setMessages((shown) => {
        const last = shown.at(-1);
        if (last?.role === "user" && !history.some((message) => message.id === last.id)) {
          intoDraft(messageText(last));
          setNotice(`${isBusy(refused) ? STILL_BUSY : NOT_TAKEN} It is back in the box below.`);
        }
        // An answer that failed before it reached the history is still worth reading.
        const unanswered = idle && last?.role === "assistant" && history.at(-1)?.id === shown.at(-2)?.id;
        return unanswered ? [...history, last] : history;
      });
      return history.at(-1);
    },
    [chatId, setMessages],
  );

  const replayed = useRef(false);
  const wasReconnecting = useRef(false);

  useEffect(() => {
    transport.onResumed = () => {
      replayed.current = true;
      if (latest.current.reconnecting) tell("Reconnected: the answer so far was read from the store, and new words arrive live.", "good");
      else tell("The answer so far was read from the store, and new words arrive live.", "good");
    };
    transport.onIdle = async () => {
      if (latest.current.reconnecting) tell("Reconnected: no answer is running, so the stored history is shown.", "good");
      await takeHistory({ idle: true });
    };
  }, [transport, takeHistory, tell]);

  useEffect(() => {
    const back = wasReconnecting.current && !reconnecting && latest.current.streaming;
    if (reconnecting) tell(`Connection lost. ${latest.current.begun ? KEPT : "Looking for the answer."}`, "bad");
    else if (back && !replayed.current) tell("Reconnected: the answer continues where it broke off.", "good");
    wasReconnecting.current = reconnecting;
    replayed.current = false;
  }, [reconnecting, tell]);

  useEffect(() => {
    // The answer may have ended before its status was asked for.
    if (refused) tell(latest.current.begun ? FAILED : "The question was not answered.", "bad");
  }, [refused, tell]);

  const knownVersion = useRef<number | null | undefined>(undefined);
  const handledVersion = useRef<number | null>(null);
  const toldAttempt = useRef(1);
  const wasBusy = useRef(false);
  const askedAfter = useRef<number | null>(undefined);
  const askedAt = useRef<number | null>(null);
  const [latency, setLatency] = useState<number | null>(null);

  const asked = (event: string) => {
    askedAfter.current = status?.version ?? null;
    askedAt.current = performance.now();
    tell(event);
  };

  useEffect(() => {
    if (chat.status !== "streaming") return;
    // An answer may be over before the next status.
    wasBusy.current = true;
    if (askedAt.current === null) return;
    setLatency(performance.now() - askedAt.current);
    askedAt.current = null;
  }, [chat.status]);

  const onStatus = (next: StreamStatus) => {
    if (next.attempt > 1 && next.attempt !== toldAttempt.current && next.state === "open") {
      tell("The server stopped in mid-answer. Another one took the answer over.", "good");
    }
    toldAttempt.current = next.attempt;
    if (!busy) keepInStep(next);
    // After a refusal the latest answer is an older one.
    if (!busy && wasBusy.current && next.state === "closed" && next.version !== askedAfter.current) {
      tellEnding(chat.messages.at(-1), chat.status === "error");
      // The question has waited for one of another tab, which is not shown here.
      const waited = askedAfter.current !== undefined && (next.version ?? 0) > (askedAfter.current ?? -1) + 1;
      if (waited) void takeHistory({ idle: true }).catch(() => undefined);
      askedAfter.current = undefined;
    }
    wasBusy.current = busy;
    knownVersion.current = next.version;
  };

  const tellEnding = (answer: ChatMessage | undefined, failed = answer?.metadata?.failed) => {
    if (failed) tell(FAILED, "bad");
    else if (answer?.metadata?.stopped) tell("The answer was stopped. Everything before that is stored.");
    else if (asksUser(answer)) tell("The answer waits for your decision.");
    else tell("The answer is complete and stored.", "good");
  };

  /** Follows or loads an answer that another tab asked for. `resume: true` deals with the first status. */
  const keepInStep = (next: StreamStatus) => {
    const first = knownVersion.current === undefined;
    const foreign = !first && !wasBusy.current && next.version !== knownVersion.current;
    if (!first && next.state === "open" && next.version !== handledVersion.current) {
      handledVersion.current = next.version;
      void follow().catch(() => (handledVersion.current = null));
    } else if (foreign && next.state === "closed") {
      // An error that is still shown belongs to an earlier answer.
      chat.clearError();
      void takeHistory({ idle: true }).then((last) => last?.role === "assistant" && tellEnding(last), () => undefined);
    } else if (!first && next.version === null && knownVersion.current !== null) {
      void leaveDeleted().catch(() => undefined);
    }
  };

  /** Empties the page if the chat was deleted elsewhere. If only its stream is gone, the history is still there. */
  const leaveDeleted = async () => {
    const history = await fetchHistory(chatId);
    if (latest.current.streaming || history.length > 0) return;
    chat.clearError();
    setMessages([]);
    tell("This chat was deleted in another tab or on another device.");
  };

  const follow = async () => {
    await takeHistory({ idle: false });
    if (latest.current.streaming) return;
    await resumeStream();
    // An answer that was over already comes at once, and React may show nothing in between. The next status tells its ending.
    wasBusy.current = true;
  };

  const { status, reach } = useStreamStatus({ chatId, busy, arriving: chat.status === "streaming", onStatus });

  const { queue, enqueue, takeOut } = useQueue(chatId, status);

  const send = async (text: string) => {
    setNotice(null);
    // If a 204 arrived after the question, useChat would take it for the end of the answer.
    if (busy || queue.length > 0 || (await transport.findsRunningAnswer())) return wait(text);
    asked("Sent. Every word of the answer is stored before it is shown.");
    await chat.sendMessage({ text });
  };

  const wait = (text: string) =>
    enqueue(text).catch((error) => {
      intoDraft(text);
      setNotice(isConnectionError(error) ? `${NOT_TAKEN} It is back in the box below.` : error.message);
    });

  const takeBack = async (number: number, text: string) => {
    if (await takeOut(number).catch(() => false)) intoDraft(text);
  };

  const regenerate = async () => {
    setNotice(null);
    if (await transport.findsRunningAnswer()) return;
    asked("Asked again. The new answer replaces the old one.");
    if (chat.messages.length === 0) location.reload();
    else await chat.regenerate();
  };

  const edit = async (messageId: string, text: string) => {
    setNotice(null);
    if (await transport.findsRunningAnswer()) return;
    asked("Asked anew. What followed the question is replaced.");
    await chat.sendMessage({ text, messageId });
  };

  const decide = (approvalId: string, approved: boolean) => {
    setNotice(null);
    asked(approved ? "Allowed. The answer goes on." : "Declined. The answer goes on.");
    void chat.addToolApprovalResponse({ id: approvalId, approved });
  };

  const stop = async () => {
    setStopping(true);
    // stop() alone would only close this connection, so tell the server first.
    const told = await transport.stop(chatId).then(() => true, () => false);
    // The stream now ends by itself, with a marker that the answer was stopped.
    const deadline = Date.now() + ENDING_ARRIVES_WITHIN;
    while (told && latest.current.streaming && Date.now() < deadline) await sleep(50);
    handledVersion.current = status?.version ?? null;
    await chat.stop();
    chat.clearError();
    if (!told) setNotice("The stop request did not reach the server, so the answer may still be running. Reload to check.");
    setStopping(false);
  };

  const crash = async () => {
    // Before the response: the stream of the answer may break first.
    setKilled(latest.current.streaming);
    try {
      const pid = await crashServer(chatId);
      tell(`You killed process ${pid} with SIGKILL. Its supervisor starts another one.`, "bad");
      setCrashes((count) => count + 1);
    } catch {
      setKilled(false);
      setNotice("The server could not be reached, so nothing was killed.");
    }
  };

  const wasWaiting = useRef(false);
  useEffect(() => {
    if (!busy || (wasWaiting.current && !waiting)) setKilled(false);
    wasWaiting.current = waiting !== null;
  }, [busy, waiting]);

  const outage: Outage | null = !waiting
    ? null
    : (busy && status?.state === "lost") || killed
      ? { text: "The server stopped. Another one takes over…", seconds: waiting.seconds }
      : reconnecting
        ? { text: "Connection lost. Reconnecting…", seconds: waiting.seconds }
        : null;

  return { chat, refused, begun, status, reach, outage, reconnecting, busy, stopping, story, tell, latency, notice, draft, setDraft, queue, takeBack, asks, send, decide, stop, regenerate, edit, crash, crashes };
}

function asksUser(message: ChatMessage | undefined): boolean {
  return message?.parts.some((part) => "state" in part && part.state === "approval-requested") ?? false;
}

export type ChatSession = ReturnType<typeof useChatSession>;

export function messageText(message: ChatMessage): string {
  return message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n\n");
}

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

import { useChat } from "@ai-sdk/react";
import { useCallback, useEffect, useRef, useState } from "react";
import { type ChatMessage, crashServer, fetchHistory, type StreamStatus } from "./api";
import { PageTransport } from "./transport";
import { useReconnect } from "./useReconnect";
import { useStory } from "./useStory";
import { useStreamStatus } from "./useStreamStatus";

/** Why nobody writes, in a sentence, and the whole seconds since the last chunk. */
export type Outage = { text: string; seconds: number };

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

  const chat = useChat<ChatMessage>({ id: chatId, messages: initialMessages, resume: true, transport, throttle: RENDER_EVERY });
  const { setMessages, resumeStream } = chat;
  const waiting = useReconnect(chat, transport);
  const reconnecting = waiting?.reconnecting ?? false;
  const streaming = chat.status === "submitted" || chat.status === "streaming";
  const busy = streaming || reconnecting;

  const latest = useRef({ streaming, reconnecting });
  latest.current = { streaming, reconnecting };

  /** Loads the history from the server. A message that never arrived there goes back into the composer. */
  const takeHistory = useCallback(
    async ({ idle }: { idle: boolean }) => {
      const history = await fetchHistory(chatId);
      if (latest.current.streaming) return;
      setMessages((shown) => {
        const last = shown.at(-1);
        if (last?.role === "user" && !history.some((message) => message.id === last.id)) {
          setDraft((text) => [messageText(last), text].filter(Boolean).join("\n\n"));
          setNotice("Your message did not reach the server. It is back in the box below.");
        }
        // An answer that failed before it reached the history is still worth reading.
        const unanswered = idle && last?.role === "assistant" && history.at(-1)?.id === shown.at(-2)?.id;
        return unanswered ? [...history, last] : history;
      });
    },
    [chatId, setMessages],
  );

  const replayed = useRef(false);
  const wasReconnecting = useRef(false);

  useEffect(() => {
    transport.onResumed = () => {
      replayed.current = true;
      if (latest.current.reconnecting) tell("Reconnected: the stored chunks were replayed, and the rest arrives live.", "good");
      else tell("This answer was already running: its stored chunks were replayed, and the rest arrives live.", "good");
    };
    transport.onIdle = async () => {
      if (latest.current.reconnecting) tell("Reconnected: no answer is running, so the stored history is shown.", "good");
      await takeHistory({ idle: true });
    };
  }, [transport, takeHistory, tell]);

  useEffect(() => {
    const back = wasReconnecting.current && !reconnecting && latest.current.streaming;
    if (reconnecting) tell("Connection lost. Everything shown so far is stored. Reconnecting…", "bad");
    else if (back && !replayed.current) tell("Reconnected: the answer continues where it broke off.", "good");
    wasReconnecting.current = reconnecting;
    replayed.current = false;
  }, [reconnecting, tell]);

  const knownVersion = useRef<number | null | undefined>(undefined);
  const handledVersion = useRef<number | null>(null);
  const toldAttempt = useRef(1);
  const wasBusy = useRef(false);

  const onStatus = (next: StreamStatus) => {
    if (next.attempt > 1 && next.attempt !== toldAttempt.current && next.state === "open") {
      tell("The server stopped in mid-answer. Another one took the answer over.", "good");
    }
    toldAttempt.current = next.attempt;
    if (!busy) keepInStep(next);
    if (!busy && wasBusy.current && next.state === "closed") tellEnding(next);
    wasBusy.current = busy;
    knownVersion.current = next.version;
  };

  const tellEnding = ({ version, chunks }: StreamStatus) => {
    const stored = `${chunks} chunks are stored as version ${version}.`;
    if (chat.status === "error") tell(`The answer ended with an error; ${stored}`, "bad");
    else if (chat.messages.at(-1)?.metadata?.stopped) tell(`The answer was stopped; ${stored}`);
    else tell(`Complete: ${stored}`, "good");
  };

  /** Follows or loads an answer that another tab asked for. `resume: true` deals with the first status. */
  const keepInStep = (next: StreamStatus) => {
    const first = knownVersion.current === undefined;
    const foreign = !first && !wasBusy.current && next.version !== knownVersion.current;
    if (!first && next.state === "open" && next.version !== handledVersion.current) {
      handledVersion.current = next.version;
      void follow().catch(() => (handledVersion.current = null));
    } else if (foreign && next.state === "closed") {
      void takeHistory({ idle: true }).catch(() => undefined);
    }
  };

  const follow = async () => {
    await takeHistory({ idle: false });
    if (!latest.current.streaming) await resumeStream();
  };

  const { status, reach } = useStreamStatus({ chatId, busy, arriving: chat.status === "streaming", onStatus });

  const send = async (text: string) => {
    setNotice(null);
    // If a 204 arrived after the question, useChat would take it for the end of the answer.
    if (await transport.findsRunningAnswer()) return setDraft(text);
    tell("Question sent. Each chunk of the answer is stored before it is shown.");
    await chat.sendMessage({ text });
  };

  const regenerate = async () => {
    setNotice(null);
    if (await transport.findsRunningAnswer()) return;
    tell("Asked again. The new answer is stored as a new version.");
    if (chat.messages.length === 0) location.reload();
    else await chat.regenerate();
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
    try {
      const pid = await crashServer(chatId);
      setKilled(latest.current.streaming);
      tell(`You killed process ${pid} with SIGKILL. Its supervisor starts another one.`, "bad");
      setCrashes((count) => count + 1);
    } catch {
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

  return { chat, status, reach, outage, reconnecting, busy, stopping, story, tell, notice, draft, setDraft, send, stop, regenerate, crash, crashes };
}

export type ChatSession = ReturnType<typeof useChatSession>;

export function messageText(message: ChatMessage): string {
  return message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n\n");
}

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Reconnects the streams of `useChat` when they break. Copy this file; it needs only `ai` (5, 6 or 7).
//
//   const transport = useMemo(() => new ReconnectingChatTransport({ api: "/api/chat" }), []);
//   const { resumeStream } = useChat({ id, messages, transport, resume: true,
//     onFinish: ({ isDisconnect }) => { if (isDisconnect) void resumeStream(); } });
//   const stop = () => transport.stop(id); // ends the answer; the `stop` of useChat only stops reading it
//
// A stream that breaks, falls silent, or ends without `[DONE]` continues inside the same response: GET {api}/{id}/stream with the SSE
// id of the last event as `Last-Event-ID` returns the events after it. So useChat reads every chunk once.
//
// In three cases the stream cannot continue: a newer version of the answer has begun (409), no event had arrived yet, or ten attempts
// in a row got no response. useChat then sees a lost connection, and `onFinish` above replays the answer from its start. A question
// that got no response is never sent again from here, because it may have been stored. If the replay finds nothing (204), load the
// history.
import { DefaultChatTransport, type HttpChatTransportInitOptions, type UIMessage } from "ai";

const ATTEMPTS = 10;
const FIRST_DELAY = 250;
const LONGEST_DELAY = 10_000;
/** Milliseconds of silence after which a connection is dead: the server sends a comment every 15 seconds. */
const SILENCE = 45_000;

type Report = (reconnecting: boolean) => void;
type Options<M extends UIMessage> = Omit<HttpChatTransportInitOptions<M>, "fetch"> & { onReconnecting?: Report };

export class ReconnectingChatTransport<M extends UIMessage> extends DefaultChatTransport<M> {
  constructor({ onReconnecting = () => undefined, ...options }: Options<M> = {}) {
    super({ ...options, fetch: (input, init) => follow(String(input), init ?? {}, onReconnecting) });
  }

  /** Ends the answer on the server, in whatever process it runs. Its stream then ends by itself. */
  async stop(chatId: string): Promise<void> {
    const headers = new Headers(await (typeof this.headers === "function" ? this.headers() : this.headers));
    const credentials = await (typeof this.credentials === "function" ? this.credentials() : this.credentials);
    const response = await fetch(chatUrl(this.api, chatId, "stop"), { method: "POST", headers, credentials, signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(await response.text());
  }
}

/** A `fetch` whose response outlives its connections. A GET is also retried until there is a response. */
async function follow(input: string, init: RequestInit, report: Report): Promise<Response> {
  const left = new AbortController();
  const signal = AbortSignal.any(init.signal ? [init.signal, left.signal] : [left.signal]);
  const posted = init.method === "POST";
  const url = posted ? chatUrl(input, JSON.parse(String(init.body)).id, "stream") : input;
  const headers = new Headers(init.headers);
  let failures = 0;

  const get = async (): Promise<Response> => {
    try {
      for (; failures < ATTEMPTS; failures += 1) {
        report(failures > 0);
        if (failures > 0) await pause(failures, signal);
        // Network failures are TypeErrors, aborted requests are not. A refusal by the server is final.
        const response = await fetch(url, { headers, credentials: init.credentials, signal }).catch((error) => {
          if (!(error instanceof TypeError)) throw error;
        });
        if (response && response.status < 500) return response;
      }
    } finally {
      report(false);
    }
    throw new TypeError("network error: the server does not answer");
  };

  const copy = async (response: Response, out: WritableStreamDefaultWriter<string>): Promise<void> => {
    for (let body = response.body; body; body = response.body) {
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = "", piece = await read(reader); piece !== undefined; piece = await read(reader)) {
        // Pass on whole events only: half an event before a cut is dropped, and arrives again.
        const end = (text += piece).lastIndexOf("\n\n") + 2;
        if (end < 2) continue;
        const events = text.slice(0, end);
        text = text.slice(end);
        const place = [...events.matchAll(/^id: (.+)$/gm)].at(-1)?.[1];
        if (place) headers.set("last-event-id", place);
        if (place) failures = 0;
        await out.write(events);
        if (/^data: \[DONE\]$/m.test(events)) return;
      }
      signal.throwIfAborted();
      if (!headers.has("last-event-id")) throw new TypeError("network error: the stream broke before its first event");
      failures += 1;
      response = await get();
      if (response.status === 409) throw new TypeError("network error: a newer version of the answer has begun");
      if (!response.ok) throw new Error(await response.text());
      if (response.status === 204) return;
    }
  };

  const response = posted ? await fetch(input, { ...init, signal }) : await get();
  // Chromium gives even a 204 a body.
  if (!response.ok || !response.body || response.status === 204) return response;
  const { readable, writable } = new TextEncoderStream();
  const out = writable.getWriter();
  out.closed.catch(() => left.abort());
  copy(response, out).then(() => out.close(), (error) => out.abort(error)).catch(() => undefined);
  return new Response(readable, response);
}

/** Returns the next piece of a body, or undefined if it has ended, broken, or fallen silent. */
async function read(reader: ReadableStreamDefaultReader<string>): Promise<string | undefined> {
  const watchdog = setTimeout(() => void reader.cancel().catch(() => undefined), SILENCE);
  const piece = await reader.read().catch(() => undefined);
  clearTimeout(watchdog);
  return piece?.value;
}

/** Waits longer after each failure and out of step with other tabs, or until the network or the user is back. */
async function pause(failures: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const over = new AbortController();
  const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures) * (0.5 + Math.random() / 2);
  await new Promise<void>((resolve, reject) => {
    // Offline, an attempt would be wasted.
    if (globalThis.navigator?.onLine !== false) setTimeout(resolve, delay);
    globalThis.addEventListener?.("online", () => resolve(), { signal: over.signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || resolve(), { signal: over.signal });
    signal.addEventListener("abort", () => reject(signal.reason), { signal: over.signal });
  }).finally(() => over.abort());
}

function chatUrl(api: string, chatId: string, action: string): string {
  const url = new URL(api, globalThis.location?.href);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(chatId)}/${action}`;
  return url.href;
}

// Reconnects the streams of `useChat` when they break. Install the package, or copy this file; it needs only `ai` (5, 6 or 7).
//
//   const transport = useMemo(() => new ReconnectingChatTransport({ api: "/api/chat" }), []);
//   const chat = useChat({ id, messages, transport, resume: true, onError: () => void transport.replay(chat) });
//   const stop = () => transport.stop(id); // ends the answer; the `stop` of useChat only stops reading it
//
// A stream that breaks, falls silent, or ends without `[DONE]` continues inside the same response: GET {api}/{id}/stream with the SSE
// id of the last event as `Last-Event-ID` returns the events after it. So useChat reads every chunk once.
//
// In three cases it cannot continue: a newer version of the answer has begun (409), no event had arrived yet, or the question got no
// response; it is never sent again from here, because it may have been stored. The transport then asks for the answer from its start.
// Once that is there, the response fails, and `replay` shows the new one in place of the old one. useChat alone would not do: many
// releases append a replay to the parts that they have.
//
// Each request tells the server in `?profile=` which chunks the installed `ai` reads, unless it is a release that reads all that the
// server sends to a page that says nothing.
import { DefaultChatTransport, uiMessageChunkSchema, type HttpChatTransportInitOptions, type UIMessage } from "ai";

const FIRST_DELAY = 250;
const LONGEST_DELAY = 10_000;
/** Milliseconds of silence after which a connection is dead: the server sends a comment every 15 seconds. */
const SILENCE = 45_000;
/** The same for a page that comes back, whose connection may have died while it was away. */
const SILENCE_ON_RETURN = 20_000;
const STOP_TIMEOUT = 5000;
/** Milliseconds for which a replay is kept open for a page that has not asked for it yet. */
const REPLAY_KEPT = 10_000;

/** The part of React Native's `AppState` that is used here. */
export type AppStateLike = {
  addEventListener(type: "change", listener: (state: string) => void): { remove(): void };
};

export type ReconnectingChatTransportOptions<M extends UIMessage = UIMessage> = HttpChatTransportInitOptions<M> & {
  /**
   * Called each second while no chunk arrives, with the whole seconds since the last one; once more, with null, when chunks arrive
   * again or the response has ended. `reconnecting`: there is no connection; it is also called at once when one breaks. Otherwise
   * the server is connected and silent: the model thinks, or the process that wrote is gone and another one takes over.
   */
  onWaiting?: (seconds: number | null, reconnecting: boolean) => void;
  /** `AppState` of React Native: the transport reconnects as soon as the app is active again, as it does for a page that is shown. */
  appState?: AppStateLike;
};

/**
 * The error of a chat whose answer could not continue.
 *
 * After the TypeError of a lost connection, many releases of `ai` would keep the parts of the answer, and append those of a replay.
 */
export class LostStream extends Error {
  override readonly name = "LostStream";
}

/** The error of a request that the server has refused, with the words of the server. `ai` 5 and 6 tell no status by themselves. */
export class RefusedRequest extends Error {
  override readonly name = "RefusedRequest";

  constructor(
    message: string,
    /** Status of the response, such as 409. `APICallError` of `ai` 7 has it under the same name. */
    readonly statusCode: number,
  ) {
    super(message);
  }
}

/** The part of a chat of `useChat` that `replay` needs. */
export type ReplayedChat<M extends UIMessage = UIMessage> = {
  id: string;
  setMessages: (change: (shown: M[]) => M[]) => void;
  resumeStream: () => Promise<void>;
};

export class ReconnectingChatTransport<M extends UIMessage = UIMessage> extends DefaultChatTransport<M> {
  constructor({ onWaiting = () => undefined, appState, ...options }: ReconnectingChatTransportOptions<M> = {}) {
    // Called without a receiver, and looked up at each call, since tests and tracers replace it.
    const send: typeof fetch = options.fetch ?? ((input, init) => fetch(input, init));
    const page = { send, onWaiting, appState, replays: new Replays() };
    super({ ...options, fetch: (input, init) => new Following(page, init ?? {}).follow(String(input)) });
    this.send = send;
    this.replays = page.replays;
  }

  private readonly send: typeof fetch;
  private readonly replays: Replays;

  /**
   * Shows an answer from its start, in place of the one whose stream could not continue; for `onError` of `useChat`. Does nothing after
   * any other error. `load` returns the stored conversation, which may have gone on elsewhere while the connection was lost.
   */
  async replay({ id, setMessages, resumeStream }: ReplayedChat<M>, load?: () => Promise<M[]>): Promise<void> {
    const url = chatUrl(this.api, id, "stream");
    const replay = this.replays.of(url);
    if (replay === undefined || (replay === null && !load)) return;
    // Waits in any case, so that the chat has noted its error.
    const stored = await load?.();
    // The user may have asked something else.
    if (this.replays.of(url) !== replay) return;
    setMessages((shown) => {
      const last = shown.at(-1);
      const unknown = last?.role === "user" && !stored?.some((message) => message.id === last.id);
      const messages = stored && !unknown ? stored : shown;
      // Many releases append a replay to the parts of the answer that they show.
      return replay && messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;
    });
    await resumeStream();
  }

  /** Ends the answer on the server, in whatever process it runs. Its stream then ends by itself. */
  async stop(chatId: string): Promise<void> {
    const headers = new Headers(await (typeof this.headers === "function" ? this.headers() : this.headers));
    const credentials = await (typeof this.credentials === "function" ? this.credentials() : this.credentials);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error("The server did not answer in time.")), STOP_TIMEOUT);
    const request = { method: "POST", headers, credentials, signal: late.signal };
    const response = await this.send(chatUrl(this.api, chatId, "stop"), request).finally(() => clearTimeout(timer));
    if (!response.ok) throw await refusalOf(response);
  }
}

/** Answers from their start that the page has not asked for yet, by the addresses of their streams. */
class Replays {
  private readonly found = new Map<string, Replay | null>();

  /** Keeps a replay for a while, or the news that there is none. */
  keep(url: string, replay: Replay | null): void {
    this.found.set(keyOf(url), replay);
    setTimeout(() => this.of(url) === replay && this.drop(url), REPLAY_KEPT);
  }

  /** Returns null if there is none, and undefined if no stream was lost. */
  of(url: string): Replay | null | undefined {
    return this.found.get(keyOf(url));
  }

  take(url: string): Replay | null | undefined {
    const replay = this.of(url);
    this.found.delete(keyOf(url));
    return replay;
  }

  drop(url: string): void {
    void this.take(url)?.response.body?.cancel();
  }
}

type Replay = { response: Response; following: Following };

/** The settings of a transport. */
type Page = {
  send: typeof fetch;
  onWaiting: NonNullable<ReconnectingChatTransportOptions["onWaiting"]>;
  appState: AppStateLike | undefined;
  replays: Replays;
};

/** One request of `useChat`, whose response outlives its connections. */
class Following {
  private readonly left = new AbortController();
  private readonly headers: Headers;
  private readonly waiting: Waiting;
  private readonly presence: Presence;
  private failures = 0;

  constructor(
    private readonly page: Page,
    private readonly init: RequestInit,
  ) {
    this.headers = new Headers(init.headers);
    this.waiting = new Waiting(page.onWaiting);
    this.presence = new Presence(page.appState);
    this.leaveWith(init.signal);
  }

  /** A `fetch`. A GET is also retried until there is a response. */
  async follow(input: string): Promise<Response> {
    const posted = this.init.method === "POST";
    const asked = await this.withProfile(input);
    const url = posted ? chatUrl(asked, JSON.parse(String(this.init.body)).id, "stream") : asked;
    try {
      if (posted) this.page.replays.drop(url);
      const replay = this.page.replays.take(url);
      if (replay) {
        this.end();
        replay.following.leaveWith(this.init.signal);
        replay.following.waiting.goOn();
        return replay.response;
      }
      const response = posted ? await this.post(asked, url) : await this.get(url);
      if (!response.ok) throw await refusalOf(response);
      if (isStream(response)) return new Response(this.outlive(response, url), response);
      this.end();
      return response;
    } catch (error) {
      this.end();
      throw error;
    }
  }

  leaveWith(given: AbortSignal | null | undefined): void {
    if (given?.aborted) this.left.abort(given.reason);
    given?.addEventListener("abort", () => this.left.abort(given.reason), { once: true });
  }

  private get signal(): AbortSignal {
    return this.left.signal;
  }

  /** In the query: pages of another origin would have to be allowed one more header. */
  private async withProfile(url: string): Promise<string> {
    const query = url.includes("?") ? "&" : "?";
    if (this.headers.has("x-ui-message-profile") || /[?&]profile=/.test(url)) return url;
    const profile = await (installed ??= profileOfInstalled());
    return profile ? `${url}${query}profile=${profile}` : url;
  }

  private end(): void {
    this.waiting.end();
    this.presence.end();
  }

  private outlive(response: Response, url: string): ReadableStream<Uint8Array> {
    const { readable, writable } = new TextEncoderStream();
    const out = writable.getWriter();
    out.closed.catch(() => this.left.abort());
    this.copy(response, out, url)
      .finally(() => this.end())
      .then(() => out.close(), (error) => out.abort(error))
      .catch(() => undefined);
    return readable;
  }

  private async post(asked: string, url: string): Promise<Response> {
    try {
      return await this.page.send(asked, { ...this.init, signal: this.signal });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      const replay = await this.find(url);
      if (replay) this.page.replays.keep(url, replay);
      throw new LostStream(error.message);
    }
  }

  private async get(url: string): Promise<Response> {
    for (; ; this.failures += 1) {
      if (this.failures > 0) await this.pause();
      // Network failures are TypeErrors, aborted requests are not. A refusal by the server is final.
      const request = { headers: this.headers, credentials: this.init.credentials, signal: this.signal };
      const response = await this.page.send(url, request).catch((error) => {
        if (!(error instanceof TypeError)) throw error;
      });
      if (response && response.status < 500) {
        this.waiting.connected();
        return response;
      }
      this.waiting.broken();
    }
  }

  /** Asks for the answer from its start. Returns null if there is none. */
  private async find(url: string): Promise<Replay | null> {
    this.headers.delete("last-event-id");
    // From here on the other request tells the page.
    this.waiting.end();
    const following = new Following(this.page, { headers: this.headers, credentials: this.init.credentials });
    const leave = () => following.left.abort();
    this.signal.addEventListener("abort", leave);
    // The page that asks for the replay may outlive this request.
    const response = await following.follow(url).finally(() => this.signal.removeEventListener("abort", leave));
    following.waiting.rest();
    return isStream(response) ? { response, following } : null;
  }

  private async copy(response: Response, out: WritableStreamDefaultWriter<string>, url: string): Promise<void> {
    for (let body = response.body; body; body = response.body) {
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = "", piece = await this.read(reader); piece !== undefined; piece = await this.read(reader)) {
        // Pass on whole events only: half an event before a cut is dropped, and arrives again.
        const end = (text += piece).lastIndexOf("\n\n") + 2;
        if (end < 2) continue;
        const events = text.slice(0, end);
        text = text.slice(end);
        const place = [...events.matchAll(/^id: (.+)$/gm)].at(-1)?.[1];
        if (place) {
          this.headers.set("last-event-id", place);
          this.failures = 0;
          this.waiting.arrived();
        }
        await out.write(events);
        if (/^data: \[DONE\]$/m.test(events)) return;
      }
      this.throwIfLeft();
      this.waiting.broken();
      this.failures += 1;
      const begun = this.headers.has("last-event-id");
      if (begun) response = await this.get(url);
      if (!begun || response.status === 409) {
        this.page.replays.keep(url, await this.find(url));
        throw new LostStream(begun ? "A newer version of the answer has begun." : "The stream broke before its first event.");
      }
      if (!response.ok) throw await refusalOf(response);
      if (response.status === 204) return;
    }
  }

  /** Returns the next piece of a body, or undefined if it has ended, broken, or fallen silent. */
  private async read(reader: ReadableStreamDefaultReader<string>): Promise<string | undefined> {
    const cancel = () => void reader.cancel().catch(() => undefined);
    const watchdog = setTimeout(cancel, SILENCE);
    const since = Date.now();
    // The timers of a page or app that is away may stand still.
    const forget = this.presence.onReturn(() => Date.now() - since > SILENCE_ON_RETURN && cancel());
    const piece = await reader.read().catch(() => undefined);
    clearTimeout(watchdog);
    forget();
    return piece?.value;
  }

  /** Waits longer after each failure and out of step with other tabs, or until the network or the user is back. */
  private async pause(): Promise<void> {
    this.throwIfLeft();
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.failures) * (0.5 + Math.random() / 2);
    await new Promise<void>((resolve, reject) => {
      // Offline, an attempt would be wasted.
      const timer = globalThis.navigator?.onLine === false ? undefined : setTimeout(() => over(resolve), delay);
      const leave = () => over(() => reject(this.signal.reason));
      const forget = this.presence.onReturn(() => over(resolve));
      const over = (then: () => void) => {
        clearTimeout(timer);
        forget();
        this.signal.removeEventListener("abort", leave);
        then();
      };
      this.signal.addEventListener("abort", leave);
    });
  }

  private throwIfLeft(): void {
    if (this.signal.aborted) throw this.signal.reason;
  }
}

/** Tells the page for how long no chunk has arrived. */
class Waiting {
  private since = Date.now();
  private reconnecting = false;
  private resting = false;
  private told: string | null = null;
  private readonly timer = setInterval(() => this.tell(), 1000);

  constructor(private readonly onWaiting: (seconds: number | null, reconnecting: boolean) => void) {}

  arrived(): void {
    this.since = Date.now();
    this.reconnecting = false;
    if (this.told !== null) this.onWaiting(null, false);
    this.told = null;
  }

  connected(): void {
    this.reconnecting = false;
  }

  broken(): void {
    if (this.reconnecting) return;
    this.reconnecting = true;
    this.tell();
  }

  end(): void {
    clearInterval(this.timer);
    this.arrived();
  }

  /** Tells nothing while nobody reads the response. */
  rest(): void {
    this.arrived();
    this.resting = true;
  }

  goOn(): void {
    this.since = Date.now();
    this.resting = false;
  }

  private tell(): void {
    if (this.resting) return;
    const seconds = Math.floor((Date.now() - this.since) / 1000);
    const news = `${seconds} ${this.reconnecting}`;
    if (news === this.told || (seconds < 1 && !this.reconnecting)) return;
    this.told = news;
    this.onWaiting(seconds, this.reconnecting);
  }
}

/** Tells when the network or the user is back. */
class Presence {
  private readonly over = new AbortController();
  private readonly listeners = new Set<() => void>();
  private readonly subscription: { remove(): void } | undefined;

  constructor(appState: AppStateLike | undefined) {
    const back = () => [...this.listeners].forEach((listener) => listener());
    const options = { signal: this.over.signal };
    globalThis.addEventListener?.("online", back, options);
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || back(), options);
    this.subscription = appState?.addEventListener("change", (state) => state === "active" && back());
  }

  /** Calls the listener until the returned function is called. */
  onReturn(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  end(): void {
    this.over.abort();
    this.subscription?.remove();
  }
}

// Chromium gives even a 204 a body.
const isStream = (response: Response) => response.body !== null && response.status !== 204;

async function refusalOf(response: Response): Promise<RefusedRequest> {
  return new RefusedRequest((await response.text()) || `The server refused the request (${response.status}).`, response.status);
}

let installed: Promise<string | undefined> | undefined;

/** Asks the schema by which the installed `ai` reads chunks. */
async function profileOfInstalled(): Promise<string | undefined> {
  if (!(await reads({ type: "tool-approval-request", approvalId: "", toolCallId: "" }))) return "v5";
  if (!(await reads({ type: "tool-approval-response", approvalId: "", approved: true })))
    // The first releases of `ai` 6 refuse keys that they do not know.
    return (await reads({ type: "start-step", unknown: true })) ? undefined : "v6";
  const latest = [{ type: "reset-step" }, { type: "steering-message", id: "", parts: [] }, { type: "finish", finishReason: "interrupted" }];
  return (await Promise.all(latest.map(reads))).every(Boolean) ? "v7.0.149" : "v7";
}

async function reads(chunk: object): Promise<boolean> {
  const { validate } = (uiMessageChunkSchema as unknown as () => Schema)();
  return (await validate(chunk)).success;
}

/** Each release of `ai` gives it another type. */
type Schema = { validate(value: unknown): PromiseLike<{ success: boolean }> };

function chatUrl(api: string, chatId: string, action: string): string {
  const url = new URL(api, globalThis.location?.href);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(chatId)}/${action}`;
  return url.href;
}

/** Old releases of `ai` make relative addresses. */
function keyOf(url: string): string {
  const { origin, pathname } = new URL(url, globalThis.location?.href);
  return origin + pathname;
}

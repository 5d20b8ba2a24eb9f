import { LostStream, ReconnectingChatTransport, RefusedRequest } from "monostream-reconnecting-transport";
import { CHAT_API, type ChatMessage } from "./api";

/** True if the server was unreachable or the connection was cut, so that another attempt may succeed. */
export function isConnectionError(error: unknown): boolean {
  // The Fetch standard rejects with a TypeError for every network failure, before and inside a body.
  if (error instanceof TypeError || error instanceof LostStream) return true;
  return error instanceof RefusedRequest && [502, 503, 504].includes(error.statusCode);
}

/** True if the server refused a question because the chat still answers another one, perhaps of another tab. */
export const isBusy = (error: unknown) => error instanceof RefusedRequest && error.statusCode === 409;

type Resume = ReturnType<ReconnectingChatTransport<ChatMessage>["reconnectToStream"]>;
type ResumeOptions = Parameters<ReconnectingChatTransport<ChatMessage>["reconnectToStream"]>[0];

/**
 * The reconnecting transport, with callbacks for the page.
 *
 * If a resume finds nothing (204), the answer is complete or was never requested. `onIdle` then loads the history.
 */
export class PageTransport extends ReconnectingChatTransport<ChatMessage> {
  /** Called as the transport's own `onWaiting` is. */
  onWaiting: (seconds: number | null, reconnecting: boolean) => void = () => undefined;
  onResumed: () => void = () => undefined;
  onIdle: () => Promise<void> = async () => undefined;

  constructor() {
    super({ api: CHAT_API, onWaiting: (seconds, reconnecting) => this.onWaiting(seconds, reconnecting) });
  }

  private resume: Resume = Promise.resolve(null);

  override reconnectToStream(options: ResumeOptions): Resume {
    const resume = this.reconnect(options);
    const settled = () => {
      if (this.resume === resume) this.resume = Promise.resolve(null);
    };
    resume.then(settled, settled);
    this.resume = resume;
    return resume;
  }

  /** Waits for a resume in progress. Returns true if it finds a running answer. */
  findsRunningAnswer(): Promise<boolean> {
    return this.resume.then(
      (stream) => stream !== null,
      () => false,
    );
  }

  private async reconnect(options: ResumeOptions): Resume {
    const stream = await super.reconnectToStream(options);
    if (stream === null) await this.onIdle();
    else this.onResumed();
    return stream;
  }
}

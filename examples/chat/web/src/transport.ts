import { APICallError, DefaultChatTransport } from "ai";
import { CHAT_API, type ChatMessage, fetchStatus } from "./api";

/** The server answered, but the answer cannot be followed yet: its next attempt has not begun. */
class AnswerPending extends Error {}

/** True when the server could not be reached or was cut off, so that trying again can help. */
export function isConnectionError(error: unknown): boolean {
  // The Fetch standard rejects with a TypeError for every network failure, before and inside a body.
  if (error instanceof TypeError || error instanceof AnswerPending) return true;
  return APICallError.isInstance(error) && [502, 503, 504].includes(error.statusCode ?? 0);
}

type Resume = ReturnType<DefaultChatTransport<ChatMessage>["reconnectToStream"]>;
type ResumeOptions = Parameters<DefaultChatTransport<ChatMessage>["reconnectToStream"]>[0];

/**
 * The default transport of the AI SDK; requests and bodies are unchanged.
 *
 * It only looks at a resume that finds nothing (204), which can mean two things: the answer is complete, then the
 * history has it (`onIdle` fetches it); or a crashed server's answer waits to be run again, then the resume must be tried again.
 */
export class ResumingTransport extends DefaultChatTransport<ChatMessage> {
  onResumed: () => void = () => undefined;
  onIdle: () => Promise<void> = async () => undefined;

  constructor() {
    super({ api: CHAT_API });
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

  /** Waits for a resume that is under way. Returns true if it finds a running answer. */
  findsRunningAnswer(): Promise<boolean> {
    return this.resume.then(
      (stream) => stream !== null,
      () => false,
    );
  }

  private async reconnect(options: ResumeOptions): Resume {
    const stream = await super.reconnectToStream(options);
    if (stream !== null) {
      this.onResumed();
      return stream;
    }
    const { state } = await fetchStatus(options.chatId, options.abortSignal);
    if (state === "open" || state === "lost") throw new AnswerPending("the answer is about to be run again");
    await this.onIdle();
    return null;
  }
}

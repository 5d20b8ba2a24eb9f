// Keeps a chat of `useChat` in step with other tabs and devices. Install the package, or copy this file and chat-events.ts; it needs
// `react`, and works with every transport.
//
//   const chat = useChat({ id, messages, transport, resume: true });
//   useSharedChat(chat, { history, onRefused: setDraft });
import type { UIMessage } from "ai";
import { useEffect, useRef } from "react";
import { type ChatTurn, followChats } from "./chat-events.js";

/** Milliseconds until the history is asked for again. */
const PAUSE = 1000;

/** The part of a chat of `useChat` that is used here. */
export type SharedChat<M extends UIMessage = UIMessage> = {
  id: string;
  messages: M[];
  status: "submitted" | "streaming" | "ready" | "error";
  error: Error | undefined;
  setMessages: (messages: M[]) => void;
  clearError: () => void;
  resumeStream: () => Promise<void>;
};

export type SharedChatOptions<M extends UIMessage = UIMessage> = {
  /**
   * Loads the stored conversation, without an answer that is running. If it rejects, it is called again after a second. Null stands for
   * a conversation that the user may not or cannot have: the page keeps what it shows, but for a request that was refused.
   */
  history: (chatId: string) => Promise<M[] | null>;
  /** Called with the text of a question that the server has not taken, once it is off the page, and with the error that says why. */
  onRefused: (text: string, error: Error) => void;
  /** Address of the routes of the chats: `/api/chat` unless it is given. */
  api?: string;
};

/** Shows questions, answers and decisions of other tabs and devices in a chat that was made with `resume: true`. */
export function useSharedChat<M extends UIMessage>(chat: SharedChat<M>, options: SharedChatOptions<M>): void {
  const { id, status, error } = chat;
  const { api = "/api/chat" } = options;
  const latest = useRef({ chat, options });
  latest.current = { chat, options };
  const sharing = useRef<Sharing<M>>(undefined);

  useEffect(() => {
    const begun = (sharing.current = new Sharing(id, () => latest.current));
    const unfollow = followChats(api, (turns, _running, missed) => {
      if (missed) begun.goesOn();
      turns.forEach((turn) => turn.chatId === id && begun.hear(turn));
    });
    return () => (begun.end(), unfollow());
  }, [id, api]);

  useEffect(() => sharing.current?.look(), [id, api, status, error]);
}

/** A chat that is on the page. */
class Sharing<M extends UIMessage> {
  private newest = -1;
  /** Answers that other tabs have begun while this one was busy. */
  private readonly missed = new Set<string>();
  /** The conversation before the last request. */
  private rested: M[] = [];
  /** The conversation has gone on elsewhere. */
  private behind = false;
  private loads = 0;
  private left = false;
  private again: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly id: string,
    private readonly latest: () => { chat: SharedChat<M>; options: SharedChatOptions<M> },
  ) {}

  hear({ state, version, messageId }: ChatTurn): void {
    const deleted = state === "idle";
    // Of a turn that is over at once, only the end is told.
    const begins = state === "open" || state === "waiting" || (state === "closed" && version > this.newest);
    this.newest = deleted ? -1 : Math.max(this.newest, version);
    if (deleted) this.goesOn();
    else if (begins && (messageId || !this.busy)) this.goesOn(messageId!);
  }

  /** The conversation may have gone on elsewhere, by an answer with this id if it is known. */
  goesOn(messageId = "unknown"): void {
    if (this.busy) return void this.missed.add(messageId);
    this.behind = true;
    void this.catchUp();
  }

  /** Looks whether the page needs the history, now that its status has changed. */
  look(): void {
    if (this.busy) return;
    const { error, messages } = this.latest().chat;
    if (!error) this.rested = messages;
    const shown = new Set(messages.map((message) => message.id));
    if ([...this.missed].some((messageId) => !shown.has(messageId))) this.behind = true;
    this.missed.clear();
    if (this.behind || (error && doubts(error, messages.at(-1)))) void this.catchUp();
  }

  end(): void {
    this.left = true;
    clearTimeout(this.again);
  }

  private get busy(): boolean {
    return ["submitted", "streaming"].includes(this.latest().chat.status);
  }

  private async catchUp(): Promise<void> {
    clearTimeout(this.again);
    const load = ++this.loads;
    const { history, onRefused } = this.latest().options;
    const stored = await history(this.id).catch(() => undefined);
    if (this.left || load !== this.loads || this.busy) return;
    if (stored === undefined) {
      this.again = setTimeout(() => this.busy || void this.catchUp(), PAUSE);
      return;
    }
    const { chat } = this.latest();
    const { error } = chat;
    const last = chat.messages.at(-1);
    const status = error && statusOf(error);
    const question = last?.role === "user" ? last : undefined;
    if (stored === null) {
      if (status && (question || takesBack(this.rested.at(-1), last))) this.undo(question, error);
      return;
    }
    const unsent = error && question && !holds(stored, question);
    // The question was asked again.
    const unanswered = error && question && stored.at(-1)?.id === this.rested.at(-1)?.id;
    const undecided = takesBack(stored.at(-1), last);
    const refused = status !== undefined && status !== 409;
    // The refusal of a stream tells nothing about the conversation.
    if (refused && last?.role === "assistant" && !undecided && !this.behind) return;
    if (unsent) onRefused(textOf(question), error);
    chat.setMessages(stored);
    this.rested = stored;
    const ended = error?.name === "Error" && failed(stored.at(-1));
    // The user reads why nothing follows.
    const stays = error && (undecided || (!this.behind && (refused || ended || ((unsent || unanswered) && status !== 409))));
    // The decision may have been refused since the conversation has gone on: the next request will tell.
    this.behind &&= Boolean(stays);
    if (stays) return;
    chat.clearError();
    await chat.resumeStream();
  }

  /** Shows the conversation as it was before a request that was refused. */
  private undo(question: M | undefined, error: Error): void {
    if (question && !holds(this.rested, question)) this.latest().options.onRefused(textOf(question), error);
    this.latest().chat.setMessages(this.rested);
  }
}

/** True after an error that leaves open whether the server has taken what the page shows last. */
function doubts(error: Error, last: UIMessage | undefined): boolean {
  if (error instanceof TypeError || error.name === "LostStream" || statusOf(error)) return true;
  // With other transports, `ai` 5 and 6 have the same error for a request that was refused and for an answer that failed.
  return error.name === "Error" && (last?.role === "user" || !!last && callsOf(last).some(({ state }) => state === "approval-responded"));
}

/** True if the page shows a decision, or the result of a tool of its own, that is not stored. */
function takesBack(stored: UIMessage | undefined, shown: UIMessage | undefined): boolean {
  if (!stored || !shown || stored.id !== shown.id) return false;
  const decided = callsOf(shown).filter((call) => !isOpen(call)).map(({ toolCallId }) => toolCallId);
  return callsOf(stored).some((call) => isOpen(call) && decided.includes(call.toolCallId));
}

/** True if the question is among the messages, with the same text: an edited one keeps its id. */
const holds = (messages: UIMessage[], question: UIMessage) => messages.some((each) => each.id === question.id && textOf(each) === textOf(question));

const failed = (message: UIMessage | undefined) => !!(message?.metadata as { failed?: boolean } | undefined)?.failed;

/** `RefusedRequest` and `APICallError` have it. */
const statusOf = (error: Error) => (error as { statusCode?: number }).statusCode;

type Call = { toolCallId: string; state: string };

/** Each release of `ai` has other types for the calls of tools. */
const callsOf = ({ parts }: UIMessage) => parts.filter((part) => "toolCallId" in part) as unknown as Call[];

const isOpen = ({ state }: Call) => state === "approval-requested" || state === "input-available";

const textOf = ({ parts }: UIMessage) => parts.map((part) => (part.type === "text" ? part.text : "")).join("");

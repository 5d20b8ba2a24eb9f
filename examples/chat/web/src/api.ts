import type { UIMessage } from "ai";

export const CHAT_API = "/api/chat";

export type Progress = { label: string; done: number; of: number };
export type FormData = { title: string; fields: { name: string; options?: string[] }[]; submit: string };

/** The `data-` parts of this chat. */
export type ChatData = { progress: Progress; form: FormData };

/**
 * An assistant message carries the process that writes or wrote it, `stopped` when a user ended it early, and `failed` when an
 * error did.
 */
export type ChatMessage = UIMessage<{ pid?: number; stopped?: boolean; failed?: boolean }, ChatData>;

/** The latest version of the chat's stream, as stored on the server. */
export type StreamStatus = {
  /** `lost`: open, but the process that wrote it is gone and no other one has taken over yet. */
  state: "idle" | "open" | "closed" | "lost";
  version: number | null;
  chunks: number;
  attempt: number;
  messageId: string | null;
  /** How many questions wait for the end of the answer. */
  queued: number;
};

export type QueuedQuestion = { number: number; message: ChatMessage };

export type ServerInfo = { model: string; backend: string; pid: number; demo: boolean };

/** `user`: the name of the account, null for a guest; undefined if the server has no accounts. */
export type ChatList = { chats: ListedChat[]; user?: string | null };

export type ListedChat = { id: string; title: string; running?: boolean };

const chatUrl = (chatId: string, action: string) => `${CHAT_API}/${encodeURIComponent(chatId)}/${action}`;

async function json<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, { cache: "no-store", ...init });
  // Signed out in another tab, or the browser keeps no cookies.
  if (response.status === 401) location.replace(`/sign-in${location.search}`);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return (await response.json()) as T;
}

export const fetchInfo = () => json<ServerInfo>("/api/info");

export const fetchChats = () => json<ChatList>("/api/chats");

export const fetchStatus = (chatId: string, signal?: AbortSignal) =>
  json<StreamStatus>(chatUrl(chatId, "status"), { signal });

export const fetchQueue = (chatId: string) =>
  json<{ questions: QueuedQuestion[] }>(chatUrl(chatId, "queue")).then(({ questions }) => questions);

/** Lets the server keep a question, and does not wait for its answer. Throws the server's words if it does not take it. */
export async function queueQuestion(chatId: string, message: ChatMessage): Promise<void> {
  const body = JSON.stringify({ id: chatId, messages: [message], trigger: "submit-message" });
  const headers = { "content-type": "application/json", prefer: "respond-async" };
  const response = await fetch(CHAT_API, { method: "POST", headers, body });
  if (!response.ok) throw new Error(await response.text());
}

/** Returns whether the question will not begin. */
export async function cancelQuestion(chatId: string, number: number): Promise<boolean> {
  const { cancelled } = await json<{ cancelled: number[] }>(chatUrl(chatId, `queue/${number}`), { method: "DELETE" });
  return cancelled.includes(number);
}

export async function fetchHistory(chatId: string): Promise<ChatMessage[]> {
  const history = await json<{ messages: ChatMessage[] }>(`/api/history/${encodeURIComponent(chatId)}`);
  return history.messages;
}

/** Deletes a chat with all its answers; one that is gone already is no error. */
export async function deleteChat(chatId: string): Promise<void> {
  const response = await fetch(`/api/history/${encodeURIComponent(chatId)}`, { method: "DELETE" });
  if (!response.ok && response.status !== 404) throw new Error(`the chat was not deleted: ${response.status}`);
}

/** Gives a chat a title; an empty one brings its automatic title back. */
export async function renameChat(chatId: string, title: string): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`/api/history/${encodeURIComponent(chatId)}`, { method: "PATCH", headers, body: JSON.stringify({ title }) });
  if (!response.ok) throw new Error(`the chat was not renamed: ${response.status}`);
}

/** Kills the process that writes the answer of this chat, or the one that answers this request; returns its id. */
export async function crashServer(chatId: string): Promise<number> {
  return (await json<{ pid: number }>(`/api/demo/crash?chat=${encodeURIComponent(chatId)}`, { method: "POST" })).pid;
}

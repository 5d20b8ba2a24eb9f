import type { UIMessage } from "ai";

export const CHAT_API = "/api/chat";

/**
 * An assistant message carries the process that writes or wrote it, `stopped` when a user ended it early, and `failed` when an
 * error did.
 */
export type ChatMessage = UIMessage<{ pid?: number; stopped?: boolean; failed?: boolean }>;

/** The latest version of the chat's stream, as stored on the server. */
export type StreamStatus = {
  /** `lost`: open, but the process that wrote it is gone and no other one has taken over yet. */
  state: "idle" | "open" | "closed" | "lost";
  version: number | null;
  chunks: number;
  attempt: number;
  messageId: string | null;
};

export type ServerInfo = { model: string; backend: string; pid: number; demo: boolean };

const chatUrl = (chatId: string, action: string) => `${CHAT_API}/${encodeURIComponent(chatId)}/${action}`;

async function json<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, { cache: "no-store", ...init });
  // Signed out, perhaps in another tab: this URL now shows the sign-in form.
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return (await response.json()) as T;
}

export const fetchInfo = () => json<ServerInfo>("/api/info");

export const fetchStatus = (chatId: string, signal?: AbortSignal) =>
  json<StreamStatus>(chatUrl(chatId, "status"), { signal });

export async function fetchHistory(chatId: string): Promise<ChatMessage[]> {
  const history = await json<{ messages: ChatMessage[] }>(`/api/history/${encodeURIComponent(chatId)}`);
  return history.messages;
}

/** Kills the process that writes the answer of this chat, or the one that answers this request; returns its id. */
export async function crashServer(chatId: string): Promise<number> {
  return (await json<{ pid: number }>(`/api/demo/crash?chat=${encodeURIComponent(chatId)}`, { method: "POST" })).pid;
}

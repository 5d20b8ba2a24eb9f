// A chat server whose connections the test controls. The answer of every chat is the same list of chunks, stored as `version.id`.
import { createServer } from "node:http";

const HEADERS = { "content-type": "text/event-stream", "x-vercel-ai-ui-message-stream": "v1" };

export const CHUNKS = [
  { type: "start", messageId: "m1" },
  { type: "text-start", id: "t" },
  ...["One ", "two ", "three ", "four."].map((delta) => ({ type: "text-delta", id: "t", delta })),
  { type: "text-end", id: "t" },
  { type: "finish" },
];
export const TEXT = "One two three four.";

export const event = (id) => `id: 0.${id}\ndata: ${JSON.stringify(CHUNKS[id])}\n\n`;
export const rest = (id) => CHUNKS.map((_, each) => each).filter((each) => each >= id).map(event).join("") + "data: [DONE]\n\n";

/** Serves requests one by one with the handlers of a script; a request after the last handler fails the test. */
export class Server {
  requests = [];

  constructor(...script) {
    this.script = script;
    this.http = createServer((request, response) => void this.#answer(request, response));
  }

  async #answer(request, response) {
    const body = [];
    for await (const piece of request) body.push(piece);
    const { method, url, headers } = request;
    this.requests.push({ method, url, after: headers["last-event-id"], headers, body: Buffer.concat(body).toString() });
    const handler = this.script.shift();
    if (handler) await handler(response, request);
    else response.writeHead(500).end("unexpected request");
  }

  async listen(port = 0) {
    await new Promise((resolve) => this.http.listen(port, "127.0.0.1", resolve));
    this.port = this.http.address().port;
    return `http://127.0.0.1:${this.port}/api/chat`;
  }

  close() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }
}

const open = (response, text) => new Promise((written) => response.writeHead(200, HEADERS).write(text, written));

/** Sends the events from `first` to before `end`, and the beginning of the next one; then cuts the connection. */
export const cut = (first, end) => async (response) => {
  const events = Array.from({ length: end - first }, (_, each) => event(first + each)).join("");
  await open(response, `: stream-open\n\n${events}${event(end).slice(0, 20)}`);
  // Let the client read them: a reset drops bytes that it has not read.
  setTimeout(() => response.destroy(), 50);
};
/** Sends events and ends cleanly, without `[DONE]`, as a proxy may. */
export const end = (first, end) => (response) => {
  response.writeHead(200, HEADERS).end(Array.from({ length: end - first }, (_, each) => event(first + each)).join(""));
};
/** Sends events and stays silent until the returned function sends the others. */
export const hold = (first, end) => {
  let go;
  const gone = new Promise((resolve) => {
    go = resolve;
  });
  const handler = async (response) => {
    await open(response, Array.from({ length: end - first }, (_, each) => event(first + each)).join(""));
    await gone;
    response.end(rest(end));
  };
  return [handler, go];
};
export const finish = (first) => (response) => void response.writeHead(200, HEADERS).end(rest(first));
export const refuse = (status, text = "") => (response) => void response.writeHead(status).end(text);
export const drop = (response) => void response.destroy();
/** Sends the whole answer of another version. */
export const replay = (chunks) => (response) => {
  const events = chunks.map((chunk, id) => `id: 1.${id}\ndata: ${JSON.stringify(chunk)}\n\n`);
  response.writeHead(200, HEADERS).end(`${events.join("")}data: [DONE]\n\n`);
};

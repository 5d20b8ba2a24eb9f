import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { AbstractChat, readUIMessageStream } from "ai";
import { ReconnectingChatTransport } from "../dist/reconnecting-transport.js";
import { CHUNKS, cut, drop, end, finish, hold, refuse, replay, Server, TEXT } from "./server.mjs";

async function serve(t, ...script) {
  const server = new Server(...script);
  t.after(() => server.close());
  return [server, await server.listen()];
}

const question = (abortSignal) => ({
  trigger: "submit-message",
  chatId: "c1",
  messageId: undefined,
  messages: [{ id: "q1", role: "user", parts: [{ type: "text", text: "Hi" }] }],
  abortSignal,
});

async function chunks(stream) {
  const read = [];
  for await (const chunk of stream) read.push(chunk);
  return read;
}

/** What requests tell the server of the release of `ai`. */
const TOLD = {
  "ai-5": "?profile=v5",
  "ai-5.0.92": "?profile=v5",
  "ai-6": "",
  "ai-6.0.300": "",
  "ai-7": "?profile=v7.0.149",
  "ai-7.0.130": "?profile=v7",
}[process.env.AI_RELEASE];

const QUESTION = { id: "q1", role: "user", parts: [{ type: "text", text: "Hi" }] };
/** The answer of a second attempt. */
const SECOND = [
  { type: "start", messageId: "m1" },
  { type: "text-start", id: "t" },
  { type: "text-delta", id: "t", delta: "Five." },
  { type: "text-end", id: "t" },
  { type: "finish" },
];
const of = (messageId) => SECOND.with(0, { type: "start", messageId });

/** A chat as `useChat` has it, without React: the transport is wrapped, as all but the newest releases of `@ai-sdk/react` do. */
function openChat(transport, { messages = [], load } = {}) {
  const state = {
    messages,
    status: "ready",
    error: undefined,
    snapshot: structuredClone,
    pushMessage: (message) => (state.messages = [...state.messages, message]),
    popMessage: () => (state.messages = state.messages.slice(0, -1)),
    replaceMessage: (index, message) => (state.messages = state.messages.with(index, structuredClone(message))),
  };
  const wrapped = {
    sendMessages: (options) => transport.sendMessages(options),
    reconnectToStream: (options) => transport.reconnectToStream(options),
  };
  const errors = [];
  let replaying = Promise.resolve();
  const onError = (error) => {
    errors.push(error.message);
    replaying = transport.replay({ id: "c1", setMessages, resumeStream: () => chat.resumeStream() }, load);
  };
  const setMessages = (change) => (chat.messages = change(chat.messages));
  const chat = new (class extends AbstractChat {})({ id: "c1", state, transport: wrapped, onError });
  return {
    chat,
    errors,
    shown: () => chat.messages.map(({ id, parts }) => `${id}: ${parts.map((part) => part.text ?? part.state ?? "").join("|")}`),
    replayed: async () => {
      for (let awaited; awaited !== replaying; ) await (awaited = replaying);
    },
  };
}

/** What a page is told while its transport reconnects. A busy machine also lets it wait for chunks. */
const away = (told) => told.filter(([, reconnecting]) => reconnecting);

/** `AppState` of React Native. */
class AppState {
  listeners = new Set();

  addEventListener(type, listener) {
    assert.equal(type, "change");
    this.listeners.add(listener);
    return { remove: () => this.listeners.delete(listener) };
  }

  is(state) {
    for (const listener of [...this.listeners]) listener(state);
  }
}

describe("transport", { concurrency: 8 }, () => {
  test("an answer that nothing breaks arrives as it is, without a word about waiting", async (t) => {
    const [server, api] = await serve(t, finish(0));
    const told = [];
    const transport = new ReconnectingChatTransport({ api, onWaiting: (...each) => told.push(each) });

    const started = performance.now();
    assert.deepEqual(await chunks(await transport.sendMessages(question())), CHUNKS);
    assert.ok(told.length === 0 || performance.now() - started > 1000);
    assert.equal(server.requests.length, 1);
  });

  test("an answer that breaks goes on after its last whole event, in one message", async (t) => {
    const [server, api] = await serve(t, cut(0, 3), end(3, 4), cut(4, 4), finish(4));
    const transport = new ReconnectingChatTransport({ api, headers: { authorization: "Bearer t" } });

    let message;
    for await (message of readUIMessageStream({ stream: await transport.sendMessages(question()) }));

    assert.equal(message.parts.map((part) => part.text ?? "").join(""), TEXT);
    assert.deepEqual(
      server.requests.map(({ method, url, after, headers }) => [method, url, after, headers.authorization]),
      [
        ["POST", `/api/chat${TOLD}`, undefined, "Bearer t"],
        ["GET", `/api/chat/c1/stream${TOLD}`, "0.2", "Bearer t"],
        ["GET", `/api/chat/c1/stream${TOLD}`, "0.3", "Bearer t"],
        ["GET", `/api/chat/c1/stream${TOLD}`, "0.3", "Bearer t"],
      ],
    );
  });

  // The oldest releases append the path of the stream to the query.
  const skip = process.env.AI_RELEASE === "ai-5.0.92";
  test("a page that loads tells its release too, behind a query of its own", { skip }, async (t) => {
    const [server, api] = await serve(t, finish(0));
    const transport = new ReconnectingChatTransport({ api: `${api}?tenant=a` });

    await transport.reconnectToStream({ chatId: "c1" });
    assert.deepEqual(server.requests.map(({ url }) => url), [`/api/chat/c1/stream?tenant=a${TOLD.replace("?", "&")}`]);
  });

  test("a page that tells its release by itself is not corrected", async (t) => {
    const [server, api] = await serve(t, finish(0), finish(0));
    const header = new ReconnectingChatTransport({ api, headers: { "x-ui-message-profile": "v6" } });
    const query = new ReconnectingChatTransport({ api: `${api}?profile=v6` });

    await chunks(await header.sendMessages(question()));
    await chunks(await query.sendMessages(question()));
    assert.deepEqual(server.requests.map(({ url }) => url), ["/api/chat", "/api/chat?profile=v6"]);
  });

  test("a page that loads waits for a server that is away", async (t) => {
    const [, api] = await serve(t, drop, refuse(503), finish(0));
    const transport = new ReconnectingChatTransport({ api });

    assert.deepEqual(await chunks(await transport.reconnectToStream({ chatId: "c1" })), CHUNKS);
  });

  test("a chat without an answer is not waited for", async (t) => {
    const [, api] = await serve(t, refuse(204));

    assert.equal(await new ReconnectingChatTransport({ api }).reconnectToStream({ chatId: "c1" }), null);
  });

  test("a question that got no response is not sent again, and stays with its error", async (t) => {
    const [server, api] = await serve(t, drop, refuse(503), refuse(204));
    const { chat, errors, shown, replayed } = openChat(new ReconnectingChatTransport({ api }), { load: async () => [] });

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual([shown(), chat.status, errors], [["q1: Hi"], "error", ["fetch failed"]]);
    assert.deepEqual(server.requests.map(({ method }) => method), ["POST", "GET", "GET"]);
  });

  test("a question that got no response shows its answer if it was stored", async (t) => {
    const [server, api] = await serve(t, drop, replay(SECOND));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual([shown(), chat.status], [["q1: Hi", "m1: Five."], "ready"]);
    assert.equal(server.requests.length, 2);
  });

  test("an answer that began anew takes the place of the old one, which stays until it is there", async (t) => {
    const requested = [];
    const begun = (response) => {
      requested.push(shown());
      replay(SECOND)(response);
    };
    const [server, api] = await serve(t, cut(0, 4), refuse(409), refuse(503), begun);
    const { chat, shown, replayed, errors } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual(requested, [["q1: Hi", "m1: One two "]]);
    assert.deepEqual([shown(), chat.status], [["q1: Hi", "m1: Five."], "ready"]);
    assert.deepEqual(errors, ["A newer version of the answer has begun."]);
    assert.deepEqual(server.requests.map(({ after }) => after), [undefined, "0.3", undefined, undefined]);
  });

  test("an answer that begins anew twice is shown once", async (t) => {
    const [, api] = await serve(t, cut(0, 4), refuse(409), cut(0, 3), refuse(409), replay(SECOND));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual(shown(), ["q1: Hi", "m1: Five."]);
  });

  test("an answer that began anew inside the input of a call is shown once", async (t) => {
    const call = { type: "tool-input-start", toolCallId: "k1", toolName: "search", dynamic: true };
    const half = [SECOND[0], SECOND[1], SECOND[2], call];
    const broken = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(half.map((chunk, id) => `id: 0.${id}\ndata: ${JSON.stringify(chunk)}\n\n`).join(""));
      setTimeout(() => response.destroy(), 50);
    };
    const [, api] = await serve(t, broken, refuse(409), replay(SECOND));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual(shown(), ["q1: Hi", "m1: Five."]);
  });

  test("another answer to the same question takes the place of the one that was cut off", async (t) => {
    const [, api] = await serve(t, cut(0, 4), refuse(409), replay(of("m2")));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual(shown(), ["q1: Hi", "m2: Five."]);
  });

  test("an answer to a question of another device comes behind the stored conversation", async (t) => {
    const known = [QUESTION, { id: "m1", role: "assistant", parts: [{ type: "text", text: TEXT }] }, { ...QUESTION, id: "q2" }];
    const [, api] = await serve(t, cut(0, 4), refuse(409), replay(of("m2")));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }), { load: async () => known });

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual(shown(), ["q1: Hi", `m1: ${TEXT}`, "q2: Hi", "m2: Five."]);
  });

  test("a question that is asked while the stored conversation loads goes first", async (t) => {
    let loaded;
    const load = () => new Promise((resolve) => (loaded = resolve));
    const [server, api] = await serve(t, cut(0, 4), refuse(409), replay(SECOND), replay(of("m2")));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }), { load });

    await chat.sendMessage(QUESTION);
    await chat.sendMessage({ ...QUESTION, id: "q2" });
    loaded([QUESTION]);
    await replayed();
    assert.deepEqual(shown(), ["q1: Hi", "m1: One two ", "q2: Hi", "m2: Five."]);
    assert.equal(server.requests.length, 4);
  });

  test("a newer answer that is over is read from the stored conversation", async (t) => {
    const known = [QUESTION, { id: "m1", role: "assistant", parts: [{ type: "text", text: TEXT }] }];
    const [, api] = await serve(t, cut(0, 4), refuse(409), refuse(204), refuse(204));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }), { load: async () => known });

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual([shown(), chat.status], [["q1: Hi", `m1: ${TEXT}`], "ready"]);
  });

  test("a newer answer that is over leaves the page as it is, with an error, if there is no stored conversation", async (t) => {
    const [, api] = await serve(t, cut(0, 4), refuse(409), refuse(204));
    const { chat, shown, replayed } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual([shown(), chat.status], [["q1: Hi", "m1: One two "], "error"]);
  });

  test("a refusal of the server is not replayed", async (t) => {
    const [server, api] = await serve(t, refuse(409, "Busy."));
    const { chat, shown, errors, replayed } = openChat(new ReconnectingChatTransport({ api }), { load: async () => [] });

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual([shown(), errors, server.requests.length], [["q1: Hi"], ["Busy."], 1]);
  });

  test("a refusal of the server tells its status", async (t) => {
    const [, api] = await serve(t, refuse(409, "Busy."), refuse(413), refuse(403, "Not your chat."), cut(0, 3), refuse(404));
    const transport = new ReconnectingChatTransport({ api });
    const refusals = [
      [() => transport.sendMessages(question()), { name: "RefusedRequest", message: "Busy.", statusCode: 409 }],
      [() => transport.sendMessages(question()), { message: /413/, statusCode: 413 }],
      [() => transport.reconnectToStream({ chatId: "c1" }), { message: "Not your chat.", statusCode: 403 }],
      [async () => chunks(await transport.sendMessages(question())), { statusCode: 404 }],
    ];

    for (const [request, error] of refusals) await assert.rejects(request(), error);
  });

  test("a stopped chat makes no further requests for the newer answer", async (t) => {
    const [server, api] = await serve(t, cut(0, 4), refuse(409), ...Array(9).fill(refuse(503)));
    const { chat, errors } = openChat(new ReconnectingChatTransport({ api }));
    const asking = chat.sendMessage(QUESTION);
    while (server.requests.length < 3) await sleep(5);
    await chat.stop();

    await asking;
    const before = server.requests.length;
    await sleep(1500);
    assert.deepEqual([server.requests.length, errors], [before, []]);
  });

  test("a refusal of the server is an error with its text", async (t) => {
    const [, api] = await serve(t, cut(0, 3), refuse(403, "Not your chat."));
    const transport = new ReconnectingChatTransport({ api });

    await assert.rejects(chunks(await transport.sendMessages(question())), /Not your chat\./);
  });

  test("a stream that breaks before its first event is replayed", async (t) => {
    const [, api] = await serve(t, cut(0, 0), replay(SECOND));
    const { chat, shown, errors, replayed } = openChat(new ReconnectingChatTransport({ api }));

    await chat.sendMessage(QUESTION);
    await replayed();
    assert.deepEqual([shown(), chat.status], [["q1: Hi", "m1: Five."], "ready"]);
    assert.match(errors[0], /before its first event/);
  });

  test("the page is told each second for how long no chunk has arrived, and when one arrives", async (t) => {
    const [held, go] = hold(0, 3);
    const [, api] = await serve(t, held);
    const told = [];
    const transport = new ReconnectingChatTransport({
      api,
      onWaiting: (...each) => {
        told.push(each);
        // A busy machine may skip a second.
        if (each[0] >= 2) go();
      },
    });

    await chunks(await transport.sendMessages(question()));
    assert.deepEqual(told.at(-1), [null, false]);
    // The first chunk, too, may take more than a second.
    const waited = told.slice(0, -1);
    const waits = waited.slice(waited.findLastIndex(([seconds]) => seconds === null) + 1);
    assert.deepEqual(waits, waits.toSorted(([one], [other]) => one - other).map(([seconds]) => [seconds, false]));
    assert.ok(waits.length > 0 && waits[0][0] > 0);
    await sleep(1100);
    assert.equal(told.length, waited.length + 1);
  });

  test("the page is told at once that the transport reconnects", async (t) => {
    const [, api] = await serve(t, cut(0, 3), finish(3));
    const told = [];
    const transport = new ReconnectingChatTransport({ api, onWaiting: (...each) => told.push(each) });

    await chunks(await transport.sendMessages(question()));
    assert.deepEqual([away(told)[0], told.at(-1)], [[0, true], [null, false]]);
  });

  test("the page is told that nothing is waited for once the newer answer is there", async (t) => {
    const [, api] = await serve(t, cut(0, 3), refuse(409), replay(SECOND));
    const told = [];
    const transport = new ReconnectingChatTransport({ api, onWaiting: (...each) => told.push(each) });

    await assert.rejects(chunks(await transport.sendMessages(question())));
    assert.deepEqual([away(told)[0], told.at(-1)], [[0, true], [null, false]]);
  });

  test("the page is told of no wait for an answer that it has not asked for yet", async (t) => {
    const [held, go] = hold(0, 3);
    const [, api] = await serve(t, drop, held);
    const told = [];
    const transport = new ReconnectingChatTransport({ api, onWaiting: (...each) => told.push(each) });

    await assert.rejects(transport.sendMessages(question()), { name: "LostStream" });
    const before = told.length;
    await sleep(2200);
    assert.ok(before === 0 || told[before - 1][0] === null);
    assert.equal(told.length, before);

    const stream = await transport.reconnectToStream({ chatId: "c1" });
    await sleep(2200);
    assert.ok(told.slice(before).some(([seconds]) => seconds > 0));
    go();
    assert.deepEqual(await chunks(stream), CHUNKS);
    assert.equal(told.at(-1)[0], null);
  });

  test("an app that becomes active again reconnects at once, however often it failed", async (t) => {
    const [server, api] = await serve(t, cut(0, 3), ...Array(20).fill(refuse(503)), finish(3));
    const appState = new AppState();
    const transport = new ReconnectingChatTransport({ api, appState });
    // Left to themselves, so many attempts take minutes.
    const returning = setInterval(() => appState.is("active"), 20);
    const started = performance.now();

    assert.deepEqual(await chunks(await transport.sendMessages(question())), CHUNKS);
    clearInterval(returning);
    assert.ok(performance.now() - started < 30_000);
    assert.equal(server.requests.length, 22);
    assert.equal(appState.listeners.size, 0);
  });

  test("an app that goes to the background does not reconnect sooner", async (t) => {
    const [server, api] = await serve(t, cut(0, 3), finish(3));
    const appState = new AppState();
    const transport = new ReconnectingChatTransport({ api, appState });
    const reading = chunks(await transport.sendMessages(question()));
    while (server.requests.length < 1) await sleep(5);
    const started = performance.now();
    const leaving = setInterval(() => appState.is("background"), 5);

    await reading;
    clearInterval(leaving);
    assert.ok(performance.now() - started > 200);
  });

  test("a page that is left makes no further requests", async (t) => {
    const [server, api] = await serve(t, cut(0, 3), refuse(503), refuse(503), refuse(503));
    const left = new AbortController();
    const appState = new AppState();
    const transport = new ReconnectingChatTransport({ api, appState });
    const reading = chunks(await transport.sendMessages(question(left.signal)));
    while (server.requests.length < 2) await sleep(5);
    left.abort();

    await assert.rejects(reading);
    const before = server.requests.length;
    await sleep(1500);
    assert.equal(server.requests.length, before);
    assert.equal(appState.listeners.size, 0);
  });

  test("stop ends the answer on the server, and a refusal is an error", async (t) => {
    const [server, api] = await serve(t, refuse(200), refuse(503, "The server is restarting."));
    const transport = new ReconnectingChatTransport({ api: `${api}/`, headers: () => ({ authorization: "Bearer t" }) });

    await transport.stop("a/b");
    await assert.rejects(transport.stop("c1"), { message: "The server is restarting.", statusCode: 503 });
    const [{ method, url, headers }] = server.requests;
    assert.deepEqual([method, url, headers.authorization], ["POST", "/api/chat/a%2Fb/stop", "Bearer t"]);
  });

  test("a fetch of the app's own carries all requests", async (t) => {
    const [, api] = await serve(t, cut(0, 3), finish(3), refuse(200));
    const sent = [];
    const transport = new ReconnectingChatTransport({
      api,
      fetch: (input, init) => {
        sent.push(`${init.method ?? "GET"} ${new URL(input).pathname}`);
        return fetch(input, init);
      },
    });

    await chunks(await transport.sendMessages(question()));
    await transport.stop("c1");
    assert.deepEqual(sent, ["POST /api/chat", "GET /api/chat/c1/stream", "POST /api/chat/c1/stop"]);
  });
});

test("an app that comes back after a while does not trust a connection that was silent", async (t) => {
  const [held] = hold(0, 3);
  const [server, api] = await serve(t, held, finish(3));
  const appState = new AppState();
  const transport = new ReconnectingChatTransport({ api, appState });
  const stream = await transport.sendMessages(question());
  const reader = stream.getReader();
  for (let seen = 0; seen < 3; seen += 1) await reader.read();
  appState.is("active");
  await sleep(50);
  assert.equal(server.requests.length, 1);

  mock.timers.enable({ apis: ["Date"], now: Date.now() + 21_000 });
  t.after(() => mock.timers.reset());
  appState.is("active");
  while (server.requests.length < 2) await sleep(5);
  assert.equal(server.requests[1].after, "0.2");
  while (!(await reader.read()).done);
});

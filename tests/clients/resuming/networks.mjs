// Networks that break a response where a test says so.

// All that a chat does with what it has read happens in microtasks, so after this it has seen everything.
const settled = () => new Promise(resolve => setImmediate(resolve));

// Passes `events` chunks on, and then a part of the next one: `bytes` of it, or of the rest that is left by dividing.
async function* beginning(body, { events, bytes = 0 }) {
  let seen = 0;
  for await (const frame of frames(body)) {
    if (seen === events) {
      yield frame.subarray(0, bytes % frame.length);
      break;
    }
    yield frame;
    if (frame.includes('data: {')) seen += 1;
    if (seen === events && bytes === 0) break;
  }
}

async function* frames(body) {
  let rest = Buffer.alloc(0);
  for await (const piece of body) {
    rest = Buffer.concat([rest, piece]);
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      yield rest.subarray(0, end + 2);
      rest = rest.subarray(end + 2);
    }
  }
}

async function* broken(body, cut) {
  if (cut.events > 0 || cut.bytes > 0) yield* beginning(body, cut);
  else await body.cancel();
  await settled();
  // The text that Chromium gives it; clients look for it.
  if (!cut.cleanly) throw new TypeError('network error');
}

async function* noting(body, types) {
  for await (const frame of frames(body)) {
    const data = frame.toString().match(/^data: (\{.*)$/m);
    if (data) types.push(JSON.parse(data[1]).type);
    yield frame;
  }
}

// A fetch whose n-th response ends as `cuts[n]` says: {events, bytes, cleanly}, or null for a whole one; {rejected} has none. Further
// ones are whole.
// `log` gets {method, url, status, types} of each, the last being those of the chunks that came through.
export function cutting(cuts, log = []) {
  let count = 0;
  return async (url, init) => {
    const cut = cuts[count++];
    const entry = { method: init?.method ?? 'GET', url: String(url), types: [] };
    log.push(entry);
    if (cut?.rejected) throw new TypeError('Failed to fetch');
    const response = await fetch(url, init);
    entry.status = response.status;
    if (response.body == null) return response;
    return new Response(ReadableStream.from(noting(cut == null ? response.body : broken(response.body, cut), entry.types)), response);
  };
}

// What a page can put around its fetch so that no client takes a broken body for one that it may go on with.
export const plainErrors = fetch => async (url, init) => {
  const response = await fetch(url, init);
  if (response.body == null) return response;
  async function* body() {
    try {
      yield* response.body;
    } catch (error) {
      throw new Error('the connection broke');
    }
  }
  return new Response(ReadableStream.from(body()), response);
};

// A fetch for a page that goes on by itself where a response broke: by the id of the last whole event, inside the same response.
export const goingOn = (fetch, api, id) => async (url, init) => {
  const response = await fetch(url, init);
  async function* body(response, place) {
    try {
      for await (const frame of frames(response.body)) {
        place = frame.toString().match(/^id: (.*)$/m)?.[1] ?? place;
        yield frame;
      }
    } catch {
      const headers = { ...init.headers, 'last-event-id': place };
      yield* body(await fetch(`${api}/${id}/stream`, { headers }), place);
    }
  }
  return new Response(ReadableStream.from(body(response)), response);
};

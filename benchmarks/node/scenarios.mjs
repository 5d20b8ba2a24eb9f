// The design of the seed's README as a service, put through the same scenarios as designs/scenarios.py.
// node scenarios.mjs '{"url": …, "seconds": …, "jobs": …}'
import { EventEmitter } from "node:events";
import pg from "pg";
import { drizzle } from "drizzle-orm/node-postgres";
import { sql } from "drizzle-orm";
import { drizzleStore } from "./stores.mjs";
import { now, report, told } from "./pacing.mjs";

const options = JSON.parse(process.argv[2]);
const CHANNEL = "scenarios";
const isTerminal = (chunk) => chunk.type === "finish";

class Service {
  constructor(url) {
    this.pool = new pg.Pool({ connectionString: url });
    this.store = drizzleStore(this.pool, CHANNEL);
    this.db = drizzle({ client: this.pool });
    this.moved = new EventEmitter();
    this.moved.setMaxListeners(0);
  }

  async listen() {
    const listener = await this.pool.connect();
    listener.on("notification", ({ payload }) => this.moved.emit(JSON.parse(payload).streamId));
    await listener.query(`LISTEN ${CHANNEL}`);
  }

  async latestVersion(streamId) {
    const { rows } = await this.db.execute(sql`SELECT max(version) AS version FROM stream_chunk WHERE stream_id = ${streamId}`);
    return rows[0].version === null ? null : Number(rows[0].version);
  }

  async createPublisher(streamId, version) {
    if (version === "next") version = ((await this.latestVersion(streamId)) ?? -1) + 1;
    let id = 0;
    return {
      write: async (chunk) => {
        await this.store.insert(streamId, version, id, chunk);
        this.moved.emit(streamId);
        this.store.notify(JSON.stringify({ streamId, version, id })).catch(() => {});
        id += 1;
      },
    };
  }

  async *subscribe(streamId, signal) {
    let cursor = { version: (await this.latestVersion(streamId)) ?? 0, next: 0 };
    let dirty = true;
    let wake = () => {};
    const onMoved = () => {
      dirty = true;
      wake();
    };
    this.moved.on(streamId, onMoved);
    signal?.addEventListener("abort", onMoved);
    try {
      while (!signal?.aborted) {
        if (!dirty) await new Promise((resolve) => (wake = resolve));
        dirty = false;
        const rows = await this.store.listAfter(streamId, cursor.version, cursor.next);
        const latest = rows.at(-1)?.version;
        for (const row of rows.filter(({ version }) => version === latest)) {
          if (signal?.aborted) return;
          cursor = { version: row.version, next: row.id + 1 };
          yield row;
          if (isTerminal(row.chunk)) return;
        }
      }
    } finally {
      this.moved.off(streamId, onMoved);
    }
  }
}

const below = (limit) => Math.floor(Math.random() * limit);
const draw = () => ({
  chunks: Array.from({ length: 1 + below(20) }, () => ({ type: "text-delta", id: "t1", delta: "x".repeat(1 + below(60)) })),
  readers: 1 + below(3),
});
const FINISH = { type: "finish" };

async function collect(service, id, signal) {
  let version = -1;
  let chunks = [];
  for await (const row of service.subscribe(id, signal)) {
    if (row.version !== version) [version, chunks] = [row.version, []];
    chunks.push(row.chunk);
  }
  return chunks;
}

async function write(pub, chunks) {
  for (const chunk of chunks) await pub.write(chunk);
}

// jsonb gives the keys another order.
const spoken = (chunks) => JSON.stringify(chunks.map(({ type, delta }) => [type, delta]));
const check = (read, wrote) => {
  if (spoken(read) !== spoken([...wrote, FINISH])) throw new Error(`read ${read.length} of ${wrote.length + 1}`);
};

// Each returns [what every reader must see last, the readers].
const SCENARIOS = {
  async live(a, b, id, { chunks, readers }) {
    const reading = Array.from({ length: readers }, () => collect(a, id));
    await write(await a.createPublisher(id, 0), [...chunks, FINISH]);
    return [chunks, reading];
  },
  async replay(a, b, id, { chunks, readers }) {
    await write(await a.createPublisher(id, 0), [...chunks, FINISH]);
    return [chunks, Array.from({ length: readers }, () => collect(a, id))];
  },
  async lateJoin(a, b, id, { chunks, readers }) {
    const pub = await a.createPublisher(id, 0);
    const half = chunks.length >> 1;
    await write(pub, chunks.slice(0, half));
    const reading = Array.from({ length: readers }, () => collect(a, id));
    await write(pub, [...chunks.slice(half), FINISH]);
    return [chunks, reading];
  },
  async mixed(a, b, id, { chunks, readers }) {
    const reading = Array.from({ length: readers }, (_, place) => collect(place % 2 ? a : b, id));
    await write(await a.createPublisher(id, 0), [...chunks, FINISH]);
    return [chunks, reading];
  },
  async crashReplay(a, b, id, { chunks, readers }) {
    await write(await a.createPublisher(id, "next"), chunks);
    await write(await b.createPublisher(id, "next"), [...chunks, FINISH]);
    return [chunks, Array.from({ length: readers }, () => collect(a, id))];
  },
  async crashLive(a, b, id, { chunks, readers }) {
    const reading = Array.from({ length: readers }, () => collect(a, id));
    await write(await a.createPublisher(id, "next"), chunks);
    await write(await b.createPublisher(id, "next"), [...chunks, FINISH]);
    return [chunks, reading];
  },
  async abort(a, b, id, { chunks, readers }) {
    const aborting = new AbortController();
    const gone = collect(a, id, aborting.signal);
    const pub = await a.createPublisher(id, 0);
    const half = chunks.length >> 1;
    await write(pub, chunks.slice(0, half));
    aborting.abort();
    await gone;
    const reading = Array.from({ length: readers }, () => collect(a, id));
    await write(pub, [...chunks.slice(half), FINISH]);
    return [chunks, reading];
  },
  async reuse(a, b, id, { chunks, readers }) {
    await write(await a.createPublisher(id, "next"), [...chunks, FINISH]);
    await write(await a.createPublisher(id, "next"), [...chunks, FINISH]);
    return [chunks, Array.from({ length: readers }, () => collect(b, id))];
  },
};

const services = [new Service(options.url), new Service(options.url)];
await Promise.all(services.map((service) => service.listen()));
await told("ready");
const start = now();
let done = 0;
let started = 0;
async function job() {
  const names = Object.keys(SCENARIOS);
  while (now() - start < options.seconds) {
    const number = started++;
    const [chunks, reading] = await SCENARIOS[names[number % names.length]](...services, `s${number}`, draw());
    for (const read of await Promise.all(reading)) check(read, chunks);
    done += 1;
  }
}
await Promise.all(Array.from({ length: options.jobs }, job));
report({ scenarios: done, seconds: now() - start });

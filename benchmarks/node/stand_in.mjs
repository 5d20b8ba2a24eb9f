// The design that the README of the TypeScript package describes: one awaited upsert per chunk, NOTIFY, SELECT after the cursor.
// node stand_in.mjs drizzle|pg publish|read '{"url": …, "streams": […], "interval": …, "seconds": …}'
import pg from "pg";
import { drizzle } from "drizzle-orm/node-postgres";
import { and, asc, eq, gte, sql } from "drizzle-orm";
import { bigint, jsonb, pgTable, primaryKey, text, timestamp } from "drizzle-orm/pg-core";
import { Latencies, publish, told } from "./pacing.mjs";

const [kind, role, json] = process.argv.slice(2);
const options = JSON.parse(json);
const CHANNEL = "stand_in";
// The default of a Pool, 10, is kept.
const pool = new pg.Pool({ connectionString: options.url });

const streamChunk = pgTable(
  "stream_chunk",
  {
    streamId: text("stream_id").notNull(),
    version: bigint("version", { mode: "number" }).notNull().default(0),
    id: bigint("id", { mode: "number" }).notNull(),
    createdAt: timestamp("created_at").notNull().defaultNow(),
    chunk: jsonb("chunk").notNull(),
  },
  (table) => [primaryKey({ columns: [table.streamId, table.version, table.id] })],
);

function drizzleStore() {
  const db = drizzle({ client: pool });
  return {
    async insert(streamId, version, id, chunk) {
      await db
        .insert(streamChunk)
        .values({ streamId, version, id, chunk })
        .onConflictDoUpdate({ target: [streamChunk.streamId, streamChunk.version, streamChunk.id], set: { chunk } });
    },
    async list(streamId, version, first) {
      return await db
        .select({ id: streamChunk.id, chunk: streamChunk.chunk })
        .from(streamChunk)
        .where(and(eq(streamChunk.streamId, streamId), eq(streamChunk.version, version), gte(streamChunk.id, first)))
        .orderBy(asc(streamChunk.version), asc(streamChunk.id));
    },
    notify: (payload) => db.execute(sql`SELECT pg_notify(${CHANNEL}, ${payload})`),
  };
}

function plainStore() {
  const insert =
    "INSERT INTO stream_chunk (stream_id, version, id, chunk) VALUES ($1, $2, $3, $4) " +
    "ON CONFLICT (stream_id, version, id) DO UPDATE SET chunk = excluded.chunk";
  const list =
    "SELECT id, chunk FROM stream_chunk WHERE stream_id = $1 AND version = $2 AND id >= $3 ORDER BY version, id";
  return {
    insert: (streamId, version, id, chunk) =>
      pool.query({ name: "insert", text: insert, values: [streamId, version, id, JSON.stringify(chunk)] }),
    list: async (streamId, version, first) => (await pool.query({ name: "list", text: list, values: [streamId, version, first] })).rows,
    notify: (payload) => pool.query({ name: "notify", text: "SELECT pg_notify($1, $2)", values: [CHANNEL, payload] }),
  };
}

async function read(store, latencies) {
  const tails = new Map(options.streams.map((id) => [id, { next: 0, dirty: false, busy: false }]));
  async function refresh(id, tail) {
    // One read at a time for a stream; a notification during it asks for one more.
    if (tail.busy) return void (tail.dirty = true);
    tail.busy = true;
    do {
      tail.dirty = false;
      for (const row of await store.list(id, 0, tail.next)) {
        tail.next = Number(row.id) + 1;
        latencies.take(row.chunk);
      }
    } while (tail.dirty);
    tail.busy = false;
  }
  const listener = await pool.connect();
  listener.on("notification", ({ payload }) => {
    const id = JSON.parse(payload).streamId;
    const tail = tails.get(id);
    if (tail !== undefined) void refresh(id, tail);
  });
  await listener.query(`LISTEN ${CHANNEL}`);
}

const store = kind === "drizzle" ? drizzleStore() : plainStore();
if (role === "publish") {
  await publish(options, async (streamId, id, chunk) => {
    await store.insert(streamId, 0, id, chunk);
    // Not awaited, which is the kinder reading of the README: the next chunk need not wait for it.
    store.notify(JSON.stringify({ streamId, version: 0, id })).catch(() => {});
  });
} else {
  const latencies = new Latencies();
  await read(store, latencies);
  await told("ready");
  await latencies.stop();
}

// The design in the README of the TypeScript package: one awaited upsert for each chunk, a NOTIFY
// that the next chunk does not wait for, and a SELECT after the cursor for each notification,
// coalesced; with drizzle-orm, as that package has it, or with plain pg and named statements.
import { EventEmitter } from "node:events";
import { drizzle } from "drizzle-orm/node-postgres";
import { and, asc, eq, gt, gte, or, sql } from "drizzle-orm";
import { bigint, jsonb, pgTable, primaryKey, text, timestamp } from "drizzle-orm/pg-core";
import pg from "pg";

const CHANNEL = "stand_in";
// A bigint is a number, as it is for drizzle.
pg.types.setTypeParser(20, Number);

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

function drizzleStore(pool) {
  const db = drizzle({ client: pool });
  const { streamId: stream, version: versions, id: ids, chunk: chunks } = streamChunk;
  const after = (version, first) =>
    or(gt(versions, version), and(eq(versions, version), gte(ids, first)));
  return {
    insert: (streamId, version, id, chunk) =>
      db
        .insert(streamChunk)
        .values({ streamId, version, id, chunk })
        .onConflictDoUpdate({ target: [stream, versions, ids], set: { chunk } }),
    listAfter: (streamId, version, first) =>
      db
        .select({ version: versions, id: ids, chunk: chunks })
        .from(streamChunk)
        .where(and(eq(stream, streamId), after(version, first)))
        .orderBy(asc(versions), asc(ids)),
    notify: (payload) => db.execute(sql`SELECT pg_notify(${CHANNEL}, ${payload})`),
  };
}

const INSERT =
  "INSERT INTO stream_chunk (stream_id, version, id, chunk) VALUES ($1, $2, $3, $4) " +
  "ON CONFLICT (stream_id, version, id) DO UPDATE SET chunk = excluded.chunk";
const LIST =
  "SELECT version, id, chunk FROM stream_chunk WHERE stream_id = $1 " +
  "AND (version > $2 OR (version = $2 AND id >= $3)) ORDER BY version, id";
const LATEST = "SELECT max(version) AS version FROM stream_chunk WHERE stream_id = $1";

function plainStore(pool) {
  const run = async (name, text, values) => (await pool.query({ name, text, values })).rows;
  return {
    insert: (streamId, version, id, chunk) =>
      run("insert", INSERT, [streamId, version, id, JSON.stringify(chunk)]),
    listAfter: (streamId, version, first) => run("list", LIST, [streamId, version, first]),
    notify: (payload) => run("notify", "SELECT pg_notify($1, $2)", [CHANNEL, payload]),
  };
}

class Service {
  constructor(url, kind) {
    // The default of a Pool, ten connections, is kept.
    this.pool = new pg.Pool({ connectionString: url });
    this.store = (kind === "drizzle" ? drizzleStore : plainStore)(this.pool);
    this.moved = new EventEmitter().setMaxListeners(0);
  }

  // Once for a process, and only where something is read.
  listen() {
    this.listening ??= this.pool.connect().then((listener) => {
      listener.on("notification", ({ payload }) => this.moved.emit(JSON.parse(payload).streamId));
      return listener.query(`LISTEN ${CHANNEL}`);
    });
    return this.listening;
  }

  async latestVersion(streamId) {
    return (await this.pool.query(LATEST, [streamId])).rows[0].version;
  }

  async open(streamId, version = 0) {
    if (version === "next") version = ((await this.latestVersion(streamId)) ?? -1) + 1;
    let id = 0;
    return {
      write: async (chunk) => {
        await this.store.insert(streamId, version, id, chunk);
        this.moved.emit(streamId);
        // Not awaited, which is the kinder reading of that README.
        this.store.notify(JSON.stringify({ streamId, version, id })).catch(() => {});
        id += 1;
      },
    };
  }

  async *join(streamId) {
    for await (const row of this.rows(streamId, 0)) yield row.chunk;
  }

  // A notification during a read asks for one more. Of several versions only the latest counts.
  async *rows(streamId, version, signal) {
    await this.listen();
    let cursor = { version, next: 0 };
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
        for (const row of rows.filter((row) => row.version === latest)) {
          if (signal?.aborted) return;
          cursor = { version: row.version, next: row.id + 1 };
          yield row;
        }
      }
    } finally {
      this.moved.off(streamId, onMoved);
    }
  }
}

export const connect = async (url, kind) => new Service(url, kind);

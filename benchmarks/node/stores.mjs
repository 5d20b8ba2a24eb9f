// The table of the seed's README behind the two ways to reach it from Node.
import { drizzle } from "drizzle-orm/node-postgres";
import { and, asc, eq, gt, gte, or, sql } from "drizzle-orm";
import { bigint, jsonb, pgTable, primaryKey, text, timestamp } from "drizzle-orm/pg-core";

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

export function drizzleStore(pool, channel) {
  const db = drizzle({ client: pool });
  const { streamId: stream, version: versions, id: ids } = streamChunk;
  return {
    async insert(streamId, version, id, chunk) {
      await db
        .insert(streamChunk)
        .values({ streamId, version, id, chunk })
        .onConflictDoUpdate({ target: [stream, versions, ids], set: { chunk } });
    },
    // After a cursor, as the README orders them: version ascending, id ascending.
    listAfter: (streamId, version, first) =>
      db
        .select({ version: versions, id: ids, chunk: streamChunk.chunk })
        .from(streamChunk)
        .where(and(eq(stream, streamId), or(gt(versions, version), and(eq(versions, version), gte(ids, first)))))
        .orderBy(asc(versions), asc(ids)),
    notify: (payload) => db.execute(sql`SELECT pg_notify(${channel}, ${payload})`),
  };
}

const INSERT =
  "INSERT INTO stream_chunk (stream_id, version, id, chunk) VALUES ($1, $2, $3, $4) " +
  "ON CONFLICT (stream_id, version, id) DO UPDATE SET chunk = excluded.chunk";
const LIST =
  "SELECT version, id, chunk FROM stream_chunk WHERE stream_id = $1 AND (version > $2 OR (version = $2 AND id >= $3)) ORDER BY version, id";

export function plainStore(pool, channel) {
  return {
    insert: (streamId, version, id, chunk) =>
      pool.query({ name: "insert", text: INSERT, values: [streamId, version, id, JSON.stringify(chunk)] }),
    listAfter: async (streamId, version, first) =>
      (await pool.query({ name: "list", text: LIST, values: [streamId, version, first] })).rows,
    notify: (payload) => pool.query({ name: "notify", text: "SELECT pg_notify($1, $2)", values: [channel, payload] }),
  };
}

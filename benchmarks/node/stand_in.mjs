// The design that the README of the TypeScript package describes: one awaited upsert per chunk, NOTIFY, SELECT after the cursor.
// node stand_in.mjs drizzle|pg publish|read '{"url": …, "streams": […], "interval": …, "seconds": …}'
import pg from "pg";
import { Latencies, publish, told } from "./pacing.mjs";
import { drizzleStore, plainStore } from "./stores.mjs";

const [kind, role, json] = process.argv.slice(2);
const options = JSON.parse(json);
const CHANNEL = "stand_in";
// The default of a Pool, 10, is kept.
const pool = new pg.Pool({ connectionString: options.url });

async function read(store, latencies) {
  const tails = new Map(options.streams.map((id) => [id, { next: 0, dirty: false, busy: false }]));
  async function refresh(id, tail) {
    // One read at a time for a stream; a notification during it asks for one more.
    if (tail.busy) return void (tail.dirty = true);
    tail.busy = true;
    do {
      tail.dirty = false;
      for (const row of await store.listAfter(id, 0, tail.next)) {
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

const store = (kind === "drizzle" ? drizzleStore : plainStore)(pool, CHANNEL);
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

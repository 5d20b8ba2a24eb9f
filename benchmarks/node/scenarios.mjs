// The stand-in with drizzle in the scenarios of programs/scenarios.json; see programs/scenarios.py.
// node scenarios.mjs '{"url": …, "seconds": …, "jobs": …}'
import { readFile } from "node:fs/promises";
import { now, report, told } from "./pacing.mjs";
import { connect } from "./stand_in.mjs";

const options = JSON.parse(process.argv[2]);
const path = new URL("../programs/scenarios.json", import.meta.url);
const scenarios = Object.values(JSON.parse(await readFile(path, "utf8")));
const FINISH = { type: "finish" };
const below = (limit) => Math.floor(Math.random() * limit);

async function collect(service, id, signal) {
  let version = -1;
  let chunks = [];
  for await (const row of service.rows(id, (await service.latestVersion(id)) ?? 0, signal)) {
    if (row.version !== version) [version, chunks] = [row.version, []];
    chunks.push(row.chunk);
    if (row.chunk.type === "finish") break;
  }
  return chunks;
}

// Returns the readings of the readers that must get all chunks of the last version.
async function play(steps, services, id, chunks, readers) {
  const half = chunks.length >> 1;
  const parts = {
    all: [...chunks, FINISH],
    cut: chunks,
    half: chunks.slice(0, half),
    rest: [...chunks.slice(half), FINISH],
  };
  const leaving = new AbortController();
  let reading, watching, writer;
  const verbs = {
    read(names) {
      reading = Array.from({ length: readers }, (_, place) =>
        collect(services[names[place % names.length]], id),
      );
    },
    open: async (name, version) => (writer = await services[name].open(id, version)),
    async write(part) {
      for (const chunk of parts[part]) await writer.write(chunk);
    },
    watch: (name) => void (watching = collect(services[name], id, leaving.signal)),
    async leave() {
      leaving.abort();
      await watching;
    },
  };
  for (const [verb, ...rest] of steps) await verbs[verb](...rest);
  return reading;
}

// jsonb gives the keys another order.
const spoken = (chunks) => JSON.stringify(chunks.map(({ type, delta }) => [type, delta]));

const services = { a: await connect(options.url, "drizzle"), b: await connect(options.url, "drizzle") };
await Promise.all([services.a.listen(), services.b.listen()]);
await told();
const start = now();
let done = 0;
let begun = 0;
async function job() {
  while (now() - start < options.seconds) {
    const number = begun++;
    const chunks = Array.from({ length: 1 + below(20) }, () => ({
      type: "text-delta",
      id: "t1",
      delta: "x".repeat(1 + below(60)),
    }));
    const steps = scenarios[number % scenarios.length];
    const reading = await play(steps, services, `s${number}`, chunks, 1 + below(3));
    for (const read of await Promise.all(reading))
      if (spoken(read) !== spoken([...chunks, FINISH]))
        throw new Error(`read ${read.length} of ${chunks.length + 1}`);
    done += 1;
  }
}
await Promise.all(Array.from({ length: options.jobs }, job));
report({ scenarios: done, seconds: now() - start });

// The roles of programs/roles.py for packages from npm and for the stand-ins:
// node roles.mjs resumable-stream|durable-streams|drizzle|pg ROLE LOAD
import { readFile } from "node:fs/promises";
import readline from "node:readline";

const [kind, role, json] = process.argv.slice(2);
const load = JSON.parse(json);
const START = { type: "start" };
const FINISH = { type: "finish" };
const SILENT = Symbol("silent");
const PACKAGES = {
  "resumable-stream": "./resumable_stream.mjs",
  "durable-streams": "./durable_streams.mjs",
  drizzle: "./stand_in.mjs",
  pg: "./stand_in.mjs",
};

const now = () => Number(process.hrtime.bigint()) / 1e9;

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let starting;
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const line = () => lines.next();

async function told() {
  starting = process.cpuUsage();
  console.log("ready");
  await line();
}

// Prints the result of this process, which then ends unless it stays.
function report(result, stays = false) {
  const { user, system } = process.cpuUsage(starting);
  const text = JSON.stringify({ ...result, cpu: (user + system) / 1e6 }) + "\n";
  process.stdout.write(text, () => stays || process.exit(0));
}

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

// As in programs/roles.py.
async function play(services, id, chunks, readers, { joins, at = [0], before, leaver }) {
  const version = before ? "next" : 0;
  const half = chunks.length >> 1;
  const leaving = new AbortController();
  const reading = [];
  const join = (now) => {
    for (let place = 0; now === joins && place < readers; place++)
      reading.push(collect(services[at[place % at.length]], id));
  };
  const write = async (writer, part) => {
    for (const chunk of part) await writer.write(chunk);
  };
  join(0);
  const watching = leaver && collect(services[0], id, leaving.signal);
  if (before)
    await write(await services[0].open(id, version), before === "whole" ? chunks : chunks.slice(0, -1));
  const writer = await services[before ? 1 : 0].open(id, version);
  await write(writer, chunks.slice(0, half));
  leaving.abort();
  await watching;
  join(1);
  await write(writer, chunks.slice(half));
  join(2);
  return Promise.all(reading);
}

const ROLES = {
  async publish(client) {
    const writers = [];
    for (const id of load.streams) {
      const writer = await client.open(id);
      await writer.write(START);
      writers.push(writer);
    }
    await told();
    const start = now();
    let sent = 0;
    async function stream(writer, place) {
      for (let n = 0; ; n++) {
        const due = start + load.interval * (n + place / writers.length);
        if (due >= start + load.seconds) return;
        if (due > now()) await sleep(due - now());
        if (now() >= start + load.seconds) return;
        await writer.write({ type: "text-delta", id: "t1", delta: String(now()) });
        sent += 1;
      }
    }
    await Promise.all(writers.map(stream));
    if (load.ends) for (const writer of writers) await writer.close();
    report({ sent }, load.stays);
    await line();
  },
  async read(client) {
    const latencies = [];
    const readers = load.streams.map((id) => client.join(id));
    await Promise.all(readers.map((chunks) => chunks.next()));
    readers.forEach(async (chunks) => {
      for await (const chunk of chunks)
        latencies.push(Math.round((now() - Number(chunk.delta)) * 1e6));
    });
    await told();
    report({ latencies });
  },
  async watch(client) {
    const { silence } = load;
    const chunks = client.join(load.streams[0]);
    if (silence === null) await chunks.next();
    console.log("ready");
    let count = 0;
    let outcome = "ended";
    try {
      for (;;) {
        const given = silence === null ? [] : [sleep(silence).then(() => SILENT)];
        const step = await Promise.race([chunks.next(), ...given]);
        if (step === SILENT) outcome = "silent";
        if (step === SILENT || step.done) break;
        if ("delta" in step.value) count += 1;
      }
    } catch (error) {
      outcome = `${error.name}: ${error.message}`;
    }
    report({ chunks: count, outcome, at: now() });
  },
  async scenarios(client) {
    const path = new URL("../programs/scenarios.json", import.meta.url);
    const scenarios = Object.values(JSON.parse(await readFile(path, "utf8")));
    const services = [client, await connect(load.url, kind)];
    await Promise.all(services.map((one) => one.listen()));
    const below = (limit) => Math.floor(Math.random() * limit);
    // jsonb gives the keys another order.
    const spoken = (chunks) => JSON.stringify(chunks.map(({ type, delta }) => [type, delta]));
    let [done, begun] = [0, 0];
    await told();
    const start = now();
    async function job() {
      while (now() - start < load.seconds) {
        const number = begun++;
        const word = () => ({ type: "text-delta", id: "t1", delta: "x".repeat(1 + below(60)) });
        const chunks = [...Array.from({ length: 1 + below(20) }, word), FINISH];
        const scenario = scenarios[number % scenarios.length];
        for (const read of await play(services, `s${number}`, chunks, 1 + below(3), scenario))
          if (spoken(read) !== spoken(chunks))
            throw new Error(`read ${read.length} of ${chunks.length}`);
        done += 1;
      }
    }
    await Promise.all(load.streams.map(job));
    report({ rate: done / (now() - start), scenarios: done });
  },
};

const { connect } = await import(PACKAGES[kind]);
await ROLES[role](await connect(load.url, kind));

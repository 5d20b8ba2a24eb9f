// The roles of programs/roles.py for packages from npm and for the stand-ins:
// node roles.mjs resumable-stream|durable-streams|drizzle|pg ROLE LOAD
import { Latencies, line, now, publish, report, sleep, told } from "./pacing.mjs";

const [kind, role, json] = process.argv.slice(2);
const load = JSON.parse(json);
const START = { type: "start" };
const SILENT = Symbol("silent");
const PACKAGES = {
  "resumable-stream": "./resumable_stream.mjs",
  "durable-streams": "./durable_streams.mjs",
  drizzle: "./stand_in.mjs",
  pg: "./stand_in.mjs",
};

async function opened(client, id) {
  const writer = await client.open(id);
  await writer.write(START);
  return writer;
}

const ROLES = {
  async publish(client) {
    const writers = new Map();
    for (const id of load.streams) writers.set(id, await opened(client, id));
    const sent = await publish(load, (id, chunk) => writers.get(id).write(chunk));
    if (load.ends) for (const writer of writers.values()) await writer.end();
    report({ sent }, load.stays);
    await line();
  },
  async read(client) {
    const latencies = new Latencies();
    const readers = load.streams.map((id) => client.join(id));
    await Promise.all(readers.map((chunks) => chunks.next()));
    for (const chunks of readers)
      void (async () => {
        for await (const chunk of chunks) latencies.take(chunk);
      })();
    await told();
    latencies.report();
  },
  async watch(client) {
    const { silence } = load;
    const chunks = client.join(load.streams[0]);
    if (silence === null) {
      await chunks.next();
      console.log("ready");
    }
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
};

const { connect } = await import(PACKAGES[kind]);
await ROLES[role](await connect(load.url, kind));

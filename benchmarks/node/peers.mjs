// The same roles as designs/peers.py, for packages from npm: node peers.mjs resumable-stream|durable-streams ROLE <load>
import { Latencies, now, publish, report, sleep, told } from "./pacing.mjs";

const [kind, role, json] = process.argv.slice(2);
const load = JSON.parse(json);
const id = load.streams[0];
const START = { type: "start" };
const IN_FLIGHT = 64;
const SILENCE = 3;
const chunkNow = () => ({ type: "text-delta", id: "t1", delta: String(now()) });

async function opened(peer, id) {
  const writer = await peer.open(id);
  await writer.write(START);
  return writer;
}

async function fill(peer) {
  const writer = await opened(peer, id);
  const chunks = Math.round((load.streams.length * load.seconds) / load.interval);
  for (let n = 0; n < chunks; n++) await writer.write(chunkNow());
  return writer;
}

const SILENT = Symbol("silent");

// Prints how many chunks of a load came, and how and when it ended.
async function watch(chunks, silence) {
  let count = 0;
  let outcome = "ended";
  try {
    for (;;) {
      const next = chunks.next();
      const step = await (silence ? Promise.race([next, sleep(silence).then(() => SILENT)]) : next);
      if (step === SILENT) outcome = "silent";
      if (step === SILENT || step.done) break;
      if ("delta" in step.value) count += 1;
    }
  } catch (error) {
    outcome = `${error.name}: ${error.message}`;
  }
  process.stdout.write(JSON.stringify({ chunks: count, outcome, at: now() }) + "\n", () => process.exit(0));
}

const ROLES = {
  async publish(peer) {
    const writers = new Map();
    for (const id of load.streams) writers.set(id, await opened(peer, id));
    await publish(load, (id, number, chunk) => writers.get(id).write(chunk));
  },
  async read(peer) {
    const latencies = new Latencies();
    const readers = load.streams.map((id) => peer.join(id));
    await Promise.all(readers.map((chunks) => chunks.next()));
    for (const chunks of readers)
      void (async () => {
        for await (const chunk of chunks) latencies.take(chunk);
      })();
    await told("ready");
    await latencies.stop();
  },
  async append(peer, inFlight = 1) {
    const writer = await opened(peer, id);
    await told("ready");
    const start = now();
    let sent = 0;
    for (; now() - start < load.seconds; sent += inFlight)
      await Promise.all(Array.from({ length: inFlight }, () => writer.write(chunkNow())));
    report({ sent });
  },
  pipeline: (peer) => ROLES.append(peer, IN_FLIGHT),
  async die(peer) {
    const writer = await opened(peer, id);
    console.log("ready");
    for (;;) {
      await writer.write(chunkNow());
      await sleep(load.interval);
    }
  },
  async follow(peer) {
    const chunks = peer.join(id);
    await chunks.next();
    console.log("ready");
    await watch(chunks);
  },
  async leave(peer) {
    await fill(peer);
    console.log("ready");
  },
  async end(peer) {
    await (await fill(peer)).end();
    console.log("ready");
  },
  async join(peer) {
    await watch(peer.join(id), SILENCE);
  },
};

const { connect } = await import(`./${kind.replace("-", "_")}.mjs`);
await ROLES[role](await connect(load.url));

// The same load as benchmarks/pacing.py: some streams, each with a chunk every `interval` seconds, each awaiting its writes.
import readline from "node:readline";

export const now = () => Number(process.hrtime.bigint()) / 1e9;

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let starting;
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export async function told(word) {
  starting = process.cpuUsage();
  console.log(word);
  await lines.next();
}

export async function publish(options, write) {
  await told("ready");
  const start = now();
  let sent = 0;
  async function stream(id, place) {
    for (let n = 0; ; n++) {
      const due = start + options.interval * (n + place / options.streams.length);
      if (due >= start + options.seconds) return;
      if (due > now()) await sleep(due - now());
      if (now() >= start + options.seconds) return;
      await write(id, n, { type: "text-delta", id: "t1", delta: String(now()) });
      sent += 1;
    }
  }
  await Promise.all(options.streams.map(stream));
  report({ sent });
}

export class Latencies {
  values = [];

  take(chunk) {
    this.values.push(now() - Number(chunk.delta));
  }

  async stop() {
    report({ latencies: this.values.map((value) => Math.round(value * 1e6)) });
  }
}

export function report(result) {
  const { user, system } = process.cpuUsage(starting);
  process.stdout.write(JSON.stringify({ ...result, cpu: (user + system) / 1e6 }) + "\n", () => process.exit(0));
}

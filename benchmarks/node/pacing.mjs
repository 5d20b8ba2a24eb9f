// The counterpart of benchmarks/pacing.py: the same load, `ready`, and one result as JSON.
import readline from "node:readline";

export const now = () => Number(process.hrtime.bigint()) / 1e9;

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let starting;
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const chunkNow = () => ({ type: "text-delta", id: "t1", delta: String(now()) });

export const line = () => lines.next();

export async function told() {
  starting = process.cpuUsage();
  console.log("ready");
  await line();
}

export async function publish(options, write) {
  await told();
  const start = now();
  let sent = 0;
  async function stream(id, place) {
    for (let n = 0; ; n++) {
      const due = start + options.interval * (n + place / options.streams.length);
      if (due >= start + options.seconds) return;
      if (due > now()) await sleep(due - now());
      if (now() >= start + options.seconds) return;
      await write(id, chunkNow());
      sent += 1;
    }
  }
  await Promise.all(options.streams.map(stream));
  return sent;
}

export class Latencies {
  values = [];

  take(chunk) {
    this.values.push(now() - Number(chunk.delta));
  }

  report() {
    report({ latencies: this.values.map((value) => Math.round(value * 1e6)) });
  }
}

// Prints the result of this process, which then ends unless it stays.
export function report(result, stays = false) {
  const { user, system } = process.cpuUsage(starting);
  const text = JSON.stringify({ ...result, cpu: (user + system) / 1e6 }) + "\n";
  process.stdout.write(text, () => stays || process.exit(0));
}

import { createInterface } from 'node:readline';

const AT_ONCE = 12;

// Lets a program answer until its input ends. Each line, a list of stories, gives one, the list of what `tell` returns for each.
export async function serve(tell) {
  for await (const line of createInterface({ input: process.stdin })) {
    const told = [];
    // The iterator is shared: each takes the next one.
    const next = JSON.parse(line).entries();
    const work = async () => {
      for (const [number, story] of next) told[number] = JSON.stringify(await tell(story));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    console.log(`[${told}]`);
  }
}

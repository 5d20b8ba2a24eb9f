// npm's resumable-stream 2.2: Redis passes on chunks that only the producer's process keeps.
import { createClient } from "redis";
import { createResumableStreamContext } from "resumable-stream";

// A model that yields the next line once the package has passed on the one before.
function source() {
  const lines = [];
  let wake = () => {};
  let passedOn = () => {};
  const stream = new ReadableStream(
    {
      // The package reads again when it has published the line to each reader.
      async pull(controller) {
        passedOn();
        while (lines.length === 0) await new Promise((resolve) => (wake = resolve));
        const line = lines.shift();
        if (line === undefined) return controller.close();
        passedOn = line.resolve;
        controller.enqueue(line.text);
      },
    },
    { highWaterMark: 0 },
  );
  const put = (line) => {
    lines.push(line);
    wake();
  };
  const writer = {
    write: (chunk) => new Promise((resolve) => put({ text: JSON.stringify(chunk) + "\n", resolve })),
    close: async () => put(undefined),
  };
  return { stream, writer };
}

async function drain(stream) {
  for await (const _ of stream);
}

export async function connect(url) {
  // The clients that it makes itself have no error listener, so a lost connection ends the process.
  const [publisher, subscriber] = [0, 1].map(() => createClient({ url }).on("error", () => {}));
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const context = createResumableStreamContext({ waitUntil: null, publisher, subscriber });
  return {
    async open(id) {
      const { stream, writer } = source();
      // Stands for the response to the request that began the stream.
      void drain(await context.createNewResumableStream(id, () => stream));
      return writer;
    },
    async *join(id) {
      const texts = await context.resumeExistingStream(id);
      if (!texts) return;
      // The chunks before the join come as one text.
      for await (const text of texts) for (const line of text.split("\n")) if (line) yield JSON.parse(line);
    },
  };
}

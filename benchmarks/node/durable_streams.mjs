// Durable Streams through its own client: JSON streams, read over its default live mode (SSE).
import { DurableStream, stream } from "@durable-streams/client";

export async function connect(base) {
  const url = (id) => `${base}/${id}`;
  return {
    async open(id) {
      const handle = await DurableStream.create({ url: url(id), contentType: "application/json" });
      return { write: (chunk) => handle.append(JSON.stringify(chunk)), close: () => handle.close() };
    },
    async *join(id) {
      const response = await stream({ url: url(id), live: true });
      for await (const chunk of response.jsonStream()) yield chunk;
    },
  };
}

// The reference server of Durable Streams: node durable_server.mjs PORT [DIRECTORY]. Without a
// directory it keeps everything in memory.
import { DurableStreamTestServer } from "@durable-streams/server";

const [port, dataDir] = process.argv.slice(2);
await new DurableStreamTestServer({ port: Number(port), host: "127.0.0.1", dataDir }).start();

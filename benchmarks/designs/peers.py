"""What people use today and this package, behind one door.

`python designs/peers.py ours|resumable-stream|assistant-stream ROLE <load>` Every stream begins
with `START`, so that whoever has that has joined. Roles, the same as in node/peers.mjs:

publish, read  a load as in pacing.py, each write awaited, and the times at which its chunks arrive
append         one writer at full speed, each write awaited; pipeline: with so many in flight
die            a chunk every `interval` seconds until it is killed
follow         says when its stream ended, or failed
leave, end     stores the chunks of a load at once, leaves the stream open or ends it, and stays
join           says how much of a stream it gets before it ends, fails, or says nothing for a while
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pacing import Chunk, Latencies, Load, chunk_now, publish_awaiting, report, told

START: Chunk = {"type": "start"}
IN_FLIGHT = 64
SILENCE = 3.0
"""Seconds after which one who joins has what there is to get."""


class Writer(Protocol):
    """Writes one stream; a write returns when the package says that it is done."""

    async def write(self, chunk: Chunk) -> object: ...

    async def end(self) -> None: ...


class Peer(Protocol):
    """One process's use of a package."""

    async def open(self, id: str) -> Writer: ...

    def join(self, id: str) -> AsyncIterator[Chunk]: ...


async def opened(peer: Peer, id: str) -> Writer:
    writer = await peer.open(id)
    await writer.write(START)
    return writer


async def publish(peer: Peer, load: Load) -> None:
    writers = {id: await opened(peer, id) for id in load.streams}
    await publish_awaiting(load, lambda id, number, chunk: writers[id].write(chunk))


async def read(peer: Peer, load: Load) -> None:
    latencies = Latencies()
    readers = {id: aiter(peer.join(id)) for id in load.streams}
    await asyncio.gather(*(anext(chunks) for chunks in readers.values()))

    async def follow(chunks: AsyncIterator[Chunk]) -> None:
        async for chunk in chunks:
            latencies.take(chunk)

    tasks = [asyncio.create_task(follow(chunks)) for chunks in readers.values()]
    await told("ready")
    for task in tasks:
        if task.done():
            task.result()
    latencies.report()


async def append(peer: Peer, load: Load, in_flight: int = 1) -> None:
    writer = await opened(peer, load.streams[0])
    await told("ready")
    start, sent = time.monotonic(), 0
    while time.monotonic() - start < load.seconds:
        await asyncio.gather(*(writer.write(chunk_now()) for _ in range(in_flight)))
        sent += in_flight
    report(sent=sent)


async def pipeline(peer: Peer, load: Load) -> None:
    await append(peer, load, IN_FLIGHT)


async def die(peer: Peer, load: Load) -> None:
    writer = await opened(peer, load.streams[0])
    print("ready", flush=True)
    while True:
        await writer.write(chunk_now())
        await asyncio.sleep(load.interval)


async def follow(peer: Peer, load: Load) -> None:
    chunks = aiter(peer.join(load.streams[0]))
    await anext(chunks)
    print("ready", flush=True)
    await watch(chunks, silence=None)


async def leave(peer: Peer, load: Load) -> None:
    await fill(peer, load)
    print("ready", flush=True)
    await asyncio.sleep(load.seconds)


async def end(peer: Peer, load: Load) -> None:
    await (await fill(peer, load)).end()
    print("ready", flush=True)
    await asyncio.sleep(load.seconds)


async def fill(peer: Peer, load: Load) -> Writer:
    writer = await opened(peer, load.streams[0])
    for _ in range(load.chunks):
        await writer.write(chunk_now())
    return writer


async def join(peer: Peer, load: Load) -> None:
    await watch(aiter(peer.join(load.streams[0])), silence=SILENCE)


async def watch(chunks: AsyncIterator[Chunk], *, silence: float | None) -> None:
    """Print how many chunks of a load came, and how and when it ended."""
    count, outcome = 0, "ended"
    try:
        while True:
            async with asyncio.timeout(silence):
                count += "delta" in await anext(chunks)
    except StopAsyncIteration:
        pass
    except TimeoutError:
        outcome = "silent"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    print(json.dumps({"chunks": count, "outcome": outcome, "at": time.monotonic()}), flush=True)


async def make(kind: str, url: str) -> Peer:
    # One at a time: a missing package is the matter of its own figures only.
    if kind == "ours":
        from benchmarks.designs.peers_ours import Ours

        return Ours(url)
    if kind == "assistant-stream":
        from benchmarks.designs.peers_assistant_stream import AssistantStream

        return AssistantStream(url)
    from benchmarks.designs.peers_resumable_stream import ResumableStream

    return await ResumableStream.connected(url)


ROLES = {
    role.__name__: role for role in (publish, read, append, pipeline, die, follow, leave, end, join)
}


async def main(kind: str, role: str, options: str) -> None:
    load = Load(**json.loads(options))
    await ROLES[role](await make(kind, load.url), load)
    # A reader of assistant-stream may outlive its cancellation, and this process with it.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""One process that uses one package: `python -m benchmarks.programs.roles PACKAGE ROLE LOAD`.

A package here has `open(id)`, which returns a writer with `write(chunk)` and `end()`, and
`join(id)`, an iterator of chunks. A write returns when the package says that it is done. Every
stream begins with `START`: a reader that has it has joined. node/roles.mjs has the same roles for
packages from npm, all but `push`:

publish, push  writes a load, each write awaited or none; only this package can push
read           prints the ages of the chunks of a load
watch          prints how many chunks of a stream it got, and how and when that ended
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from benchmarks import pacing
from benchmarks.pacing import Chunk, Latencies, Load, report, told

START: Chunk = {"type": "start"}
AT_ONCE = 64


async def opened(package: Any, id: str) -> Any:
    writer = await package.open(id)
    await writer.write(START)
    return writer


async def all_opened(package: Any, load: Load) -> dict[str, Any]:
    writers: list[Any] = []
    for first in range(0, len(load.streams), AT_ONCE):
        some = load.streams[first : first + AT_ONCE]
        writers += await asyncio.gather(*(opened(package, id) for id in some))
    return dict(zip(load.streams, writers, strict=True))


async def publish(package: Any, load: Load) -> None:
    writers = await all_opened(package, load)
    sent = await pacing.publish(load, lambda id, chunk: writers[id].write(chunk))
    if load.ends:
        await asyncio.gather(*(writer.end() for writer in writers.values()))
    report(sent=sent)
    if load.stays:
        await pacing.line()


async def push(package: Any, load: Load) -> None:
    writers = await all_opened(package, load)
    report(sent=await pacing.push(load, lambda id, chunk: writers[id].push(chunk)))


async def read(package: Any, load: Load) -> None:
    latencies = Latencies()
    readers = [aiter(package.join(id)) for id in load.streams]
    await asyncio.gather(*map(anext, readers))

    async def take_all(chunks: AsyncIterator[Chunk]) -> None:
        async for chunk in chunks:
            latencies.take(chunk)

    tasks = [asyncio.create_task(take_all(chunks)) for chunks in readers]
    await told()
    for task in tasks:
        if task.done():
            task.result()
    latencies.report()


async def watch(package: Any, load: Load) -> None:
    chunks = aiter(package.join(load.streams[0]))
    if load.silence is None:
        await anext(chunks)
        print("ready", flush=True)
    count, outcome = 0, "ended"
    try:
        while True:
            async with asyncio.timeout(load.silence):
                count += "delta" in await anext(chunks)
    except StopAsyncIteration:
        pass
    except TimeoutError:
        outcome = "silent"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    print(json.dumps({"chunks": count, "outcome": outcome, "at": time.monotonic()}), flush=True)


async def connected(package: str, load: Load) -> Any:
    # Each imports its package here, so that the others run where it is not installed.
    if package == "assistant-stream":
        from benchmarks.programs.assistant_stream import AssistantStream

        return AssistantStream(load.url)
    if package == "resumable-stream":
        from benchmarks.programs.resumable_stream import ResumableStream

        return await ResumableStream.connected(load.url)
    from benchmarks.programs.ours import Ours

    return Ours(load, notifies=package == "ours")


ROLES = {role.__name__: role for role in (publish, push, read, watch)}


async def main(package: str, role: str, options: str) -> None:
    load = Load(**json.loads(options))
    await ROLES[role](await connected(package, load), load)
    # A reader of assistant-stream may outlive its cancellation, and this process with it.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""One process that uses one package: `python -m benchmarks.programs.roles PACKAGE ROLE LOAD`.

A package here has `open(id)`, which returns a writer with `write(chunk)` and `close()`, and
`join(id)`, an iterator of chunks. A write returns when the package says that it is done. Every
stream begins with `START`: a reader that has it has joined. node/roles.mjs has the same roles, all
but `push`, `look` and `neighbours`:

publish     writes a load, a task for each stream that awaits each write
push        writes a load without awaiting it, as only this package can
read        prints the ages of the chunks of a load
watch       prints how many chunks of a stream it got, and how and when that ended
look        begins to read when it is told, and prints after how long it heard of the writer's death
scenarios   plays those of scenarios.json, as many at once as the load has streams
neighbours  commits to a table of its own in 32 tasks, each again as soon as it has committed
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import asyncpg

from benchmarks.pacing import Chunk, Load, chunk_now, line, report, told
from monostream_ai import DurableStreamService, Publisher, PublisherLost, create_service
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.ui_messages import UIMessageProtocol

START: Chunk = {"type": "start"}
FINISH: Chunk = {"type": "finish"}
SCENARIOS = [*json.loads(Path(__file__).with_name("scenarios.json").read_text()).values()]


class Ours:
    """This package: `ours`, `ours-never`, whose wake-ups carry no chunks, in `memory`, or `silent`,
    whose readers elsewhere only poll.
    """

    def __init__(self, kind: str, load: Load) -> None:
        inline: Literal["auto", "never"] = "never" if kind == "ours-never" else "auto"
        make = partial(create_service, load.url, inline=inline)
        if not kind.startswith("ours"):
            store = MemoryStore() if kind == "memory" else PostgresStore.from_url(load.url)
            notifier = MemoryNotifier() if kind == "memory" else None
            make = partial(DurableStreamService, store, notifier, UIMessageProtocol())
        self.services = [make(), make()]
        self.join = self.services[0].subscribe

    async def open(self, id: str) -> Publisher[Chunk]:
        return await self.services[0].publisher(id).open()


async def connected(package: str, load: Load) -> Any:
    # Each imports its package here, so that the others run where it is not installed.
    if package == "assistant-stream":
        from benchmarks.programs.assistant_stream import AssistantStream

        return AssistantStream(load.url)
    if package == "resumable-stream":
        from benchmarks.programs.resumable_stream import ResumableStream

        return await ResumableStream.connected(load.url)
    return Ours(package, load)


async def opened(package: Any, load: Load) -> list[Any]:
    """Open each stream; return the writers."""

    # A pool lets nobody wait for long, and there may be 800.
    turns = asyncio.Semaphore(32)

    async def begun(id: str) -> Any:
        async with turns:
            writer = await package.open(id)
            await writer.write(START)
            return writer

    return await asyncio.gather(*map(begun, load.streams))


async def publish(package: Any, load: Load) -> None:
    writers, sent = await opened(package, load), 0
    await told()
    start = time.monotonic()

    async def stream(writer: Any, place: int) -> None:
        nonlocal sent
        due = start + load.interval * place / len(writers)
        while due < start + load.seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() >= start + load.seconds:
                return
            await writer.write(chunk_now())
            sent, due = sent + 1, due + load.interval

    await asyncio.gather(*(stream(writer, place) for place, writer in enumerate(writers)))
    if load.ends:
        await asyncio.gather(*(writer.close() for writer in writers))
    report(sent=sent)
    if load.stays:
        await line()


async def push(package: Any, load: Load) -> None:
    writers, sent = await opened(package, load), 0
    await told()
    start = time.monotonic()
    while (passed := time.monotonic() - start) < load.seconds:
        due = min(int(passed / load.interval * len(writers)), load.chunks)
        while sent < due and time.monotonic() - start < load.seconds:
            writers[sent % len(writers)].push(chunk_now())
            sent += 1
            if sent % 32 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.001)
    report(sent=sent)


async def read(package: Any, load: Load) -> None:
    times: list[int] = []
    readers = [aiter(package.join(id)) for id in load.streams]
    await asyncio.gather(*map(anext, readers))

    async def take_all(chunks: AsyncIterator[Chunk]) -> None:
        async for chunk in chunks:
            times.append(round((time.monotonic() - float(chunk["delta"])) * 1e6))

    tasks = [asyncio.create_task(take_all(chunks)) for chunks in readers]
    await told()
    for task in tasks:
        if task.done():
            task.result()
    report(latencies=times)


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


async def look(package: Ours, load: Load) -> None:
    await told()
    begun = time.monotonic()
    with suppress(PublisherLost):
        async for _ in package.join(load.streams[0]):
            pass
        raise RuntimeError("the stream has an end")
    report(seconds=time.monotonic() - begun)


async def scenarios(package: Ours, load: Load) -> None:
    numbers, source, done = itertools.count(), random.Random(0), 0
    await told()
    begun = time.monotonic()

    async def job() -> None:
        nonlocal done
        while time.monotonic() - begun < load.seconds:
            number, readers = next(numbers), source.randint(1, 3)
            chunks: list[Chunk] = [
                {"type": "text-delta", "id": "t1", "delta": "x" * source.randint(1, 60)}
                for _ in range(source.randint(1, 20))
            ]
            whole, scenario = [*chunks, FINISH], SCENARIOS[number % len(SCENARIOS)]
            for got in await play(package.services, f"s{number}", whole, readers, **scenario):
                if got != whole:
                    raise RuntimeError(f"read {len(got)} of {len(whole)}")
            done += 1

    await asyncio.gather(*(job() for _ in load.streams))
    report(rate=done / (time.monotonic() - begun), scenarios=done)


async def play(
    services: Sequence[DurableStreamService[Chunk]],
    id: str,
    chunks: list[Chunk],
    readers: int,
    *,
    joins: int,
    at: Sequence[int] = (0,),
    before: str = "",
    leaver: bool = False,
) -> list[list[Chunk]]:
    """Write an answer in two halves; return the chunks that each reader got.

    Args:
        joins: Readers join at 0 before the halves, at 1 between them, or at 2 after them.
        at: Places of the services at which they join, in turn.
        before: A version before it was `whole`, or `crashed` before its end.
        leaver: One more reader reads only the first half.
    """
    reading: list[asyncio.Task[list[Chunk]]] = []
    version: Literal["next", 0] = "next" if before else 0

    def join(now: int) -> None:
        if now == joins:
            chosen = [services[at[place % len(at)]] for place in range(readers)]
            reading.extend(asyncio.create_task(collect(one, id)) for one in chosen)

    async def write(pub: Publisher[Chunk], part: list[Chunk]) -> None:
        for chunk in part:
            await pub.write(chunk)

    join(0)
    leaving = asyncio.create_task(collect(services[0], id)) if leaver else None
    if before:
        pub = await services[0].publisher(id, version).open()
        await write(pub, chunks if before == "whole" else chunks[:-1])
    pub = await services[1 if before else 0].publisher(id, version).open()
    await write(pub, chunks[: len(chunks) // 2])
    if leaving is not None:
        leaving.cancel()
        await asyncio.wait([leaving])
    join(1)
    await write(pub, chunks[len(chunks) // 2 :])
    join(2)
    return await asyncio.gather(*reading)


async def collect(service: DurableStreamService[Chunk], id: str) -> list[Chunk]:
    """Read to the end; return the chunks of the last version that was read."""
    version, chunks = -1, []
    subscription = service.subscribe(id)
    async for chunk in subscription:
        cursor = subscription.cursor
        if cursor is not None and cursor.version != version:
            version, chunks = cursor.version, []
        chunks.append(chunk)
    return chunks


async def neighbours(package: Any, load: Load) -> None:
    connections = [await asyncpg.connect(load.url) for _ in range(32)]
    await connections[0].execute("CREATE TABLE foreign_row (id bigserial PRIMARY KEY, text text)")
    await told()
    end, commits = time.monotonic() + load.seconds, 0

    async def write(connection: asyncpg.Connection) -> None:
        nonlocal commits
        while time.monotonic() < end:
            await connection.execute("INSERT INTO foreign_row (text) VALUES ($1)", "x" * 100)
            commits += 1

    await asyncio.gather(*map(write, connections))
    report(commits=commits / load.seconds)


ROLES = {role.__name__: role for role in (publish, push, read, watch, look, scenarios, neighbours)}


async def main(package: str, role: str, options: str) -> None:
    load = Load(**json.loads(options))
    await ROLES[role](await connected(package, load), load)
    # A reader of assistant-stream may outlive its cancellation, and this process with it.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

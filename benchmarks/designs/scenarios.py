"""This package in the scenarios of node/scenarios.mjs: `python designs/scenarios.py '{"url": …,
"seconds": …, "jobs": …}'`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pacing import Chunk, report, told
from monostream_ai import DurableStreamService, Publisher, create_service
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol

Service = DurableStreamService[Chunk]
Reading = asyncio.Task[list[Chunk]]
Scenario = Callable[[Service, Service, str, list[Chunk], int], Awaitable[list[Reading]]]

FINISH: Chunk = {"type": "finish"}


async def collect(service: Service, id: str) -> list[Chunk]:
    """Read to the end; return the chunks of the last version that was read."""
    version, chunks = -1, []
    subscription = service.subscribe(id)
    async for chunk in subscription:
        cursor = subscription.cursor
        if cursor is not None and cursor.version != version:
            version, chunks = cursor.version, []
        chunks.append(chunk)
    return chunks


def start(count: int, service: Service, id: str) -> list[Reading]:
    return [asyncio.create_task(collect(service, id)) for _ in range(count)]


async def write(pub: Publisher[Chunk], chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        await pub.write(chunk)


async def live(a: Service, b: Service, id: str, chunks: list[Chunk], readers: int) -> list[Reading]:
    reading = start(readers, a, id)
    await write(await a.publisher(id, 0).open(), [*chunks, FINISH])
    return reading


async def replay(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    await write(await a.publisher(id, 0).open(), [*chunks, FINISH])
    return start(readers, a, id)


async def late_join(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    pub, half = await a.publisher(id, 0).open(), len(chunks) // 2
    await write(pub, chunks[:half])
    reading = start(readers, a, id)
    await write(pub, [*chunks[half:], FINISH])
    return reading


async def mixed(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    reading = [*start((readers + 1) // 2, b, id), *start(readers // 2, a, id)]
    await write(await a.publisher(id, 0).open(), [*chunks, FINISH])
    return reading


async def crash_replay(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    await write(await a.publisher(id).open(), chunks)
    await write(await b.publisher(id).open(), [*chunks, FINISH])
    return start(readers, a, id)


async def crash_live(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    reading = start(readers, a, id)
    await write(await a.publisher(id).open(), chunks)
    await write(await b.publisher(id).open(), [*chunks, FINISH])
    return reading


async def abort(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    (gone,) = start(1, a, id)
    pub, half = await a.publisher(id, 0).open(), len(chunks) // 2
    await write(pub, chunks[:half])
    gone.cancel()
    await asyncio.wait([gone])
    reading = start(readers, a, id)
    await write(pub, [*chunks[half:], FINISH])
    return reading


async def reuse(
    a: Service, b: Service, id: str, chunks: list[Chunk], readers: int
) -> list[Reading]:
    await write(await a.publisher(id).open(), [*chunks, FINISH])
    await write(await a.publisher(id).open(), [*chunks, FINISH])
    return start(readers, b, id)


SCENARIOS: list[Scenario] = [live, replay, late_join, mixed, crash_replay, crash_live, abort, reuse]


async def run(services: list[Service], seconds: float, jobs: int) -> tuple[int, float]:
    """Run scenarios for a time, `jobs` at once; return how many, and the seconds that they took."""
    numbers, source, begun = itertools.count(), random.Random(0), time.monotonic()
    done = 0

    async def job() -> None:
        nonlocal done
        while time.monotonic() - begun < seconds:
            number = next(numbers)
            chunks = [
                {"type": "text-delta", "id": "t1", "delta": "x" * source.randint(1, 60)}
                for _ in range(source.randint(1, 20))
            ]
            reading = await SCENARIOS[number % len(SCENARIOS)](
                *services, f"s{number}", chunks, source.randint(1, 3)
            )
            for read in await asyncio.gather(*reading):
                if read != [*chunks, FINISH]:
                    raise AssertionError(f"read {len(read)} of {len(chunks) + 1}")
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(job())
    return done, time.monotonic() - begun


def make_services(url: str) -> list[Service]:
    if url != "memory://":
        return [create_service(url) for _ in range(2)]
    store, notifier = MemoryStore(), MemoryNotifier()
    return [DurableStreamService(store, notifier, UIMessageProtocol()) for _ in range(2)]


async def main(url: str, seconds: float, jobs: int) -> None:
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(service) for service in make_services(url)]
        await told("ready")
        done, took = await run(services, seconds, jobs)
        report(scenarios=done, seconds=took)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))

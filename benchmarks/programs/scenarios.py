"""This package in short scenarios: `python -m benchmarks.programs.scenarios '{"url": …, "seconds":
…, "jobs": …}'`.

scenarios.json lists the steps of each, for this program and for node/scenarios.mjs. `a` and `b` are
two services on one database. `read` starts readers that must get the whole last version, `watch`
one that `leave` cancels; `write` writes all chunks of an answer, all but its end (`cut`), its first
half, or the rest.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.pacing import Chunk, report, told
from monostream_ai import DurableStreamService, create_service
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol

Services = dict[str, DurableStreamService[Chunk]]

FINISH: Chunk = {"type": "finish"}
SCENARIOS = [*json.loads(Path(__file__).with_suffix(".json").read_text()).values()]


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


async def play(
    steps: list[list[Any]], services: Services, id: str, chunks: list[Chunk], readers: int
) -> list[asyncio.Task[list[Chunk]]]:
    """Take the steps; return the readers that must get all chunks of the last version."""
    half = len(chunks) // 2
    parts = {
        "all": [*chunks, FINISH],
        "cut": chunks,
        "half": chunks[:half],
        "rest": [*chunks[half:], FINISH],
    }
    reading: list[asyncio.Task[list[Chunk]]] = []
    for step in steps:
        match step:
            case ["read", names]:
                reading = [
                    asyncio.create_task(collect(services[name], id))
                    for name in itertools.islice(itertools.cycle(names), readers)
                ]
            case ["open", name, version]:
                pub = await services[name].publisher(id, version).open()
            case ["write", part]:
                for chunk in parts[part]:
                    await pub.write(chunk)
            case ["watch", name]:
                watching = asyncio.create_task(collect(services[name], id))
            case ["leave"]:
                watching.cancel()
                await asyncio.wait([watching])
    return reading


async def run(services: Services, seconds: float, jobs: int) -> tuple[int, float]:
    """Play scenarios, `jobs` at once; return how many were played in how many seconds."""
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
            steps = SCENARIOS[number % len(SCENARIOS)]
            reading = await play(steps, services, f"s{number}", chunks, source.randint(1, 3))
            for read in await asyncio.gather(*reading):
                if read != [*chunks, FINISH]:
                    raise RuntimeError(f"read {len(read)} of {len(chunks) + 1}")
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(job())
    return done, time.monotonic() - begun


async def main(url: str, seconds: float, jobs: int) -> None:
    if url == "memory://":
        # Two services share one store only if it is the same object.
        store, notifier = MemoryStore(), MemoryNotifier()
        one = lambda: DurableStreamService(store, notifier, UIMessageProtocol())  # noqa: E731
    else:
        one = lambda: create_service(url)  # noqa: E731
    async with one() as a, one() as b:
        await told()
        done, took = await run({"a": a, "b": b}, seconds, jobs)
        report(scenarios=done, seconds=took)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))

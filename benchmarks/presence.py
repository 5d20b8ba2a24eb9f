"""How soon is the death of a process noticed, and is a living one ever taken for dead?

Kills writers at random moments and prints the time until readers are told. Then it freezes writers,
ends their connections and restarts Postgres, and counts the answers that this cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg

from benchmarks.figures import percentile
from benchmarks.pacing import Load
from benchmarks.processes import Database, Server, finished, killed, python, started, tell
from monostream_ai import DurableStreamService, PublisherLost, create_service

Fault = Callable[[Sequence[Process]], Awaitable[None]]

PAUSES = (0.1, 3600.0)
"""Seconds between two chunks of a writer. One that is silent lives by its renewals."""

STREAMS, LIFE = 4, 86_400.0
"""Answers of a writer, and seconds until they end."""

LONGEST_FREEZE = 8.0
"""Seconds: a lease lasts for 15, and is renewed every 5."""

AFTERWARDS = 4.0
"""Seconds after a fault, enough to find out a process that was taken for dead."""


async def program(role: str, url: str, streams: list[str], pause: float = 1.0) -> Process:
    load = json.dumps(asdict(Load(url, streams, pause, LIFE)))
    return await started(python("programs.roles", "ours", role, load))


async def writer(url: str, number: int) -> tuple[Process, list[str]]:
    streams = [f"{number}-{place}" for place in range(STREAMS)]
    process = await program("publish", url, streams, PAUSES[number % 2])
    tell(process)
    return process, streams


async def told(service: DurableStreamService[Any], stream_id: str) -> None:
    """Read until the publisher is lost."""
    with suppress(PublisherLost):
        async for _ in service.subscribe(stream_id):
            pass
        raise RuntimeError(f"stream {stream_id!r} ended")


async def deaths(backend: str, url: str, kills: int) -> None:
    """Kill writers at random moments; print the seconds until a reader elsewhere was told, and one
    of a process that was started after the death.
    """
    times: dict[str, list[float]] = {"elsewhere": [], "started afterwards": []}
    async with create_service(url) as service:
        for number in range(kills):
            process, streams = await writer(url, number)
            stream_id = random.choice(streams)
            reading = asyncio.create_task(told(service, stream_id))
            successor = await program("look", url, [stream_id])
            await asyncio.sleep(random.uniform(0.5, 2.5))
            process.kill()
            killed_at = time.monotonic()
            looking = asyncio.create_task(finished(successor))
            await reading
            times["elsewhere"].append(time.monotonic() - killed_at)
            times["started afterwards"].append((await looking)["seconds"])
            await process.wait()
    for who, seconds in times.items():
        p50, p99 = (percentile(sorted(seconds), part) for part in (0.5, 0.99))
        print(f"{backend:9} death → reader {who}: p50 {p50:.2f}, p99 {p99:.2f} s", flush=True)


async def false_takeovers(backend: str, url: str, seconds: float, faults: Sequence[Fault]) -> None:
    """Make faults, one after the other; print how many there were, and how many answers of living
    writers were taken for lost.
    """
    made, deadline = 0, time.monotonic() + seconds
    async with create_service(url) as service:
        processes, streams = zip(*[await writer(url, -number) for number in (1, 2)], strict=True)
        reading = [asyncio.create_task(told(service, each)) for each in sum(streams, [])]
        try:
            while time.monotonic() < deadline:
                await random.choice(faults)(processes)
                await asyncio.sleep(AFTERWARDS)
                made += 1
            lost = sum(task.done() for task in reading)
        finally:
            await killed(*processes)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    print(f"{backend:9} {made} faults, {lost} false takeovers", flush=True)


async def freeze(processes: Sequence[Process]) -> None:
    process = random.choice(processes)
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(random.uniform(0.5, LONGEST_FREEZE))
    process.send_signal(signal.SIGCONT)


def postgres_faults(server: Server, database: Database) -> list[Fault]:
    async def end_sessions(condition: str) -> None:
        admin = await asyncpg.connect(database.url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database() "
            f"AND {condition}"
        )
        await admin.close()

    async def holders(_: Sequence[Process]) -> None:
        for _ in range(random.randint(1, 5)):
            await end_sessions("pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
            await asyncio.sleep(random.uniform(0, 0.5))

    async def frozen(processes: Sequence[Process]) -> None:
        await asyncio.gather(freeze(processes), end_sessions("true"))

    return [
        freeze,
        frozen,
        holders,
        lambda _: end_sessions("true"),
        lambda _: end_sessions("random() < 0.5"),
        lambda _: server.crash(),
    ]


async def measure_sqlite(kills: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/chat.db"
        await deaths("SQLite", url, kills)
        await false_takeovers("SQLite", url, seconds, [freeze])


async def measure_postgres(kills: int, seconds: float) -> None:
    with Server() as server:
        async with Database(server) as database:
            await deaths("Postgres", database.url, kills)
            faults = postgres_faults(server, database)
            await false_takeovers("Postgres", database.url, seconds, faults)


MEASURED = {"sqlite": measure_sqlite, "postgres": measure_postgres}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults, on each backend")
    parser.add_argument("--backend", choices=MEASURED, help="this one alone")
    options = parser.parse_args()
    for backend in [options.backend] if options.backend else MEASURED:
        asyncio.run(MEASURED[backend](options.kills, options.minutes * 60))


if __name__ == "__main__":
    main()

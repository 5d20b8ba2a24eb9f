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
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg

from benchmarks.figures import percentile
from benchmarks.processes import Database, Server, finished, killed, python, started
from monostream_ai import DurableStreamService, Publisher, create_service
from monostream_ai.errors import PublisherLost
from monostream_ai.stores.postgres.holders import LOOK
from monostream_ai.ui_messages import Chunk

Service = DurableStreamService[Chunk]
Fault = Callable[[], Awaitable[None]]

PAUSE = 0.1
"""Seconds between two chunks."""

LONGEST_FREEZE = 8.0
"""Seconds: a lease lasts for 15, and is renewed every 5."""

AFTERWARDS = 4.0
"""Seconds after a fault, enough to find out a process that was taken for dead."""

STREAMS = 4
"""Answers of a writer."""


async def write(url: str, prefix: str) -> None:
    """Role: write answers for ever. Half of them wait for a model that says nothing, and live by
    their renewals.
    """

    async def go_on(pub: Publisher[Chunk], pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            await pub.write({"type": "text-delta", "id": "0", "delta": "x"})

    async with create_service(url) as service, asyncio.TaskGroup() as group:
        for number in range(STREAMS):
            pub = await service.publisher(f"{prefix}{number}").open()
            await pub.write({"type": "start"}, {"type": "text-start", "id": "0"})
            group.create_task(go_on(pub, PAUSE if number % 2 else 3600.0))
        print("ready", flush=True)


async def look(url: str, stream_id: str) -> None:
    """Role: start after a death, and print the seconds until a reader is told."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began = time.monotonic()
    async with create_service(url) as service:
        await told(service, stream_id)
        print(json.dumps(time.monotonic() - began), flush=True)


async def told(service: Service, stream_id: str) -> None:
    """Read until the publisher is lost."""
    try:
        async for _ in service.subscribe(stream_id):
            pass
    except PublisherLost:
        return
    raise RuntimeError(f"stream {stream_id!r} ended")


async def writer(url: str, prefix: str) -> Process:
    return await started(python("presence", "write", url, prefix))


async def deaths(url: str, kills: int) -> dict[str, list[float]]:
    """Kill writers at random moments; return the seconds until a reader elsewhere was told, and one
    of a process that was started after the death.
    """
    elsewhere, afterwards = list[float](), list[float]()
    async with create_service(url) as service:
        for number in range(kills):
            process = await writer(url, f"{number}-")
            stream_id = f"{number}-{random.randrange(STREAMS)}"
            reading = asyncio.create_task(told(service, stream_id))
            successor = await started(python("presence", "look", url, stream_id))
            await asyncio.sleep(random.uniform(0.5, 2.5))
            process.kill()
            killed_at = time.monotonic()
            looking = asyncio.create_task(finished(successor))
            await reading
            elsewhere.append(time.monotonic() - killed_at)
            afterwards.append(await looking)
            await process.wait()
    return {"elsewhere": elsewhere, "started afterwards": afterwards}


async def false_takeovers(
    url: str, seconds: float, faults: Callable[[Sequence[Process]], Sequence[Fault]]
) -> tuple[int, int]:
    """Make faults, one after the other; return how many there were, and how many answers of living
    writers were taken for lost.
    """
    made, lost = 0, set[str]()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(create_service(url))
        processes = [await writer(url, f"living{number}-") for number in range(2)]
        stack.push_async_callback(killed, *processes)
        reading = {
            stream_id: asyncio.create_task(told(service, stream_id))
            for stream_id in (f"living{one}-{two}" for one in range(2) for two in range(STREAMS))
        }
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await random.choice(faults(processes))()
            await asyncio.sleep(AFTERWARDS)
            made += 1
            lost |= {stream_id for stream_id, task in reading.items() if task.done()}
        for task in reading.values():
            task.cancel()
        await asyncio.gather(*reading.values(), return_exceptions=True)
    return made, len(lost)


def freezes(processes: Sequence[Process]) -> list[Fault]:
    async def freeze() -> None:
        process = random.choice(processes)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(random.uniform(0.5, LONGEST_FREEZE))
        process.send_signal(signal.SIGCONT)

    return [freeze]


def postgres_faults(
    server: Server, database: Database
) -> Callable[[Sequence[Process]], list[Fault]]:
    async def terminate(condition: str) -> None:
        admin = await asyncpg.connect(database.url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity AS a "
            "WHERE pid <> pg_backend_pid() AND datname = current_database() "
            f"AND {condition}"
        )
        await admin.close()

    async def all_sessions() -> None:
        await terminate("true")

    async def holders() -> None:
        for _ in range(random.randint(1, 5)):
            await terminate("pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
            await asyncio.sleep(random.uniform(0, 0.5))

    async def some_sessions() -> None:
        await terminate("random() < 0.5")

    def frozen(processes: Sequence[Process]) -> Fault:
        async def fault() -> None:
            freezing = asyncio.create_task(freezes(processes)[0]())
            await asyncio.sleep(0.2)
            await all_sessions()
            await freezing

        return fault

    return lambda processes: [
        *freezes(processes),
        frozen(processes),
        all_sessions,
        holders,
        some_sessions,
        server.crash,
    ]


def show(backend: str, times: dict[str, list[float]]) -> None:
    for who, seconds in times.items():
        if seconds:
            seconds.sort()
            print(
                f"{backend:9} death → reader {who} told: p50 {percentile(seconds, 0.5):.2f} s, "
                f"p99 {percentile(seconds, 0.99):.2f} s, most {seconds[-1]:.2f} s "
                f"({len(seconds)} deaths)",
                flush=True,
            )


async def cost(url: str) -> None:
    """Print the time that the server takes for the look of each process, once a second."""
    connection = await asyncpg.connect(url)
    arguments = LOOK.arguments({"own": "1:1", "pid": 1, "holders": ["1:1", "1:2"]})
    (plan,) = await connection.fetchrow(f"EXPLAIN (ANALYZE, FORMAT JSON) {LOOK.sql}", *arguments)
    (timed,) = json.loads(plan)
    run, planned = timed["Execution Time"], timed["Planning Time"]
    print(
        f"Postgres  a look, once a second: {run:.2f} ms, and {planned:.2f} ms to plan it",
        flush=True,
    )
    await connection.close()


async def measure(kills: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/chat.db"
        show("SQLite", await deaths(url, kills))
        if seconds:
            made, lost = await false_takeovers(url, seconds, freezes)
            print(f"SQLite    {made} faults, {lost} false takeovers", flush=True)
    with Server() as server:
        async with Database(server) as database:
            await cost(database.url)
            show("Postgres", await deaths(database.url, kills))
            if seconds:
                faults = postgres_faults(server, database)
                made, lost = await false_takeovers(database.url, seconds, faults)
                print(f"Postgres  {made} faults, {lost} false takeovers", flush=True)


def main() -> None:
    roles = {"write": write, "look": look}
    if sys.argv[1:] and sys.argv[1] in roles:
        asyncio.run(roles[sys.argv[1]](*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults, on each backend")
    options = parser.parse_args()
    asyncio.run(measure(options.kills, options.minutes * 60))


if __name__ == "__main__":
    main()

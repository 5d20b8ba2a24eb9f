"""Measures the unit costs on an embedded Postgres: about a minute."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg
import numpy

from benchmarks.database import Server
from benchmarks.pacing import chunk_now
from benchmarks.scale.costs import Cost, Costs, Side
from benchmarks.scale.disk import DiskProbe
from monostream_ai import create_service
from monostream_ai.json_text import encode_json
from monostream_ai.notifiers.postgres import CHANNEL, PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Append, Lease, Opening, Position, WakeUp

SHAPES = [(1, 1), (1, 32), (16, 16), (16, 64), (64, 64), (64, 256), (128, 128), (128, 512)]
"""Streams and chunks of a statement."""

REPEATS = 30
WARM_UP = 12
"""Statements for which Postgres may plan anew."""

STREAMS = 128
LISTENERS = 16
TURNS = 300
CHUNKS = 20_000
LEASE = 15.0


class Spent(NamedTuple):
    """Medians of one piece of work: seconds of CPU here and in the server."""

    client: float
    server: float


class Meter:
    """Reads the CPU time of the server's processes, to the nanosecond."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def cpu(self) -> float:
        return sum(_nanoseconds(process) for process in self._server.processes()) / 1e9

    async def of(self, work: Callable[[], Awaitable[object]]) -> Spent:
        found: list[Spent] = []
        for _ in range(WARM_UP + REPEATS):
            begun = time.process_time(), self.cpu()
            await work()
            found.append(Spent(time.process_time() - begun[0], self.cpu() - begun[1]))
        return Spent(*map(statistics.median, zip(*found[WARM_UP:], strict=True)))


async def measure(server: Server) -> Costs:
    url = await server.new_database()
    meter = Meter(server)
    store = PostgresStore.from_url(url)
    database = await asyncpg.connect(url)
    token = "t" * 32
    leases = [Lease(f"stream-{number:04}", 0, token) for number in range(STREAMS)]
    for lease in leases:
        await store.acquire(lease.stream_id, 0, Opening(token, LEASE))
    with DiskProbe() as disk:
        append, wal = await _append_costs(meter, store, leases, database)
    read = await _read_costs(meter, store, leases)
    notify, wake, hear = await _notify_costs(meter, url, leases)
    await store.aclose()
    await database.close()
    await server.drop(url)
    push, take = await _process_costs()
    table, index = await _sizes(server)
    return Costs(append, notify, read, push, take, wake, hear, disk.waits, wal, table, index)


async def _append_costs(
    meter: Meter, store: PostgresStore, leases: Sequence[Lease], database: asyncpg.Connection
) -> tuple[Side, Cost]:
    nexts = dict.fromkeys(leases, 0)
    payload = encode_json(chunk_now())

    async def append(streams: int, chunks: int) -> None:
        each = chunks // streams
        appends = [
            Append(lease, nexts[lease], [payload] * each, False) for lease in leases[:streams]
        ]
        assert await store.append(appends, lease=LEASE) == [None] * streams
        for lease in leases[:streams]:
            nexts[lease] += each

    spent, logs = [], []
    for streams, chunks in SHAPES:
        before = await _wal(database)
        spent.append(await meter.of(lambda streams=streams, chunks=chunks: append(streams, chunks)))  # type: ignore[misc]
        logs.append((await _wal(database) - before) / (WARM_UP + REPEATS))
    return _side(spent), _fit(logs)


async def _read_costs(meter: Meter, store: PostgresStore, leases: Sequence[Lease]) -> Side:
    async def read(streams: int, chunks: int) -> None:
        # Each stream has 40 chunks at least; the last of them are read, as at a tail.
        positions = [
            Position(lease.stream_id, 0, heads[lease.stream_id] - chunks // streams)
            for lease in leases[:streams]
        ]
        await store.read(positions, max_rows=1000, max_bytes=2**20)

    pages = await store.read(
        [Position(lease.stream_id, 0, 0) for lease in leases], max_rows=1, max_bytes=1
    )
    heads = {
        lease.stream_id: page.head.next_id
        for lease, page in zip(leases, pages, strict=True)
        if page.head
    }
    # A read names 64 streams at most.
    shapes = [(streams, chunks) for streams, chunks in SHAPES if streams <= 64]
    spent = [await meter.of(lambda s=streams, c=chunks: read(s, c)) for streams, chunks in shapes]  # type: ignore[misc]
    return _side(spent, shapes)


async def _notify_costs(
    meter: Meter, url: str, leases: Sequence[Lease]
) -> tuple[Side, float, float]:
    notifier = PostgresNotifier.from_url(url)
    counts = [1, 16, 64, 128]

    async def notify(streams: int) -> None:
        await notifier.notify([WakeUp(lease.stream_id, 0, 7) for lease in leases[:streams]])
        # Who listens is served after the commit.
        await asyncio.sleep(0.003)

    async def spend() -> list[Spent]:
        return [await meter.of(lambda streams=streams: notify(streams)) for streams in counts]  # type: ignore[misc]

    alone = await spend()
    listening = [await asyncpg.connect(url) for _ in range(LISTENERS)]
    for connection in listening:
        await connection.add_listener(CHANNEL, lambda *_: None)
    heard = await spend()
    for connection in listening:
        await connection.close()
    await notifier.aclose()
    each = [
        [(b[place] - a[place]) / LISTENERS for a, b in zip(alone, heard, strict=True)]
        for place in (0, 1)
    ]
    hear, wake = (max(0.0, statistics.median(values)) for values in each)
    return _side(alone, [(count, 0) for count in counts]), wake, hear


async def _process_costs() -> tuple[float, float]:
    """Return what a chunk costs a process apart from statements, by a service in memory."""
    async with (
        create_service("memory://") as service,
        service.publisher("s", on_cancel="release") as pub,
    ):
        begun = time.process_time()
        for number in range(CHUNKS):
            pub.push(chunk_now())
            if number % 32 == 0:
                await asyncio.sleep(0)
        await pub.flush()
        pushed = time.process_time()
        subscription = service.subscribe("s")
        for _ in range(CHUNKS // 2):
            await anext(subscription)
        taken = time.process_time()
        subscription.close()
        await pub.release()
    return (pushed - begun) / CHUNKS, (taken - pushed) / (CHUNKS // 2)


async def _sizes(server: Server) -> tuple[float, float]:
    """Return the bytes of a chunk where many streams take turns, as they do."""
    url = await server.new_database()
    store = PostgresStore.from_url(url)
    payload = encode_json(chunk_now())
    leases = [Lease(f"stream-{number:04}", 0, "t" * 32) for number in range(STREAMS)]
    for lease in leases:
        await store.acquire(lease.stream_id, 0, Opening(lease.token, LEASE))
    for number in range(TURNS):
        await store.append(
            [Append(lease, number, [payload], False) for lease in leases], lease=LEASE
        )
    await store.aclose()
    database = await asyncpg.connect(url)
    sizes = [
        await database.fetchval(f"SELECT {function}('stream_chunk')")
        for function in ("pg_table_size", "pg_indexes_size")
    ]
    await database.close()
    await server.drop(url)
    return sizes[0] / (STREAMS * TURNS), sizes[1] / (STREAMS * TURNS)


async def _wal(database: asyncpg.Connection) -> int:
    return int(
        await database.fetchval(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        )
    )


def _side(spent: Sequence[Spent], shapes: Sequence[tuple[int, int]] = SHAPES) -> Side:
    return Side(*(_fit([one[place] for one in spent], shapes) for place in (0, 1)))


def _fit(values: Sequence[float], shapes: Sequence[tuple[int, int]] = SHAPES) -> Cost:
    """Return the cost that explains the values best, each weighed by its size."""
    rows = numpy.array([(1, streams, chunks) for streams, chunks in shapes], dtype=float)
    weights = 1 / numpy.array(values)
    found = numpy.linalg.lstsq(rows * weights[:, None], numpy.array(values) * weights, rcond=None)[
        0
    ]
    return Cost(*(max(0.0, float(part)) for part in found))


def _nanoseconds(process: int) -> int:
    try:
        # The first field: nanoseconds on a processor. Source: Linux,
        # Documentation/scheduler/sched-stats.rst.
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    except FileNotFoundError:
        return 0

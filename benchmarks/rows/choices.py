"""Row 0: the choices behind the hot path beside what was not chosen, in CPU time here and in the
Postgres backend.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.database import Server
from benchmarks.delivery import OURS_UVLOOP, OURS_WRITTEN, deliver
from benchmarks.figures import Figure, Figures
from benchmarks.pacing import chunk_now
from monostream_ai.json_text import encode_json
from monostream_ai.stores.postgres.connections import Connections, Statement

BATCH = 256
REPEATS = 40
LOOP_RATE = 3_200
LOOP_SECONDS = 4.0
PAYLOAD = '{"type":"text-delta","id":"t1","delta":" hello"}'
KEY = "PRIMARY KEY (stream_id, version, id)"
UNNEST = (
    "INSERT INTO {table} (stream_id, version, id, chunk) SELECT s, 0, i, CAST(c AS {type}) "
    "FROM unnest(CAST($1 AS text[]), CAST($2 AS bigint[]), CAST($3 AS text[])) AS t (s, i, c) {conflict}"
)
ONE = "INSERT INTO {table} (stream_id, version, id, chunk) VALUES ($1, 0, $2, $3)"
UPDATE = "ON CONFLICT (stream_id, version, id) DO UPDATE SET chunk = excluded.chunk"

Rows = tuple[list[str], list[int], list[str]]
Work = Callable[[], Awaitable[object]]


def rows_from(numbers: itertools.count[int]) -> Rows:
    first = next(numbers) * BATCH
    return ["stream"] * BATCH, [*range(first, first + BATCH)], [PAYLOAD] * BATCH


class Backend:
    """A connection of asyncpg's, and the CPU time of its server process."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self._path = Path(f"/proc/{connection.get_server_pid()}/schedstat")

    def cpu(self) -> float:
        # The first field: nanoseconds on a processor. Source: Linux,
        # Documentation/scheduler/sched-stats.rst.
        return int(self._path.read_text().split()[0]) / 1e9

    async def cost(self, work: Work) -> tuple[float, float]:
        """Return the median microseconds of CPU of one call, here and in the server."""
        here, there = [], []
        for number in range(REPEATS + 8):
            before = time.process_time(), self.cpu()
            await work()
            # The first few calls prepare and plan.
            if number >= 8:
                here.append(time.process_time() - before[0])
                there.append(self.cpu() - before[1])
        return statistics.median(here) * 1e6, statistics.median(there) * 1e6


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(0)
    for _ in range(rounds):
        url = await server.new_database()
        backend = Backend(await asyncpg.connect(url))
        for name, work in (await _ways_to_insert(backend.connection)).items():
            client, postgres = await backend.cost(work)
            figures.add(f"insert of {BATCH}: {name}, client", client / BATCH, "µs/row")
            figures.add(f"insert of {BATCH}: {name}, Postgres", postgres / BATCH, "µs/row")
        await backend.connection.close()
        await _ways_to_connect(url, figures)
        await server.drop(url)
        _ways_to_encode(figures)
        for name, design in {"asyncio": OURS_WRITTEN, "uvloop": OURS_UVLOOP}.items():
            got = await deliver(server, design, LOOP_RATE, LOOP_SECONDS)
            for part in ("publisher", "reader"):
                figures.add(
                    f"{LOOP_RATE:,} chunks/s: {name}, {part}",
                    got.cpu[part] / LOOP_RATE * 1e6,
                    "µs/chunk",
                )
    return figures.all()


async def _ways_to_insert(connection: asyncpg.Connection) -> dict[str, Work]:
    ways: dict[str, Work] = {}
    columns = "stream_id text, version bigint, id bigint, created_at timestamptz DEFAULT CURRENT_TIMESTAMP, chunk"
    for type, conflict in [
        ("json", ""),
        ("text", ""),
        ("jsonb", ""),
        ("json", "ON CONFLICT DO NOTHING"),
        ("json", UPDATE),
    ]:
        table = f"t{len(ways)}"
        await connection.execute(f"CREATE TABLE {table} ({columns} {type} NOT NULL, {KEY})")
        statement = UNNEST.format(table=table, type=type, conflict=conflict)
        name = f"{type}, unnest {conflict.partition('(')[0].strip()}{' DO UPDATE' if conflict is UPDATE else ''}".strip()
        ways[name] = _unnest(connection, statement)
    for name, way in {"executemany": _executemany, "COPY": _copy}.items():
        table = f"t{len(ways)}"
        await connection.execute(f"CREATE TABLE {table} ({columns} json NOT NULL, {KEY})")
        ways[f"json, {name}"] = way(connection, table)
    return ways


def _unnest(connection: asyncpg.Connection, statement: str) -> Work:
    numbers = itertools.count()
    return lambda: connection.execute(statement, *rows_from(numbers))


def _executemany(connection: asyncpg.Connection, table: str) -> Work:
    numbers = itertools.count()
    return lambda: connection.executemany(
        ONE.format(table=table), [*zip(*rows_from(numbers), strict=True)]
    )


def _copy(connection: asyncpg.Connection, table: str) -> Work:
    numbers = itertools.count()
    columns = ["stream_id", "version", "id", "chunk"]

    async def work() -> None:
        streams, ids, payloads = rows_from(numbers)
        records = [
            (stream, 0, id, payload)
            for stream, id, payload in zip(streams, ids, payloads, strict=True)
        ]
        await connection.copy_records_to_table(table, records=records, columns=columns)

    return work


async def _ways_to_connect(url: str, figures: Figures) -> None:
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=1, max_overflow=0
    )
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    connections, plain = Connections(engine), await asyncpg.connect(url)
    statement, one = Statement("SELECT 1"), text("SELECT 1")

    async def by_sqlalchemy() -> None:
        async with autocommit.connect() as connection:
            (await connection.execute(one)).all()

    async def by_driver() -> None:
        async with connections.lend() as connection:
            await connection.execute(statement, {})

    ways: dict[str, Work] = {
        "asyncpg alone": lambda: plain.fetch("SELECT 1"),
        "asyncpg out of SQLAlchemy's pool": by_driver,
        "SQLAlchemy connection": by_sqlalchemy,
    }
    for name, work in ways.items():
        figures.add(f"SELECT 1: {name}, client", await _client_cost(work), "µs")
    await plain.close()
    await engine.dispose()


async def _client_cost(work: Work) -> float:
    times = []
    for _ in range(200):
        before = time.process_time()
        await work()
        times.append(time.process_time() - before)
        await asyncio.sleep(0)
    return statistics.median(times) * 1e6


def _ways_to_encode(figures: Figures) -> None:
    chunk = chunk_now()
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: encode_json(chunk),
        "json.dumps": lambda: json.dumps(chunk),
    }
    try:
        import orjson
    except ImportError:
        pass
    else:
        ways["orjson, without our checks"] = lambda: orjson.dumps(chunk)
    for name, work in ways.items():
        before = time.process_time()
        for _ in range(20_000):
            work()
        figures.add(
            f"encoding a chunk: {name}", (time.process_time() - before) / 20_000 * 1e6, "µs"
        )

"""Rows 4 and 13: appends in bulk, and the import, each beside the same without this package."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg

from benchmarks.figures import Row
from benchmarks.processes import Database
from monostream_ai.interfaces import Store
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.types import Append, Lease, Opening

Batch = list[tuple[str, int]]
"""The stream and the number of each chunk."""

PAYLOAD = '{"type":"text-delta","id":"t1","delta":" hello"}'
SHAPES = ((1, 128), (1, 512), (64, 2), (64, 8), (64, 31))
"""Streams in a batch, and chunks of each; 64 × 31 fills a batch of the group commit."""

SECONDS, LEASE, REPEATS = 1.0, 15.0, 5

UNNEST = """
INSERT INTO raw_chunk (stream_id, version, id, chunk)
SELECT s, 0, i, CAST(c AS json)
  FROM unnest(CAST($1 AS text[]), CAST($2 AS bigint[]), CAST($3 AS text[])) AS t (s, i, c)
"""
INSERT = "INSERT INTO raw_chunk (stream_id, version, id, chunk) VALUES (?, 0, ?, ?)"
RAW_TABLE = """
CREATE TABLE raw_chunk (
  stream_id text, version bigint, id bigint,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, chunk {} NOT NULL,
  PRIMARY KEY (stream_id, version, id)
)
"""


async def appends(row: Row) -> None:
    """Row 4: appends with fences and leases, and the same rows inserted by hand."""
    async with Database(row.server) as database:
        store, raw = PostgresStore.from_url(database.url), await asyncpg.connect(database.url)
        await raw.execute(RAW_TABLE.format("json"))
        await _compare(row, "Postgres", "asyncpg unnest", store, partial(_unnest, raw))
        await store.aclose()
        await raw.close()
    with tempfile.TemporaryDirectory() as directory:
        sqlite = SQLiteStore.from_url(f"sqlite:///{directory}/ours.db")
        await sqlite.setup()
        # One thread uses it at a time: each insert is awaited.
        file = sqlite3.connect(f"{directory}/raw.db", isolation_level=None, check_same_thread=False)
        file.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        file.execute(RAW_TABLE.format("text") + " WITHOUT ROWID")
        await _compare(row, "SQLite", "executemany", sqlite, partial(_executemany, file))
        await sqlite.aclose()
        file.close()


async def _compare(
    row: Row, database: str, other: str, store: Store, by_hand: Callable[[Batch], Awaitable[None]]
) -> None:
    """Let both take turns, so that a busy machine disturbs both alike."""
    target = ">= 0.9" if database == "SQLite" else ">= 0.85"
    for streams, chunks in row.cases(SHAPES):
        ids = [f"s{streams}-{chunks}-{place}" for place in range(streams)]
        leases = [Lease(id, 0, "0123456789abcdef0123456789abcdef") for id in ids]
        for lease in leases:
            await store.acquire(lease.stream_id, 0, Opening(lease.token, LEASE))

        async def ours(first: int, leases: list[Lease] = leases, chunks: int = chunks) -> None:
            payloads = [PAYLOAD] * chunks
            appends = [Append(lease, first, payloads, False) for lease in leases]
            if any(await store.append(appends, lease=LEASE)):
                raise RuntimeError("an append was refused")

        async def theirs(first: int, ids: list[str] = ids, chunks: int = chunks) -> None:
            await by_hand([(id, n) for id in ids for n in range(first, first + chunks)])

        ways = {other: theirs, "ours": ours}
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for first in itertools.count(step=chunks):
            for way, append in ways.items():
                start = time.monotonic()
                await append(first)
                # The first batch of each prepares statements.
                spent[way] += [time.monotonic() - start] * (first > 0)
            if min(map(sum, spent.values())) >= row.seconds(SECONDS):
                break
        name, rates = f"{database}, append of {streams} × {chunks}", dict[str, float]()
        for way, times in spent.items():
            rates[way] = streams * chunks * len(times) / sum(times)
            row.add(f"{name}: {way}", rates[way], "rows/s")
        row.add(f"{name}: ours to {other}", rates["ours"] / rates[other], "×", target)


async def _unnest(connection: asyncpg.Connection, batch: Batch) -> None:
    streams, places = zip(*batch, strict=True)
    await connection.execute(UNNEST, streams, places, [PAYLOAD] * len(batch))


async def _executemany(connection: sqlite3.Connection, batch: Batch) -> None:
    def insert() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [(*place, PAYLOAD) for place in batch])
        connection.execute("COMMIT")

    await asyncio.to_thread(insert)


async def imports(row: Row) -> None:
    """Row 13: how long a program takes to import the package, beside `import fastapi`."""
    times: dict[str, list[float]] = {"pass": [], "import monostream_ai": [], "import fastapi": []}
    # pip compiles a package that it installs, so ours must be compiled too.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    for _ in range(row.count(REPEATS)):
        for code, seconds in times.items():
            before = time.monotonic()
            await (await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=env)).wait()
            seconds.append(time.monotonic() - before)
    empty, ours, fastapi = (statistics.median(seconds) for seconds in times.values())
    row.add("import monostream_ai", (ours - empty) * 1e3, "ms")
    row.add("import fastapi", (fastapi - empty) * 1e3, "ms")
    row.add("import of ours to fastapi's", (ours - empty) / (fastapi - empty), "×", "<= 0.25")

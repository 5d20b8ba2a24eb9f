"""Row 4: appending in bulk, with fences and leases, beside the same rows inserted by hand."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from monostream_ai import create_service
from monostream_ai.interfaces import Store
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.types import Append, Lease, Opening

PAYLOAD = '{"type":"text-delta","id":"t1","delta":" hello"}'
CHUNK = {"type": "text-delta", "id": "t1", "delta": " hello"}
SHAPES = [(1, 128), (1, 512), (64, 2), (64, 8), (64, 31)]
"""Streams in a batch, and chunks of each. 64 times 31 fills a batch of the group commit."""

SECONDS = 1.0
LEASE = 15.0
TARGET = ">= 0.75"

UNNEST = """
INSERT INTO raw_chunk (stream_id, version, id, chunk)
SELECT s, 0, i, CAST(c AS json) FROM unnest(CAST($1 AS text[]), CAST($2 AS bigint[]), CAST($3 AS text[])) AS t (s, i, c)
"""
RAW_TABLE = """
CREATE TABLE {} (
  stream_id text, version bigint, id bigint, created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, chunk {} NOT NULL,
  PRIMARY KEY (stream_id, version, id)
)
"""


async def rates(*appends: Callable[[], Awaitable[int]]) -> list[float]:
    """Return the rows per second of each way to append; they take turns, so that a busy machine
    disturbs them alike.
    """
    rows, seconds = [0] * len(appends), [0.0] * len(appends)
    for append in appends:
        await append()
    while min(seconds) < SECONDS:
        for place, append in enumerate(appends):
            start = time.monotonic()
            rows[place] += await append()
            seconds[place] += time.monotonic() - start
    return [count / passed for count, passed in zip(rows, seconds, strict=True)]


class Appender:
    """Appends a shape to a store as the group commit does."""

    def __init__(self, store: Store, streams: int, chunks: int) -> None:
        self._store = store
        self._leases = [
            Lease(f"s{streams}-{chunks}-{place}", 0, "0123456789abcdef0123456789abcdef")
            for place in range(streams)
        ]
        self._chunks = chunks
        self._next_id = 0

    async def open(self) -> None:
        for lease in self._leases:
            await self._store.acquire(lease.stream_id, 0, Opening(lease.token, LEASE))

    async def append(self) -> int:
        payloads = [PAYLOAD] * self._chunks
        appends = [Append(lease, self._next_id, payloads, False) for lease in self._leases]
        if any(await self._store.append(appends, lease=LEASE)):
            raise RuntimeError("refused")
        self._next_id += self._chunks
        return len(appends) * self._chunks


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(4)
    url = await server.new_database()
    store, raw = PostgresStore.from_url(url), await asyncpg.connect(url)
    await raw.execute(RAW_TABLE.format("raw_chunk", "json"))
    with tempfile.TemporaryDirectory() as directory:
        sqlite = SQLiteStore.from_url(f"sqlite:///{directory}/ours.db")
        await sqlite.setup()
        by_hand = await asyncio.to_thread(_sqlite_by_hand, Path(directory) / "raw.db")
        for number, (streams, chunks) in itertools.product(range(rounds), SHAPES):
            name = f"append of {streams} × {chunks}"
            ids = [f"{number}-{streams}-{chunks}-{place}" for place in range(streams)]
            appender = await _opened(Appender(store, streams, chunks), number)
            by_asyncpg, ours = await rates(_by_unnest(raw, ids, chunks), appender)
            figures.add(f"Postgres, {name}: asyncpg unnest", by_asyncpg, "rows/s")
            figures.add(f"Postgres, {name}: ours", ours, "rows/s")
            figures.add(f"Postgres, {name}: ours to asyncpg", ours / by_asyncpg, "×", TARGET)
            appender = await _opened(Appender(sqlite, streams, chunks), number)
            by_sqlite, ours = await rates(_by_executemany(by_hand, ids, chunks), appender)
            figures.add(f"SQLite, {name}: executemany", by_sqlite, "rows/s")
            figures.add(f"SQLite, {name}: ours to executemany", ours / by_sqlite, "×", TARGET)
        await sqlite.aclose()
        by_hand.close()
    await store.aclose()
    for number in range(rounds):
        figures.add(
            "Postgres, publishers: 64 × write(8 chunks)", await _publishers(url, number), "chunks/s"
        )
    await raw.close()
    await server.drop(url)
    return figures.all()


async def _opened(appender: Appender, number: int) -> Callable[[], Awaitable[int]]:
    appender._leases = [
        lease._replace(stream_id=f"{number}-{lease.stream_id}") for lease in appender._leases
    ]
    await appender.open()
    return appender.append


def _by_unnest(
    connection: asyncpg.Connection, ids: list[str], chunks: int
) -> Callable[[], Awaitable[int]]:
    numbers = itertools.count(step=chunks)

    async def append() -> int:
        first = next(numbers)
        streams = [id for id in ids for _ in range(chunks)]
        await connection.execute(
            UNNEST, streams, [*range(first, first + chunks)] * len(ids), [PAYLOAD] * len(streams)
        )
        return len(streams)

    return append


def _by_executemany(
    connection: sqlite3.Connection, ids: list[str], chunks: int
) -> Callable[[], Awaitable[int]]:
    numbers = itertools.count(step=chunks)

    def insert() -> int:
        first = next(numbers)
        rows = [(id, 0, number, PAYLOAD) for id in ids for number in range(first, first + chunks)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO raw_chunk (stream_id, version, id, chunk) VALUES (?, ?, ?, ?)", rows
        )
        connection.execute("COMMIT")
        return len(rows)

    return lambda: asyncio.to_thread(insert)


def _sqlite_by_hand(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(RAW_TABLE.format("raw_chunk", "text") + " WITHOUT ROWID")
    return connection


async def _publishers(url: str, number: int) -> float:
    async with create_service(url) as service:
        pubs = [
            await service.publisher(f"publisher-{number}-{place}").open() for place in range(64)
        ]

        async def append() -> int:
            await asyncio.gather(*(pub.write(*[CHUNK] * 8) for pub in pubs))
            return 64 * 8

        return (await rates(append))[0]

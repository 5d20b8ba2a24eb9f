"""Row 4: appends in bulk, with fences and leases, beside the same rows inserted by hand."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg

from benchmarks.figures import Row
from monostream_ai.interfaces import Store
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.types import Append, Lease, Opening

Work = Callable[[], Awaitable[int]]
"""Appends one batch, and returns the rows in it."""

PAYLOAD = '{"type":"text-delta","id":"t1","delta":" hello"}'
SHAPES = ((1, 128), (1, 512), (64, 2), (64, 8), (64, 31))
"""Streams in a batch, and chunks of each; 64 × 31 fills a batch of the group commit."""

SECONDS = 1.0
LEASE = 15.0
TARGET = ">= 0.75"

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
    url = await row.server.new_database()
    postgres, raw = PostgresStore.from_url(url), await asyncpg.connect(url)
    await raw.execute(RAW_TABLE.format("json"))
    with tempfile.TemporaryDirectory() as directory:
        sqlite = SQLiteStore.from_url(f"sqlite:///{directory}/ours.db")
        await sqlite.setup()
        by_hand = await asyncio.to_thread(_sqlite_by_hand, Path(directory) / "raw.db")
        for streams, chunks in row.cases(SHAPES):
            ids = [f"s{streams}-{chunks}-{place}" for place in range(streams)]
            ways = (
                ("Postgres", "asyncpg unnest", _by_unnest(raw, ids, chunks), postgres),
                ("SQLite", "executemany", _by_executemany(by_hand, ids, chunks), sqlite),
            )
            for database, other, work, store in ways:
                name = f"{database}, append of {streams} × {chunks}"
                ours_work = await _by_store(store, ids, chunks)
                theirs, ours = await _rates(work, ours_work, seconds=row.seconds(SECONDS))
                row.add(f"{name}: {other}", theirs, "rows/s")
                row.add(f"{name}: ours", ours, "rows/s")
                row.add(f"{name}: ours to {other}", ours / theirs, "×", TARGET)
        await sqlite.aclose()
        by_hand.close()
    await postgres.aclose()
    await raw.close()
    await row.server.drop(url)


async def _rates(*ways: Work, seconds: float) -> list[float]:
    """Return the rows/s of each way; they take turns, so that a busy machine disturbs all alike."""
    rows, spent = [0] * len(ways), [0.0] * len(ways)
    for append in ways:
        await append()
    while min(spent) < seconds:
        for place, append in enumerate(ways):
            start = time.monotonic()
            rows[place] += await append()
            spent[place] += time.monotonic() - start
    return [count / passed for count, passed in zip(rows, spent, strict=True)]


async def _by_store(store: Store, ids: list[str], chunks: int) -> Work:
    """Append as the group commit does."""
    leases = [Lease(id, 0, "0123456789abcdef0123456789abcdef") for id in ids]
    for lease in leases:
        await store.acquire(lease.stream_id, 0, Opening(lease.token, LEASE))
    numbers = itertools.count(step=chunks)

    async def append() -> int:
        payloads, first = [PAYLOAD] * chunks, next(numbers)
        appends = [Append(lease, first, payloads, False) for lease in leases]
        if any(await store.append(appends, lease=LEASE)):
            raise RuntimeError("an append was refused")
        return len(ids) * chunks

    return append


def _by_unnest(connection: asyncpg.Connection, ids: list[str], chunks: int) -> Work:
    batches = _batches(ids, chunks)

    async def append() -> int:
        streams, places = zip(*(batch := next(batches)), strict=True)
        await connection.execute(UNNEST, streams, places, [PAYLOAD] * len(batch))
        return len(batch)

    return append


def _by_executemany(connection: sqlite3.Connection, ids: list[str], chunks: int) -> Work:
    batches = _batches(ids, chunks)

    def insert() -> int:
        batch = next(batches)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [(*place, PAYLOAD) for place in batch])
        connection.execute("COMMIT")
        return len(batch)

    return lambda: asyncio.to_thread(insert)


def _batches(ids: list[str], chunks: int) -> Iterator[list[tuple[str, int]]]:
    """Yield the streams and numbers of the chunks of each batch."""
    for first in itertools.count(step=chunks):
        yield [(id, number) for id in ids for number in range(first, first + chunks)]


def _sqlite_by_hand(path: Path) -> sqlite3.Connection:
    # One thread uses it at a time: each insert is awaited.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(RAW_TABLE.format("text") + " WITHOUT ROWID")
    return connection

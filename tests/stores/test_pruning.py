"""Pruning finds old versions by index and waits for no lock; appends stay updates in place."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from monostream_ai.stores.postgres.pruning import PRUNABLE
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.stores.sql.schema import PRUNED_CHUNKS
from monostream_ai.stores.sqlite.pruning import PRUNABLE as SQLITE_PRUNABLE
from monostream_ai.types import Append, Lease, Opening
from tests.plugins.postgres import asyncpg_dsn

HOUR = 3600.0

FILL = """
INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds,
                            lease_until, attempt, created_at, closed_at)
SELECT 's' || n, 0, 'w', 'w',
       CASE WHEN n % 100 = 0 THEN 'open' WHEN n % 3 = 0 THEN 'pruned' ELSE 'closed' END, 3, 15,
       now() - interval '1 minute', 1, now() - n * interval '1 second',
       CASE WHEN n % 100 > 0 THEN now() - n * interval '1 second' END
  FROM generate_series(1, $1::int) AS n
"""
CHUNKS = """INSERT INTO stream_chunk (stream_id, version, id, chunk)
SELECT stream_id, version, id, '{}' FROM stream_version, generate_series(0, 2) AS id"""

PARTITIONED = """
CREATE TABLE stream_chunk (
  stream_id text, version bigint, id bigint,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, chunk json NOT NULL,
  PRIMARY KEY (stream_id, version, id)) PARTITION BY HASH (stream_id);
CREATE TABLE stream_chunk_0 PARTITION OF stream_chunk FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE stream_chunk_1 PARTITION OF stream_chunk FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    yield store
    await store.aclose()


@pytest.fixture
async def database(store: PostgresStore, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


async def test_old_versions_are_found_by_index(database: asyncpg.Connection) -> None:
    await database.execute(FILL, 20_000)
    await database.execute("ANALYZE stream_version")
    values = PRUNABLE.arguments({"older_than": HOUR, "limit": 100, "chunks": PRUNED_CHUNKS})
    plan = "\n".join(row[0] for row in await database.fetch(f"EXPLAIN {PRUNABLE.sql}", *values))
    assert "Index Cond: (closed_at <" in plan
    assert "stream_version_open" in plan
    assert "Seq Scan" not in plan


def test_old_versions_are_found_by_index_on_sqlite(tmp_path: Path) -> None:
    async def prepare() -> None:
        store = SQLiteStore.from_url(f"sqlite:///{tmp_path / 's.db'}")
        await store.setup()
        await store.aclose()

    asyncio.run(prepare())
    connection = sqlite3.connect(tmp_path / "s.db")
    plan = [
        row[3]
        for row in connection.execute(
            f"EXPLAIN QUERY PLAN {SQLITE_PRUNABLE}", {"older_than": 1.0, "limit": 9}
        )
    ]
    connection.close()
    assert any("stream_version_closed" in step for step in plan)
    assert any("stream_version_open" in step for step in plan)


async def test_pruning_removes_everything_old_and_nothing_else(
    store: PostgresStore, database: asyncpg.Connection
) -> None:
    await database.execute(FILL, 9000)
    await database.execute(CHUNKS)
    counts = []
    while pruned := await store.prune(older_than=HOUR, limit=1000):
        counts.append(pruned)
    kept = await database.fetchval("SELECT count(*) FROM stream_version WHERE state <> 'pruned'")
    young = await database.fetchval(
        "SELECT count(*) FROM stream_version WHERE created_at > now() - interval '1 hour'"
    )
    assert await database.fetchval("SELECT count(DISTINCT stream_id) FROM stream_chunk") >= kept
    assert max(counts) <= 1000
    assert kept < young < 3700
    assert sum(counts) + kept == 9000 - await database.fetchval(
        "SELECT count(*) FROM generate_series(1, 9000) AS n WHERE n % 3 = 0 AND n % 100 > 0"
    )


async def test_a_transaction_takes_no_further_version_after_many_chunks(
    store: PostgresStore, database: asyncpg.Connection
) -> None:
    await database.execute(FILL, 10)
    await database.execute("UPDATE stream_version SET next_id = $1", PRUNED_CHUNKS)
    old = await database.fetchval("SELECT count(*) FROM stream_version WHERE state <> 'pruned'")
    assert [await store.prune(older_than=0.0, limit=100) for _ in range(old + 1)] == [1] * old + [0]


async def test_pruning_waits_for_nobody(store: PostgresStore, database: asyncpg.Connection) -> None:
    await database.execute(FILL, 2)
    async with database.transaction():
        await database.execute("SELECT 1 FROM stream_version WHERE stream_id = 's1' FOR UPDATE")
        async with asyncio.timeout(5):
            assert await store.prune(older_than=0.0, limit=100) == 1
    assert await store.prune(older_than=0.0, limit=100) == 1


async def test_appends_update_their_version_in_place(
    store: PostgresStore, database: asyncpg.Connection
) -> None:
    leases = [
        Lease(f"s{n}", await store.acquire(f"s{n}", None, Opening(f"w{n}", 60.0)), f"w{n}")
        for n in range(20)
    ]
    for first in range(20):
        verdicts = await store.append(
            [Append(lease, first, ["{}"], False) for lease in leases], lease=60.0
        )
        assert verdicts == [None] * len(leases)
    statistics = (
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'stream_version'"
    )
    async with asyncio.timeout(20):
        # The server's statistics lag behind.
        while (row := await database.fetchrow(statistics))["n_tup_upd"] < 400:
            await asyncio.sleep(0.1)
    assert row["n_tup_hot_upd"] > 0.9 * row["n_tup_upd"]


async def test_a_chunk_table_in_partitions_serves_streams_and_is_pruned(postgres_url: str) -> None:
    database = await asyncpg.connect(asyncpg_dsn(postgres_url))
    await database.execute(PARTITIONED)
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    leases = [
        Lease(f"s{number}", await store.acquire(f"s{number}", None, Opening("w", 60.0)), "w")
        for number in range(9)
    ]
    assert (
        await store.append([Append(lease, 0, ["1", "2"], True) for lease in leases], lease=60.0)
        == [None] * 9
    )
    assert [
        await store.payloads(lease.stream_id, 0, 0, max_rows=9, max_bytes=99) for lease in leases
    ] == [["1", "2"]] * 9
    assert await database.fetchval("SELECT count(DISTINCT tableoid) FROM stream_chunk") > 1
    assert await store.prune(older_than=0.0, limit=100) == 9
    assert await database.fetchval("SELECT count(*) FROM stream_chunk") == 0
    await store.aclose()
    await database.close()

"""Postgres while others use it: locked rows, raising triggers, dropped tables, and big chunks."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai import DurableStreamService, create_service
from monostream_ai.stores.postgres.statements import LOCK_STREAM
from monostream_ai.stores.postgres.store import ACQUIRE_LOCK
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Append, Lease, Opening, Position
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import still_waits
from tests.plugins.postgres import asyncpg_dsn

Service = DurableStreamService[Chunk]

LEASE = 1.5
BIG_CHUNKS = 40
PAGE_BYTES = 256 * 1024


@pytest.fixture
async def service(postgres_url: str, no_task_is_left: None) -> AsyncIterator[Service]:
    async with create_service(postgres_url, PROTOCOL, lease=5.0) as service:
        yield service


async def wait_for_a_lock(database: asyncpg.Connection) -> None:
    """Wait until another session waits for a lock that this connection holds."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    )
    async with asyncio.timeout(5):
        while not await database.fetchval(waiting):
            await asyncio.sleep(0.01)


async def test_a_waiting_deletion_spares_a_turn_that_begins_meanwhile(
    service: Service, database: asyncpg.Connection
) -> None:
    async with service.publisher("s") as pub:
        await pub.write(text(0))
    async with database.transaction():
        # The lock that an append, a prune or a claim in flight holds.
        await database.execute("SELECT 1 FROM stream_version WHERE stream_id = 's' FOR UPDATE")
        deleting = asyncio.create_task(service.delete("s"))
        await wait_for_a_lock(database)
        pub = await service.publisher("s").open()
        await pub.write(text(1))
    assert await deleting is True
    info = await service.status("s")
    assert (info.version, info.state, info.next_id) == (1, "open", 1)
    assert await service.chunks("s") == [text(1)]


async def test_a_locked_version_holds_up_no_other(
    service: Service, database: asyncpg.Connection
) -> None:
    locked, free = [await service.publisher(stream_id).open() for stream_id in ("locked", "free")]
    async with database.transaction():
        await database.execute("SELECT 1 FROM stream_version WHERE stream_id = 'locked' FOR UPDATE")
        writing = asyncio.create_task(locked.write(text(0)))
        async with asyncio.timeout(2):
            for number in range(5):
                assert await free.write(text(number)) == number
        assert await still_waits(writing)
    assert await writing == 0


async def test_a_renewal_waits_for_no_locked_version(
    postgres_url: str, database: asyncpg.Connection
) -> None:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    leases = [
        Lease(stream_id, await store.acquire(stream_id, None, Opening("token", 60.0)), "token")
        for stream_id in ("s", "t")
    ]
    async with database.transaction():
        await database.execute("SELECT 1 FROM stream_version WHERE stream_id = 's' FOR UPDATE")
        async with asyncio.timeout(3):
            assert await store.renew(leases, lease=60.0) == [None, None]
    await store.aclose()


async def test_a_trigger_that_raises_once_ends_no_renewal(
    postgres_url: str, database: asyncpg.Connection
) -> None:
    async with create_service(postgres_url, PROTOCOL, lease=LEASE) as service:
        failed = asyncio.Event()
        service.on_error(lambda source, error: failed.set())
        before = await service.publisher("before").open()
        await database.execute(
            """
            CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'hiccup'; END $$;
            CREATE TRIGGER audit BEFORE UPDATE ON stream_version
                FOR EACH ROW EXECUTE FUNCTION audit()
            """
        )
        async with asyncio.timeout(5):
            await failed.wait()
        await database.execute("DROP TRIGGER audit ON stream_version")
        after = await service.publisher("after").open()
        # Both stay silent for longer than their lease, so only the renewals keep them.
        await asyncio.sleep(2 * LEASE)
        assert [(await service.status(pub.stream_id)).lost for pub in (before, after)] == [
            False,
            False,
        ]


@pytest.mark.parametrize("table", ["stream_chunk", "stream_version"])
async def test_setup_creates_a_table_that_was_dropped(
    postgres_url: str, database: asyncpg.Connection, table: str
) -> None:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await database.execute(f"DROP TABLE {table}")
    await store.setup()
    assert await store.acquire("s", None, Opening("token", 5.0)) == 0
    await store.aclose()


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """A pool of one, since the connection that ran a statement has its statistics first."""
    engine = create_async_engine(
        postgres_url, pool_size=1, max_overflow=0, isolation_level="AUTOCOMMIT"
    )
    yield engine
    await engine.dispose()


async def blocks_of_big_chunks(engine: AsyncEngine, work: Callable[[], Awaitable[object]]) -> int:
    """Count the TOAST blocks that the work touches, where Postgres keeps big values."""

    async def count() -> int:
        async with engine.connect() as connection:
            await connection.execute(sql("SELECT pg_stat_force_next_flush()"))
        async with engine.connect() as connection:
            statement = sql(
                "SELECT toast_blks_read + toast_blks_hit FROM pg_statio_user_tables "
                "WHERE relname = 'stream_chunk'"
            )
            return int(await connection.scalar(statement))

    before = await count()
    await work()
    return await count() - before


async def test_a_page_of_big_chunks_unpacks_little_more_than_it_returns(
    engine: AsyncEngine,
) -> None:
    store = PostgresStore(engine)
    await store.setup()
    await store.acquire("s", None, Opening("token", 60.0))
    lease, source = Lease("s", 0, "token"), random.Random(0)
    for number in range(BIG_CHUNKS):
        payload = json.dumps(source.randbytes(100_000).hex())
        assert await store.append([Append(lease, number, [payload], False)], lease=60.0) == [None]

    async def everything() -> None:
        assert (
            len(await store.payloads("s", 0, 0, max_rows=BIG_CHUNKS, max_bytes=2**40)) == BIG_CHUNKS
        )

    async def one_page() -> None:
        (page,) = await store.read([Position("s", 0, 0)], max_rows=BIG_CHUNKS, max_bytes=PAGE_BYTES)
        assert len(page.payloads) == 2

    async def one_page_of_any_version() -> None:
        assert len(await store.payloads("s", 0, 0, max_rows=BIG_CHUNKS, max_bytes=PAGE_BYTES)) == 2

    whole = await blocks_of_big_chunks(engine, everything)
    assert whole > BIG_CHUNKS
    assert await blocks_of_big_chunks(engine, one_page) < whole / 4
    assert await blocks_of_big_chunks(engine, one_page_of_any_version) < whole / 4


async def test_a_process_frozen_while_it_opens_a_version_holds_up_no_other_stream(
    database: asyncpg.Connection, service: Service, postgres_url: str
) -> None:
    frozen = await asyncpg.connect(asyncpg_dsn(postgres_url))
    try:
        await frozen.execute("BEGIN")
        await frozen.execute(f"SELECT pg_advisory_xact_lock({ACQUIRE_LOCK}, hashtext('stuck'))")
        pub = await service.publisher("free").open()
        opening = [asyncio.create_task(service.publisher("stuck").open()) for _ in range(20)]
        await asyncio.sleep(0.1)
        # Twenty that wait have no connection of the pool's five.
        async with asyncio.timeout(2):
            for number in range(20):
                assert await pub.write(text(number)) == number
        assert not any(task.done() for task in opening)
        await frozen.execute("ROLLBACK")
        opened = await asyncio.gather(*opening)
        assert sorted(each.version for each in opened) == [*range(20)]
    finally:
        await frozen.close()


async def test_the_server_ends_the_transaction_of_a_process_that_froze_in_an_opening(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    frozen = await asyncpg.connect(asyncpg_dsn(postgres_url))
    try:
        await frozen.execute("BEGIN")
        values = LOCK_STREAM.arguments({"lock": 1, "stream": "s", "idle": "200"})
        await frozen.fetch(LOCK_STREAM.sql, *values)
        async with asyncio.timeout(10):
            while not await database.fetchval("SELECT pg_try_advisory_lock(1, hashtext('s'))"):
                await asyncio.sleep(0.05)
    finally:
        await frozen.close()

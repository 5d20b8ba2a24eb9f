"""An application shares its engine with the store, and takes all connections of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai import DurableStreamService
from monostream_ai.errors import StoreUnavailable
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from tests.chunks import FINISH, PROTOCOL, Chunk, text

Service = DurableStreamService[Chunk]

PATIENCE = 10.0
SIZE = 2


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(postgres_url, pool_size=SIZE, max_overflow=0, pool_timeout=0.2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def service(
    engine: AsyncEngine, postgres_url: str, no_task_is_left: None
) -> AsyncIterator[Service]:
    store, notifier = PostgresStore(engine), PostgresNotifier.from_url(postgres_url)
    async with DurableStreamService(
        store,
        notifier,
        PROTOCOL,
        lease=60.0,
        poll_interval=0.5,
        outage_timeout=1.5,
        create_tables=True,
    ) as service:
        yield service


@asynccontextmanager
async def all_taken(engine: AsyncEngine) -> AsyncIterator[None]:
    connections = [await engine.connect() for _ in range(SIZE)]
    try:
        yield
    finally:
        for connection in connections:
            await connection.close()


async def test_writers_and_readers_wait_for_a_connection(
    service: Service, engine: AsyncEngine
) -> None:
    failed = asyncio.Event()
    service.on_error(lambda source, error: failed.set())
    async with service.publisher("s") as pub:
        async with all_taken(engine):
            writing = asyncio.create_task(pub.write(text(0)))
            reading = asyncio.ensure_future(anext(service.subscribe("s")))
            async with asyncio.timeout(PATIENCE):
                await failed.wait()
            assert not writing.done()
        async with asyncio.timeout(PATIENCE):
            assert await writing == 0
            assert await reading == text(0)
    assert await service.chunks("s") == [text(0), FINISH]


async def test_a_pool_that_stays_empty_is_a_named_error(
    service: Service, engine: AsyncEngine
) -> None:
    pub = await service.publisher("s").open()
    async with all_taken(engine), asyncio.timeout(PATIENCE):
        with pytest.raises(StoreUnavailable):
            await pub.write(text(0))
        with pytest.raises(StoreUnavailable):
            await anext(service.subscribe("s"))
        with pytest.raises(StoreUnavailable):
            await service.publisher("t").open()


async def test_many_readers_share_a_pool_of_two(service: Service, engine: AsyncEngine) -> None:
    async def collect() -> list[Chunk]:
        return [chunk async for chunk in service.subscribe("s")]

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(collect()) for _ in range(200)]
        async with service.publisher("s") as pub:
            for number in range(5):
                await pub.write(text(number))
    assert [reader.result() for reader in readers] == [[*map(text, range(5)), FINISH]] * 200
    assert engine.pool.checkedin() + engine.pool.checkedout() <= SIZE  # type: ignore[attr-defined]
    assert service.statistics().errors == {}

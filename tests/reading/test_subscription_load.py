"""Readers that join at any instant, many of them, slow ones and fast ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.interfaces import Store
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Page, Position
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.plugins.postgres import asyncpg_dsn
from tests.plugins.services import ServiceFactory
from tests.reading.test_subscription import CountingReads

Service = DurableStreamService[Chunk]


class Interfering(ForwardingStore):
    """Lets the test act right before and right after each read of the store."""

    def __init__(self, inner: Store, act: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._act = act

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        await self._act()
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        await self._act()
        return pages


async def collect(service: Service, stream_id: str = "s") -> list[Chunk]:
    return [chunk async for chunk in service.subscribe(stream_id, timeout=10.0)]


@pytest.mark.sweep(3, each="backend")
@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
async def test_a_write_beside_each_read_is_neither_lost_nor_doubled(
    service_factory: ServiceFactory, same_process: bool, count: int
) -> None:
    script = [*texts(count), FINISH]
    written = 0

    async def write_next() -> None:
        nonlocal written
        if written < len(script):
            written += 1
            await pub.write(script[written - 1])

    reader = service_factory(
        wrap_store=lambda store: Interfering(store, write_next), poll_interval=0.2
    )
    pub = await (reader if same_process else service_factory()).publisher("s").open()
    assert await collect(reader) == script


async def test_readers_join_at_every_step_of_a_stream(service_factory: ServiceFactory) -> None:
    writer, reader = service_factory(), service_factory()
    readers = []
    async with writer.publisher("s") as pub:
        for number in range(60):
            readers += [asyncio.create_task(collect(service)) for service in (writer, reader)]
            pub.push(text(number))
            for _ in range(number % 7):
                await asyncio.sleep(0)
        await pub.flush()
    for chunks in await asyncio.gather(*readers):
        assert chunks == [*texts(60), FINISH]


async def test_a_slow_reader_does_not_delay_a_fast_one(service_factory: ServiceFactory) -> None:
    writer, reader = service_factory(), service_factory()
    slow = reader.subscribe("s")
    fast = reader.subscribe("s")
    async with writer.publisher("s") as pub:
        for number in range(1500):
            pub.push(text(number))
            if number == 0:
                assert await anext(slow) == text(0)
            if number % 50 == 0:
                await pub.flush()
                while fast.cursor is None or fast.cursor.id < number:
                    await anext(fast)
    assert [chunk async for chunk in fast] == [*texts(49, 1451), FINISH]
    assert [chunk async for chunk in slow] == [*texts(1499, 1), FINISH]


async def test_processes_without_a_notifier_read_each_others_chunks(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = (
        service_factory(wrap_notifier=lambda notifier: None, poll_interval=0.3) for _ in range(2)
    )
    subscription = reader.subscribe("s")
    async with writer.publisher("s") as pub:
        for number in range(4):
            await pub.write(text(number))
            async with asyncio.timeout(3):
                assert await anext(subscription) == text(number)
    assert [chunk async for chunk in subscription] == [FINISH]


async def test_reads_of_the_store_do_not_grow_with_the_viewers(
    service_factory: ServiceFactory,
) -> None:
    stores: list[CountingReads] = []

    def counting(store: Store) -> Store:
        stores.append(CountingReads(store))
        return stores[-1]

    writer, reader = service_factory(), service_factory(wrap_store=counting)
    viewers = [reader.subscribe("s") for _ in range(100)]
    async with writer.publisher("s") as pub:
        for number in range(30):
            await pub.write(text(number))
            assert (
                await asyncio.gather(*(anext(viewer) for viewer in viewers)) == [text(number)] * 100
            )
    assert stores[0].reads <= 30 * 4


async def test_many_subscriptions_leave_nothing(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(*texts(3))
    for _ in range(20):
        outcomes = await asyncio.gather(*(collect(service) for _ in range(100)))
        assert all(len(chunks) == 4 for chunks in outcomes)
    for number in range(200):
        reading = asyncio.create_task(collect(service, f"never {number}"))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_thousand_parked_readers_need_two_connections(
    postgres_url: str, no_task_is_left: None
) -> None:
    store = PostgresStore.from_url(postgres_url, pool_size=2)
    await store.setup()
    notifier = PostgresNotifier.from_url(postgres_url)
    observer = await asyncpg.connect(asyncpg_dsn(postgres_url))
    try:
        async with DurableStreamService(store, notifier, PROTOCOL) as service:
            publishers = [await service.publisher(f"s{number}").open() for number in range(50)]
            readers = [
                asyncio.create_task(collect(service, f"s{number % 50}")) for number in range(1000)
            ]
            await asyncio.wait(readers, timeout=0.5)
            counted = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            # Two of the store, two of the notifier's pool, and the one that listens.
            assert await observer.fetchval(counted) <= 5
            await asyncio.gather(*(pub.write(*texts(3), FINISH) for pub in publishers))
            async with asyncio.timeout(30):
                assert await asyncio.gather(*readers) == [[*texts(3), FINISH]] * 1000
    finally:
        await observer.close()

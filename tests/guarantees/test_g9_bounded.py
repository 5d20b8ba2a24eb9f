"""G9: queues, pages, payloads and waits have bounds; a slow reader delays nobody and goes on from
the store.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import ChunksMissing, MonostreamError, Overflow, StoreUnavailable
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Page, Position
from tests.backends import DURABLE_BACKENDS
from tests.chunks import FINISH, Chunk, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

MIB = 1024 * 1024
MANY = 3000
"""More than any window of recent chunks."""


async def check_that_a_slow_reader_delays_nobody(writer: Service, reader: Service) -> None:
    slow = reader.subscribe("s")
    async with writer.publisher("s") as pub:
        for first in range(0, MANY, 100):
            await pub.write(*texts(100, first))
            if first == 0:
                seen = [await anext(slow)]
    async with asyncio.timeout(20):
        fast_got_all = [chunk async for chunk in reader.subscribe("s")] == [*texts(MANY), FINISH]
        slow_got_all = seen + [chunk async for chunk in slow] == [*texts(MANY), FINISH]
    # Words, not lists: pytest would spend minutes on the difference of two long ones.
    assert (fast_got_all, slow_got_all) == (True, True)


class Capped(ForwardingStore):
    """Forgets all but the newest 100 payloads of each version, as a capped log does."""

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [self._cap(page) for page in pages]

    def _cap(self, page: Page) -> Page:
        if page.head is None or page.first + 100 >= page.head.next_id:
            return page
        return replace(page, payloads=['{"type":"forgotten"}'] * len(page.payloads))


async def test_a_slow_reader_delays_nobody(service_factory: ServiceFactory) -> None:
    await check_that_a_slow_reader_delays_nobody(service_factory(), service_factory())


async def test_the_check_for_g9_notices_a_capped_log(service_factory: ServiceFactory) -> None:
    # The reader itself may be first to notice that a chunk it has is another one now.
    with pytest.raises((AssertionError, ChunksMissing)):
        await check_that_a_slow_reader_delays_nobody(
            service_factory(), service_factory(wrap_store=Capped)
        )


class Measuring(ForwardingStore):
    """Notes the largest of everything that it is asked for."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.positions = self.rows = self.bytes = self.read_bytes = 0
        self.appended = self.appended_bytes = 0

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        self.positions = max(self.positions, len(positions))
        self.rows, self.bytes = max(self.rows, max_rows), max(self.bytes, max_bytes)
        self.read_bytes = max(self.read_bytes, len(positions) * max_bytes)
        return await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        payloads = [payload for append in appends for payload in append.payloads]
        self.appended = max(self.appended, len(payloads))
        self.appended_bytes = max(self.appended_bytes, sum(map(len, payloads)))
        return await super().append(appends, lease=lease)


async def test_what_is_asked_of_the_store_at_once_is_bounded(
    service_factory: ServiceFactory,
) -> None:
    stores: list[Measuring] = []

    def measure(store: Store) -> Store:
        stores.append(Measuring(store))
        return stores[-1]

    service = service_factory(wrap_store=measure)
    async with asyncio.TaskGroup() as group:
        for number in range(130):
            group.create_task(fill(service, f"s{number}"))
            group.create_task(drain(service, f"s{number}"))
    [store] = stores
    assert 1 <= store.positions <= 96
    assert 1 <= store.rows <= 1000
    assert 1 <= store.bytes <= MIB
    assert 1 <= store.read_bytes <= 16 * MIB
    assert 100 <= store.appended <= 3000
    assert store.appended_bytes <= 8 * MIB


async def fill(service: Service, stream_id: str) -> None:
    async with service.publisher(stream_id) as pub:
        for _ in range(2):
            pub.push(*[{"type": "text", "n": "x" * 500}] * 20)
            await asyncio.sleep(0)


async def drain(service: Service, stream_id: str) -> None:
    assert len([chunk async for chunk in service.subscribe(stream_id)]) == 41


class Away(ForwardingStore):
    """Does not take any append."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        raise StoreUnavailable("away")


async def test_what_may_be_pushed_and_not_stored_is_bounded(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(wrap_store=Away, outage_timeout=3.0)
    chunk = {"type": "text", "n": "x" * (MIB // 2)}
    pushed = 0
    with pytest.raises(Overflow):
        async with service.publisher("s") as pub:
            while True:
                pub.push(chunk)
                pushed += 1
                assert pushed < 200
                await asyncio.sleep(0)


@pytest.mark.parametrize("backend", DURABLE_BACKENDS, indirect=True)
async def test_a_long_replay_takes_little_memory(service_factory: ServiceFactory) -> None:
    writer, reader = service_factory(), service_factory()
    async with writer.publisher("s") as pub:
        for _ in range(30):
            await pub.write(*[{"type": "text", "n": "x" * 10_000}] * 100)
    tracemalloc.start()
    try:
        count = 0
        async for _ in reader.subscribe("s"):
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3001
    assert peak < 12 * MIB, "30 MiB were read"

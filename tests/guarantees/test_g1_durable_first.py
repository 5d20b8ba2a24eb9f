"""G1: a chunk reaches a reader only after its commit, and `write` returns after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Position
from tests.chunks import Chunk, text
from tests.plugins.services import ServiceFactory


async def committed(observer: Store) -> int:
    [page] = await observer.read([Position("s", None, 0)], max_rows=0, max_bytes=1)
    return 0 if page.head is None else page.head.next_id


async def check_that_writes_return_after_the_commit(
    service: DurableStreamService[Chunk], observer: Store
) -> None:
    async with service.publisher("s") as pub:
        for number in range(20):
            last = await pub.write(text(number))
            assert await committed(observer) > last


async def check_that_readers_get_committed_chunks_only(
    service: DurableStreamService[Chunk],
    observer: Store,
    reader: DurableStreamService[Chunk] | None = None,
) -> None:
    got: asyncio.Queue[bool] = asyncio.Queue()

    async def read() -> None:
        subscription = (reader or service).subscribe("s")
        async for _ in subscription:
            assert subscription.cursor is not None
            got.put_nowait(await committed(observer) > subscription.cursor.id)

    reading = asyncio.create_task(read())
    try:
        async with service.publisher("s") as pub:
            for number in range(20):
                pub.push(text(number))
                assert await got.get()
        await reading
        assert await got.get()
    finally:
        reading.cancel()


class EarlyStore(ForwardingStore):
    """Says that an append has landed before it has."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._late: asyncio.Task[None] | None = None

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        self._late = asyncio.create_task(self._append_late(appends, lease, self._late))
        return [None] * len(appends)

    async def _append_late(
        self, appends: Sequence[Append], lease: float, earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            await earlier
        await asyncio.sleep(0.1)
        await self.inner.append(appends, lease=lease)

    async def aclose(self) -> None:
        if self._late is not None:
            await self._late
        await super().aclose()


CHECKS = [check_that_writes_return_after_the_commit, check_that_readers_get_committed_chunks_only]


@pytest.mark.parametrize("check", CHECKS)
async def test_chunks_are_durable_first(
    service_factory: ServiceFactory, observer: Store, check: type
) -> None:
    await check(service_factory(), observer)


@pytest.mark.parametrize("check", CHECKS)
async def test_the_check_for_g1_notices_an_early_acknowledgement(
    service_factory: ServiceFactory, observer: Store, check: type
) -> None:
    with pytest.raises(AssertionError):
        await check(service_factory(wrap_store=EarlyStore, poll_interval=0.2), observer)


CARRYING = pytest.mark.parametrize("backend", ["memory", "postgresql"], indirect=True)
"""Backends whose wake-ups carry chunks."""


@CARRYING
async def test_chunks_that_wake_ups_carry_are_durable_first(
    service_factory: ServiceFactory, observer: Store
) -> None:
    writer, reader = service_factory(inline="always"), service_factory(inline="always")
    await reader.ready()
    await check_that_readers_get_committed_chunks_only(writer, observer, reader)


@CARRYING
async def test_the_check_notices_chunks_that_are_carried_too_early(
    service_factory: ServiceFactory, observer: Store
) -> None:
    writer = service_factory(wrap_store=EarlyStore, inline="always")
    reader = service_factory(inline="always")
    await reader.ready()
    with pytest.raises(AssertionError):
        await check_that_readers_get_committed_chunks_only(writer, observer, reader)

"""G4: readers see the latest version only; one that is attached follows it from its first chunk, or
is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import Superseded
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Head, Page, Position
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]


async def check_that_readers_see_the_latest_version(writer: Service, reader: Service) -> None:
    old = await writer.publisher("s").open()
    await old.write(*texts(3))
    follower = reader.subscribe("s", timeout=5.0)
    assert [await anext(follower) for _ in range(2)] == texts(2)
    strict = reader.subscribe("s", timeout=5.0, on_superseded="raise")
    assert await anext(strict) == text(0)

    async with writer.publisher("s") as new:
        await new.write(text(100))
        joined = asyncio.create_task(collect(reader))
        await new.write(text(101))

    expected = [text(100), text(101), FINISH]
    seen = [chunk async for chunk in follower]
    # Chunks of the old version may come before the switch, never after it.
    assert seen[-3:] == expected
    assert seen[:-3] in ([], [text(2)])
    assert await joined == expected
    assert await collect(reader) == expected
    assert isinstance(await error_of(strict), Superseded)


async def collect(service: Service) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe("s", timeout=5.0)]


async def error_of(subscription: object) -> BaseException | None:
    try:
        async for _ in subscription:  # type: ignore[attr-defined]  # any subscription
            pass
    except Exception as error:
        return error
    return None


class FirstVersionOnly(ForwardingStore):
    """Shows version 0, closed, however many there are."""

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        return [await self._page(position, max_rows, max_bytes) for position in positions]

    async def _page(self, position: Position, max_rows: int, max_bytes: int) -> Page:
        info = await self.inner.info(position.stream_id, 0)
        if info is None:
            return Page(None, 0, [])
        first = position.next_id if position.version == 0 else 0
        payloads = await self.inner.payloads(
            position.stream_id, 0, first, max_rows=max_rows, max_bytes=max_bytes
        )
        return Page(Head(0, "closed", info.next_id, 60.0), first, payloads)


async def test_readers_see_the_latest_version(service_factory: ServiceFactory) -> None:
    await check_that_readers_see_the_latest_version(service_factory(), service_factory())


async def test_readers_in_the_writers_process_see_the_latest_version(service: Service) -> None:
    await check_that_readers_see_the_latest_version(service, service)


async def test_the_check_for_g4_notices_a_store_that_shows_an_older_version(
    service_factory: ServiceFactory,
) -> None:
    with pytest.raises(AssertionError):
        await check_that_readers_see_the_latest_version(
            service_factory(), service_factory(wrap_store=FirstVersionOnly)
        )

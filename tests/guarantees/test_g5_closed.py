"""G5: the terminal chunk and the closed state are one commit; nothing lands after it; all readers
end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Position
from tests.chunks import FINISH, PROTOCOL, Chunk, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]


async def check_that_closing_is_one_commit(service: Service, observer: Store) -> None:
    for number in range(5):
        stream_id = f"s{number}"
        pub = await service.publisher(stream_id).open()
        await pub.write(*texts(2))
        watching = asyncio.create_task(watch(observer, stream_id))
        readers = [asyncio.create_task(collect(service, stream_id)) for _ in range(3)]
        await pub.close()
        assert await watching == []
        assert await asyncio.gather(*readers) == [[*texts(2), FINISH]] * 3


async def watch(observer: Store, stream_id: str) -> list[str]:
    """Read until the version is closed; return what was wrong on the way."""
    wrong = []
    for _ in range(2000):
        [page] = await observer.read([Position(stream_id, None, 0)], max_rows=100, max_bytes=10_000)
        assert page.head is not None
        ended = bool(page.payloads) and PROTOCOL.is_terminal(PROTOCOL.decode(page.payloads[-1]))
        if ended != (page.head.state == "closed"):
            wrong.append(f"{page.head.state} with {page.payloads[-1]}")
        if page.head.state == "closed":
            return wrong
        await asyncio.sleep(0.001)
    return [*wrong, "never closed"]


async def collect(service: Service, stream_id: str) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe(stream_id, timeout=5.0)]


async def check_that_nothing_lands_after_the_close(service: Service) -> None:
    pub = await service.publisher("s").open()
    await pub.write(*texts(2), FINISH)
    for late in (
        pub.write(*texts(1)),
        pub.close("abort"),
        service.stop("s"),
        service.end_lost("s", 0),
    ):
        await asyncio.gather(late, return_exceptions=True)
    pub.push(*texts(1))
    await asyncio.gather(pub.flush(), return_exceptions=True)
    assert await service.chunks("s") == [*texts(2), FINISH]


class TwoCommits(ForwardingStore):
    """Stores the terminal chunk first and the closed state a little later."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        opened = [Append(append.lease, append.first, append.payloads, False) for append in appends]
        verdicts = await self.inner.append(opened, lease=lease)
        closing = [
            Append(append.lease, append.first + len(append.payloads), (), True)
            for append in appends
            if append.closes
        ]
        if closing:
            await asyncio.sleep(0.05)
            await self.inner.append(closing, lease=lease)
        return verdicts


class NeverClosing(ForwardingStore):
    """Stores terminal chunks as if they were others, and so lets others follow."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        opened = [Append(append.lease, append.first, append.payloads, False) for append in appends]
        return await self.inner.append(opened, lease=lease)


async def test_closing_is_one_commit(service: Service, observer: Store) -> None:
    await check_that_closing_is_one_commit(service, observer)


async def test_nothing_lands_after_the_close(service: Service) -> None:
    await check_that_nothing_lands_after_the_close(service)


async def test_the_check_for_g5_notices_a_close_in_two_commits(
    service_factory: ServiceFactory, observer: Store
) -> None:
    with pytest.raises(AssertionError):
        await check_that_closing_is_one_commit(service_factory(wrap_store=TwoCommits), observer)


async def test_the_check_for_g5_notices_a_version_that_stays_open(
    service_factory: ServiceFactory,
) -> None:
    with pytest.raises(AssertionError):
        await check_that_nothing_lands_after_the_close(service_factory(wrap_store=NeverClosing))

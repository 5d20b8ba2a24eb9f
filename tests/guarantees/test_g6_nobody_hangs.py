"""G6: a dead publisher is noticed within its lease, a lost wake-up costs one poll interval, and a
reader can always leave.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from monostream_ai import DurableStreamService, Subscription
from monostream_ai.errors import PublisherLost, ServiceClosed, SubscriptionTimeout
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Page, Position
from tests.chunks import FINISH, Chunk, text, texts
from tests.guarantees.test_g2_order import Deaf
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

LEASE = 0.6
POLL = 0.3
SLACK = 2.0
"""Seconds that a busy machine may add."""


async def outcome(subscription: Subscription[Chunk], patience: float) -> tuple[list[Chunk], str]:
    """Read to the end; return the chunks and how it ended, which is "hung" after `patience`
    seconds.
    """
    chunks: list[Chunk] = []
    try:
        async with asyncio.timeout(patience):
            async for chunk in subscription:
                chunks.append(chunk)
    except TimeoutError:
        return chunks, "hung"
    except Exception as error:
        return chunks, type(error).__name__
    return chunks, "ended"


async def check_that_a_dead_publisher_is_noticed(writer: Service, reader: Service) -> None:
    pub = await writer.publisher("s").open()
    await pub.write(*texts(2))
    attached = [
        asyncio.create_task(outcome(each.subscribe("s"), LEASE + SLACK))
        for each in (writer, reader)
    ]
    # Dropped without a close, it is renewed no more, as if its process had died.
    del pub
    gc.collect()
    assert await asyncio.gather(*attached) == [(texts(2), PublisherLost.__name__)] * 2
    assert await outcome(reader.subscribe("s"), SLACK) == (texts(2), PublisherLost.__name__)
    async with writer.publisher("s") as successor:
        assert successor.version == 1


async def check_that_a_lost_wake_up_costs_one_poll(writer: Service, reader: Service) -> None:
    subscription = reader.subscribe("s")
    async with writer.publisher("s") as pub:
        for number in range(3):
            await pub.write(text(number))
            chunk = (
                await asyncio.gather(
                    asyncio.wait_for(anext(subscription), POLL + SLACK), return_exceptions=True
                )
            )[0]
            assert chunk == text(number)
    assert await outcome(subscription, POLL + SLACK) == ([FINISH], "ended")


class Immortal(ForwardingStore):
    """Says that every lease runs on."""

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [
            replace(page, head=page.head and replace(page.head, lease_left=math.inf))
            for page in pages
        ]


class Frozen(ForwardingStore):
    """Shows each stream as it was first seen, for ever."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._seen: dict[str, Page] = {}

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [
            self._seen.setdefault(position.stream_id, page)
            for position, page in zip(positions, pages, strict=True)
        ]


def make(factory: ServiceFactory, **options: Any) -> Service:
    return factory(**{"lease": LEASE, "poll_interval": POLL} | options)


async def test_a_dead_publisher_is_noticed(service_factory: ServiceFactory) -> None:
    await check_that_a_dead_publisher_is_noticed(make(service_factory), make(service_factory))


@pytest.mark.sweep(1)
async def test_the_check_for_g6_notices_a_lease_that_never_ends(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = (make(service_factory, wrap_store=Immortal) for _ in range(2))
    with pytest.raises(AssertionError):
        await check_that_a_dead_publisher_is_noticed(writer, reader)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("wrap_notifier", [Deaf, lambda notifier: None], ids=["deaf", "none"])
async def test_a_lost_wake_up_costs_one_poll_interval(
    service_factory: ServiceFactory, wrap_notifier: Any
) -> None:
    writer, reader = (
        make(service_factory, lease=5.0, wrap_notifier=wrap_notifier) for _ in range(2)
    )
    await check_that_a_lost_wake_up_costs_one_poll(writer, reader)


@pytest.mark.sweep(1)
async def test_the_check_for_g6_notices_reads_that_never_move(
    service_factory: ServiceFactory,
) -> None:
    with pytest.raises(AssertionError):
        await check_that_a_lost_wake_up_costs_one_poll(
            make(service_factory), make(service_factory, wrap_store=Frozen, wrap_notifier=Deaf)
        )


async def test_a_publisher_that_lives_is_never_lost(service_factory: ServiceFactory) -> None:
    writer, reader = make(service_factory), make(service_factory)
    subscription = reader.subscribe("s", timeout=3 * LEASE)
    async with writer.publisher("s") as pub:
        await pub.write(text(0))
        assert await anext(subscription) == text(0)
        # Silent for three leases: only the renewals keep it alive.
        with pytest.raises(SubscriptionTimeout):
            await anext(subscription)
        await pub.write(text(1))
        assert await anext(subscription) == text(1)


async def test_a_released_version_is_lost_at_once(service_factory: ServiceFactory) -> None:
    writer, reader = service_factory(lease=60.0), service_factory(lease=60.0)
    subscription = reader.subscribe("s")
    pub = await writer.publisher("s").open()
    await pub.write(text(0))
    assert await anext(subscription) == text(0)
    await pub.release()
    assert await outcome(subscription, 5.0 + SLACK) == ([], PublisherLost.__name__)


async def test_exactly_one_process_ends_a_lost_version(service_factory: ServiceFactory) -> None:
    services = [service_factory(lease=60.0) for _ in range(3)]
    pub = await services[0].publisher("s").open()
    await pub.write(text(0))
    assert await services[1].end_lost("s", 0) is False
    await pub.release()
    ended = await asyncio.gather(*(service.end_lost("s", 0) for service in services))
    assert sorted(ended) == [False, False, True]
    assert await services[2].chunks("s") == [text(0), {"type": "error"}]


async def test_closing_the_service_ends_its_readers_by_name(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = service_factory(), service_factory()
    async with writer.publisher("s") as pub:
        await pub.write(text(0))
        subscription = reader.subscribe("s")
        assert await anext(subscription) == text(0)
        waiting = [
            asyncio.create_task(outcome(each, SLACK))
            for each in (subscription, reader.subscribe("other"))
        ]
        await asyncio.wait(waiting, timeout=0.05)
        await reader.aclose()
        assert await asyncio.gather(*waiting) == [([], ServiceClosed.__name__)] * 2


async def test_a_process_does_not_lose_its_own_publisher_to_a_blocked_loop(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(lease=0.6, poll_interval=0.3)
    async with service.publisher("s", watched=True) as pub:
        await pub.write(text(0))
        subscription = service.subscribe("s")
        assert await anext(subscription) == text(0)
        reading = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        time.sleep(1.0)  # The fault: nobody renews meanwhile.
        assert not (await service.status("s")).lost
        assert await service.unattended() == []
        assert not await service.end_lost("s", 0)
        # The poll that is due, and one after it.
        await asyncio.sleep(0.6)
        assert await pub.write(text(1)) == 1
        assert await reading == text(1)

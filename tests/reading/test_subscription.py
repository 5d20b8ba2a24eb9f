from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService, Subscription
from monostream_ai.errors import (
    ServiceClosed,
    StreamDeleted,
    SubscriptionClosed,
    SubscriptionTimeout,
)
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Page, Position
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]


class CountingReads(ForwardingStore):
    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.reads = 0

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        self.reads += 1
        return await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)


async def write_all(service: Service, *chunks: Chunk) -> None:
    async with service.publisher("s") as pub:
        if chunks:
            await pub.write(*chunks)


async def rest(subscription: Subscription[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in subscription]


async def test_reading_goes_on_after_a_break(service: Service) -> None:
    await write_all(service, *texts(5))
    subscription = service.subscribe("s")
    async for chunk in subscription:
        if chunk == text(2):
            break
    assert await rest(subscription) == [*texts(2, 3), FINISH]


async def test_a_timeout_around_a_read_loses_nothing(service_factory: ServiceFactory) -> None:
    writer, reader = service_factory(), service_factory()
    subscription = reader.subscribe("s")
    writing = asyncio.create_task(trickle(writer, 60))
    chunks: list[Chunk] = []
    while not chunks or chunks[-1] != FINISH:
        try:
            chunks.append(await asyncio.wait_for(anext(subscription), 0.002))
        except TimeoutError:
            pass
    await writing
    assert chunks == [*texts(60), FINISH]


async def trickle(service: Service, count: int) -> None:
    async with service.publisher("s") as pub:
        for number in range(count):
            await pub.write(text(number))
            await asyncio.sleep(0.001)


async def test_a_cancelled_read_loses_nothing(service: Service) -> None:
    subscription = service.subscribe("s")
    chunks: list[Chunk] = []
    async with service.publisher("s") as pub:
        for number in range(12):
            reading = asyncio.ensure_future(anext(subscription))
            for _ in range(number):
                await asyncio.sleep(0)
            await pub.write(text(number))
            reading.cancel()
            [outcome] = await asyncio.gather(reading, return_exceptions=True)
            if not isinstance(outcome, BaseException):
                chunks.append(outcome)
    assert chunks + await rest(subscription) == [*texts(12), FINISH]


async def test_a_read_that_is_cancelled_before_it_starts_yields_nothing(service: Service) -> None:
    await write_all(service, *texts(2))
    subscription = service.subscribe("s")
    reading = asyncio.ensure_future(anext(subscription))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await rest(subscription) == [*texts(2), FINISH]


async def test_a_subscription_that_is_never_read_leaves_nothing(service: Service) -> None:
    for _ in range(100):
        service.subscribe("s")


async def test_a_timeout_of_its_own_leaves_the_subscription_usable(service: Service) -> None:
    subscription = service.subscribe("s", timeout=0.05)
    for _ in range(2):
        with pytest.raises(SubscriptionTimeout, match=r"no new chunk for 0.05 s"):
            await anext(subscription)
    await write_all(service, text(0))
    assert await rest(subscription) == [text(0), FINISH]


async def test_a_stream_may_be_subscribed_before_it_is_written(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = service_factory(), service_factory()
    reading = asyncio.create_task(rest(reader.subscribe("s")))
    await asyncio.wait([reading], timeout=0.05)
    await write_all(writer, text(0))
    assert await reading == [text(0), FINISH]


async def test_an_ended_subscription_stays_ended(service: Service) -> None:
    await write_all(service, text(0))
    subscription = service.subscribe("s")
    assert await rest(subscription) == [text(0), FINISH]
    assert await rest(subscription) == []


async def test_a_failed_subscription_keeps_its_error(service: Service) -> None:
    await (await service.publisher("s").open()).write(text(0))
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    await service.delete("s")
    for _ in range(2):
        with pytest.raises(StreamDeleted):
            await anext(subscription)


@pytest.mark.parametrize("joined", [True, False])
async def test_a_closed_subscription_says_so(service: Service, joined: bool) -> None:
    await write_all(service, *texts(3))
    subscription = service.subscribe("s")
    if joined:
        await anext(subscription)
    subscription.close()
    await subscription.aclose()
    for _ in range(2):
        with pytest.raises(SubscriptionClosed, match="is closed"):
            await anext(subscription)


async def test_closing_ends_a_read_that_waits(service: Service) -> None:
    subscription = service.subscribe("s")
    reading = asyncio.ensure_future(anext(subscription))
    await asyncio.wait([reading], timeout=0.05)
    subscription.close()
    async with asyncio.timeout(5):
        with pytest.raises(SubscriptionClosed):
            await reading


async def test_leaving_the_block_closes(service: Service) -> None:
    await write_all(service, text(0))
    async with service.subscribe("s") as subscription:
        assert await anext(subscription) == text(0)
    with pytest.raises(SubscriptionClosed):
        await anext(subscription)


async def test_two_tasks_cannot_read_one_subscription_at_once(service: Service) -> None:
    subscription = service.subscribe("s")
    first = asyncio.ensure_future(anext(subscription))
    await asyncio.wait([first], timeout=0.05)
    with pytest.raises(SubscriptionClosed, match="by another task"):
        await anext(subscription)
    await write_all(service, text(0))
    assert await first == text(0)
    assert await rest(subscription) == [FINISH]


async def test_a_dropped_subscription_is_unsubscribed(service_factory: ServiceFactory) -> None:
    stores: list[CountingReads] = []

    def counting(store: Store) -> Store:
        stores.append(CountingReads(store))
        return stores[-1]

    writer = service_factory()
    reader = service_factory(
        wrap_store=counting, wrap_notifier=lambda notifier: None, poll_interval=0.05
    )
    pub = await writer.publisher("s").open()
    await pub.write(text(0))
    subscription = reader.subscribe("s")
    assert await anext(subscription) == text(0)
    gone = weakref.ref(subscription)
    del subscription
    gc.collect()
    assert gone() is None
    # One poll may be under way; then nobody is left to poll for.
    await asyncio.sleep(0.3)
    reads = stores[0].reads
    await asyncio.sleep(0.6)
    assert stores[0].reads == reads


async def test_closing_the_service_ends_waiting_readers(service: Service) -> None:
    readers = [asyncio.create_task(rest(service.subscribe(f"s{number}"))) for number in range(20)]
    await asyncio.wait(readers, timeout=0.1)
    await service.aclose()
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ServiceClosed}


@pytest.mark.parametrize("how", ["deleted", "pruned"])
async def test_a_stream_that_goes_away_is_a_named_error(
    service_factory: ServiceFactory, how: str
) -> None:
    writer, reader = service_factory(poll_interval=0.2), service_factory(poll_interval=0.2)
    pub = await writer.publisher("s").open()
    await pub.write(*texts(2))
    subscription = reader.subscribe("s")
    assert [await anext(subscription) for _ in range(2)] == texts(2)
    await pub.close()
    if how == "deleted":
        await writer.delete("s")
    else:
        while await writer.prune(older_than=0.0) == 0:
            await asyncio.sleep(0.01)
    # The close may have been seen before the chunks went; what must not happen is an end without
    # the finish.
    async with asyncio.timeout(10):
        try:
            assert await rest(subscription) == [FINISH]
        except StreamDeleted:
            pass
    if how == "pruned":
        with pytest.raises(StreamDeleted):
            await anext(reader.subscribe("s"))

"""A standby that lacks the last commits takes over: nobody takes its history for the whole one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from monostream_ai import Cursor, DurableStreamService, Publisher, Subscription, create_service
from monostream_ai.errors import ChunksMissing, CursorNotFound, Fenced, StreamDeleted
from monostream_ai.protocol import JSONProtocol
from monostream_ai.types import Ending
from tests.chunks import ABORT, ERROR, FINISH, PROTOCOL, Chunk, text, texts
from tests.failover.conftest import Cluster

Service = DurableStreamService[Chunk]

PATIENCE = 30.0

LEASE = 3.0


def short_ending(ending: Ending) -> list[Chunk]:
    return [ABORT]


def long_ending(ending: Ending) -> list[Chunk]:
    """End as a chat does, whose open parts are ended first."""
    return [text(-1), text(-2), ABORT]


@pytest.fixture
async def services(cluster: Cluster, no_task_is_left: None) -> AsyncIterator[list[Service]]:
    """Three services, as three processes have them."""
    services = [
        create_service(cluster.url, PROTOCOL, lease=LEASE, poll_interval=0.5) for _ in range(3)
    ]
    yield services
    for service in services:
        await service.aclose()


async def fail_over_after_a_loss(
    cluster: Cluster,
    pub: Publisher[Chunk],
    subscriptions: Sequence[Subscription[Chunk]],
    *,
    lost: int = 2,
) -> None:
    """Write four chunks, which all readers get, and lose the last of them with the primary."""
    await pub.write(*texts(4 - lost))
    await cluster.replicated()
    cluster.stop_replicating()
    await pub.write(*texts(lost, start=4 - lost))
    for subscription in subscriptions:
        assert [await anext(subscription) for _ in range(4)] == texts(4)
    cluster.lose_the_primary()
    await cluster.promote()


@pytest.mark.parametrize(
    ("lost", "ending"),
    [(2, short_ending), (1, short_ending), (2, long_ending)],
    ids=["ends before the readers", "ends where they are", "ends behind them"],
)
async def test_a_stop_after_lost_commits_is_a_clean_end_for_nobody(
    cluster: Cluster, no_task_is_left: None, lost: int, ending: Callable[[Ending], Sequence[Chunk]]
) -> None:
    protocol = JSONProtocol[Chunk](lambda chunk: chunk == ABORT, ending=ending)
    services = [create_service(cluster.url, protocol, poll_interval=0.5) for _ in range(3)]
    publishing, stopping, _ = services
    pub = await publishing.publisher("s").open()
    subscriptions = [service.subscribe("s") for service in services]
    await fail_over_after_a_loss(cluster, pub, subscriptions, lost=lost)
    async with asyncio.timeout(PATIENCE):
        assert await stopping.stop("s")
        for subscription in subscriptions:
            with pytest.raises(ChunksMissing):
                await anext(subscription)
    assert await stopping.chunks("s") == [*texts(4 - lost), *ending("abort")]
    for service in services:
        await service.aclose()


async def test_a_publisher_whose_commits_were_lost_can_neither_write_nor_finish(
    cluster: Cluster, services: list[Service]
) -> None:
    pub = await services[0].publisher("s").open()
    await fail_over_after_a_loss(cluster, pub, [services[1].subscribe("s")])
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChunksMissing):
            await pub.write(text(4))
        with pytest.raises(ChunksMissing):
            await pub.write(FINISH)
    assert await services[2].chunks("s") == texts(2)


async def test_a_lost_publisher_whose_commits_were_lost_too_ends_no_reader_cleanly(
    cluster: Cluster, services: list[Service]
) -> None:
    pub = await services[0].publisher("s").open()
    subscription = services[1].subscribe("s")
    await fail_over_after_a_loss(cluster, pub, [subscription])
    # It renews its lease no more.
    del pub
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChunksMissing):
            await anext(subscription)
        while not await services[2].end_lost("s", 0):
            await asyncio.sleep(0.1)
        with pytest.raises(CursorNotFound):
            await anext(services[1].subscribe("s", after=subscription.cursor))
    assert await services[2].chunks("s") == [*texts(2), ERROR]


async def test_a_version_that_was_lost_is_not_mixed_with_its_successor(
    cluster: Cluster, services: list[Service]
) -> None:
    async with services[0].publisher("s") as before:
        await before.write(text(100))
    await cluster.replicated()
    cluster.stop_replicating()
    pub = await services[0].publisher("s").open()
    subscription = services[1].subscribe("s", after=Cursor(1, -1))
    await pub.write(*texts(2))
    assert [await anext(subscription) for _ in range(2)] == texts(2)
    cluster.lose_the_primary()
    await cluster.promote()
    async with asyncio.timeout(PATIENCE):
        async with services[2].publisher("s") as successor:
            assert successor.version == 1
            await successor.write(*texts(5, start=50))
            # If it renewed before its successor opened, its version was not there at all.
            with pytest.raises((Fenced, StreamDeleted)):
                await pub.write(text(2))
        with pytest.raises(StreamDeleted):
            await anext(subscription)
    assert await services[2].chunks("s") == [*texts(5, start=50), FINISH]

"""A standby takes over when every lease has lapsed, since nobody could renew one: each publisher
has a whole lease to come back, as after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from fuzz.parts.pooler import PORT, pgbouncer_program
from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import PublisherLost
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Position
from tests.chunks import ERROR, FINISH, PROTOCOL, Chunk, text
from tests.failover.conftest import Cluster
from tests.stores.test_pooler import pooler_before

Service = DurableStreamService[Chunk]

PATIENCE = 30.0

LEASE = 3.0

STREAMS = [f"s{number}" for number in range(8)]


def new_service(cluster: Cluster) -> Service:
    return create_service(cluster.url, PROTOCOL, lease=LEASE, poll_interval=0.2)


@pytest.fixture
async def services(cluster: Cluster, no_task_is_left: None) -> AsyncIterator[list[Service]]:
    """Two services, as two processes have them."""
    services = [new_service(cluster) for _ in range(2)]
    yield services
    for service in services:
        await service.aclose()


@asynccontextmanager
async def sweeping(services: Sequence[Service]) -> AsyncIterator[None]:
    """Let each service end every lost version as fast as it can."""

    async def sweep(service: Service) -> None:
        while True:
            for stream_id in STREAMS:
                await service.end_lost(stream_id, 0)

    tasks = [asyncio.create_task(sweep(service)) for service in services]
    yield
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.wait(tasks)


async def lease_left(store: PostgresStore) -> float:
    (page,) = await store.read([Position("s0", 0, 0)], max_rows=1, max_bytes=1)
    assert page.head is not None
    return page.head.lease_left


async def fail_over_after_all_leases(cluster: Cluster) -> None:
    await cluster.replicated()
    cluster.lose_the_primary()
    # Longer than a lease: this is what the tests are about.
    await asyncio.sleep(1.5 * LEASE)
    await cluster.promote()


async def test_a_failover_longer_than_the_lease_loses_no_publisher(
    cluster: Cluster, services: list[Service]
) -> None:
    publishing, other = services
    publishers = [await publishing.publisher(stream_id).open() for stream_id in STREAMS]
    subscriptions = [other.subscribe(stream_id) for stream_id in STREAMS]
    for pub, subscription in zip(publishers, subscriptions, strict=True):
        await pub.write(text(0))
        assert await anext(subscription) == text(0)
    await fail_over_after_all_leases(cluster)
    # Both a process that was there before and one that starts now judge the leases.
    async with new_service(cluster) as newcomer, sweeping([other, newcomer]):
        async with asyncio.timeout(PATIENCE):
            for pub, subscription in zip(publishers, subscriptions, strict=True):
                await pub.write(text(1), FINISH)
                assert [chunk async for chunk in subscription] == [text(1), FINISH]


async def test_a_publisher_that_does_not_come_back_is_lost_one_lease_after_the_failover(
    cluster: Cluster, services: list[Service]
) -> None:
    publishing, other = services
    pub = await publishing.publisher("s0").open()
    await pub.write(text(0))
    subscription = other.subscribe("s0")
    assert await anext(subscription) == text(0)
    # It renews its lease no more.
    del pub
    await fail_over_after_all_leases(cluster)
    since = asyncio.get_running_loop().time()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(PublisherLost):
            await anext(subscription)
        assert asyncio.get_running_loop().time() - since > 0.5 * LEASE
        assert await other.end_lost("s0", 0)
    assert await other.chunks("s0") == [text(0), ERROR]


async def test_a_connection_to_the_standby_notices_its_promotion(
    cluster: Cluster, services: list[Service]
) -> None:
    pub = await services[0].publisher("s0").open()
    await pub.write(text(0))
    await cluster.replicated()
    store = PostgresStore.from_url(cluster.standby.url, pool_size=1)
    assert await lease_left(store) > 0
    await fail_over_after_all_leases(cluster)
    assert await lease_left(store) > 0
    await store.aclose()


async def test_a_connection_through_a_pooler_notices_a_failover(
    cluster: Cluster, services: list[Service], short_directory: Path
) -> None:
    if pgbouncer_program() is None:
        pytest.skip("no pgbouncer: install the package of that name")
    pub = await services[0].publisher("s0").open()
    await pub.write(text(0))
    pooler = pooler_before(make_url(cluster.url), short_directory)
    await pooler.start()
    try:
        url = f"postgresql://postgres@/postgres?host={short_directory}&port={PORT}"
        store = PostgresStore.from_url(url, pool_size=1, pooler=True)
        assert await lease_left(store) > 0
        await fail_over_after_all_leases(cluster)
        async with asyncio.timeout(PATIENCE):
            assert await lease_left(store) > 0
        await store.aclose()
    finally:
        await pooler.kill()

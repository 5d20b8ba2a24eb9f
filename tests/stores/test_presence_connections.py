"""A living process whose connections to Postgres break keeps its versions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from fuzz.parts.proxy import Proxy
from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import SubscriptionTimeout
from tests.chunks import FINISH, PROTOCOL, Chunk, text
from tests.plugins.postgres import asyncpg_dsn
from tests.plugins.redis import RedisServer
from tests.stores.test_silent_connections import proxy, url  # noqa: F401  (fixtures)

Service = DurableStreamService[Chunk]

LEASE = 600.0
"""Seconds that no test waits."""

LONG_ENOUGH = 4.0
"""Seconds after which a process that is taken for dead would have lost its version."""


@pytest.fixture
async def elsewhere(postgres_url: str, proxy: Proxy) -> AsyncIterator[Service]:  # noqa: F811
    async with create_service(postgres_url, PROTOCOL, lease=LEASE) as service:
        yield service


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


async def stays(service: Service) -> None:
    with pytest.raises(SubscriptionTimeout):
        async for _ in service.subscribe("s", timeout=LONG_ENOUGH):
            pass
    assert (await service.status("s")).active
    assert not await service.end_lost("s", 0)


async def held(admin: asyncpg.Connection, wanted: Callable[[str | None], bool]) -> None:
    async with asyncio.timeout(10):
        while not wanted(await admin.fetchval("SELECT holder FROM stream_version")):
            await asyncio.sleep(0.02)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
async def test_cut_connections_cost_nothing(
    url: str,  # noqa: F811
    proxy: Proxy,  # noqa: F811
    elsewhere: Service,
    reset: bool,
) -> None:
    async with create_service(url, PROTOCOL, lease=LEASE) as service:
        pub = await service.publisher("s").open()
        await pub.write(text(0))
        staying = asyncio.create_task(stays(elsewhere))
        for _ in range(8):
            await asyncio.sleep(0.4)
            proxy.cut(reset=reset)
        await staying
        assert await pub.write(FINISH) == 1


@pytest.mark.sweep(1)
@pytest.mark.parametrize("how", ["freeze", "swallow_everything", "swallow_answers"])
async def test_silent_connections_cost_nothing(
    url: str,  # noqa: F811
    proxy: Proxy,  # noqa: F811
    elsewhere: Service,
    how: str,
) -> None:
    async with create_service(url, PROTOCOL, lease=LEASE) as service:
        pub = await service.publisher("s").open()
        await pub.write(text(0))
        staying = asyncio.create_task(stays(elsewhere))
        await asyncio.sleep(0.3)
        getattr(proxy, how)()
        await asyncio.sleep(LONG_ENOUGH / 2)
        proxy.heal()
        await staying
        await asyncio.wait_for(pub.write(FINISH), 60)


async def test_without_its_listening_address_a_process_lives_by_its_leases(
    url: str,  # noqa: F811
    postgres_url: str,
    proxy: Proxy,  # noqa: F811
    elsewhere: Service,
    admin: asyncpg.Connection,
) -> None:
    socket = proxy._path
    async with create_service(postgres_url, PROTOCOL, lease=LEASE, listen_url=url) as service:
        pub = await service.publisher("s").open()
        await pub.write(text(0))
        await held(admin, lambda holder: holder is not None)
        proxy.point_to("/nowhere")
        proxy.cut(reset=True)
        await held(admin, lambda holder: holder is None)
        await stays(elsewhere)
        proxy.point_to(socket)
        await held(admin, lambda holder: holder is not None)
        await stays(elsewhere)
        await pub.write(FINISH)


async def test_with_redis_a_connection_holds_the_lock_alone(
    url: str,  # noqa: F811
    proxy: Proxy,  # noqa: F811
    elsewhere: Service,
    admin: asyncpg.Connection,
    redis_server: RedisServer,
) -> None:
    async with create_service(url, PROTOCOL, lease=LEASE, notifier=redis_server.url) as service:
        pub = await service.publisher("s").open()
        await pub.write(text(0))
        await held(admin, lambda holder: holder is not None)
        staying = asyncio.create_task(stays(elsewhere))
        for _ in range(5):
            await asyncio.sleep(0.5)
            proxy.cut(reset=True)
        await staying
        await held(admin, lambda holder: holder is not None)
        await pub.write(FINISH)

"""Connections to Postgres that go silent without closing, as behind a firewall that forgot them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from fuzz.parts.proxy import Proxy
from monostream_ai import DurableStreamService, SubscriptionTimeout, create_service
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.testing import RecordingListener
from monostream_ai.types import WakeUp
from tests.chunks import FINISH, PROTOCOL, Chunk, text

Service = DurableStreamService[Chunk]

LEASE = 3.0
STATEMENT_TIMEOUT = LEASE / 3
STREAMS = 8
PATIENCE = 10.0


@pytest.fixture
async def proxy(postgres_url: str, no_task_is_left: None) -> AsyncIterator[Proxy]:
    url = make_url(postgres_url)
    host = url.query.get("host", url.host)
    if not isinstance(host, str) or not host.startswith("/"):
        pytest.skip("the proxy stands before a server's Unix socket")
    proxy = Proxy(f"{host}/.s.PGSQL.{url.port or 5432}")
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
def url(postgres_url: str, proxy: Proxy) -> str:
    """The server through the proxy."""
    return (
        make_url(postgres_url)
        .set(host="127.0.0.1", port=proxy.port, query={})
        .render_as_string(hide_password=False)
    )


@pytest.fixture
def service(url: str) -> Service:
    return create_service(url, PROTOCOL, lease=LEASE)


async def fill_the_pool(service: Service) -> None:
    async def use(number: int) -> None:
        async with service.publisher(f"filling {number}") as pub:
            await pub.write(text(number))

    await asyncio.gather(*(use(number) for number in range(STREAMS)))


async def test_all_silent_connections_together_cost_one_timeout(
    service: Service, proxy: Proxy
) -> None:
    await fill_the_pool(service)
    pub = await service.publisher("s").open()
    proxy.swallow_answers()
    async with asyncio.timeout(2 * STATEMENT_TIMEOUT):
        assert await pub.write(text(0)) == 0
        await pub.close()
    async with asyncio.timeout(2 * STATEMENT_TIMEOUT):
        assert await service.chunks("s") == [text(0), FINISH]
    await service.aclose()


@pytest.mark.sweep(1)
@pytest.mark.parametrize("pooler", [False, True], ids=["direct", "pooler"])
async def test_a_publisher_whose_connections_go_silent_keeps_its_lease(
    url: str, proxy: Proxy, postgres_url: str, pooler: bool
) -> None:
    service = create_service(url, PROTOCOL, lease=LEASE, pooler=pooler)
    await fill_the_pool(service)
    pub = await service.publisher("s").open()
    proxy.swallow_everything()
    async with create_service(postgres_url, PROTOCOL, lease=LEASE) as elsewhere:
        with pytest.raises(SubscriptionTimeout):
            await anext(elsewhere.subscribe("s", timeout=1.5 * LEASE))
        assert (await elsewhere.status("s")).state == "open"
    await pub.close()
    await service.aclose()


async def test_silent_connections_do_not_keep_a_service_from_closing(
    service: Service, proxy: Proxy
) -> None:
    await fill_the_pool(service)
    proxy.freeze()
    async with asyncio.timeout(PATIENCE):
        await service.aclose()


async def test_a_notifier_that_goes_silent_does_not_keep_a_service_from_closing(
    url: str, proxy: Proxy, postgres_url: str
) -> None:
    service = create_service(postgres_url, PROTOCOL, lease=LEASE, listen_url=url)
    await fill_the_pool(service)
    proxy.freeze()
    # More than one batch of wake-ups, none of which can be sent.
    for _ in range(3):
        await fill_the_pool(service)
    async with asyncio.timeout(PATIENCE):
        await service.aclose()


async def test_a_listening_connection_that_goes_silent_is_replaced(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in ("PROBE_INTERVAL", "PROBE_TIMEOUT", "NOTIFY_TIMEOUT"):
        monkeypatch.setattr(f"monostream_ai.notifiers.postgres.{seconds}", 0.3)
    engine = create_async_engine(url, connect_args={"command_timeout": 1.0})
    notifier = PostgresNotifier(engine)
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    proxy.swallow_everything()
    await listener.until(lambda: not notifier.healthy)
    await listener.until(lambda: notifier.healthy)
    await notifier.notify([WakeUp("s", 0, 0)])
    await listener.until(lambda: bool(listener.wake_ups))
    await listener.stop()
    await notifier.aclose()
    await engine.dispose()

"""Publishers and readers live through broken connections and a server that stops and starts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import StoreUnavailable
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.plugins.postgres import asyncpg_dsn
from tests.processes.conftest import PostgresServer

Service = DurableStreamService[Chunk]

LEASE = 2.0

LONG_LEASE = 10.0
"""Seconds, where a lease plays no part. This process is writer and reader in one: if a busy machine
lets it stand still for a whole lease, its reader may end the stream before its writer renews.
"""

BEFORE_A_PROBE = 12.0
"""Seconds that a busy machine may need. Without polls a probe would find the frozen connection, and
that takes 15 to 20 seconds.
"""


@asynccontextmanager
async def writer_and_reader(url: str, lease: float) -> AsyncIterator[list[Service]]:
    """Open two services as two processes have them."""
    services = [
        create_service(url, PROTOCOL, lease=lease, poll_interval=0.5, outage_timeout=30.0)
        for _ in range(2)
    ]
    yield services
    for service in services:
        await service.aclose()


@pytest.fixture
async def services(
    own_server: PostgresServer, no_task_is_left: None
) -> AsyncIterator[list[Service]]:
    async with writer_and_reader(own_server.url, LEASE) as services:
        yield services


@pytest.fixture
async def patient_services(
    own_server: PostgresServer, no_task_is_left: None
) -> AsyncIterator[list[Service]]:
    async with writer_and_reader(own_server.url, LONG_LEASE) as services:
        yield services


class Reader:
    """Reads all of a stream; its service has connected once it has joined."""

    def __init__(self, service: Service) -> None:
        self.joined = asyncio.Event()
        self.task = asyncio.create_task(self._read(service))

    async def _read(self, service: Service) -> list[Chunk]:
        chunks = []
        async for chunk in service.subscribe("s"):
            chunks.append(chunk)
            self.joined.set()
        return chunks


async def wait_for_errors(service: Service, *sources: str) -> None:
    async with asyncio.timeout(20):
        while not all(service.statistics().errors.get(source) for source in sources):
            await asyncio.sleep(0.02)


async def test_terminated_connections_interrupt_nobody(
    services: list[Service], own_server: PostgresServer
) -> None:
    writer, reader = services
    database = await asyncpg.connect(asyncpg_dsn(own_server.url))
    readers = [Reader(service) for service in (writer, reader, reader)]
    async with writer.publisher("s") as pub:
        await pub.write(text(0))
        await asyncio.gather(*(each.joined.wait() for each in readers))
        for number in range(1, 300):
            await pub.write(text(number))
            if number % 30 == 29:
                await database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
    await database.close()
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(each.task for each in readers)) == [[*texts(300), FINISH]] * 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_a_restart_longer_than_the_lease_loses_no_publisher(
    services: list[Service], own_server: PostgresServer, how: signal.Signals
) -> None:
    writer, reader = services
    reading = Reader(reader)
    async with writer.publisher("s") as pub:
        await pub.write(*texts(3))
        await reading.joined.wait()
        await asyncio.to_thread(own_server.stop, how)
        interrupted = asyncio.create_task(pub.write(text(3)))
        await wait_for_errors(writer, "append", "renew")
        # The server stays away for longer than the lease, which is what this test is about.
        await asyncio.sleep(1.5 * LEASE)
        assert not interrupted.done()
        await asyncio.to_thread(own_server.start)
        async with asyncio.timeout(20):
            assert await interrupted == 3
        await pub.write(text(4))
    async with asyncio.timeout(20):
        assert await reading.task == [*texts(5), FINISH]


async def test_an_idle_publisher_survives_a_restart(
    services: list[Service], own_server: PostgresServer
) -> None:
    writer, reader = services
    reading = Reader(reader)
    async with writer.publisher("s") as pub:
        await pub.write(text(0))
        await reading.joined.wait()
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        await wait_for_errors(writer, "renew")
        await asyncio.sleep(1.5 * LEASE)
        await asyncio.to_thread(own_server.start)
        # It says nothing for two leases: its renewals alone must keep it.
        await asyncio.wait([reading.task], timeout=2 * LEASE)
        assert not reading.task.done()
        await pub.write(text(1))
    async with asyncio.timeout(20):
        assert await reading.task == [*texts(2), FINISH]


async def test_an_outage_beyond_the_bound_is_a_named_error(
    own_server: PostgresServer, no_task_is_left: None
) -> None:
    service = create_service(
        own_server.url, PROTOCOL, lease=LEASE, poll_interval=0.2, outage_timeout=1.0
    )
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    await asyncio.to_thread(own_server.stop)
    async with asyncio.timeout(20):
        with pytest.raises(StoreUnavailable):
            await pub.write(text(1))
        with pytest.raises(StoreUnavailable):
            await anext(subscription)
    await service.aclose()


async def test_a_frozen_listening_connection_costs_one_poll(
    patient_services: list[Service], own_server: PostgresServer
) -> None:
    writer, reader = patient_services
    database = await asyncpg.connect(asyncpg_dsn(own_server.url))
    subscription = reader.subscribe("s")
    async with writer.publisher("s") as pub:
        await pub.write(text(0))
        assert await anext(subscription) == text(0)
        frozen = [
            row["pid"]
            for row in await database.fetch(
                "SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
            )
        ]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            for number in range(1, 4):
                await pub.write(text(number))
                async with asyncio.timeout(BEFORE_A_PROBE):
                    assert await anext(subscription) == text(number)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
    assert [chunk async for chunk in subscription] == [FINISH]
    await database.close()

"""Postgres behind a real pgbouncer in transaction mode.

With `listen_url` everything works as without a pooler; without it, readers poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL, make_url

from fuzz.parts.pooler import PORT, Pooler, owner_of, pgbouncer_program
from monostream_ai import DurableStreamService, create_service
from monostream_ai.diagnosis import diagnose
from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import Notifier
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from tests.chunks import FINISH, PROTOCOL, Chunk, texts

Service = DurableStreamService[Chunk]

PATIENCE = 20.0


def pooler_before(url: URL, directory: Path, **settings: object) -> Pooler:
    """Return a pooler with a minimal configuration: the store must not need any setting in it."""
    host = url.host or url.query.get("host", "localhost")
    assert isinstance(host, str)
    server = {
        "host": host,
        "port": url.port,
        "dbname": url.database,
        "user": url.username,
        "password": url.password,
    }
    owner = owner_of(host) if host.startswith("/") else "nobody"
    return Pooler(directory, server, owner, **settings)


@pytest.fixture
async def pooled_url(postgres_url: str, short_directory: Path) -> AsyncIterator[str]:
    """The URL of the test's database through a pooler."""
    if pgbouncer_program() is None:
        pytest.skip("no pgbouncer: install the package of that name")
    url = make_url(postgres_url)
    pooler = pooler_before(url, short_directory)
    try:
        await pooler.start()
        query = {"host": str(short_directory), "port": str(PORT)}
        yield url.set(host=None, port=None, query=query).render_as_string(hide_password=False)
    finally:
        await pooler.kill()


async def collect(service: Service, stream_id: str) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe(stream_id, timeout=PATIENCE)]


async def write_turns(service: Service, first: int, count: int) -> None:
    """Write several streams at once, so that the pooler shares its connections among them."""

    async def turn(number: int) -> None:
        async with service.publisher(f"s{number}") as pub:
            for chunk in texts(20):
                await pub.write(chunk)

    async with asyncio.TaskGroup() as group:
        for number in range(first, first + count):
            group.create_task(turn(number))


async def check_two_services(writer: Service, reader: Service) -> None:
    """Let both services write, and read all streams; then one stops the other's publisher."""
    numbers = range(8)
    async with asyncio.TaskGroup() as group:
        readers = [
            group.create_task(collect(service, f"s{number}"))
            for number in numbers
            for service in (writer, reader)
        ]
        group.create_task(write_turns(writer, 0, 4))
        group.create_task(write_turns(reader, 4, 4))
    assert [reading.result() for reading in readers] == [[*texts(20), FINISH]] * 16
    await writer.publisher("stopped").open()
    assert await reader.stop("stopped") is True
    assert await writer.delete("s0") is True
    assert await writer.prune(older_than=3600) == 0


async def test_services_with_a_listen_url_work_behind_a_pooler(
    pooled_url: str, postgres_url: str, no_task_is_left: None
) -> None:
    writer, reader = [
        create_service(pooled_url, PROTOCOL, listen_url=postgres_url) for _ in range(2)
    ]
    async with writer, reader:
        await check_two_services(writer, reader)
        assert writer.statistics().errors == reader.statistics().errors == {}


async def test_services_without_a_listen_url_recognise_a_pooler_and_poll(
    pooled_url: str, no_task_is_left: None
) -> None:
    writer, reader = [create_service(pooled_url, PROTOCOL) for _ in range(2)]
    async with writer, reader:
        await check_two_services(writer, reader)
        for service in (writer, reader):
            assert set(service.statistics().errors) <= {"listen", "notify"}


async def test_wake_ups_arrive_over_the_listen_url(
    pooled_url: str, postgres_url: str, no_task_is_left: None
) -> None:
    """Polls are so rare here that only a wake-up brings a chunk in time."""
    options: dict[str, Any] = {"listen_url": postgres_url, "poll_interval": 600.0, "lease": 600.0}
    writer, reader = [create_service(pooled_url, PROTOCOL, **options) for _ in range(2)]
    async with writer, reader:
        subscription = reader.subscribe("s", timeout=PATIENCE)
        async with writer.publisher("s") as pub:
            for chunk in texts(10):
                await pub.write(chunk)
                assert await anext(subscription) == chunk
        assert [chunk async for chunk in subscription] == [FINISH]
        assert reader.statistics().rescues == 0


class Warnings(logging.Handler):
    """Keeps the warnings about notifications that do not arrive."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = asyncio.Event()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "notifications do not arrive" in record.getMessage():
            self.texts.append(record.getMessage())
            self.first.set()


@pytest.fixture
def heard() -> Iterator[Warnings]:
    handler, logger = Warnings(), logging.getLogger("monostream_ai.notifiers.postgres")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_a_notifier_behind_a_pooler_warns_once_and_readers_poll(
    pooled_url: str, heard: Warnings, no_task_is_left: None
) -> None:
    def make(notifier: Notifier | None) -> Service:
        store = PostgresStore.from_url(pooled_url, pooler=True)
        return DurableStreamService(
            store, notifier, PROTOCOL, poll_interval=1.0, outage_timeout=3.0, create_tables=True
        )

    notifier = PostgresNotifier.from_url(pooled_url)
    async with make(None) as writer, make(notifier) as reader:
        async with asyncio.timeout(PATIENCE):
            await heard.first.wait()
        await check_two_services(writer, reader)
        assert not notifier.healthy
    assert len(heard.texts) == 1
    assert "listen_url=" in heard.texts[0]


@pytest.mark.parametrize("pooler", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("create_tables", [True, False])
async def test_a_pooler_in_statement_mode_is_named(
    postgres_url: str,
    short_directory: Path,
    no_task_is_left: None,
    pooler: bool,
    create_tables: bool,
) -> None:
    if pgbouncer_program() is None:
        pytest.skip("no pgbouncer: install the package of that name")
    url = make_url(postgres_url)
    before = pooler_before(url, short_directory, pool_mode="statement")
    await before.start()
    query = {"host": str(short_directory), "port": str(PORT)}
    pooled = url.set(host=None, port=None, query=query).render_as_string(hide_password=False)
    try:
        service = create_service(
            pooled, PROTOCOL, pooler=pooler, create_tables=create_tables, outage_timeout=0.5
        )
        with pytest.raises(StoreUnavailable, match="not in statement mode"):
            await service.status("s")
        await service.aclose()
        *_, found = [finding async for finding in diagnose(pooled)]
        assert (found.level, "not in statement mode" in found.found) == ("fail", True)
    finally:
        await before.kill()

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import create_service
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.testing import RecordingListener
from monostream_ai.types import WakeUp
from tests.chunks import FINISH, PROTOCOL, text
from tests.plugins.postgres import asyncpg_dsn

LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'"
)

FOREIGN = [
    "",
    "hello",
    "{}",
    ".",
    "..",
    "1.x.s",
    "x.1.s",
    "1.1",
    "-",
    "é",
    "1e3.1.s",
    "9" * 6000,
    "?",
    "?0000",
    "\x01\x7f",
]


@pytest.fixture
async def notifier(postgres_url: str) -> AsyncIterator[PostgresNotifier]:
    notifier = PostgresNotifier.from_url(postgres_url)
    yield notifier
    await notifier.aclose()


@pytest.fixture
async def listener(notifier: PostgresNotifier) -> AsyncIterator[RecordingListener]:
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    yield listener
    await listener.stop()


async def wait_until_heard(
    notifier: PostgresNotifier, listener: RecordingListener, wake_up: WakeUp
) -> None:
    await notifier.notify([wake_up])
    await listener.until(lambda: wake_up in listener.wake_ups)


async def test_foreign_payloads_are_ignored_and_counted(
    notifier: PostgresNotifier, listener: RecordingListener, database: asyncpg.Connection
) -> None:
    for payload in FOREIGN:
        await database.execute("SELECT pg_notify('monostream', $1)", payload)
    await wait_until_heard(notifier, listener, WakeUp("s", 0, 0))
    assert notifier.malformed >= 5
    assert listener.errors == []
    assert notifier.healthy


async def test_another_channel_is_not_heard(
    postgres_url: str, notifier: PostgresNotifier, listener: RecordingListener
) -> None:
    other = PostgresNotifier.from_url(postgres_url, channel="elsewhere")
    await other.notify([WakeUp("s", 0, 0)])
    await other.aclose()
    await wait_until_heard(notifier, listener, WakeUp("s", 0, 1))
    assert listener.wake_ups == [WakeUp("s", 0, 1)]


async def test_a_broken_listening_connection_is_replaced_and_followed_by_a_resync(
    notifier: PostgresNotifier, listener: RecordingListener, database: asyncpg.Connection
) -> None:
    for number in range(3):
        # One resync for the loss, and one when it listens again.
        expected = listener.resyncs + 2
        for row in await database.fetch(LISTENERS):
            await database.execute("SELECT pg_terminate_backend($1)", row["pid"])
        await listener.until(lambda: listener.resyncs >= expected and notifier.healthy)  # noqa: B023  (awaited in this round)
        await wait_until_heard(notifier, listener, WakeUp("s", 0, number))


class LostQueueFile(asyncpg.Connection):
    """A connection to a server whose notification queue lost its first file.

    Asking for the usage of the queue advances it past the lost file.
    """

    advanced = False

    async def add_listener(self, channel: str, callback: Any) -> None:
        if not LostQueueFile.advanced:
            raise asyncpg.UndefinedFileError("could not access status of transaction 731")
        await super().add_listener(channel, callback)

    async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
        LostQueueFile.advanced = LostQueueFile.advanced or "pg_notification_queue_usage" in query
        return await super().fetchval(query, *arguments, **options)


async def test_a_queue_that_lost_its_first_file_is_advanced_and_listened_to(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LostQueueFile, "advanced", False)
    engine = create_async_engine(postgres_url, connect_args={"connection_class": LostQueueFile})
    notifier = PostgresNotifier(engine)
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    assert LostQueueFile.advanced
    assert listener.errors == []
    await wait_until_heard(notifier, listener, WakeUp("s", 0, 0))
    await listener.stop()
    await notifier.aclose()
    await engine.dispose()


async def test_an_unreachable_server_is_reported_and_tried_again(no_task_is_left: None) -> None:
    notifier = PostgresNotifier.from_url("postgresql+asyncpg://nobody@127.0.0.1:1/nowhere")
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: len(listener.errors) >= 3)
    assert not notifier.healthy
    assert {source for source, _ in listener.errors} == {"listen"}
    await listener.stop()
    await notifier.aclose()


async def test_a_reconnect_is_logged_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notifier = PostgresNotifier.from_url("postgresql://me:hunter2@127.0.0.1:1/nowhere")
    with caplog.at_level("DEBUG", "monostream_ai"):
        listener = await RecordingListener(notifier).start()
        await listener.until(lambda: len(listener.errors) >= 2)
        await listener.stop()
    await notifier.aclose()
    assert "me@127.0.0.1:1/nowhere, not healthy> connects again in" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_borrowed_engine_stays_open(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, pool_size=1, max_overflow=0)
    notifier = PostgresNotifier(engine)
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    await listener.stop()
    await notifier.aclose()
    async with engine.connect() as connection:
        assert not connection.closed
    await engine.dispose()


async def test_a_process_has_one_listening_connection_however_much_it_reads(
    postgres_url: str, database: asyncpg.Connection, no_task_is_left: None
) -> None:
    async with create_service(postgres_url, PROTOCOL) as service:
        readers = [
            asyncio.create_task(anext(service.subscribe(f"s{number}"))) for number in range(50)
        ]
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(
                    (await service.publisher(f"s{number}").open()).write(text(0), FINISH)
                )
        assert await asyncio.gather(*readers) == [text(0)] * 50
        assert len(await database.fetch(LISTENERS)) == 1


async def test_the_listening_connection_is_closed_with_the_service(
    postgres_url: str, database: asyncpg.Connection, no_task_is_left: None
) -> None:
    async with create_service(postgres_url, PROTOCOL) as service:
        async with service.publisher("s") as pub:
            await pub.write(text(0))
    async with asyncio.timeout(5):
        others = """
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
        """
        while await database.fetchval(others):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("lent", [True, False], ids=["lent", "url"])
async def test_a_service_is_closed_at_any_moment_without_a_complaint(
    postgres_url: str, lent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    engine = create_async_engine(postgres_url)
    for number in range(60):
        async with create_service(engine if lent else postgres_url, PROTOCOL) as service:
            await service.versions("s")
            # Its notifier is still connecting, or is asked who hears it.
            await asyncio.sleep(number * 0.0005)
        if lent:
            await engine.dispose()
    gc.collect()

    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []
    assert complaints == []


@pytest.mark.parametrize("connect", [1, 2])
async def test_a_connect_that_has_begun_ends_before_its_notifier_does(
    postgres_url: str, connect: int
) -> None:
    """The first connection listens, and the second sends what it has to hear."""
    began, opened, broken = asyncio.Event(), list[asyncpg.Connection](), list[BaseException]()

    async def opening(*_: Any, **__: Any) -> asyncpg.Connection:
        try:
            if len(opened) == connect - 1:
                began.set()
                for _ in range(3):
                    await asyncio.sleep(0)
            opened.append(await asyncpg.connect(asyncpg_dsn(postgres_url)))
        except BaseException as error:
            broken.append(error)
            raise
        return opened[-1]

    engine = create_async_engine(postgres_url, async_creator=opening)
    notifier = PostgresNotifier(engine)
    listener = await RecordingListener(notifier).start()
    await began.wait()

    await notifier.aclose()
    await engine.dispose()

    assert broken == []
    assert len(opened) == connect
    assert all(connection.is_closed() for connection in opened)
    await listener.stop()

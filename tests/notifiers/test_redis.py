"""Redis carries hints only: readers get everything from the store, whatever happens to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from monostream_ai import create_service
from monostream_ai.errors import InvalidURL
from monostream_ai.notifiers.redis import RedisNotifier
from monostream_ai.testing import RecordingListener
from monostream_ai.types import WakeUp
from tests.chunks import FINISH, PROTOCOL, text, texts
from tests.plugins.redis import RedisServer

FOREIGN = [
    "",
    "hello",
    "{}",
    "[[]]",
    '[["s"]]',
    '[["s", "x", 1]]',
    "[1]",
    "null",
    '"?"',
    "\xff",
    "[" * 5000,
]


@pytest.fixture
async def notifier(redis_server: RedisServer) -> AsyncIterator[RedisNotifier]:
    notifier = RedisNotifier.from_url(redis_server.url)
    yield notifier
    await notifier.aclose()


@pytest.fixture
async def listener(notifier: RedisNotifier) -> AsyncIterator[RecordingListener]:
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    yield listener
    await listener.stop()


async def test_foreign_messages_are_ignored_and_counted(
    redis_server: RedisServer, notifier: RedisNotifier, listener: RecordingListener
) -> None:
    async with Redis.from_url(redis_server.url) as client:
        for message in FOREIGN:
            await client.publish("monostream", message)
    await notifier.notify([WakeUp("s", 0, 0)])
    await listener.until(lambda: bool(listener.wake_ups))
    assert listener.wake_ups == [WakeUp("s", 0, 0)]
    assert notifier.malformed >= 8
    assert listener.errors == []
    assert notifier.healthy


async def test_another_channel_is_not_heard(
    redis_server: RedisServer, notifier: RedisNotifier, listener: RecordingListener
) -> None:
    other = RedisNotifier.from_url(redis_server.url, channel="elsewhere")
    await other.notify([WakeUp("s", 0, 0)])
    await other.aclose()
    await notifier.notify([WakeUp("s", 0, 1)])
    await listener.until(lambda: bool(listener.wake_ups))
    assert listener.wake_ups == [WakeUp("s", 0, 1)]


async def test_a_killed_connection_is_replaced_and_followed_by_a_resync(
    redis_server: RedisServer, notifier: RedisNotifier, listener: RecordingListener
) -> None:
    async with Redis.from_url(redis_server.url) as client:
        for number in range(3):
            expected = listener.resyncs + 2
            await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await listener.until(lambda: listener.resyncs >= expected and notifier.healthy)  # noqa: B023  (awaited in this round)
            await notifier.notify([WakeUp("s", 0, number)])
            await listener.until(lambda: WakeUp("s", 0, number) in listener.wake_ups)  # noqa: B023


async def test_a_borrowed_client_that_reconnects_by_itself_is_followed_by_a_resync(
    redis_server: RedisServer,
) -> None:
    async with Redis.from_url(redis_server.url) as client:
        notifier = RedisNotifier(client)
        listener = await RecordingListener(notifier).start()
        await listener.until(lambda: notifier.healthy)
        before = listener.resyncs
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await listener.until(lambda: listener.resyncs > before and notifier.healthy)
        await listener.stop()
        await notifier.aclose()
        assert await client.ping()


async def test_readers_get_everything_while_redis_is_dead_and_wake_ups_come_back_with_it(
    redis_server: RedisServer, tmp_path: Path, no_task_is_left: None
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    redis = redis_server.url
    async with (
        create_service(url, PROTOCOL, notifier=redis, poll_interval=0.5) as writer,
        create_service(url, PROTOCOL, notifier=redis, poll_interval=0.5) as reader,
        asyncio.timeout(60),
    ):
        subscription = reader.subscribe("s")
        async with writer.publisher("s") as pub:
            await pub.write(*texts(5))
            assert [await anext(subscription) for _ in range(5)] == texts(5)
            redis_server.kill()
            await pub.write(*texts(5, start=5))
            assert [await anext(subscription) for _ in range(5)] == texts(5, start=5)
            redis_server.start()
            await until_heard(redis)
            await pub.write(*texts(5, start=10))
            assert [await anext(subscription) for _ in range(5)] == texts(5, start=10)
        assert [chunk async for chunk in subscription] == [FINISH]
        assert reader.statistics().errors["listen"] > 0


async def until_heard(url: str) -> None:
    notifier = RedisNotifier.from_url(url)
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    await listener.stop()
    await notifier.aclose()


async def test_wake_ups_come_long_before_the_poll(
    redis_server: RedisServer, postgres_url: str
) -> None:
    redis = redis_server.url
    async with (
        create_service(postgres_url, PROTOCOL, notifier=redis, poll_interval=600.0) as writer,
        create_service(postgres_url, PROTOCOL, notifier=redis, poll_interval=600.0) as reader,
        asyncio.timeout(30),
    ):
        subscription = reader.subscribe("s")
        async with writer.publisher("s") as pub:
            for number in range(30):
                await pub.write(text(number))
                assert await anext(subscription) == text(number)
        assert [chunk async for chunk in subscription] == [FINISH]


async def test_a_server_that_is_down_is_reported_and_tried_again(
    redis_server: RedisServer, no_task_is_left: None
) -> None:
    redis_server.kill()
    notifier = RedisNotifier.from_url(redis_server.url)
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: len(listener.errors) >= 2)
    assert not notifier.healthy
    redis_server.start()
    await listener.until(lambda: notifier.healthy)
    await listener.stop()
    await notifier.aclose()


async def test_a_frozen_server_is_noticed(
    redis_server: RedisServer,
    listener: RecordingListener,
    notifier: RedisNotifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("monostream_ai.notifiers.redis.PROBE_INTERVAL", 0.2)
    monkeypatch.setattr("monostream_ai.notifiers.redis.PROBE_TIMEOUT", 0.2)
    async with Redis.from_url(redis_server.url) as client:
        # A new connection waits for the patched interval, not for the one before.
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await listener.until(lambda: bool(listener.errors) and notifier.healthy)
    redis_server.freeze()
    await listener.until(lambda: not notifier.healthy)
    redis_server.thaw()
    await listener.until(lambda: notifier.healthy)


@pytest.mark.parametrize(
    "url", ["http://h", "nonsense", "redis://h:port", "redis://u:hunter2@h:99999999"]
)
def test_an_unreadable_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        create_service("memory://", notifier=url)
    assert "hunter2" not in str(caught.value)

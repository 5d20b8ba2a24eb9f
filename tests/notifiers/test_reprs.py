from __future__ import annotations

from pathlib import Path

import pytest

from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.notifiers.redis import RedisNotifier
from monostream_ai.notifiers.sqlite import SQLiteNotifier
from monostream_ai.stores.sql import SQLiteStore
from monostream_ai.testing import RecordingListener
from tests.plugins.redis import RedisServer

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("kind", "url", "shown"),
    [
        (
            PostgresNotifier,
            f"postgresql://me:{SECRET}@db.example/chat",
            "<PostgresNotifier postgresql+asyncpg://me@db.example/chat, not healthy>",
        ),
        (
            RedisNotifier,
            f"rediss://me:{SECRET}@cache.example:6380/3",
            "<RedisNotifier cache.example:6380, not healthy>",
        ),
        (
            RedisNotifier,
            f"unix://me:{SECRET}@/run/redis.sock",
            "<RedisNotifier /run/redis.sock, not healthy>",
        ),
    ],
    ids=["postgres", "redis", "redis on a socket"],
)
def test_a_notifier_shows_its_server_without_secrets(
    kind: type[PostgresNotifier | RedisNotifier], url: str, shown: str
) -> None:
    notifier = kind.from_url(url)
    assert repr(notifier) == shown
    assert SECRET not in f"{ForwardingNotifier(notifier)!r} {notifier}"


async def test_a_notifier_shows_whether_it_is_healthy(redis_server: RedisServer) -> None:
    notifier = RedisNotifier.from_url(redis_server.url)
    listener = await RecordingListener(notifier).start()
    await listener.until(lambda: notifier.healthy)
    assert repr(notifier).endswith(", healthy>")
    await listener.stop()
    await notifier.aclose()
    assert repr(notifier).endswith(", not healthy>")


def test_a_notifier_of_a_file_shows_the_file(tmp_path: Path) -> None:
    store = SQLiteStore.from_url(f"sqlite:///{tmp_path / 'chat.db'}")
    path = tmp_path / "chat.db"
    assert repr(SQLiteNotifier(store)) == f"<SQLiteNotifier of <SQLiteStore {path}>, not healthy>"


async def test_a_memory_notifier_counts_its_listeners() -> None:
    notifier = MemoryNotifier()
    listener = await RecordingListener(notifier).start()
    assert repr(notifier) == "<MemoryNotifier 1 listener, healthy>"
    await listener.stop()
    assert repr(notifier) == "<MemoryNotifier 0 listeners, healthy>"


def test_a_forwarding_notifier_shows_the_one_behind_it() -> None:
    notifier = ForwardingNotifier(MemoryNotifier())
    assert repr(notifier) == "<ForwardingNotifier of <MemoryNotifier 0 listeners, healthy>>"

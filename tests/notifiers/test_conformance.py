from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monostream_ai.interfaces import Notifier
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.notifiers.redis import RedisNotifier
from monostream_ai.testing import NotifierConformance
from tests.backends import Backend, postgres_backend, sqlite_backend
from tests.plugins.redis import RedisServer


async def opened(backend: Backend) -> AsyncIterator[Notifier]:
    store, notifier = backend.new_parts()
    yield notifier
    await notifier.aclose()
    await store.aclose()


class OfBackend(NotifierConformance):
    @pytest.fixture
    async def notifier(self, backend: Backend) -> AsyncIterator[Notifier]:
        async for notifier in opened(backend):
            yield notifier

    @pytest.fixture
    async def peer(self, backend: Backend) -> AsyncIterator[Notifier]:
        async for notifier in opened(backend):
            yield notifier


class TestPostgresNotifier(OfBackend):
    @pytest.fixture
    def backend(self, postgres_url: str) -> Backend:
        return postgres_backend(postgres_url)


class TestSQLiteNotifier(OfBackend):
    carries_wake_ups = False

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        self.path = tmp_path / "streams.db"
        return sqlite_backend(self.path)

    async def commit_something(self) -> None:
        connection = sqlite3.connect(self.path)
        connection.execute("CREATE TABLE IF NOT EXISTS commits (id integer primary key)")
        connection.execute("INSERT INTO commits DEFAULT VALUES")
        connection.commit()
        connection.close()


class TestMemoryNotifier(NotifierConformance):
    @pytest.fixture
    def notifier(self) -> Notifier:
        return MemoryNotifier()

    @pytest.fixture
    def peer(self, notifier: Notifier) -> Notifier:
        return notifier


class TestRedisNotifier(NotifierConformance):
    @pytest.fixture
    async def notifier(self, redis_server: RedisServer) -> AsyncIterator[Notifier]:
        notifier = RedisNotifier.from_url(redis_server.url)
        yield notifier
        await notifier.aclose()

    @pytest.fixture
    async def peer(self, redis_server: RedisServer) -> AsyncIterator[Notifier]:
        notifier = RedisNotifier.from_url(redis_server.url)
        yield notifier
        await notifier.aclose()

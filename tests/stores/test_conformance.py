from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monostream_ai.interfaces import Store
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import StoreConformance
from tests.backends import Backend, postgres_backend, sqlite_backend


class OfSQL(StoreConformance):
    @pytest.fixture
    async def store(self, backend: Backend) -> AsyncIterator[Store]:
        store = backend.new_store()
        yield store
        await store.aclose()

    @pytest.fixture
    async def peer(self, backend: Backend) -> AsyncIterator[Store]:
        store = backend.new_store()
        yield store
        await store.aclose()


class TestSQLiteStore(OfSQL):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return sqlite_backend(tmp_path / "streams.db")


class TestPostgresStore(OfSQL):
    @pytest.fixture
    def backend(self, postgres_url: str) -> Backend:
        return postgres_backend(postgres_url)


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> Store:
        self.now = 0.0
        return MemoryStore(clock=lambda: self.now)

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds


class TestMemoryStoreOnTheRealClock(StoreConformance):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

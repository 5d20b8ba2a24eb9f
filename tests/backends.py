"""The backends that tests run over. Each call of `new_parts` stands for one more process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from monostream_ai.interfaces import Notifier, Store
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.notifiers.sqlite import SQLiteNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.stores.sql import PostgresStore, SQLiteStore

BACKENDS: Final = ["memory", "sqlite", "postgresql"]
DURABLE_BACKENDS: Final = ["sqlite", "postgresql"]


@dataclass(frozen=True)
class Backend:
    """One kind of storage; `new_parts` gives a store and a notifier that belong together."""

    id: str
    url: str
    new_parts: Callable[[], tuple[Store, Notifier]]

    def new_store(self) -> Store:
        return self.new_parts()[0]


def open_backend(id: str, directory: Path, request: pytest.FixtureRequest) -> Backend:
    if id == "memory":
        parts = MemoryStore(), MemoryNotifier()
        return Backend(id, "memory://", lambda: parts)
    if id == "sqlite":
        return sqlite_backend(directory / "streams.db")
    return postgres_backend(request.getfixturevalue("postgres_url"))


def sqlite_backend(path: Path) -> Backend:
    url = f"sqlite+aiosqlite:///{path}"

    def new_parts() -> tuple[Store, Notifier]:
        store = SQLiteStore.from_url(url)
        return store, SQLiteNotifier(store)

    return Backend("sqlite", url, new_parts)


def postgres_backend(url: str) -> Backend:
    return Backend(
        "postgresql", url, lambda: (PostgresStore.from_url(url), PostgresNotifier.from_url(url))
    )

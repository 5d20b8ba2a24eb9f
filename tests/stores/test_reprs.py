from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai.interfaces import Store
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.types import Opening

SECRET = "hunter2"


def borrowing(url: str) -> PostgresStore:
    return PostgresStore(create_async_engine(url))


@pytest.mark.parametrize("make", [PostgresStore.from_url, borrowing], ids=["owned", "borrowed"])
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"me:{SECRET}@db.example:5433/chat", "me@db.example:5433/chat"),
        (f"me@db.example/chat?password={SECRET}&ssl=require", "me@db.example/chat"),
        (f"me:{SECRET}@/chat?host=/run/pg&port=5433", "me@/chat?host=%2Frun%2Fpg&port=5433"),
        ("db.example/chat", "db.example/chat"),
    ],
    ids=["password", "password in the query", "socket", "no user"],
)
def test_a_postgres_store_shows_its_url_without_secrets(
    make: Callable[[str], Store], given: str, shown: str
) -> None:
    store = make(f"postgresql+asyncpg://{given}")
    assert repr(store) == f"<PostgresStore postgresql+asyncpg://{shown}>"
    assert SECRET not in f"{store!r} {store}"


def test_a_sqlite_store_shows_its_file(tmp_path: Path) -> None:
    store = SQLiteStore.from_url(f"sqlite:///{tmp_path / 'chat.db'}")
    assert repr(store) == f"<SQLiteStore {tmp_path / 'chat.db'}>"


async def test_a_memory_store_counts_its_streams() -> None:
    store = MemoryStore()
    assert repr(store) == "<MemoryStore 0 streams>"
    await store.acquire("s", None, Opening("token", 60.0))
    assert repr(store) == "<MemoryStore 1 stream>"
    await store.acquire("t", None, Opening("token", 60.0))
    assert repr(store) == "<MemoryStore 2 streams>"

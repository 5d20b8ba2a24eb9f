"""A database that is unreachable, wrong or without tables is a named error that says what to do."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import asyncpg
import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import (
    InvalidURL,
    SchemaMismatch,
    SchemaMissing,
    StoreError,
    StoreUnavailable,
    WrongEventLoop,
)
from tests.backends import Backend, open_backend
from tests.chunks import PROTOCOL, Chunk, text
from tests.plugins.postgres import asyncpg_dsn

SECRET = "hunter2"


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return open_backend(request.param, tmp_path, request)


async def execute(backend: Backend, script: str) -> None:
    """Run a script on the backend's database, as another program would."""
    if backend.id == "sqlite":
        connection = sqlite3.connect(backend.url.removeprefix("sqlite+aiosqlite:///"))
        connection.executescript(script)
        connection.close()
    else:
        database = await asyncpg.connect(asyncpg_dsn(backend.url))
        await database.execute(script)
        await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "redis://localhost",
        f"mysql+aiomysql://me:{SECRET}@localhost/db",
    ],
)
def test_a_url_that_names_no_backend_is_refused(url: str) -> None:
    with pytest.raises(InvalidURL, match="use memory://") as caught:
        create_service(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://chat.db", "sqlite+aiosqlite://data/chat.db"])
def test_a_sqlite_url_with_two_slashes_is_told_of_the_third(url: str) -> None:
    with pytest.raises(InvalidURL, match="three slashes"):
        create_service(url)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+asyncpg://me:{SECRET}@127.0.0.1:1/nowhere",
        f"postgresql+asyncpg://me:{SECRET}@/nowhere?host=/nonexistent-directory",
        f"postgresql+asyncpg://me:{SECRET}@host.invalid/nowhere",
        "sqlite+aiosqlite:////nonexistent-directory/file.db",
    ],
    ids=["refused", "no socket", "no such host", "no directory"],
)
async def test_an_unreachable_database_is_named(url: str, no_task_is_left: None) -> None:
    service = create_service(url, PROTOCOL, outage_timeout=0.2)
    async with asyncio.timeout(30):
        with pytest.raises(StoreUnavailable) as caught:
            await service.publisher("s").open()
        with pytest.raises(StoreUnavailable):
            await anext(service.subscribe("s"))
        with pytest.raises(StoreUnavailable):
            await service.status("s")
        with pytest.raises(StoreUnavailable):
            async with service:
                pass
        await service.aclose()
    assert SECRET not in str(caught.value)


async def test_a_database_that_does_not_exist_is_named(
    postgres_url: str, no_task_is_left: None
) -> None:
    service = create_service(postgres_url.replace("/test_", "/missing_"), outage_timeout=0.2)
    with pytest.raises(StoreError, match="no database of this name"):
        await service.publisher("s").open()
    await service.aclose()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path, no_task_is_left: None) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, " * 100)
    service = create_service(f"sqlite+aiosqlite:///{path}", outage_timeout=0.2)
    with pytest.raises(StoreError, match="not a SQLite database"):
        await service.publisher("s").open()
    await service.aclose()
    assert path.read_text().startswith("these are my notes")


async def test_a_missing_table_is_named_with_its_cure(
    sql_backend: Backend, no_task_is_left: None
) -> None:
    async with DurableStreamService(sql_backend.new_store(), None, PROTOCOL) as service:
        async with asyncio.timeout(10):
            with pytest.raises(SchemaMissing, match=r"setup\(\)"):
                await service.publisher("s").open()
            with pytest.raises(SchemaMissing):
                await service.status("s")
            with pytest.raises(SchemaMissing):
                await anext(service.subscribe("s"))


async def test_a_table_dropped_under_a_publisher_is_named(
    sql_backend: Backend, no_task_is_left: None
) -> None:
    store = sql_backend.new_store()
    await store.setup()
    async with DurableStreamService(store, None, PROTOCOL) as service:
        pub = await service.publisher("s").open()
        await execute(sql_backend, "DROP TABLE stream_chunk")
        async with asyncio.timeout(10):
            with pytest.raises(SchemaMissing, match="stream_chunk"):
                await pub.write(text(0))


@pytest.mark.parametrize("table", ["stream_chunk", "stream_version"])
async def test_a_foreign_table_of_our_name_is_left_alone(sql_backend: Backend, table: str) -> None:
    await execute(sql_backend, f"CREATE TABLE {table} (id integer PRIMARY KEY, name text)")
    store = sql_backend.new_store()
    with pytest.raises(SchemaMismatch, match=table):
        await store.setup()
    await store.aclose()
    await execute(sql_backend, f"INSERT INTO {table} VALUES (1, 'mine')")


async def test_a_service_belongs_to_the_loop_that_used_it_first(
    service: DurableStreamService[Chunk],
) -> None:
    await service.stop("s")
    outcome: list[BaseException | None] = []

    def use_elsewhere() -> None:
        try:
            asyncio.run(service.publisher("s").open())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=use_elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert [type(error) for error in outcome] == [WrongEventLoop]

"""Databases of older releases are upgraded under running publishers; newer ones are refused."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import SchemaMismatch, SchemaOutdated, SchemaTooNew, StoreUnavailable
from monostream_ai.fastapi import ChatHistory
from monostream_ai.stores.sql import PostgresStore, metadata
from monostream_ai.stores.sql.migrations import SCHEMA_VERSION
from monostream_ai.types import Append, Lease
from tests.backends import DURABLE_BACKENDS, Backend, open_backend
from tests.chunks import FINISH, PROTOCOL, text
from tests.plugins.postgres import asyncpg_dsn
from tests.test_bad_storage import execute

SCHEMAS = Path(__file__).parent / "schemas"
RUNNING = Lease("running", 0, "w1")


@pytest.fixture(params=DURABLE_BACKENDS)
def sql_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return open_backend(request.param, tmp_path, request)


@pytest.fixture(params=(1, 2))
def release(request: pytest.FixtureRequest) -> int:
    """The schema version of an older release."""
    version: int = request.param
    return version


@pytest.fixture
async def old(sql_backend: Backend, release: int) -> Backend:
    """A database of an older release, with a closed version `done` and an open one `running`."""
    await execute(sql_backend, (SCHEMAS / f"{release}.{sql_backend.id}.sql").read_text())
    return sql_backend


@pytest.fixture
async def watched(sql_backend: Backend) -> Backend:
    """The same of the release before this one, whose versions are watched and have requests."""
    await execute(sql_backend, (SCHEMAS / f"2.{sql_backend.id}.sql").read_text())
    return sql_backend


def a_service(backend: Backend, *, create_tables: bool = True) -> DurableStreamService[Any]:
    return create_service(backend.url, PROTOCOL, create_tables=create_tables)


async def shape_of(backend: Backend) -> dict[str, Any]:
    """Return the columns and indexes of our tables, as SQLAlchemy sees them."""
    engine = create_async_engine(backend.url.replace("postgresql:", "postgresql+asyncpg:"))

    def look(connection: Any) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            table: (
                sorted(
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in inspector.get_columns(table)
                ),
                sorted(
                    (str(index["name"]), index["column_names"])
                    for index in inspector.get_indexes(table)
                ),
                inspector.get_pk_constraint(table)["constrained_columns"],
            )
            for table in inspector.get_table_names()
        }

    async with engine.connect() as connection:
        shape = await connection.run_sync(look)
    await engine.dispose()
    return shape


async def test_an_upgrade_keeps_the_streams_of_an_older_release(old: Backend) -> None:
    async with a_service(old) as service:
        assert await service.chunks("done") == [text(0), FINISH]
        done = await service.status("done")
        assert (done.state, done.next_id, done.message_id, done.closed_at is not None) == (
            "closed",
            2,
            "m0",
            True,
        )


async def test_a_publisher_of_an_older_release_goes_on_writing(old: Backend) -> None:
    store = old.new_store()
    await store.setup()
    payloads = [PROTOCOL.encode(text(1)), PROTOCOL.encode(FINISH)]
    assert await store.renew([RUNNING], lease=60.0) == [None]
    assert await store.append([Append(RUNNING, 1, payloads, True)], lease=60.0) == [None]
    await store.aclose()
    async with a_service(old) as service:
        assert [chunk async for chunk in service.subscribe("running")] == [text(0), text(1), FINISH]


async def test_what_an_older_release_watched_is_settled_with_its_request(watched: Backend) -> None:
    told = []

    async def work() -> None:
        told.append(await service.request("done", 0))

    async with a_service(watched) as service:
        (due,) = await service.unattended()
        assert (due.stream_id, due.state, due.attended) == ("done", "closed", 0)
        assert await service.settle("done", 0, work)
        assert await service.unattended() == []
        assert await service.request("running", 0) == {"n": 2}
    assert told == [{"n": 1}]


async def test_an_older_release_does_not_settle_what_it_cannot_read(watched: Backend) -> None:
    """It knows no table of requests, and would take a turn of this release for one without."""
    async with a_service(watched) as service:
        async with service.publisher("new", request={"n": 3}, watched=True) as pub:
            await pub.write(FINISH)
        async with service.publisher("lost", request={"n": 4}, watched=True, on_cancel="release"):
            await execute(
                watched, "UPDATE stream_version SET lease_until = created_at WHERE state = 'open'"
            )
            assert {info.stream_id for info in await service.unattended()} >= {"new", "done"}
            # The question that the older release asks.
            found = await rows(
                watched, "SELECT stream_id FROM stream_version WHERE settler IS NOT NULL"
            )
    assert sorted(found) == [("done",), ("running",)]


async def test_an_older_release_takes_a_deleted_stream_for_a_pruned_one(watched: Backend) -> None:
    async with a_service(watched) as service:
        assert await service.delete("done")
    query = "SELECT version, state, writer, settler, request, message_id FROM stream_version"
    (left,) = await rows(watched, f"{query} WHERE stream_id = 'done'")
    assert left == (0, "pruned", None, None, None, None)


async def test_an_older_release_prunes_beside_this_one(watched: Backend) -> None:
    """It knows neither the attendant nor the request of a version."""
    async with a_service(watched) as service:
        for _ in range(2):
            async with service.publisher("s", request={"n": 3}, watched=True) as pub:
                await pub.write(FINISH)
        await execute(
            watched,
            "DELETE FROM stream_version WHERE stream_id = 's' AND version = 0;"
            "DELETE FROM stream_chunk WHERE stream_id = 's';"
            "UPDATE stream_version SET state = 'pruned', writer = NULL, settler = NULL "
            "WHERE stream_id = 's'",
        )
        assert "s" not in {info.stream_id for info in await service.unattended()}
        assert not await service.settle("s", 1, asyncio.Event().wait)
        async with service.publisher("s", request={"n": 4}) as pub:
            await pub.write(FINISH)
        await asyncio.sleep(0.01)
        await service.prune(older_than=0.0)
        requests = await rows(watched, "SELECT version FROM stream_request WHERE stream_id = 's'")
    assert requests == []


async def test_an_upgraded_database_looks_like_a_new_one(
    old: Backend, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await asyncio.gather(*(upgraded(old) for _ in range(3)))
    upgraded_shape = await shape_of(old)
    if old.id == "sqlite":
        new = open_backend("sqlite", tmp_path / "new", request)
        (tmp_path / "new").mkdir()
    else:
        tables = ", ".join(metadata.tables)
        await execute(old, f"DROP TABLE {tables}")
        new = old
    await upgraded(new)
    assert await shape_of(new) == upgraded_shape


async def test_a_history_in_a_database_without_its_table_says_so_and_gets_it(
    sql_backend: Backend,
) -> None:
    await upgraded(sql_backend)
    await execute(sql_backend, "DROP TABLE monostream_message")
    async with a_service(sql_backend, create_tables=False) as service:
        async with service.publisher("chat:1") as pub:
            await pub.write(FINISH)
        with pytest.raises(SchemaOutdated):
            await ChatHistory(service).messages("1")
    async with a_service(sql_backend) as service:
        assert await ChatHistory(service).messages("1") == []


async def rows(backend: Backend, query: str) -> list[tuple[Any, ...]]:
    """Return what another program reads."""
    engine = create_async_engine(backend.url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as connection:
        found = [tuple(row) for row in await connection.execute(sqlalchemy.text(query))]
    await engine.dispose()
    return found


async def upgraded(backend: Backend) -> int:
    store = backend.new_store()
    try:
        await store.setup()
        version: int = await store.schema_version()  # type: ignore[attr-defined]  # of both SQL stores
        return version
    finally:
        await store.aclose()


async def test_many_processes_upgrade_at_once(old: Backend) -> None:
    assert await asyncio.gather(*(upgraded(old) for _ in range(8))) == [SCHEMA_VERSION] * 8


async def test_a_new_database_has_the_newest_version(sql_backend: Backend) -> None:
    assert await asyncio.gather(*(upgraded(sql_backend) for _ in range(8))) == [SCHEMA_VERSION] * 8


async def test_tables_without_a_version_table_are_upgraded(
    old: Backend,
) -> None:
    await execute(old, "DROP TABLE monostream_schema")
    assert await upgraded(old) == SCHEMA_VERSION


async def test_a_database_newer_than_the_package_is_refused_and_left_alone(
    sql_backend: Backend,
) -> None:
    await upgraded(sql_backend)
    await execute(sql_backend, "INSERT INTO monostream_schema (version) VALUES (1000)")
    with pytest.raises(SchemaTooNew, match="upgrade monostream-ai") as caught:
        await upgraded(sql_backend)
    assert (caught.value.found, caught.value.known) == (1000, SCHEMA_VERSION)
    async with (
        a_service(sql_backend, create_tables=False) as service,
        service.publisher("s") as pub,
    ):
        await pub.write(FINISH)


async def test_an_older_database_is_a_named_error_where_upgrades_are_off(
    old: Backend, release: int
) -> None:
    async with a_service(old, create_tables=False) as service:
        with pytest.raises(SchemaOutdated, match="monostream-ai migrate") as caught:
            await service.publisher("s").open()
    assert (caught.value.found, caught.value.needed) == (release, SCHEMA_VERSION)


async def test_an_upgrade_that_fails_changes_nothing(old: Backend) -> None:
    await execute(old, "ALTER TABLE stream_version RENAME COLUMN opener TO somebody")
    before = await shape_of(old)
    with pytest.raises(SchemaMismatch, match="opener"):
        await upgraded(old)
    assert await shape_of(old) == before


async def test_an_upgrade_does_not_wait_long_for_a_foreign_transaction(postgres_url: str) -> None:
    dsn = asyncpg_dsn(postgres_url)
    blocker = await asyncpg.connect(dsn)
    await blocker.execute((SCHEMAS / "1.postgresql.sql").read_text())
    store = PostgresStore.from_url(postgres_url)
    async with blocker.transaction():
        await blocker.execute("SELECT * FROM stream_version")
        with pytest.raises(StoreUnavailable, match="a lock was not granted in time"):
            await store.setup()
    await store.setup()
    await store.aclose()
    await blocker.close()


async def test_a_sqlite_upgrade_waits_for_a_writer(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    backend = open_backend("sqlite", tmp_path, request)
    await execute(backend, (SCHEMAS / "1.sqlite.sql").read_text())
    writer = sqlite3.connect(tmp_path / "streams.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    upgrading = asyncio.create_task(upgraded(backend))
    await asyncio.sleep(0)
    writer.execute("COMMIT")
    writer.close()
    assert await upgrading == SCHEMA_VERSION

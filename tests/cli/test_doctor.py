"""`monostream-ai doctor` names each fault and how to repair it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from monostream_ai.diagnosis import diagnose
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.types import Finding
from tests.cli.conftest import Command
from tests.plugins.postgres import asyncpg_dsn
from tests.plugins.redis import RedisServer
from tests.stores.test_pooler import pooled_url  # noqa: F401  (a fixture)


async def findings(
    url: str, *, listen_url: str | None = None, notifier: str | None = None
) -> dict[str, Finding]:
    return {
        each.check: each async for each in diagnose(url, listen_url=listen_url, notifier=notifier)
    }


@pytest.fixture(scope="module", autouse=True)
def a_server_that_waits_for_the_disk(postgres_server: str) -> Iterator[None]:
    # The test server runs without fsync to be fast, and the doctor would rightly warn of that.
    before = asyncio.run(set_fsync(postgres_server, "on"))
    yield
    asyncio.run(set_fsync(postgres_server, before))


async def set_fsync(url: str, value: str) -> str:
    """Set fsync for new connections unless it has this value, and return the value before."""
    before = current = await show_fsync(url)
    if current != value:
        connection = await asyncpg.connect(asyncpg_dsn(url))
        await connection.execute(f"ALTER SYSTEM SET fsync = {value}")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
    async with asyncio.timeout(30):
        while current != value:
            current = await show_fsync(url)
    return before


async def show_fsync(url: str) -> str:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    value: str = await connection.fetchval("SHOW fsync")
    await connection.close()
    return value


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await store.aclose()
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


def test_a_healthy_database_passes(command: Command) -> None:
    assert {each["level"] for each in command.json("doctor")} == {"ok"}
    shown = command("doctor")
    assert shown.exit_code == 0
    assert all(line.startswith("✓") for line in shown.stdout.splitlines())


async def test_every_check_of_postgres_has_a_name(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    found = await findings(postgres_url)
    assert list(found) == [
        "connect",
        "schema",
        "privileges",
        "pooler",
        "durability",
        "locks",
        "transactions",
        "queue",
        "clock",
        "presence",
        "listen",
    ]
    assert {each.level for each in found.values()} == {"ok"}


async def test_missing_tables_fail_with_advice(postgres_url: str) -> None:
    found = await findings(postgres_url)
    assert found["schema"].level == "fail"
    assert "setup()" in found["schema"].found
    assert found["privileges"].found == "the database role may create the tables"


@pytest.mark.parametrize("schema", [None, "not_there"])
async def test_a_role_that_may_not_create_the_tables_is_told_so(
    database: asyncpg.Connection, postgres_url: str, schema: str | None
) -> None:
    await database.execute("DROP TABLE stream_version CASCADE")
    url = make_url(postgres_url)
    role = f"poor_{url.database}"
    await database.execute(f"CREATE ROLE {role} LOGIN")
    poor = url.set(username=role)
    if schema is not None:
        poor = poor.update_query_dict({"schema": schema})
    try:
        found = await findings(poor.render_as_string(hide_password=False))
    finally:
        await database.execute(f"DROP ROLE {role}")
    assert found["privileges"].level == "fail"
    assert "GRANT CREATE ON" in found["privileges"].advice


def test_a_failed_check_is_an_exit_code(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").execute(
        "CREATE TABLE mine (id integer)"
    ).connection.close()
    result = Command(f"sqlite:///{tmp_path / 'empty.db'}")("doctor")
    assert result.exit_code == 1
    assert "✗ schema" in result.stdout


async def test_a_server_that_is_down_ends_the_checks() -> None:
    found = await findings("postgresql://me:hunter2@127.0.0.1:9/db")
    assert [(each.check, each.level) for each in found.values()] == [("connect", "fail")]
    assert "hunter2" not in str(found)


async def test_sessions_that_wait_for_a_lock_are_reported(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    await database.execute("CREATE TABLE contested (id integer)")
    waiter = await asyncpg.connect(asyncpg_dsn(postgres_url))
    async with database.transaction():
        await database.execute("LOCK TABLE contested")
        waiting = asyncio.create_task(waiter.execute("SELECT * FROM contested"))
        async with asyncio.timeout(30):
            while (found := (await findings(postgres_url))["locks"]).level != "warn":
                pass
    await asyncio.gather(waiting, return_exceptions=True)
    await waiter.close()
    assert found.found.startswith("1 sessions wait for a lock")
    assert "pg_blocking_pids" in found.advice


async def test_commits_that_do_not_wait_for_the_disk_are_reported(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert (await findings(postgres_url))["durability"].level == "warn"


async def test_a_pooler_is_reported_and_listen_url_is_the_cure(
    database: asyncpg.Connection,
    pooled_url: str,  # noqa: F811
    postgres_url: str,
) -> None:
    through = await findings(pooled_url)
    assert (through["pooler"].level, through["listen"].level) == ("warn", "warn")
    assert through["presence"].level == "warn"
    assert "when the lease runs out" in through["presence"].found
    assert "listen_url" in through["presence"].advice
    assert "listen_url" in through["pooler"].advice
    cured = await findings(pooled_url, listen_url=postgres_url)
    assert {each.level for each in cured.values()} == {"ok"}


async def test_a_role_that_may_not_lock_is_told_what_it_lacks(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    url = make_url(postgres_url)
    role = f"poor_{url.database}"
    await database.execute(f"CREATE ROLE {role} LOGIN")
    await database.execute("REVOKE SELECT ON pg_locks FROM PUBLIC")
    try:
        found = await findings(url.set(username=role).render_as_string(hide_password=False))
    finally:
        await database.execute(f"DROP ROLE {role}")
    assert found["presence"].level == "warn"
    assert "GRANT SELECT ON pg_locks" in found["presence"].advice
    assert found["schema"] == Finding(
        "schema",
        "fail",
        "the database role may not read what this needs",
        "see the check 'privileges'",
    )
    assert "GRANT SELECT" in found["privileges"].advice


async def test_a_folder_without_locks_is_reported(tmp_path: Path) -> None:
    store_url = f"sqlite:///{tmp_path / 'streams.db'}"
    store = SQLiteStore.from_url(store_url)
    await store.setup()
    await store.aclose()
    assert (await findings(store_url))["presence"].level == "ok"
    (tmp_path / "streams.db-presence").unlink()
    (tmp_path / "streams.db-presence").mkdir()
    found = (await findings(store_url))["presence"]
    assert (found.level, "lease" in found.found) == ("warn", True)


async def test_a_locked_sqlite_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    store_url = f"sqlite:///{path}"
    store = SQLiteStore.from_url(store_url)
    await store.setup()
    await store.aclose()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    found = await findings(store_url)
    holder.execute("ROLLBACK")
    holder.close()
    assert found["lock"].level == "fail"
    assert "holds the database locked" in found["lock"].found


async def test_redis_is_checked_where_it_carries_the_wake_ups(
    database: asyncpg.Connection, postgres_url: str, redis_server: RedisServer
) -> None:
    up = await findings(postgres_url, notifier=redis_server.url)
    assert ("listen" in up, up["redis"].level) == (False, "ok")
    redis_server.kill()
    down = await findings(postgres_url, notifier=redis_server.url)
    assert down["redis"].level == "warn"
    assert "polling" in down["redis"].advice

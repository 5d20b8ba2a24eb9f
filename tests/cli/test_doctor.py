"""`monostream-ai doctor` names each fault and how to repair it."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from monostream_ai.diagnosis import diagnose
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.types import Finding
from tests.cli.conftest import Command
from tests.pages import ROOT
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
        "packages",
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
        "inline",
    ]
    assert {each.level for each in found.values()} == {"ok"}


async def test_a_role_that_keeps_chunks_out_of_wake_ups_is_named(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    name = await database.fetchval("SELECT current_database()")
    role = f"outsider_{secrets.token_hex(4)}"
    await database.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    alone = (await findings(postgres_url))["inline"]
    await database.execute(f"CREATE ROLE {role} LOGIN")
    await database.execute(f"GRANT CONNECT ON DATABASE {name} TO {role}")
    try:
        heard = (await findings(postgres_url))["inline"]
    finally:
        await database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert (alone.level, heard.level) == ("ok", "ok")
    assert "wake-ups carry chunks" in alone.found
    assert f"wake-ups carry no chunks: by them, the role {role!r}" in heard.found
    assert "REVOKE CONNECT" in heard.advice


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
    assert found["privileges"].found == "the database role may not create the tables"
    assert "migrations or 'monostream-ai migrate'" in found["privileges"].advice
    assert "GRANT CREATE ON" in found["privileges"].advice


@pytest.mark.parametrize(
    "statement, level, advice",
    [
        ("DELETE FROM monostream_schema WHERE version = 3", "warn", "monostream-ai migrate"),
        ("ALTER TABLE stream_version DROP COLUMN handovers", "fail", ""),
    ],
)
async def test_migrations_that_are_due_are_named(
    database: asyncpg.Connection, postgres_url: str, statement: str, level: str, advice: str
) -> None:
    await database.execute(statement)
    found = (await findings(postgres_url))["schema"]
    assert (found.level, advice in found.advice) == (level, True)
    assert "migrate" in found.found + found.advice


def packages(path: Path, **versions: str) -> str:
    """Put packages of these versions before all others, as far as their metadata tells."""
    for name, version in versions.items():
        folder = path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    return str(path)


async def test_extras_and_versions_that_are_not_supported_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_url = f"sqlite:///{tmp_path / 'streams.db'}"
    found = (await findings(store_url))["packages"]
    assert (found.level, found.found.startswith("extras: ")) == ("ok", True)
    assert "opentelemetry" in found.found.partition(";")[0]

    monkeypatch.syspath_prepend(packages(tmp_path, openai="1.99.0"))
    found = (await findings(store_url))["packages"]
    assert (found.level, found.found) == ("warn", "not supported: openai 1.99.0")
    assert "monostream-ai-slim[openai]" in found.advice


def test_a_missing_extra_that_is_needed_fails(tmp_path: Path) -> None:
    # An environment of its own, in which nothing is installed but the names of this package.
    home = tmp_path / "monostream_ai_slim-0.dist-info"
    home.mkdir()
    told = metadata.distribution("monostream-ai-slim").read_text("METADATA")
    (home / "METADATA").write_text(told or "")
    program = (
        "import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path]; "
        f"sys.path.append({str(tmp_path)!r}); "
        "from monostream_ai.diagnosis import check_packages; "
        "print(check_packages(needs_redis=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "level='fail'" in done.stdout
    assert "monostream-ai-slim[redis]" in done.stdout


def test_a_failed_check_is_an_exit_code(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").execute(
        "CREATE TABLE mine (id integer)"
    ).connection.close()
    result = Command(f"sqlite:///{tmp_path / 'empty.db'}")("doctor")
    assert result.exit_code == 1
    assert "✗ schema" in result.stdout


async def test_a_server_that_is_down_ends_the_checks() -> None:
    found = await findings("postgresql://me:hunter2@127.0.0.1:9/db")
    assert [(each.check, each.level) for each in found.values()] == [
        ("packages", "ok"),
        ("connect", "fail"),
    ]
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
    assert through["inline"].level == "warn"
    assert "no wake-up arrives" in through["inline"].found
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
    assert "through Redis, inline='auto' sends none" in up["inline"].found
    redis_server.kill()
    down = await findings(postgres_url, notifier=redis_server.url)
    assert down["redis"].level == "warn"
    assert "polling" in down["redis"].advice

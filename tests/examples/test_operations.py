"""The examples for operators, `operated_app.py` and `alembic/`, do as they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import DurableStreamService, create_service
from monostream_ai.stores.sql import PostgresStore, metadata_in
from tests.backends import DURABLE_BACKENDS, Backend, open_backend
from tests.chunks import FINISH, PROTOCOL
from tests.stores.test_migrations import shape_of
from tests.test_bad_storage import execute

EXAMPLES = Path(__file__).parents[2] / "examples"

USERS = """
from sqlalchemy import Column, MetaData, Table, Text

metadata = MetaData()
Table("app_user", metadata, Column("name", Text, primary_key=True))
"""


@pytest.fixture(params=DURABLE_BACKENDS)
def sql_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return open_backend(request.param, tmp_path, request)


def alembic(backend: Backend, *arguments: str, folder: Path = EXAMPLES / "alembic") -> str:
    environment = os.environ | {"DATABASE_URL": backend.url, "PYTHONPATH": str(EXAMPLES.parent)}
    command = [
        sys.executable,
        "-B",
        "-m",
        "alembic",
        "-c",
        str(folder / "alembic.ini"),
        *arguments,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_autogenerate_sees_no_difference_after_the_migration(sql_backend: Backend) -> None:
    alembic(sql_backend, "upgrade", "head")
    assert "No new upgrade operations detected" in alembic(sql_backend, "check")


async def test_the_service_and_alembic_make_the_same_tables(
    sql_backend: Backend, tmp_path: Path
) -> None:
    alembic(sql_backend, "upgrade", "head")
    made_by_alembic = await shape_of(sql_backend)
    await execute(
        sql_backend,
        "DROP TABLE monostream_schema; DROP TABLE stream_chunk; DROP TABLE stream_version;"
        "DROP TABLE stream_request; DROP TABLE monostream_message",
    )
    store = sql_backend.new_store()
    await store.setup()
    await store.aclose()
    assert await shape_of(sql_backend) == made_by_alembic
    assert "No new upgrade operations detected" in alembic(sql_backend, "check")


async def test_tables_that_alembic_made_serve_streams(sql_backend: Backend) -> None:
    alembic(sql_backend, "upgrade", "head")
    async with create_service(sql_backend.url, PROTOCOL, create_tables=False) as service:
        await service.ready()
        async with service.publisher("s") as pub:
            await pub.write(FINISH)
        assert await service.chunks("s") == [FINISH]


async def test_a_history_takes_in_tables_of_yours_and_leaves_those_of_others(
    sql_backend: Backend, tmp_path: Path
) -> None:
    folder = tmp_path / "app" / "alembic"
    shutil.copytree(EXAMPLES / "alembic", folder)
    (folder.parent / "users.py").write_text(USERS)
    environment = folder / "migrations" / "env.py"
    named = environment.read_text().replace("[stream_metadata]", "[metadata, stream_metadata]")
    environment.write_text(f"from users import metadata\n{named}")
    async with create_service(sql_backend.url) as service:
        await service.ready()
    await execute(sql_backend, "CREATE TABLE job (id integer PRIMARY KEY)")

    alembic(sql_backend, "stamp", "0003", folder=folder)
    alembic(sql_backend, "revision", "--autogenerate", "-m", "Add the users", folder=folder)
    alembic(sql_backend, "upgrade", "head", folder=folder)

    assert "No new upgrade operations" in alembic(sql_backend, "check", folder=folder)
    await execute(sql_backend, "INSERT INTO app_user (name) VALUES ('ada')")
    await execute(sql_backend, "INSERT INTO job (id) VALUES (1)")


async def test_the_operated_app_is_ready_until_it_shuts_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'answers.db'}")
    namespace: dict[str, object] = {"__name__": "operated_app"}
    exec(compile((EXAMPLES / "operated_app.py").read_text(), "operated_app.py", "exec"), namespace)
    app, service = namespace["app"], namespace["service"]
    assert isinstance(app, FastAPI)
    assert isinstance(service, DurableStreamService)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        assert (await client.get("/ready")).status_code == 200
        service.begin_shutdown()
        refused = await client.get("/ready")
        assert (refused.status_code, refused.json()) == (503, {"detail": "ServiceClosed"})
        assert (await client.get("/live")).status_code == 200


async def test_alembic_finds_the_tables_of_a_schema_as_they_should_be(postgres_url: str) -> None:
    # Imported here: the quick lane collects this file where Alembic is not installed.
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = PostgresStore.from_url(postgres_url, schema="chat")
    await store.setup()
    await store.aclose()
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"))

    def differences(connection: Any) -> list[Any]:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, parents: kind != "schema" or name == "chat",
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata_in("chat")))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()

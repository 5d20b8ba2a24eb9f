"""Limits of a database role are told by name, and with the statement that lifts them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import make_url

from monostream_ai import create_service
from monostream_ai.errors import MissingPrivilege, SchemaMissing
from monostream_ai.stores.sql import PostgresStore
from tests.chunks import FINISH, PROTOCOL
from tests.cli.conftest import Command
from tests.plugins.postgres import asyncpg_dsn

PASSWORD = "s3cret"


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


@pytest.fixture
async def role(database: asyncpg.Connection) -> AsyncIterator[str]:
    name = f"Limited {secrets.token_hex(4)}"
    await database.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{PASSWORD}'")
    yield name
    await database.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


@pytest.fixture
def url(postgres_url: str, role: str) -> str:
    """The URL of the database for the role."""
    url = make_url(postgres_url).set(username=role, password=PASSWORD)
    return url.render_as_string(hide_password=False)


async def made_by_the_owner(postgres_url: str) -> None:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await store.aclose()


async def grant_tables(database: asyncpg.Connection, role: str) -> None:
    await database.execute(
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"'
    )


@pytest.mark.parametrize("recorded", [True, False], ids=["migrate", "alembic"])
async def test_a_service_needs_no_create_where_the_tables_are_up_to_date(
    database: asyncpg.Connection, postgres_url: str, url: str, role: str, recorded: bool
) -> None:
    await made_by_the_owner(postgres_url)
    if not recorded:
        await database.execute("TRUNCATE monostream_schema")
    await grant_tables(database, role)
    async with create_service(url, PROTOCOL) as service, service.publisher("s") as pub:
        await pub.write(FINISH)
    migrated = await asyncio.to_thread(Command(url), "migrate")
    assert migrated.exit_code == (0 if recorded else 1)
    assert recorded or "run this as their owner" in migrated.stderr


@pytest.mark.parametrize("table", ["stream_version", "stream_request"])
async def test_a_role_that_may_not_make_the_tables_is_sent_to_the_migrations_first(
    database: asyncpg.Connection, postgres_url: str, url: str, role: str, table: str
) -> None:
    await made_by_the_owner(postgres_url)
    await database.execute(f"DROP TABLE {table}")
    await grant_tables(database, role)
    with pytest.raises(MissingPrivilege) as caught:
        async with create_service(url, PROTOCOL):
            pass
    advice, _, grants = str(caught.value).partition("; or ")
    assert "may not create or upgrade the tables: let their owner run your migrations" in advice
    assert "create_tables=False" in advice
    assert grants == f'GRANT CREATE ON SCHEMA public TO "{role}"'


async def test_a_role_that_may_not_make_a_schema_is_told_what_it_lacks(url: str) -> None:
    store = PostgresStore.from_url(url, schema="new")
    with pytest.raises(MissingPrivilege, match="GRANT CREATE ON DATABASE"):
        await store.setup()
    await store.aclose()


async def test_a_missing_privilege_on_a_table_is_named_as_the_grant(
    database: asyncpg.Connection, postgres_url: str, url: str, role: str
) -> None:
    await made_by_the_owner(postgres_url)
    await database.execute(
        f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"; '
        f'GRANT INSERT, UPDATE ON stream_version TO "{role}"'
    )
    async with create_service(url, PROTOCOL) as service:
        await service.ready()
        with pytest.raises(MissingPrivilege) as caught:
            async with service.publisher("s") as pub:
                await pub.write(FINISH)
    message = str(caught.value)
    assert f'GRANT INSERT, DELETE ON public.stream_chunk TO "{role}"' in message
    assert "[SQL" not in message
    assert "INSERT INTO" not in message
    assert caught.value.__cause__ is None or "[SQL" not in str(caught.value.__cause__)


async def test_a_role_without_create_learns_that_tables_are_missing(url: str) -> None:
    async with create_service(url, PROTOCOL, create_tables=False) as service:
        with pytest.raises(SchemaMissing):
            await service.ready()

"""A database that does not tell of failovers works all the same; tests/failover has real ones."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from monostream_ai import create_service
from monostream_ai.stores.sql import PostgresStore
from tests.chunks import FINISH, PROTOCOL, text
from tests.plugins.postgres import asyncpg_dsn


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await store.aclose()
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


@pytest.fixture
async def role(database: asyncpg.Connection) -> AsyncIterator[str]:
    """A role that may use all tables but that of the timelines."""
    name = f"role_{secrets.token_hex(8)}"
    await database.execute(f"CREATE ROLE {name}")
    await database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    await database.execute(f"REVOKE ALL ON monostream_timeline FROM {name}")
    yield name
    await database.execute(f"DROP OWNED BY {name}")
    await database.execute(f"DROP ROLE {name}")


async def answered(url: str) -> None:
    service = create_service(url, PROTOCOL, create_tables=False)
    async with service, service.publisher("s") as pub:
        await pub.write(text(0))
    async with create_service(url, PROTOCOL, create_tables=False) as service:
        assert await service.chunks("s") == [text(0), FINISH]


async def test_a_role_that_may_not_note_a_timeline_writes_and_reads(
    database: asyncpg.Connection, postgres_url: str, role: str
) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET role = {role}")
    await answered(postgres_url)


async def test_a_database_without_the_table_of_timelines_is_written_and_read(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    await database.execute("DROP TABLE monostream_timeline")
    await answered(postgres_url)

"""An application lends its engine to `create_service`, and keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, inspect, select
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import create_service
from monostream_ai.errors import InvalidArgument, InvalidEngine, InvalidSchema, InvalidURL
from monostream_ai.stores.sql.schema import stream_chunk
from tests.chunks import PROTOCOL, text


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/app.db"
    return str(request.getfixturevalue("postgres_url"))


async def test_a_service_borrows_an_engine(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with create_service(engine, PROTOCOL, poll_interval=600.0) as reading:
        async with create_service(database_url, PROTOCOL) as writing:
            reader = reading.subscribe("s")
            async with writing.publisher("s") as pub:
                await pub.write(text("a"))
                # No poll brings it for ten minutes, so the notifier of the engine does.
                async with asyncio.timeout(10.0):
                    assert await anext(reader) == text("a")
            await reader.aclose()

    async with engine.connect() as connection:
        count = await connection.execute(select(func.count()).select_from(stream_chunk))
        assert count.scalar() == 2
    await engine.dispose()


async def test_a_service_with_an_engine_has_its_tables_in_a_schema(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)
    choices: list[Any] = [{}, {"listen_url": postgres_url}]
    for options in choices:
        async with create_service(engine, PROTOCOL, schema="chats", **options) as service:
            async with service.publisher("s", version="next") as pub:
                await pub.write(text("a"))
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names("chats"))
    assert "stream_chunk" in tables
    await engine.dispose()


def test_what_is_neither_a_url_nor_an_engine_that_works_is_refused_by_name() -> None:
    untyped: Any = create_service
    sqlite = create_async_engine("sqlite+aiosqlite:///x.db")
    postgres = "postgresql+psycopg://me@localhost/db"
    with pytest.raises(InvalidURL, match="async engine of SQLAlchemy, not int"):
        untyped(7)
    with pytest.raises(InvalidEngine, match="an object of Engine"):
        untyped(sqlite.sync_engine)
    with pytest.raises(InvalidEngine, match="an object of Engine"):
        untyped(create_engine(postgres))
    with pytest.raises(InvalidEngine, match=r"an engine of postgresql\+psycopg"):
        create_service(create_async_engine(postgres))
    with pytest.raises(InvalidEngine, match="a database in memory"):
        create_service(create_async_engine("sqlite+aiosqlite://"))
    with pytest.raises(InvalidSchema, match="only Postgres"):
        create_service(sqlite, schema="chats")
    with pytest.raises(InvalidArgument, match="pooler is for a URL"):
        create_service(sqlite, pooler=True)

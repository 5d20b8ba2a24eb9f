"""The environment that Alembic runs, on the database that `DATABASE_URL` names."""

import asyncio
import os
from collections.abc import Mapping
from typing import Final

from alembic import context
from sqlalchemy import Connection, MetaData, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai.stores.sql import metadata as stream_metadata

target_metadata: list[MetaData] = [stream_metadata]
"""Add the metadata of your own tables: `from users import Base`, and `Base.metadata` here."""

DRIVERS: Final = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}


def is_ours(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Tell whether a table is in `target_metadata`.

    Autogenerate would drop all others, such as those of a queue. So it does not drop one either
    that you have taken out of your metadata: write that step yourself.
    """
    if kind != "table":
        return True
    table = parents["schema_qualified_table_name"]
    return any(table in metadata.tables for metadata in target_metadata)


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        include_name=is_ours,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    url = make_url(os.environ["DATABASE_URL"])
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())

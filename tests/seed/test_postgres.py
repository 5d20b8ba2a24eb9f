"""The Postgres example of the TypeScript package's README: an engine of one's own, and
LISTEN/NOTIFY between processes.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from tests.chunks import Chunk

FINISH: Chunk = {"type": "finish"}
HELLO: Chunk = {"type": "text-delta", "delta": "Hello"}


async def test_an_engine_of_ones_own_is_borrowed(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)
    store, notifier = PostgresStore(engine), PostgresNotifier(engine)
    await store.setup()
    protocol = JSONProtocol[Chunk](lambda chunk: chunk["type"] in ("finish", "error"))
    async with DurableStreamService(store, notifier, protocol) as service:
        async with service.publisher("my-stream") as pub:
            await pub.write(HELLO, FINISH)
        assert [chunk async for chunk in service.subscribe("my-stream")] == [HELLO, FINISH]
    async with engine.connect() as connection:
        assert not connection.closed
    await engine.dispose()


async def test_the_table_is_exported_for_migrations() -> None:
    from monostream_ai.stores.sql import metadata

    assert {"stream_chunk", "stream_version"} <= set(metadata.tables)
    assert list(metadata.tables["stream_chunk"].primary_key.columns.keys()) == [
        "stream_id",
        "version",
        "id",
    ]

"""The design of the stand-in in Python: `python designs/naive.py asyncpg|sqlalchemy|inside
publish|read <load>`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.pacing import Chunk, Latencies, Load, publish_awaiting, told

INSERT = """
INSERT INTO stream_chunk (stream_id, version, id, chunk) VALUES ({}, 0, {}, {})
ON CONFLICT (stream_id, version, id) DO UPDATE SET chunk = excluded.chunk
"""
SELECT = "SELECT id, CAST(chunk AS text) FROM stream_chunk WHERE stream_id = {} AND version = 0 AND id >= {} ORDER BY version, id"
NOTIFY = "SELECT pg_notify('naive', {})"


class Asyncpg:
    """The driver alone, with its pool of ten connections."""

    def __init__(self, url: str) -> None:
        self._pool = asyncpg.create_pool(url, min_size=10, max_size=10)

    async def connect(self) -> None:
        await self._pool

    async def close(self) -> None:
        self._pool.terminate()

    async def insert(self, id: str, number: int, payload: str) -> None:
        await self._pool.execute(INSERT.format("$1", "$2", "$3"), id, number, payload)

    async def notify(self, id: str) -> None:
        await self._pool.execute(NOTIFY.format("$1"), id)

    async def select(self, id: str, first: int) -> Any:
        return await self._pool.fetch(SELECT.format("$1", "$2"), id, first)


class Inside(Asyncpg):
    """Notifies inside the transaction that stores the chunk."""

    async def insert(self, id: str, number: int, payload: str) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(INSERT.format("$1", "$2", "$3"), id, number, payload)
            await connection.execute(NOTIFY.format("$1"), id)

    async def notify(self, id: str) -> None:
        pass


class SQLAlchemy:
    """As one would write it with an engine: a transaction for each statement."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=10, max_overflow=0
        )

    async def connect(self) -> None:
        pass

    async def close(self) -> None:
        await self._engine.dispose()

    async def insert(self, id: str, number: int, payload: str) -> None:
        statement = text(INSERT.format(":id", ":number", "CAST(:payload AS jsonb)"))
        async with self._engine.begin() as connection:
            await connection.execute(statement, {"id": id, "number": number, "payload": payload})

    async def notify(self, id: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(NOTIFY.format(":id")), {"id": id})

    async def select(self, id: str, first: int) -> Any:
        async with self._engine.connect() as connection:
            return (
                await connection.execute(
                    text(SELECT.format(":id", ":first")), {"id": id, "first": first}
                )
            ).all()


async def publish(load: Load, store: Asyncpg | SQLAlchemy) -> None:
    sending: set[asyncio.Task[None]] = set()

    async def write(id: str, number: int, chunk: Chunk) -> None:
        await store.insert(id, number, json.dumps(chunk))
        task = asyncio.create_task(store.notify(id))
        sending.add(task)
        task.add_done_callback(sending.discard)

    await publish_awaiting(load, write)


class Reader:
    """Reads a stream after each notification; one that comes during a read asks for one more."""

    def __init__(self, load: Load, store: Asyncpg | SQLAlchemy, latencies: Latencies) -> None:
        self._store = store
        self._latencies = latencies
        self._nexts = dict.fromkeys(load.streams, 0)
        self._dirty: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def wake(self, connection: object, pid: int, channel: str, id: str) -> None:
        if id in self._nexts:
            self._dirty.add(id)
            if id not in self._tasks:
                self._tasks[id] = asyncio.create_task(self._refresh(id))

    async def _refresh(self, id: str) -> None:
        while id in self._dirty:
            self._dirty.discard(id)
            for number, payload in await self._store.select(id, self._nexts[id]):
                self._nexts[id] = number + 1
                self._latencies.take(json.loads(payload))
        del self._tasks[id]


async def read(load: Load, store: Asyncpg | SQLAlchemy) -> None:
    latencies = Latencies()
    connection = await asyncpg.connect(load.url)
    await connection.add_listener("naive", Reader(load, store, latencies).wake)
    await told("ready")
    latencies.report()


async def main(kind: str, role: str, options: str) -> None:
    load = Load(**json.loads(options))
    store = {"asyncpg": Asyncpg, "inside": Inside, "sqlalchemy": SQLAlchemy}[kind](load.url)
    await store.connect()
    await (publish(load, store) if role == "publish" else read(load, store))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""PyPI's assistant-stream 0.0.36: a Redis stream that readers poll."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from assistant_stream.resumable import (
    RedisResumableStreamStore,
    create_redis_resumable_stream_store,
    create_resumable_stream_context,
)
from redis.asyncio import Redis

from benchmarks.pacing import Chunk


class StoreWriter:
    def __init__(self, store: RedisResumableStreamStore, id: str) -> None:
        self._store = store
        self._id = id

    async def write(self, chunk: Chunk) -> None:
        await self._store.append(self._id, json.dumps(chunk).encode())

    async def end(self) -> None:
        await self._store.finalize(self._id, "done")


class AssistantStream:
    """Writes as the package's own producer does: append after append, then finalize."""

    def __init__(self, url: str) -> None:
        self._store = create_redis_resumable_stream_store(Redis.from_url(url))
        self._context = create_resumable_stream_context(store=self._store)

    async def open(self, id: str) -> StoreWriter:
        if await self._store.acquire(id) != "producer":
            raise RuntimeError(f"{id} has a producer")
        return StoreWriter(self._store, id)

    async def join(self, id: str) -> AsyncIterator[Chunk]:
        entries = await self._context.resume(id)
        if entries is None:
            return
        async for entry in entries:
            yield json.loads(entry)

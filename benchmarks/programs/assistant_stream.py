"""PyPI's assistant-stream 0.0.36: a Redis stream that readers poll."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

from assistant_stream.resumable import (
    create_redis_resumable_stream_store,
    create_resumable_stream_context,
)
from redis.asyncio import Redis

from benchmarks.pacing import Chunk


class AssistantStream:
    """Writes as the package's own producer does: append after append, then finalize."""

    def __init__(self, url: str) -> None:
        self._store = create_redis_resumable_stream_store(Redis.from_url(url))
        self._context = create_resumable_stream_context(store=self._store)

    async def open(self, id: str) -> SimpleNamespace:
        if await self._store.acquire(id) != "producer":
            raise RuntimeError(f"{id} has a producer")
        return SimpleNamespace(
            write=lambda chunk: self._store.append(id, json.dumps(chunk).encode()),
            close=lambda: self._store.finalize(id, "done"),
        )

    async def join(self, id: str) -> AsyncIterator[Chunk]:
        entries = await self._context.resume(id)
        if entries is None:
            return
        async for entry in entries:
            yield json.loads(entry)

"""PyPI's resumable-stream 0.2: Redis passes on chunks that only the producer's process keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from resumable_stream import RedisPublisher, RedisSubscriber, create_resumable_stream_context

from benchmarks.pacing import Chunk


class Source:
    """A model that yields the next line once the package has passed on the one before."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[tuple[str, asyncio.Future[None]] | None] = asyncio.Queue()

    async def write(self, chunk: Chunk) -> None:
        passed_on = asyncio.get_running_loop().create_future()
        self._lines.put_nowait((json.dumps(chunk) + "\n", passed_on))
        await passed_on

    async def close(self) -> None:
        self._lines.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._lines.get()) is not None:
            yield line[0]
            # The package asks again when it has published the line to each reader.
            line[1].set_result(None)


class ResumableStream:
    def __init__(self, publisher: RedisPublisher, subscriber: RedisSubscriber) -> None:
        self._context = create_resumable_stream_context(publisher=publisher, subscriber=subscriber)
        self._responses: list[asyncio.Task[None]] = []

    @classmethod
    async def connected(cls, url: str) -> ResumableStream:
        # Its redis_url argument raises TypeError in 0.2.0.
        publisher, subscriber = RedisPublisher(url), RedisSubscriber(url)
        await publisher.connect()
        await subscriber.connect()
        return cls(publisher, subscriber)

    async def open(self, id: str) -> Source:
        source = Source()
        lines = await self._context.create_new_resumable_stream(id, lambda: aiter(source))

        async def respond() -> None:
            # Stands for the response to the request that began the stream.
            async for _ in lines:
                pass

        self._responses.append(asyncio.create_task(respond()))
        return source

    async def join(self, id: str) -> AsyncIterator[Chunk]:
        texts = await self._context.resume_existing_stream(id)
        if texts is None or texts == "NOT_FOUND":
            return
        async for text in texts:
            # The chunks before the join come as one text.
            for line in text.splitlines():
                yield json.loads(line)

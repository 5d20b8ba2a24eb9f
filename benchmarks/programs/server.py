"""A server of event streams: `python -m benchmarks.programs.server URL PORT STACK`.

`/ours/{id}` is this package's response, `/chat/{id}/stream` its merged replay. `/pages/{id}`,
`/live/{id}` and `/silent/{id}` are written by hand. `/speak/{id}` adds chunks to `/ours/{id}` and
to `/live`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from benchmarks.pacing import Chunk, allow_many_files, chunk_now
from monostream_ai import Publisher, create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router, stream_response
from monostream_ai.ui_messages import KEEP_ALIVE, KEEP_ALIVE_INTERVAL

FIRST_CHUNKS = 102
"""Chunks that `/open` writes before anybody reads."""

PAGE = 1000
OPEN = b": stream-open\n\n"
SETTLE = 0.3
SELECT = """
SELECT id, CAST(chunk AS text) FROM stream_chunk
 WHERE stream_id = $1 AND version = 0 AND id >= $2 ORDER BY id LIMIT $3
"""


class Live:
    """Prepared frames for any number of responses."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._said = asyncio.Event()

    def say(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._said.set()
        self._said = asyncio.Event()

    async def frames(self) -> AsyncIterator[bytes]:
        yield OPEN
        place = len(self._frames)
        while True:
            while place < len(self._frames):
                yield self._frames[place]
                place += 1
            await self._said.wait()


async def silence() -> AsyncIterator[bytes]:
    yield OPEN
    while True:
        await asyncio.sleep(KEEP_ALIVE_INTERVAL)
        yield KEEP_ALIVE.encode()


async def pages(pool: asyncpg.Pool, id: str) -> AsyncIterator[str]:
    next_id = 0
    while rows := await pool.fetch(SELECT, id, next_id, PAGE):
        next_id = rows[-1][0] + 1
        yield "".join([f"data: {text}\n\n" for _, text in rows])


def make_app(url: str) -> FastAPI:
    service, live = create_service(url), Live()
    pubs: dict[str, Publisher[Chunk]] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service, asyncpg.create_pool(url, min_size=1, max_size=4) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/ours/{id}")
    async def ours(id: str) -> Response:
        return await stream_response(service, id, version=0)

    @app.get("/{way}/{id}")
    async def by_hand(way: str, id: str) -> Response:
        ways = {"pages": lambda: pages(app.state.pool, id), "live": live.frames, "silent": silence}
        return StreamingResponse(ways[way](), media_type="text/event-stream")

    async def reply(turn: ChatTurn) -> None:
        """Write nothing: chats are only replayed."""

    app.include_router(create_chat_router(service, reply, replay_window=86_400.0), prefix="/chat")

    @app.post("/open/{id}")
    async def open_version(id: str) -> None:
        pubs[id] = await service.publisher(id, 0).open()
        start = [{"type": "start"}, {"type": "text-start", "id": "t1"}]
        await pubs[id].write(*start, *[chunk_now()] * (FIRST_CHUNKS - len(start)))

    @app.post("/speak/{id}")
    async def speak(id: str, seconds: float, interval: float) -> None:
        begun = time.monotonic()
        for number in range(round(seconds / interval)):
            await asyncio.sleep(begun + number * interval - time.monotonic())
            chunk = chunk_now()
            live.say(f"data: {json.dumps(chunk)}\n\n".encode())
            pubs[id].push(chunk)
        await asyncio.sleep(SETTLE)

    return app


def main(url: str, port: str, stack: str) -> None:
    allow_many_files()
    http, loop = ("httptools", "uvloop") if stack == "fast" else ("h11", "asyncio")
    uvicorn.run(make_app(url), port=int(port), log_level="critical", http=http, loop=loop)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A server of event streams in one uvicorn worker: `python designs/serving.py '{"url": …, "port":
…}'`.

`/ours/{id}` is this package's response, and `/chat/{id}/stream` its merged replay; `/pages/{id}`,
`/rows/{id}`, `/live` and `/silent` are what one would write by hand. `/speak` lets both sources of
live chunks speak.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from benchmarks.pacing import Chunk, allow_many_files, chunk_now
from benchmarks.serving import SAID_BEFORE
from monostream_ai import Publisher, create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router, stream_response
from monostream_ai.ui_messages import KEEP_ALIVE, KEEP_ALIVE_INTERVAL, UIMessageProtocol

PAGE = 1000
OPEN = b": stream-open\n\n"
SETTLE = 0.3
SELECT = "SELECT id, CAST(chunk AS text) FROM stream_chunk WHERE stream_id = $1 AND version = 0 AND id >= $2 ORDER BY id LIMIT $3"


class Live:
    """One source of prepared frames for any number of responses."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []

    def say(self, frame: bytes) -> None:
        self._frames.append(frame)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def frames(self) -> AsyncIterator[bytes]:
        yield OPEN
        place = len(self._frames)
        while True:
            while place < len(self._frames):
                yield self._frames[place]
                place += 1
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter


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


async def rows(pool: asyncpg.Pool, id: str) -> AsyncIterator[str]:
    async for page in pages(pool, id):
        for frame in page.split("\n\n")[:-1]:
            yield f"data: {json.dumps(json.loads(frame[6:]))}\n\n"


def make_app(url: str) -> FastAPI:
    service, live = create_service(url, UIMessageProtocol()), Live()
    pubs: dict[str, Publisher[Chunk]] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service, asyncpg.create_pool(url, min_size=1, max_size=4) as pool:
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/ours/{id}")
    async def ours(id: str) -> Response:
        return await stream_response(service, id, version=0)

    @app.get("/pages/{id}")
    async def by_pages(id: str) -> Response:
        return StreamingResponse(pages(app.state.pool, id), media_type="text/event-stream")

    @app.get("/rows/{id}")
    async def by_rows(id: str) -> Response:
        return StreamingResponse(rows(app.state.pool, id), media_type="text/event-stream")

    @app.get("/live")
    async def by_hand() -> Response:
        return StreamingResponse(live.frames(), media_type="text/event-stream")

    @app.get("/silent")
    async def parked_by_hand() -> Response:
        return StreamingResponse(silence(), media_type="text/event-stream")

    async def reply(turn: ChatTurn) -> None:
        """Say nothing: chats are only read again."""

    app.include_router(create_chat_router(service, reply, replay_window=math.inf), prefix="/chat")

    @app.post("/open/{id}")
    async def open_version(id: str) -> None:
        pubs[id] = await service.publisher(id, 0).open()
        await pubs[id].write(
            {"type": "start"}, {"type": "text-start", "id": "t1"}, *[chunk_now()] * SAID_BEFORE
        )

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


def main(url: str, port: int, stack: str) -> None:
    allow_many_files()
    fast = stack == "fast"
    config: dict[str, Any] = {
        "http": "httptools" if fast else "h11",
        "loop": "uvloop" if fast else "asyncio",
    }
    uvicorn.run(
        make_app(url),
        host="127.0.0.1",
        port=port,
        log_level="critical",
        timeout_graceful_shutdown=1,
        **config,
    )


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

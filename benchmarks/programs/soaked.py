"""The chat of `benchmarks/soak.py`.

python -m benchmarks.programs.soaked serve URL PORT HOW
python -m benchmarks.programs.soaked work URL

With `HOW` `here`, a server writes its answers itself; with `queue`, workers of procrastinate do.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import procrastinate
import uvicorn
from fastapi import FastAPI

from monostream_ai import create_service
from monostream_ai.fastapi import (
    ChatReplies,
    ChatTurn,
    FinishedTurn,
    create_chat_router,
    run_turn,
)
from monostream_ai.ui_messages import UIMessage

LEASE = 3.0
SWEEP, DISPATCH_TIMEOUT = 2 * LEASE, 5.0


def queue_at(url: str) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=2)
    return procrastinate.App(connector=connector)


async def make_queue(url: str) -> None:
    """Create the tables of the queue."""
    async with (queue := queue_at(url)).open_async():
        await queue.schema_manager.apply_schema_async()


async def reply(turn: ChatTurn) -> None:
    """Write the words of the request at its pace; each ends with the time of its writing."""
    written = [chunk["type"] for chunk in turn.written.chunks]
    if "text-start" not in written:
        await turn.pub.write({"type": "text-start", "id": "t"})
    for number in range(len(turn.written.text.split()), turn.body["words"]):
        await asyncio.sleep(turn.body["pause"])
        word = f"{number}@{time.monotonic():.6f} "
        turn.pub.push({"type": "text-delta", "id": "t", "delta": word})
    if "text-end" not in written:
        await turn.pub.write({"type": "text-end", "id": "t"})


class Chat:
    """The parts that servers and workers share; workers write `queued` answers, and go on there."""

    def __init__(self, url: str, *, queued: bool) -> None:
        self.service = create_service(url, lease=LEASE)
        self._queued = queued
        self.queue = queue_at(url)
        self._answer = self.queue.task(name="answer")(self._run)
        self.replies = ChatReplies(
            reply,
            on_lost="continue" if queued else "retry",
            max_attempts=20,
            on_finish=self._note,
        )
        self._url = url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self.service, asyncpg.create_pool(self._url, min_size=1, max_size=1) as self._db:
            if not self._queued:
                yield
                return
            async with self.queue.open_async():
                yield

    def app(self) -> FastAPI:
        """Return the application; its `/measures` tells what its process holds."""

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with self.opened():
                yield

        async def dispatch(turn: str) -> None:
            await self._answer.defer_async(turn=turn)

        app = FastAPI(lifespan=lifespan)
        elsewhere: dict[str, Any] = (
            {"dispatch": dispatch, "dispatch_timeout": DISPATCH_TIMEOUT} if self._queued else {}
        )
        router = create_chat_router(self.service, self.replies, sweep_interval=SWEEP, **elsewhere)
        app.include_router(router, prefix="/api/chat")

        # A coroutine, so that it runs on the event loop whose tasks it counts.
        @app.get("/measures")
        async def measures() -> dict[str, Any]:
            # Memory that Python and the allocator keep for later does not count.
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            now = self.service.statistics()
            return {
                "memory": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
                "tasks": len(asyncio.all_tasks()),
                "writing": now.open_versions,
                "reading": now.readers,
            }

        return app

    async def work(self) -> None:
        async with self.opened():
            print("ready", flush=True)
            await self.queue.run_worker_async(
                concurrency=20,
                delete_jobs="always",
                fetch_job_polling_interval=1.0,
                shutdown_graceful_timeout=2.0,
            )

    async def _run(self, turn: str) -> None:
        await run_turn(self.service, turn, self.replies)

    async def _note(self, message: UIMessage, turn: FinishedTurn) -> None:
        await self._db.execute(
            "INSERT INTO handed_over VALUES ($1, $2)", turn.chat_id, turn.version
        )


def main(role: str, url: str, port: str = "", how: str = "queue") -> None:
    # Kills make errors in the background, each of them a line.
    logging.disable(logging.CRITICAL)
    chat = Chat(url, queued=how == "queue")
    if role == "work":
        asyncio.run(chat.work())
    else:
        uvicorn.run(chat.app(), port=int(port), timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main(*sys.argv[1:])

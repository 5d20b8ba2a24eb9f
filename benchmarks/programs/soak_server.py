"""A chat application, one of two processes: `python -m benchmarks.programs.soak_server '{"url": …,
"port": …, "lease": …}'`. `/measures` tells what the process holds at that moment.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, FinishedTurn, create_chat_router
from monostream_ai.observing import Activity, Measure
from monostream_ai.ui_messages import UIMessage

HANDED_OVER = "CREATE TABLE handed_over (chat_id text, version bigint)"
"""A row for each call of `on_finish`."""


class Watch:
    """Observer that only keeps the way to ask what the service is doing."""

    activity: Callable[[], Activity]

    def observe(self, measure: Measure, value: float) -> None: ...

    def watch(self, activity: Callable[[], Activity]) -> None:
        self.activity = activity


async def reply(turn: ChatTurn) -> None:
    """Write the words of the request at its pace; each ends with the time of its writing."""
    await turn.pub.write(
        {"type": "data-writer", "data": os.getpid()}, {"type": "text-start", "id": "t"}
    )
    for number in range(turn.body["words"]):
        await asyncio.sleep(turn.body["pause"])
        word = f"{number}@{time.monotonic():.6f} "
        turn.pub.push({"type": "text-delta", "id": "t", "delta": word})
    await turn.pub.write({"type": "text-end", "id": "t"})


def make_app(url: str, lease: float) -> FastAPI:
    watch = Watch()
    service = create_service(url, lease=lease, observer=watch)

    async def keep(message: UIMessage, turn: FinishedTurn) -> None:
        row = (turn.chat_id, turn.version)
        await app.state.pool.execute("INSERT INTO handed_over VALUES ($1, $2)", *row)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service, asyncpg.create_pool(url, min_size=1, max_size=1) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan)
    router = create_chat_router(
        service, reply, on_lost="retry", max_attempts=20, on_finish=keep, sweep_interval=2 * lease
    )
    app.include_router(router, prefix="/api/chat")

    # A coroutine, so that it runs on the event loop whose tasks it counts.
    @app.get("/measures")
    async def measures() -> dict[str, Any]:
        activity, pages = watch.activity(), Path("/proc/self/statm").read_text().split()[1]
        return {
            "memory": int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "objects": len(gc.get_objects()),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "files": len(os.listdir("/proc/self/fd")),
            "writing": activity.open_versions,
            "reading": activity.readers,
            "streams read": activity.streams_read,
        }

    return app


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    # Kills make errors in the background, each of them a line.
    logging.disable(logging.CRITICAL)
    app = make_app(options["url"], options["lease"])
    uvicorn.run(app, port=options["port"], log_level="critical", timeout_graceful_shutdown=5)

"""A chat application as one of two processes runs it: `python soaking/server.py '{"url": …, "port":
…, "lease": …}'`.

Beside the chat there is `/measures`, which says what the process has at that moment.
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

sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg
import uvicorn
from fastapi import FastAPI

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, FinishedTurn, create_chat_router
from monostream_ai.observing import Activity, Measure
from monostream_ai.ui_messages import UIMessage

HANDED_OVER = "CREATE TABLE handed_over (chat_id text, version bigint, ending text, words text)"
"""Where the processes keep what they are given at the end of a turn."""

PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Knows what a service is doing."""

    activity: Callable[[], Activity]

    def observe(self, measure: Measure, value: float) -> None:
        """Do nothing: what is measured here is what stays."""

    def watch(self, activity: Callable[[], Activity]) -> None:
        self.activity = activity

    def measures(self) -> dict[str, Any]:
        activity = self.activity()
        return {
            "memory": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6,
            "objects": len(gc.get_objects()),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "files": len(os.listdir("/proc/self/fd")),
            "cpu": time.process_time(),
            "writing": activity.open_versions,
            "reading": activity.readers,
            "streams read": activity.streams_read,
            "rescues": activity.rescues,
            "errors": sum(activity.errors.values()),
        }


def word(number: int) -> str:
    """A word that carries the time at which it was written, by the clock that all processes of a
    machine share.
    """
    return f"{number}@{time.monotonic():.6f} "


async def reply(turn: ChatTurn) -> None:
    """Say as many words as the request wants, at its pace, and before that who speaks."""
    await turn.pub.write(
        {"type": "data-writer", "data": os.getpid()}, {"type": "text-start", "id": "t"}
    )
    for number in range(turn.body["words"]):
        await asyncio.sleep(turn.body["pause"])
        turn.pub.push({"type": "text-delta", "id": "t", "delta": word(number)})
    await turn.pub.write({"type": "text-end", "id": "t"})


def make_app(url: str, lease: float) -> FastAPI:
    watch = Watch()
    service = create_service(url, lease=lease, observer=watch)

    async def keep(message: UIMessage, turn: FinishedTurn) -> None:
        words = "".join(part["text"] for part in message["parts"] if part["type"] == "text")
        row = (turn.chat_id, turn.version, turn.ending, words)
        await app.state.pool.execute("INSERT INTO handed_over VALUES ($1, $2, $3, $4)", *row)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        own = {"application_name": "soak application"}
        async with (
            service,
            asyncpg.create_pool(url, min_size=1, max_size=1, server_settings=own) as app.state.pool,
        ):
            yield

    app = FastAPI(lifespan=lifespan)
    router = create_chat_router(
        service, reply, on_lost="retry", max_attempts=20, on_finish=keep, sweep_interval=2 * lease
    )
    app.include_router(router, prefix="/api/chat")

    @app.get("/measures")
    async def measures() -> dict[str, Any]:
        return watch.measures()

    return app


def main(url: str, port: int, lease: float) -> None:
    # Errors in the background are counted; each would be a line.
    logging.disable(logging.CRITICAL)
    uvicorn.run(
        make_app(url, lease),
        port=port,
        log_level="critical",
        ws="none",
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

"""A chat whose answers workers of procrastinate write, with the short times of a test.

python -m uvicorn --factory tests.workers.killed_app:create_app
python -m tests.workers.killed_app
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import procrastinate
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

ANSWER: Final = "".join(f"{number} " for number in range(40))

TABLES: Final = """
CREATE TABLE ran (chat_id text, version int, attempt int);
CREATE TABLE finished (chat_id text, version int, ending text);
CREATE TABLE died (chat_id text PRIMARY KEY)
"""
"""Where the processes note each run of a reply and each call of `on_finish`, and each chat in which
one has killed itself.
"""

PLACES: Final = {
    "left": "server",
    "dispatched": "server",
    "fetched": "worker",
    "claimed": "worker",
}
"""Places at which a process kills itself, once for each chat with that word as its id."""


class Chat:
    def __init__(self, database: str) -> None:
        self.service = create_service(database, lease=3.0, poll_interval=1.0)
        self.queue = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=database, min_size=1, max_size=3)
        )
        self.answer = self.queue.task(name="answer")(self._answer)
        self.replies = ChatReplies(
            self._reply, on_finish=self._note, on_lost="continue", max_attempts=50
        )
        self._database = database

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with (
            self.service,
            self.queue.open_async(),
            asyncpg.create_pool(self._database, min_size=1, max_size=2) as self._pool,
        ):
            yield

    def app(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with self.opened():
                yield

        async def dispatch(turn: str) -> None:
            await self._die_at("left", turn)
            await self.answer.defer_async(turn=turn)
            await self._die_at("dispatched", turn)

        app = FastAPI(lifespan=lifespan)
        router = create_chat_router(
            self.service,
            self.replies,
            dispatch=dispatch,
            dispatch_timeout=2.0,
            sweep_interval=0.5,
            drain_timeout=1.0,
        )
        app.include_router(router, prefix="/api/chat")
        return app

    async def work(self) -> None:
        async with self.opened():
            await self.queue.run_worker_async(
                concurrency=5, delete_jobs="always", fetch_job_polling_interval=0.5
            )

    async def _answer(self, turn: str) -> None:
        await self._die_at("fetched", turn)
        await run_turn(self.service, turn, self.replies)

    async def _reply(self, turn: ChatTurn) -> None:
        await self._insert("ran", turn.chat_id, turn.version, turn.attempt)
        await self._die_at("claimed", turn.stream_id)
        written = [chunk["type"] for chunk in turn.written.chunks]
        if "text-start" not in written:
            await turn.pub.write({"type": "text-start", "id": "t"})
        for word in ANSWER[len(turn.written.text) :].split():
            await turn.pub.write({"type": "text-delta", "id": "t", "delta": f"{word} "})
            await asyncio.sleep(0.01)
        if "text-end" not in written:
            await turn.pub.write({"type": "text-end", "id": "t"})

    async def _note(self, message: UIMessage, turn: FinishedTurn) -> None:
        await self._insert("finished", turn.chat_id, turn.version, turn.ending)

    async def _die_at(self, place: str, turn: str) -> None:
        if place in turn:
            note = "INSERT INTO died VALUES ($1) ON CONFLICT DO NOTHING RETURNING true"
            if await self._pool.fetchval(note, place):
                os.kill(os.getpid(), signal.SIGKILL)

    async def _insert(self, table: str, *values: Any) -> None:
        await self._pool.execute(f"INSERT INTO {table} VALUES ($1, $2, $3)", *values)


def create_app() -> FastAPI:
    return Chat(os.environ["DATABASE_URL"]).app()


if __name__ == "__main__":
    asyncio.run(Chat(os.environ["DATABASE_URL"]).work())

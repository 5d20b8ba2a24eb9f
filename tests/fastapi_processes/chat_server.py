"""A chat application on a database, for several server processes.

    python -m uvicorn --factory tests.fastapi_processes.chat_server:create_app

Its settings are JSON in the environment variable `CHAT_SETTINGS`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import asyncpg
import uvicorn
from fastapi import Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, FinishedTurn
from monostream_ai.ui_messages import UIMessage
from tests.frameworks import application

VARIABLE: Final = "CHAT_SETTINGS"

HANDED_OVER: Final = (
    "CREATE TABLE handed_over "
    "(number serial, chat_id text, version int, ending text, message json, pid int)"
)
"""The table in which processes record each call of `on_finish`."""


def answer(*, words: int) -> str:
    return "".join(map(word, range(words)))


def word(number: int) -> str:
    return f"{number} "


@dataclass(frozen=True)
class Settings:
    database: str
    on_lost: Literal["error", "retry", "continue"] = "retry"
    on_busy: Literal["refuse", "queue"] = "refuse"
    stream_prefix: str = "chat:"
    """Processes with the same prefix take over each other's turns."""
    lease: float = 1.0
    drain_timeout: float = 10.0
    words: int = 40
    """Number of deltas in an answer."""
    pause: float = 0.005
    """Seconds before each delta."""
    ballast: int = 0
    """Number of chunks of nearly 1 MB at the start of an answer."""
    framework: str = "fastapi"
    middleware: bool = False
    """Whether to add `@app.middleware("http")`, which would end broken responses cleanly."""

    def as_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


class ChatServer:
    """Answers each question with the same words, and on Postgres records each `on_finish`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def app(self) -> Any:
        settings = self._settings
        on_postgres = settings.database.startswith("postgresql")
        service = create_service(settings.database, lease=settings.lease, poll_interval=1.0)

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(service)
                if on_postgres:
                    # No import from the plugins of the tests: pytest takes a third of a second.
                    dsn = settings.database.replace("+asyncpg", "")
                    pool = asyncpg.create_pool(dsn, min_size=1, max_size=2)
                    self._pool = await stack.enter_async_context(pool)
                yield

        app = application(
            settings.framework,
            service,
            self._reply,
            lifespan=lifespan,
            stream_prefix=settings.stream_prefix,
            on_lost=settings.on_lost,
            on_busy=settings.on_busy,
            max_attempts=20,
            on_finish=self._note if on_postgres else None,
            sweep_interval=1.0,
            drain_timeout=settings.drain_timeout,
        )
        if settings.middleware:
            app.middleware("http")(_pass_on)
        return app

    async def _reply(self, turn: ChatTurn) -> None:
        # The writing process, so that a test can kill it, and can notice when two runs mix.
        await turn.pub.write({"type": "data-writer", "data": os.getpid()})
        written = [chunk["type"] for chunk in turn.written.chunks]
        if "text-start" not in written:
            await turn.pub.write({"type": "text-start", "id": "t"})
        for _ in range(self._settings.ballast):
            await turn.pub.write({"type": "data-ballast", "data": "x" * 1_000_000})
        for number in range(len(turn.written.text.split()), self._settings.words):
            await asyncio.sleep(self._settings.pause)
            await turn.pub.write({"type": "text-delta", "id": "t", "delta": word(number)})
        if "text-end" not in written:
            await turn.pub.write({"type": "text-end", "id": "t"})

    async def _note(self, message: UIMessage, turn: FinishedTurn) -> None:
        values = (turn.chat_id, turn.version, turn.ending, json.dumps(message), os.getpid())
        columns = "chat_id, version, ending, message, pid"
        await self._pool.execute(
            f"INSERT INTO handed_over ({columns}) VALUES ($1, $2, $3, $4, $5)", *values
        )


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def create_app() -> Any:
    settings: dict[str, Any] = json.loads(os.environ[VARIABLE])
    return ChatServer(Settings(**settings)).app()


def serve(settings: Settings, port: int) -> None:
    """Serve with uvicorn until a signal."""
    uvicorn.run(ChatServer(settings).app(), port=port, log_level="critical", ws="none")

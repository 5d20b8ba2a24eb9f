from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import FastAPI, Header, HTTPException

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router

TEXT = [
    {"type": "text-start", "id": "t"},
    {"type": "text-delta", "id": "t", "delta": "Hello"},
    {"type": "text-end", "id": "t"},
]


async def greet(turn: ChatTurn) -> None:
    await turn.pub.write(*TEXT)


async def who(user: Annotated[str, Header()] = "anybody") -> str:
    if user in ("", "nobody"):
        raise HTTPException(401, "Please sign in.")
    return user


class ThreadedServer(uvicorn.Server):
    """uvicorn with a chat router on a thread and loop of its own, for clients that have no loop."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=2
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def start(self) -> str:
        self._thread.start()
        assert self.ready.wait(10)
        host, port = self.servers[0].sockets[0].getsockname()
        return f"http://{host}:{port}"

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join(20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with the chat routes at /api/chat, in memory.

    It uses `random` in its thread, which Hypothesis takes for a fault of whatever it draws at that
    moment, so it must not live on beside other tests.
    """
    app = FastAPI()
    router = create_chat_router(
        create_service("memory://"),
        greet,
        authorize=who,
        max_body_bytes=64 * 1024,
        replay_window=1.0,
    )
    app.include_router(router, prefix="/api/chat")
    server = ThreadedServer(app)
    yield server.start()
    server.stop()

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI, Header, HTTPException

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router
from tests.app_server import serving

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
    with (
        start_blocking_portal() as thread,
        thread.wrap_async_context_manager(serving(app)) as server,
    ):
        yield server.url

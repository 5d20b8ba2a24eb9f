"""Replies for the routers of tests."""

from __future__ import annotations

import asyncio
from typing import Any

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatTurn
from monostream_ai.ui_messages import Chunk, UIMessage, chunks_of_message
from tests.fastapi.chat_client import question

TEXT = [
    {"type": "text-start", "id": "t"},
    {"type": "text-delta", "id": "t", "delta": "Hello"},
    {"type": "text-end", "id": "t"},
]


async def store_answer(service: DurableStreamService[Any], message: UIMessage) -> None:
    """Store a message as the latest answer of the chat `c1`."""
    async with service.publisher(
        "chat:c1", message_id=message["id"], request=question(id="u0")
    ) as pub:
        await pub.write(*chunks_of_message(message))


async def greet(turn: ChatTurn) -> None:
    await turn.pub.write(*TEXT)


class Held:
    """A reply that writes a text, or other chunks, then waits for the test."""

    def __init__(self, *chunks: Chunk) -> None:
        self.chunks = chunks or TEXT
        self.turns: list[ChatTurn] = []
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, turn: ChatTurn) -> None:
        self.turns.append(turn)
        await turn.pub.write(*self.chunks)
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await turn.pub.write({"type": "data-last", "data": 1})

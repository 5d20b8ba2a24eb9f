"""Questions that the tests ask of the capture of every SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from monostream_ai import DurableStreamService
from monostream_ai.testing import Gate
from monostream_ai.ui_messages import Chunk, UIMessage


def shown_in(message: UIMessage) -> list[Any]:
    """Return the texts of a message, and each call with its input and output."""
    return [
        part.get("text") or (part["toolName"], part["input"], part["output"])
        for part in message["parts"]
        if part["type"] != "step-start"
    ]


async def check_gate(
    service: DurableStreamService[Chunk], gate: Gate, capture: Callable[[Any], AsyncIterator[Any]]
) -> None:
    """Capture "It is noon." with a gate before its last word, and fail unless it waits there."""

    async def record() -> None:
        async with service.publisher("chat") as pub:
            async for _ in capture(pub):
                pass

    recording = asyncio.create_task(record())
    await gate.reached()
    async for chunk in service.subscribe("chat"):
        if "is" in chunk.get("delta", ""):
            break
    assert not recording.done()
    gate.open()
    await recording
    chunks = await service.chunks("chat")
    assert "".join(chunk.get("delta", "") for chunk in chunks) == "It is noon."

"""The answers of a chat, as the web server and the workers of every queue share them."""

import asyncio
import os
from typing import Any

from monostream_ai import DurableStreamService, create_service
from monostream_ai.fastapi import ChatReplies, ChatTurn
from monostream_ai.opentelemetry import OpenTelemetryObserver

DATABASE_URL = os.environ.get("DATABASE_URL", "postgresql://localhost/chat")

ANSWER = "Every question gets its answer, whatever process dies. "
PAUSE = float(os.environ.get("PAUSE", "0.05"))


def new_service() -> DurableStreamService[Any]:
    # One trace for each question, whatever process answers it, once `opentelemetry-instrument` or
    # the application itself sets a tracer provider; until then it costs nothing.
    return create_service(DATABASE_URL, observer=OpenTelemetryObserver())


async def reply(turn: ChatTurn) -> None:
    # Stands for a model. It goes on in the text of a worker that was killed.
    text = turn.written.text
    if not turn.written:
        await turn.pub.write({"type": "text-start", "id": "t"})
    for letter in ANSWER[len(text) :]:
        await turn.pub.write({"type": "text-delta", "id": "t", "delta": letter})
        await asyncio.sleep(PAUSE)
    await turn.pub.write({"type": "text-end", "id": "t"})


replies = ChatReplies(reply, on_lost="continue")

"""A history for a page that is about to resume: without the message that the resumed stream will
bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monostream_ai.errors import UnknownStream
from monostream_ai.fastapi.requests import ChatRequest
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages import UIMessage


async def without_active_message(
    service: DurableStreamService[Any], stream_id: str, messages: Sequence[UIMessage]
) -> list[UIMessage]:
    """Return the messages of a chat up to its last question while an answer to it is being written,
    else all of them.

    Older releases of `ai` show parts twice if the history holds what the resumed stream replays.

    Args:
        stream_id: As `chat_stream_id` makes it.

    Raises:
        StoreUnavailable: The store did not answer.
    """
    try:
        turn = await service.status(stream_id)
    except UnknownStream:
        return [*messages]
    request = ChatRequest.stored_with(turn) if turn.state == "open" else None
    if request is None:
        return [*messages]
    before = [*messages]
    for place, message in enumerate(messages):
        if message.get("id") == turn.message_id:
            return before[:place]
        if message.get("id") == request.messages[-1].get("id"):
            return before[: place + 1]
    return before

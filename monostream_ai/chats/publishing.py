"""`chat_publisher`: an answer in a chat that no request has asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monostream_ai._writing.publisher import OnCancel, Publisher
from monostream_ai.chats.turns.names import STREAM_PREFIX, chat_stream_id
from monostream_ai.chats.turns.requests import NO_CHAT_IDS, ChatRequest
from monostream_ai.chats.turns.turn import new_message_id
from monostream_ai.service import DurableStreamService
from monostream_ai.types import check_text
from monostream_ai.ui_messages import Chunk, UIMessage


def chat_publisher(
    service: DurableStreamService[Any],
    chat_id: str,
    *,
    owner: str | None = None,
    message_id: str | None = None,
    messages: Sequence[UIMessage] = (),
    stream_prefix: str = STREAM_PREFIX,
    on_cancel: OnCancel = "abort",
) -> Publisher[Chunk]:
    """Return a publisher for an answer that nobody has asked for over HTTP, such as the report of a
    job at night; it becomes the next answer of the chat.

    The chat routes serve and stop it, and hand its message to `on_finish` once it has ended, in any
    process of the router. Nobody runs it again: if its process dies, it ends with an error. Opening
    it fences an answer of the chat that is still being written.

    Args:
        owner: The value that the router's `authorize` returns for the owner of the chat.
        message_id: Of the answer; by default a new one. Its `start` chunk should carry it.
        messages: Those that the answer replies to; `on_finish` gets them.
        stream_prefix: Of the router.
        on_cancel: As for `service.publisher`.

    Raises:
        InvalidStreamId, InvalidText, InvalidWord: For a value that no store could hold.
        ValueError: The chat id is empty, `.` or `..`, which no URL could name.
    """
    if chat_id in NO_CHAT_IDS:
        raise ValueError(f"no URL can name the chat id {chat_id!r}")
    # Before the owner is quoted.
    check_text("owner", owner)
    request = ChatRequest(chat_id, [*messages], {"id": chat_id, "messages": [*messages]})
    return service.publisher(
        chat_stream_id(chat_id, owner=owner, prefix=stream_prefix),
        message_id=message_id or new_message_id(),
        owner=owner,
        request=request.body,
        metadata=request.metadata,
        watched=True,
        on_cancel=on_cancel,
    )

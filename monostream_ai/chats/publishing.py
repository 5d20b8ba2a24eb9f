"""`chat_publisher`: an answer in a chat that no request has asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, get_args

from monostream_ai._writing.beginning import Beginning
from monostream_ai._writing.publisher import OnCancel, Publisher
from monostream_ai.chats.turns.finishing import latest_version
from monostream_ai.chats.turns.names import STREAM_PREFIX, chat_stream_id
from monostream_ai.chats.turns.requests import NO_CHAT_IDS, ChatRequest
from monostream_ai.chats.turns.turn import new_message_id
from monostream_ai.errors import VersionConflict
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, check_text, check_word
from monostream_ai.ui_messages import Chunk, UIMessage

WhileBusy: TypeAlias = Literal["wait", "stop"]
"""Treatment of an answer that is being written: its end is waited for, or it is stopped."""

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at an answer that is waited for."""

LOST_PATIENCE: Final = 30.0
"""Seconds that the processes of a router get to run a lost answer again, or to end it."""


def chat_publisher(
    service: DurableStreamService[Any],
    chat_id: str,
    *,
    owner: str | None = None,
    message_id: str | None = None,
    messages: Sequence[UIMessage] = (),
    stream_prefix: str = STREAM_PREFIX,
    on_busy: WhileBusy = "wait",
    on_cancel: OnCancel = "abort",
) -> Publisher[Chunk]:
    """Return a publisher for an answer that nobody has asked for over HTTP, such as the report of a
    job at night; it becomes the next answer of the chat.

    The chat routes serve and stop it, and hand its message to `on_finish` once it has ended, in any
    process of the router. Nobody runs it again: if its process dies, it ends with an error.

    Args:
        owner: The value that the router's `authorize` returns for the owner of the chat.
        message_id: Of the answer; by default a new one. Its `start` chunk should carry it.
        messages: Those that the answer replies to; `on_finish` gets them.
        stream_prefix: Of the router.
        on_busy: While another answer of the chat is being written or waits for a worker, opening
            this one waits until that one has ended, or stops it as a user does.
        on_cancel: As for `service.publisher`.

    Raises:
        InvalidStreamId, InvalidText, InvalidWord: For a value that no store could hold.
        ValueError: The chat id is empty, `.` or `..`, which no URL could name.
    """
    if chat_id in NO_CHAT_IDS:
        raise ValueError(f"no URL can name the chat id {chat_id!r}")
    # Before the owner is quoted.
    check_text("owner", owner)
    check_word("on_busy", on_busy, get_args(WhileBusy))
    stream_id = chat_stream_id(chat_id, owner=owner, prefix=stream_prefix)
    request = ChatRequest.unasked(chat_id, messages)
    new = partial(
        service.publisher,
        stream_id,
        message_id=message_id or new_message_id(),
        owner=owner,
        request=request.body,
        metadata=request.metadata,
        watched=True,
        on_cancel=on_cancel,
    )

    async def begin() -> Beginning[Chunk]:
        taken = -1
        while True:
            latest = await _free(service, stream_id, on_busy)
            taken = max(taken, -1 if latest is None else latest.version)
            try:
                # The version is explicit: a question that comes first is not fenced.
                return await new(taken + 1)._begin()
            except VersionConflict as conflict:
                # The numbers of a chat that was deleted are taken as well.
                taken = conflict.latest

    publisher: Publisher[Chunk] = new()
    publisher._begin = begin
    return publisher


async def _free(
    service: DurableStreamService[Any], stream_id: str, on_busy: WhileBusy
) -> VersionInfo | None:
    """Wait until no answer of a chat is being written, and return the latest one."""
    now = asyncio.get_running_loop().time
    lost_since: float | None = None
    while True:
        latest = await latest_version(service, stream_id)
        if latest is None or latest.state != "open":
            return latest
        lost_since = None if not latest.lost else lost_since or now()
        if on_busy == "stop":
            if await service.stop(stream_id, latest.version):
                continue
        elif lost_since is not None and now() - lost_since > LOST_PATIENCE:
            # No process of the router is there.
            await service.end_lost(stream_id, latest.version)
        await asyncio.sleep(LOOK_EVERY)

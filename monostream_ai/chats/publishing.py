"""`chat_publisher`: an answer in a chat that no request has asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, get_args

from monostream_ai._writing.beginning import Beginning
from monostream_ai._writing.publisher import OnCancel, Publisher
from monostream_ai.chats.queue.advancing import RESULT_PATIENCE
from monostream_ai.chats.queue.conversation import Wish, wish_of
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

LOST_PATIENCE: Final = 300.0
"""Seconds that the processes of a router get to run a lost answer again, or to end it. They may be
starting, and their sweeps may be rare.
"""


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
        on_busy: While another answer of the chat is being written, waits for a worker or for a
            decision of its user, opening this one waits until that one has ended; so the reply of
            a chat must not open one for the same chat. `"stop"` stops the one that is being written
            as a user does, and waits for no decision, which can be given no more.
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
    taken, tried = -1, None

    async def begin() -> Beginning[Chunk]:
        nonlocal taken, tried
        while True:
            if tried is None:
                latest = await _ended(service, stream_id, on_busy)
                taken = max(taken, -1 if latest is None else latest.version)
                # The version is explicit: a question that comes first is not fenced.
                tried = new(taken + 1)
            try:
                # Repeated after a failure, it finds its own version, whose commit was not answered.
                return await tried._begin()
            except VersionConflict as conflict:
                # The numbers of a chat that was deleted are taken as well.
                taken, tried = conflict.latest, None

    publisher: Publisher[Chunk] = new()
    publisher._begin = begin
    return publisher


async def _ended(
    service: DurableStreamService[Any], stream_id: str, on_busy: WhileBusy
) -> VersionInfo | None:
    """Wait until the latest answer of a chat has ended, and return it."""
    patiently = service._runtime.writer.patiently
    now = asyncio.get_running_loop().time
    lost: tuple[int, int] | None = None
    lost_at = 0.0
    wishes: tuple[int, Wish | None] | None = None
    while True:
        latest = await patiently(lambda: latest_version(service, stream_id))
        if latest is None:
            return None
        if on_busy == "stop":
            if latest.state != "open":
                return latest
            await patiently(partial(service.stop, stream_id, latest.version))
            # Those that begin afterwards are waited for.
            on_busy = "wait"
        elif latest.state != "open":
            if wishes is None or wishes[0] != latest.version:
                wishes = latest.version, await wish_of(service, latest)
            if not _is_awaited(wishes[1], latest):
                return latest
            await asyncio.sleep(LOOK_EVERY)
        else:
            if not latest.lost or lost != (latest.version, latest.attempt):
                lost, lost_at = (latest.version, latest.attempt), now()
            elif now() - lost_at > LOST_PATIENCE:
                # No process of the router is there.
                await service.end_lost(stream_id, latest.version)
            await asyncio.sleep(LOOK_EVERY)


def _is_awaited(wish: Wish | None, ended: VersionInfo) -> bool:
    """Return whether an answer that has ended waits for its user or its page."""
    if wish == "result":
        return (ended.closed_for or 0.0) < RESULT_PATIENCE
    return wish == "decision"

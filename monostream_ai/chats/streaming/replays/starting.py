"""Where a replay begins, and the chat history that a page shows beside it.

`useChat` gets a message from its start, `WorkflowChatTransport` from an index of its chunks, other
clients from an event id.

Sources: @ai-sdk/workflow@2.0.43, src/workflow-chat-transport.ts (`startIndex`); HTML Standard,
9.2.4 (`Last-Event-ID`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from monostream_ai.chats.turns.requests import CONTINUED, ChatRequest, RequestRefused
from monostream_ai.errors import UnknownStream
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Cursor, VersionInfo
from monostream_ai.ui_messages import UIMessage, chunks_of_message

SUPERSEDED: Final = "A newer answer has begun. Load the conversation again."
NO_SUCH_CHUNK: Final = "The stream has no such chunk. Load the conversation again."
INDEX: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Replay:
    """One version from a point on.

    `earlier` holds chunks of the message that belong to no version. They follow the first chunk of
    the version, or open the replay if `after` is at or past that chunk.
    """

    after: Cursor
    earlier: tuple[str, ...] = ()
    merge_before: int = 0
    """Adjacent deltas with ids below this may be merged. 0 for clients that count chunks and so
    need each one.
    """
    first_id: int = 0
    """Chunks with ids below this are not sent; a client asked for one that is not written yet."""
    shaped: bool = False
    """Whether chunks below `merge_before` go through `ReplayShape`."""

    @classmethod
    def of_version(cls, version: int) -> Replay:
        """Begin at the first chunk, for a client that has the message up to this turn."""
        return cls(Cursor(version, -1))

    @classmethod
    async def of_message(cls, service: DurableStreamService[Any], version: VersionInfo) -> Replay:
        """Begin at `start`, with any message that this turn continues: the client has nothing."""
        earlier: tuple[str, ...] = ()
        request = (
            await ChatRequest.stored_with(service, version) if _may_continue(version) else None
        )
        if request is not None and request.continued_message is not None:
            earlier = await asyncio.to_thread(_earlier, request.continued_message)
        return cls(Cursor(version.version, -1), earlier, merge_before=version.next_id, shaped=True)

    def skip(self, count: int) -> Replay:
        """Leave out the first `count` chunks of a whole replay, and merge none of the others."""
        if count == 0:
            return replace(self, merge_before=0, shaped=False)
        version, left = self.after.version, len(self.earlier) + 1 - count
        if left < 0:
            return Replay(Cursor(version, -left))
        return Replay(Cursor(version, 0), self.earlier[count - 1 :])


def after_event(version: VersionInfo, event_id: str) -> Replay | None:
    """Return the replay after an event, or None if nothing will ever follow it.

    Raises:
        InvalidCursor: The id does not have the form of our event ids.
        RequestRefused: The event is of an older turn, or does not exist.
    """
    cursor = Cursor.parse(event_id)
    if cursor.version < version.version:
        raise RequestRefused(409, SUPERSEDED)
    if cursor.version > version.version or cursor.id >= version.next_id:
        raise RequestRefused(400, NO_SUCH_CHUNK)
    if version.state != "open" and cursor.id + 1 == version.next_id:
        return None
    return Replay(cursor, merge_before=version.next_id, shaped=True)


def from_index(
    replay: Replay, version: VersionInfo, index: str, *, same_run: bool = True
) -> tuple[Replay, int]:
    """Return the replay from an index on, and the index of the last chunk stored now.

    A negative index counts from the end. An index past the end is waited for, as clients of the
    workflow transport expect: a run may be ahead of the part of it that was stored.

    Args:
        same_run: Whether the client has certainly counted chunks of this version, if of any.

    Raises:
        RequestRefused: The index is not a number, or it counts chunks of another run.
    """
    total = version.next_id + len(replay.earlier)
    if not INDEX.fullmatch(index):
        raise RequestRefused(400, "The start index is not a number of a chunk.")
    number = int(index)
    if number > 0 and not same_run:
        raise RequestRefused(409, SUPERSEDED)
    if number > total:
        stored = Cursor(version.version, version.next_id - 1)
        return Replay(stored, first_id=number - len(replay.earlier)), total - 1
    return replay.skip(number if number >= 0 else max(0, total + number)), total - 1


async def without_active_message(
    service: DurableStreamService[Any], stream_id: str, messages: Sequence[UIMessage]
) -> list[UIMessage]:
    """Return a chat's messages without the answer that is being written, for a page that resumes.

    The resumed stream brings that answer from its start; older releases of `ai` would show its
    parts twice. If no answer is being written, all messages are returned.

    Args:
        stream_id: From `chat_stream_id`.

    Raises:
        StoreUnavailable: The store did not answer.
    """
    try:
        turn = await service.status(stream_id)
    except UnknownStream:
        return [*messages]
    request = await ChatRequest.stored_with(service, turn) if turn.state == "open" else None
    if request is None:
        return [*messages]
    # A `chat_publisher` may answer no question.
    asked_id = request.messages[-1].get("id") if request.messages else None
    return up_to_answer(messages, turn.message_id, asked_id)


def up_to_answer(
    messages: Sequence[UIMessage], answer_id: str | None, asked_id: str | None
) -> list[UIMessage]:
    """Return the messages before the one that a turn writes, up to the one that it answers."""
    for place, message in enumerate(messages):
        if message.get("id") == answer_id:
            return [*messages[:place]]
        if asked_id is not None and message.get("id") == asked_id:
            return [*messages[: place + 1]]
    return [*messages]


def _may_continue(version: VersionInfo) -> bool:
    # An earlier release stored no metadata; then only the request itself shows it.
    metadata = decode_json(version.metadata or "{}")
    return not isinstance(metadata, dict) or metadata.get(CONTINUED) is not False


def _earlier(message: UIMessage) -> tuple[str, ...]:
    # The turn has its own `start`, but that one lacks the metadata of the message.
    start, *rest = chunks_of_message(message)
    metadata = start.get("messageMetadata")
    if isinstance(metadata, dict):
        rest = [{"type": "message-metadata", "messageMetadata": metadata}, *rest]
    return tuple(map(encode_json, rest))

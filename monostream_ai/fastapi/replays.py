"""Where a response begins: at the start for `useChat`, at an index for clients that count chunks,
after a cursor for others.

Sources: @ai-sdk/workflow@2.0.43, src/workflow-chat-transport.ts (`startIndex`); HTML Standard,
9.2.4 (`Last-Event-ID`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from monostream_ai.fastapi.requests import ChatRequest, RequestRefused
from monostream_ai.json_text import encode_json
from monostream_ai.types import Cursor, VersionInfo
from monostream_ai.ui_messages import UIMessage, chunks_of_message

SUPERSEDED: Final = "A newer answer has begun. Load the conversation again."
INDEX: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
NO_SUCH_CHUNK: Final = "The stream has no such chunk. Load the conversation again."


@dataclass(frozen=True, slots=True)
class Replay:
    """One version from a point on.

    `earlier` are chunks of the message that are no part of the version. They follow its first
    chunk, or come first if `after` is at that chunk or past it.
    """

    after: Cursor
    earlier: tuple[str, ...] = ()
    merge_before: int = 0
    """Runs of deltas may be made one where their ids are below this. Clients that count chunks must
    get each of them.
    """
    shaped: bool = False
    """Whether chunks below `merge_before` are shown as `ReplayShape` does."""

    @classmethod
    def of_version(cls, version: int) -> Replay:
        """From the version's first chunk: for a client that holds what the message had before this
        turn.
        """
        return cls(Cursor(version, -1))

    @classmethod
    def of_message(cls, version: VersionInfo) -> Replay:
        """From `start`, with what the message had before this turn went on with it: for a client
        that holds nothing.
        """
        start, request = Cursor(version.version, -1), ChatRequest.stored_with(version)
        if request is None or request.continued_message_id is None:
            return cls(start, merge_before=version.next_id, shaped=True)
        return cls(start, _earlier(request.messages[-1]), merge_before=version.next_id, shaped=True)

    def skip(self, count: int) -> Replay:
        """Leave out the first chunks of a whole replay, and merge none of the others."""
        if count == 0:
            return replace(self, merge_before=0, shaped=False)
        version, left = self.after.version, len(self.earlier) + 1 - count
        return (
            Replay(Cursor(version, 0), self.earlier[count - 1 :])
            if left >= 0
            else Replay(Cursor(version, -left))
        )


def after_event(version: VersionInfo, event_id: str) -> Replay | None:
    """Return what follows an event, or None if nothing ever will.

    Raises:
        InvalidCursor: The id is not one that our events have.
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


def from_index(replay: Replay, version: VersionInfo, index: str) -> tuple[Replay, int]:
    """Return the replay from an index on, a negative one counted from the end, and the index of the
    last chunk now.

    Raises:
        RequestRefused: The index is no number, or past the end.
    """
    total = version.next_id + len(replay.earlier)
    if not INDEX.fullmatch(index):
        raise RequestRefused(400, "The start index is not a number.")
    number = int(index)
    if number > total:
        raise RequestRefused(400, NO_SUCH_CHUNK)
    return replay.skip(number if number >= 0 else max(0, total + number)), total - 1


def _earlier(message: UIMessage) -> tuple[str, ...]:
    # The turn has a start of its own, without the metadata that the message had.
    start, *rest = chunks_of_message(message)
    metadata = start.get("messageMetadata")
    known = (
        [{"type": "message-metadata", "messageMetadata": metadata}]
        if isinstance(metadata, dict)
        else []
    )
    return tuple(map(encode_json, [*known, *rest]))

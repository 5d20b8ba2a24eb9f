"""Leaves out the chunks that a lost publisher has stored, while its response is mapped once more.

The same events always make the same chunks with the same ids. Only the deltas may be cut otherwise
than those that are stored, since waiting ones are merged, so they are compared by their length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final

from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.chunks import DELTA_KEYS
from monostream_ai.ui_messages.size_limit import STANDS_FOR_FILE
from monostream_ai.ui_messages.unread import UNREAD_NAME

_IDS: Final = ("toolCallId", "approvalId", "sourceId", "id")
_ONE_OF: Final = {
    "tool-input-available": "input",
    "tool-input-error": "input",
    "tool-output-available": "output",
    "tool-output-error": "output",
    "tool-output-denied": "output",
}
"""Chunks that stand for each other: one that is too large is stored as an error."""


class Overlap:
    """The stored chunks of a version that a replay has not made yet."""

    def __init__(self, written: Iterable[Chunk]) -> None:
        self._chunks: Counter[Hashable] = Counter()
        self._characters: Counter[Hashable] = Counter()
        step = list[Chunk]()
        for chunk in written:
            if chunk["type"] == "reset-step":
                # It was taken back, so a page needs it once more.
                for each in step:
                    self._count(each, -1)
            else:
                self._count(chunk, 1)
                step.append(chunk)
            if chunk["type"] in ("start-step", "reset-step"):
                step.clear()

    def rest(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Return those of the next chunks that are not stored, of a delta the end that is not."""
        return [rest for chunk in chunks if (rest := self._rest(chunk)) is not None]

    def _count(self, chunk: Chunk, times: int) -> None:
        if (delta := DELTA_KEYS.get(chunk["type"])) is not None:
            self._characters[_key(chunk)] += times * len(chunk[delta])
        else:
            self._chunks[_key(chunk)] += times

    def _rest(self, chunk: Chunk) -> Chunk | None:
        key, delta = _key(chunk), DELTA_KEYS.get(chunk["type"])
        if delta is None:
            self._chunks[key] -= 1
            return chunk if self._chunks[key] < 0 else None
        if not chunk[delta]:
            # Its part may have ended.
            return None if key in self._characters else chunk
        stored = min(self._characters[key], len(chunk[delta]))
        self._characters[key] -= stored
        if stored == 0:
            return chunk
        return {**chunk, delta: chunk[delta][stored:]} if stored < len(chunk[delta]) else None


def _key(chunk: Chunk) -> Hashable:
    """Return the identity of a chunk among those of one message."""
    kind = chunk["type"]
    if kind in ("file", "reasoning-file") or chunk.get("id") == STANDS_FOR_FILE:
        # It may be stored under another URL, or as a text that says that it could not be. A replay
        # brings all files in the same order.
        return ("file", None) if kind != "text-end" else (kind, STANDS_FOR_FILE)
    for name in _IDS:
        if name in chunk:
            return _ONE_OF.get(kind, kind), chunk[name]
    if kind == f"data-{UNREAD_NAME}":
        # The value may have been too large.
        return kind, chunk["data"].get("kind")
    return kind if kind in ("start", "start-step", "finish-step") else encode_json(chunk)

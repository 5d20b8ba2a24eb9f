"""Chunks that are too large to store, made to fit."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from monostream_ai.errors import ChunkTooLarge
from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.fixed_texts import INPUT_TOO_LARGE_TEXT, TOO_LARGE_TEXT

logger = logging.getLogger(__name__)

_DELTAS: Final = ("delta", "inputTextDelta")


class Sink(Protocol):
    """What a recording needs of a publisher."""

    @property
    def message_id(self) -> str | None: ...

    def push(self, *chunks: Chunk) -> None: ...


def push_fitting(sink: Sink, chunks: list[Chunk], *, refuse: bool = False) -> None:
    """Push the chunks; what is over the limit is split, or replaced by a chunk that says so, or
    left out with a warning.

    Others go on as if it had been sent, so a call never stays without its input or its result.

    Args:
        refuse: Leave out files only. For a recording that can raise to somebody, which a callback
            cannot.

    Raises:
        ChunkTooLarge: With `refuse`, a chunk cannot be made smaller.
    """
    if not chunks:
        return
    try:
        sink.push(*chunks)
    except ChunkTooLarge as error:
        if len(chunks) > 1:
            for chunk in chunks:
                push_fitting(sink, [chunk], refuse=refuse)
            return
        smaller, kind = _smaller(chunks[0]), chunks[0]["type"]
        if not smaller and refuse and kind != "file":
            raise
        if not smaller:
            logger.warning("a %s chunk was left out: %s", kind, error)
        push_fitting(sink, smaller, refuse=refuse)


def _smaller(chunk: Chunk) -> list[Chunk]:
    kind = chunk["type"]
    for key in _DELTAS:
        text = chunk.get(key, "")
        if len(text) > 1:
            half = len(text) // 2
            return [{**chunk, key: text[:half]}, {**chunk, key: text[half:]}]
    if kind == "tool-output-available":
        small = {key: value for key, value in chunk.items() if key not in ("output", "preliminary")}
        return [{**small, "type": "tool-output-error", "errorText": TOO_LARGE_TEXT}]
    if kind == "tool-input-available" or (
        kind == "tool-input-error" and chunk["input"] is not None
    ):
        return [
            {**chunk, "type": "tool-input-error", "input": None, "errorText": INPUT_TOO_LARGE_TEXT}
        ]
    if kind == "tool-output-error" and chunk["errorText"] != TOO_LARGE_TEXT:
        return [{**chunk, "errorText": TOO_LARGE_TEXT}]
    return []

"""Chunks that are too large to store, made to fit."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from monostream_ai.errors import ChunkTooLarge
from monostream_ai.ui_messages import Chunk

logger = logging.getLogger(__name__)

TOO_LARGE_TEXT: Final = "The result is too large to show."
INPUT_TOO_LARGE_TEXT: Final = "The input is too large to show."

_DELTAS: Final = ("delta", "inputTextDelta")


class Sink(Protocol):
    """What a handler needs of a publisher."""

    @property
    def message_id(self) -> str | None: ...

    def push(self, *chunks: Chunk) -> None: ...


def push_fitting(sink: Sink, chunks: list[Chunk]) -> None:
    """Push the chunks; what is over the limit is split, or replaced by a chunk that says so, or left out with a warning.

    Others go on as if it had been sent, so a call never stays without its input or its result.
    """
    if not chunks:
        return
    try:
        sink.push(*chunks)
    except ChunkTooLarge as error:
        if len(chunks) > 1:
            for chunk in chunks:
                push_fitting(sink, [chunk])
            return
        smaller = _smaller(chunks[0])
        if not smaller:
            logger.warning("a %s chunk was left out: %s", chunks[0]["type"], error)
        push_fitting(sink, smaller)


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
    if kind == "tool-input-available" or (kind == "tool-input-error" and chunk["input"] is not None):
        return [{**chunk, "type": "tool-input-error", "input": None, "errorText": INPUT_TOO_LARGE_TEXT}]
    if kind == "tool-output-error" and chunk["errorText"] != TOO_LARGE_TEXT:
        return [{**chunk, "errorText": TOO_LARGE_TEXT}]
    return []

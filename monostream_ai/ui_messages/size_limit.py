"""Pushes chunks that are too large to store in a smaller form."""

from __future__ import annotations

import logging
from typing import Final

from monostream_ai.errors import ChunkTooLarge
from monostream_ai.json_text import encode_json
from monostream_ai.types import MAX_CHUNK_BYTES
from monostream_ai.ui_messages.chunks import DELTA_KEYS, Chunk
from monostream_ai.ui_messages.held_files import file_note, file_of_url, replace_files
from monostream_ai.ui_messages.sinks import Sink
from monostream_ai.ui_messages.texts import (
    FILE_TOO_LARGE_TEXT,
    INPUT_TOO_LARGE_TEXT,
    TOO_LARGE_TEXT,
    file_text,
)
from monostream_ai.ui_messages.unread import UNREAD_NAME

logger = logging.getLogger(__name__)

STANDS_FOR_FILE: Final = "too-large"
"""Id of a text that stands for a file. It ends at once, so the next one may have it again."""


def push_fitting(sink: Sink, chunks: list[Chunk], *, refuse: bool = False) -> None:
    """Push the chunks, and make those over the size limit smaller first.

    A delta is split. A tool's input or result is replaced by an error that says it is too large,
    and an unread value or a file by such a text.
    Any other chunk is left out with a warning. Later chunks proceed as if it had been sent, so
    every tool call still gets an input and a result.

    Args:
        refuse: Raise for other chunks. For captures whose caller sees the error; a callback has no
            such caller.

    Raises:
        ChunkTooLarge: With `refuse`, a chunk cannot be made smaller.
    """
    if not chunks:
        return
    try:
        sink.push(*chunks)
    except ChunkTooLarge as error:
        # A push stores all chunks or none, so pushing them one by one repeats nothing.
        if len(chunks) > 1:
            for chunk in chunks:
                push_fitting(sink, [chunk], refuse=refuse)
            return
        smaller, kind = _smaller(chunks[0]), chunks[0]["type"]
        if not smaller and refuse:
            raise
        if not smaller:
            logger.warning("a %s chunk was left out: %s", kind, error)
        push_fitting(sink, smaller, refuse=refuse)


def smaller(chunks: list[Chunk]) -> list[Chunk]:
    """Return the chunks that `push_fitting` would push."""
    fitting: list[Chunk] = []
    for chunk in chunks:
        if len(encode_json(chunk).encode()) <= MAX_CHUNK_BYTES:
            fitting.append(chunk)
        else:
            fitting += smaller(_smaller(chunk))
    return fitting


def text_part(text: str) -> list[Chunk]:
    """Return a text of its own, for the place of a file."""
    return [
        {"type": "text-start", "id": STANDS_FOR_FILE},
        {"type": "text-delta", "id": STANDS_FOR_FILE, "delta": text},
        {"type": "text-end", "id": STANDS_FOR_FILE},
    ]


def _smaller(chunk: Chunk) -> list[Chunk]:
    kind = chunk["type"]
    key = DELTA_KEYS.get(kind)
    if key is not None and len(text := chunk[key]) > 1:
        half = len(text) // 2
        return [{**chunk, key: text[:half]}, {**chunk, key: text[half:]}]
    if kind == "tool-output-available":
        output = replace_files(chunk["output"], lambda file: file_note(FILE_TOO_LARGE_TEXT, file))
        if output is not chunk["output"]:
            return [{**chunk, "output": output}]
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
    if kind == f"data-{UNREAD_NAME}" and chunk["data"]["value"] != TOO_LARGE_TEXT:
        return [{**chunk, "data": {**chunk["data"], "value": TOO_LARGE_TEXT}}]
    if kind in ("file", "reasoning-file"):
        logger.warning("a %s chunk is too large: a text stands in its place", kind)
        url = chunk["url"]
        file = file_of_url(url)
        size = len(url) if file is None else file.size
        return text_part(file_text(FILE_TOO_LARGE_TEXT, chunk["mediaType"], size))
    return []

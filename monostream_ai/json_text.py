"""JSON values to the text we store, and back, without loss (G10).

The text is RFC 8259 JSON in one line: no raw control character, so it fits a `data:` line of
server-sent events, and NUL travels as an escape, so it fits a `json` or `text` column.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from typing import Any, Final

from monostream_ai.errors import InvalidChunk

MAX_DEPTH: Final = 200
"""Levels of nesting. Python's own decoder gives up near 1,000 frames of the reader's stack."""

LARGE_TEXT: Final = 64 * 1024
"""Characters. To decode or encode more takes milliseconds, for which no other task should wait."""

# json.dumps would make a new one for each call.
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)
_ASCII_ENCODER: Final = json.JSONEncoder(
    allow_nan=False, check_circular=False, separators=(",", ":")
)


def encode_json(value: object) -> str:
    """Encode a JSON value as text that decodes to an equal value.

    Raises:
        InvalidChunk: NaN, an infinity, a key that is no string, a type that JSON lacks, or nesting
            beyond `MAX_DEPTH` levels; its path names the place.
    """
    if not _is_plain(value, MAX_DEPTH):
        raise _diagnose(value)
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise _diagnose(value) from error
    if not text.isascii() and _has_lone_surrogate(text):
        return _ASCII_ENCODER.encode(value)
    return text


def whole_characters(text: str) -> str:
    """Join the halves of surrogate pairs; a half without the other becomes U+FFFD.

    No such text can be sent as UTF-8 otherwise.
    """
    if text.isascii() or not _has_lone_surrogate(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode_json(text: str) -> Any:
    """Decode text that `encode_json` made."""
    return json.loads(text)


def decode_sendable(text: str) -> Any:
    """Decode text that `encode_json` made, with U+FFFD in place of half a surrogate pair: a value
    that can be sent as UTF-8.
    """
    value = decode_json(text)
    if "\\ud" not in text:
        return value
    return decode_json(whole_characters(_ENCODER.encode(value)))


async def decode_json_aside(text: str) -> Any:
    """Decode text that `encode_json` made; a large one in another thread."""
    if len(text) <= LARGE_TEXT:
        return decode_json(text)
    return await asyncio.to_thread(decode_json, text)


def _is_plain(value: object, depth: int) -> bool:
    # json.dumps turns the keys 1, None and True into strings without a word, so keys are looked at
    # here.
    children: Iterable[object]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return False
        children = value.values()
    elif isinstance(value, list | tuple):
        children = value
    else:
        return True
    if depth <= 0:
        return False
    for child in children:
        # Most are strings, and comparing a type is quicker than a call.
        if type(child) is not str and not _is_plain(child, depth - 1):
            return False
    return True


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _diagnose(value: object) -> InvalidChunk:
    return _find(value, "$", 0) or InvalidChunk("$", "it is not JSON")


def _find(value: object, path: str, depth: int) -> InvalidChunk | None:
    if isinstance(value, float) and not math.isfinite(value):
        return InvalidChunk(path, f"{value!r} is not JSON")
    if value is None or isinstance(value, str | int | float):
        return None
    if not isinstance(value, dict | list | tuple):
        return InvalidChunk(path, f"{type(value).__name__} is not a JSON type")
    if depth > MAX_DEPTH:
        return InvalidChunk(f"{path[:200]}…", f"nested deeper than {MAX_DEPTH} levels")
    children: list[tuple[str, object]] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return InvalidChunk(path, f"key {key!r} is not a string")
            children.append((f"{path}.{key}", item))
    else:
        children.extend((f"{path}[{index}]", item) for index, item in enumerate(value))
    return next(
        (problem for child, item in children if (problem := _find(item, child, depth + 1))), None
    )

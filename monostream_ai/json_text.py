"""JSON values to the text we store, and back, without loss (G10).

The text is RFC 8259 JSON in one line: no raw control character, so it fits a `data:` line of server-sent events, and NUL travels as
an escape, so it fits a `json` or `text` column.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from monostream_ai.errors import InvalidChunk

MAX_DEPTH: Final = 200
"""Levels of nesting. Python's own decoder gives up near 1,000 frames of the reader's stack."""


def encode_json(value: object) -> str:
    """Encode a JSON value as text that decodes to an equal value.

    Raises:
        InvalidChunk: NaN, an infinity, a key that is no string, a type that JSON lacks, or nesting beyond `MAX_DEPTH` levels; its
            path names the place.
    """
    _check_containers(value, MAX_DEPTH)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise _diagnose(value) from error
    if not text.isascii() and _has_lone_surrogate(text):
        return json.dumps(value, allow_nan=False, check_circular=False, separators=(",", ":"))
    return text


def decode_json(text: str) -> Any:
    """Decode text that `encode_json` made."""
    return json.loads(text)


def _check_containers(value: object, depth: int) -> None:
    # json.dumps turns the keys 1, None and True into strings without a word, so keys are looked at here.
    if isinstance(value, dict):
        if depth == 0:
            raise _diagnose(value)
        for key, item in value.items():
            if type(key) is not str and not isinstance(key, str):
                raise InvalidChunk("$", f"key {key!r} is not a string")
            if isinstance(item, dict | list | tuple):
                _check_containers(item, depth - 1)
    elif isinstance(value, list | tuple):
        if depth == 0:
            raise _diagnose(value)
        for item in value:
            if isinstance(item, dict | list | tuple):
                _check_containers(item, depth - 1)


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _diagnose(value: object) -> InvalidChunk:
    return _find(value, "$", 0) or InvalidChunk("$", f"nested deeper than {MAX_DEPTH} levels")


def _find(value: object, path: str, depth: int) -> InvalidChunk | None:
    if depth > MAX_DEPTH:
        return InvalidChunk(path[:200], f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        children = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        children = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value):
        return InvalidChunk(path, f"{value!r} is not JSON")
    elif value is None or isinstance(value, str | int | float):
        return None
    else:
        return InvalidChunk(path, f"{type(value).__name__} is not a JSON type")
    return next((problem for child, item in children if (problem := _find(item, child, depth + 1))), None)

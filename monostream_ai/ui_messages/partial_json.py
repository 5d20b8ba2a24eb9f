"""Parses JSON whose end is missing as the AI SDK does, so that both sides show the same input.

Source: vercel/ai, ai@7.0.173, packages/ai/src/util/fix-json.ts and parse-partial-json.ts.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from monostream_ai.ui_messages.browser_safety import check_keys

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)(?P<quote>")?
    | (?P<number>-?[0-9][0-9.eE+-]*)
    | (?P<word>[a-z]+)
    | (?P<mark>[{}\[\],:])
    )""",
    re.VERBOSE,
)
_WORDS: Final = ("true", "false", "null")
_CLOSERS: Final = {"{": "}", "[": "]"}


def parse_partial_json(text: str) -> Any:
    """Parse JSON text whose end may be missing; a key without a value is left out.

    Raises:
        ValueError: There is no value yet, the text is not the beginning of JSON, or it has keys
            that the client refuses.
    """
    try:
        return _loads(text)
    except ValueError:
        return _loads(_complete(text))


def _loads(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply to be parsed") from error
    check_keys(value)
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _complete(text: str) -> str:
    """Cut the text after its last value, and close the strings, arrays and objects open there."""
    open_marks: list[str] = []
    end, suffix, wants_key = 0, "", False
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if mark is None:
            if not (wants_key and token["string"]):
                end, suffix = _value_end(token)
        elif mark in _CLOSERS:
            open_marks.append(mark)
            end, suffix = token.end(), ""
        elif mark in "}]" and open_marks:
            open_marks.pop()
            end, suffix = token.end(), ""
        if token["string"] and not token["quote"]:
            # A broken escape follows, not another token.
            break
        wants_key = mark == "{" or (mark == "," and open_marks[-1:] == ["{"])
    return text[:end] + suffix + "".join(_CLOSERS[mark] for mark in reversed(open_marks))


def _value_end(token: re.Match[str]) -> tuple[int, str]:
    if token["string"]:
        return token.end(), "" if token["quote"] else '"'
    if token["number"]:
        return token.start("number") + len(token["number"].rstrip(".eE+-")), ""
    whole = next((word for word in _WORDS if word.startswith(token["word"])), token["word"])
    return token.end(), whole[len(token["word"]) :]

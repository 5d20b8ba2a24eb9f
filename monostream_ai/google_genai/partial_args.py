"""Joins the arguments of a function call that Gemini streams in pieces, each with its JSON path."""

from __future__ import annotations

import re
from typing import Any, Final

from monostream_ai.recording.fields import get, get_list, get_text
from monostream_ai.ui_messages.model_output import StreamedCall

MAX_INDEX: Final = 10_000
"""Items of an array; a path beyond it is refused."""

_NAME: Final = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")


class PartialCall:
    """A call whose arguments have not all come."""

    def __init__(self, call: StreamedCall, signature: str) -> None:
        self.call = call
        self.signature = signature
        self.arguments: dict[str, Any] = {}
        self._continued = ""
        """Path of the text that goes on with the next piece."""

    def add(self, piece: Any) -> bool:
        """Take a piece; False for one that cannot be placed."""
        path, names = get_text(piece, "json_path"), _names_of(get_text(piece, "json_path"))
        continued, self._continued = self._continued, path if get(piece, "will_continue") else ""
        text = get(piece, "string_value")
        if isinstance(text, str):
            return _put(self.arguments, names, text, append=path == continued)
        number, boolean = get(piece, "number_value"), get(piece, "bool_value")
        if number is not None:
            whole = isinstance(number, float) and number.is_integer()
            return _put(self.arguments, names, int(number) if whole else number)
        if boolean is not None:
            return _put(self.arguments, names, boolean)
        if get(piece, "null_value") is not None:
            return _put(self.arguments, names, None)
        # The end of a text has no value.
        return bool(names)


def begins_in_pieces(given: Any) -> bool:
    return bool(get_list(given, "partial_args")) or get(given, "will_continue") is True


def _names_of(path: str) -> list[str | int]:
    """Return the keys and indexes of a JSON path; none if it is no path to a value."""
    found = list(_NAME.finditer(path))
    if not found or "$" + "".join(match[0] for match in found) != path:
        return []
    return [
        int(match[2]) if match[2] else next(key for key in match.group(1, 3, 4) if key is not None)
        for match in found
    ]


def _put(holder: Any, names: list[str | int], value: Any, *, append: bool = False) -> bool:
    if not names:
        return False
    *before, last = names
    for name, following in zip(before, names[1:], strict=True):
        if not _fits(holder, name):
            return False
        if _at(holder, name) is None:
            _set(holder, name, [] if isinstance(following, int) else {})
        holder = _at(holder, name)
    if not _fits(holder, last):
        return False
    known = _at(holder, last) if append else None
    _set(holder, last, known + value if isinstance(known, str) else value)
    return True


def _fits(holder: Any, name: str | int) -> bool:
    if isinstance(name, int):
        return isinstance(holder, list) and name < MAX_INDEX
    return isinstance(holder, dict)


def _at(holder: Any, name: str | int) -> Any:
    if isinstance(name, int):
        return holder[name] if name < len(holder) else None
    return holder.get(name)


def _set(holder: Any, name: str | int, value: Any) -> None:
    if isinstance(name, int):
        holder += [None] * (name + 1 - len(holder))
    holder[name] = value

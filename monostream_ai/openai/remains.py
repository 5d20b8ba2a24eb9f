"""Gathers the values of a stream that nobody reads, to keep each kind once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from monostream_ai.recording.fields import named_fields, to_json
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.unread import Unread

MAX_PIECES: Final = 10_000
"""Values of one kind that are gathered; a stream has at most one in each of its chunks."""
MAX_CHARACTERS: Final = 256 * 1024
"""Characters of texts that are gathered, all kinds together."""


class Remains:
    """Values of one response besides the content that its mapper reads."""

    def __init__(self, unread: Unread) -> None:
        self._unread = unread
        self._gathered: dict[str, list[Any]] = {}
        self._characters = 0

    def add(self, kind: str, value: Any, *, once: bool = False) -> None:
        """Take a value; beyond the limits it is only counted.

        Args:
            once: Leave out a value that was gathered before, since it may be repeated.
        """
        pieces = self._gathered.setdefault(kind, [])
        if once and to_json(value) in pieces:
            return
        self._characters += len(value) if isinstance(value, str) else 0
        if len(pieces) >= MAX_PIECES or self._characters > MAX_CHARACTERS:
            self._unread.lose(kind)
        else:
            pieces.append(to_json(value))

    def add_event(self, kind: str, event: Any, without: Collection[str]) -> None:
        """Take the fields of an event that hold something, except some."""
        named = named_fields(event)
        fields = {
            name: value
            for name, value in named.items()
            if name not in without and value not in (None, "", [], {})
        }
        if fields:
            self.add(kind, fields["delta"] if [*fields] == ["delta"] else fields)
        elif event and not named:
            self.add(kind, event)

    def keep(self) -> list[Chunk]:
        """Return a `data-unread` part for each kind: its texts joined, or a list of its values."""
        gathered, self._gathered = self._gathered, {}
        return [
            chunk
            for kind, pieces in gathered.items()
            if pieces
            for chunk in self._unread.keep(kind, _joined(pieces))
        ]


def _joined(pieces: list[Any]) -> Any:
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    return pieces[0] if len(pieces) == 1 else pieces

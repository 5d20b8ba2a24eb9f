"""The protocol of AG-UI events: which events end a run, and how to end one early."""

from __future__ import annotations

from typing import Any, Final

from monostream_ai.ag_ui.events import (
    DELTA_KEYS,
    TERMINAL_TYPES,
    Event,
    OpenEvents,
    check_event,
)
from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.types import Ending
from monostream_ai.ui_messages.protocol import merge_deltas

STOPPED_TEXT: Final = "The run was stopped."
"""Message of the subagents that ran when the run was stopped."""


class AGUIProtocol:
    """The events of AG-UI 1.0. One version holds one run, from `RUN_STARTED` to its end.

    Refuses events that `check_event` refuses, before anything is stored.
    """

    def __repr__(self) -> str:
        return "AGUIProtocol()"

    def encode(self, chunk: Event) -> str:
        return encode_json(check_event(chunk))

    def decode(self, payload: str) -> Event:
        event: Any = decode_json(payload)
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise InvalidChunk("$", "the stored payload is not an AG-UI event")
        return event

    def is_terminal(self, chunk: Event) -> bool:
        return chunk["type"] in TERMINAL_TYPES

    def ending_of(self, terminal: Event) -> Ending:
        if terminal["type"] == "RUN_ERROR":
            return "error"
        outcome = terminal.get("outcome") or {}
        return "abort" if outcome.get("type") == "cancelled" else "finish"

    def merge(self, earlier: Event, later: Event) -> list[Event]:
        return merge_deltas(DELTA_KEYS, earlier, later)

    def transcript(self, message_id: str | None = None) -> AGUITranscript:
        return AGUITranscript()


class AGUITranscript:
    """Follows the events of one run and returns the events that end it.

    `RUN_FINISHED` may follow only when everything is closed, so messages, reasoning, tool calls,
    steps and subagents that are open are closed first, the latest first.
    """

    def __init__(self) -> None:
        self._open = OpenEvents()

    def feed(self, chunk: Event) -> None:
        self._open.feed(chunk)

    def before_terminal(self, terminal: Event) -> list[Event]:
        """Return the events that a program left out before the end that it wrote."""
        failed = terminal["type"] == "RUN_ERROR"
        return self._open.closing(terminal["message"] if failed else None)

    def ending(self, ending: Ending, error_text: str = MASKED_ERROR_TEXT) -> list[Event]:
        """Return the events that end the run.

        A run that is stopped before it has started gets none, since only `RUN_STARTED` knows its
        thread. A stop is `RUN_FINISHED` with the outcome `cancelled`, which clients before 1.0
        read as success.
        """
        if ending in ("error", "lost"):
            return [
                *self._open.closing(error_text),
                {"type": "RUN_ERROR", "message": error_text},
            ]
        if self._open.run is None:
            return []
        if ending == "finish":
            return [*self._open.closing(), {"type": "RUN_FINISHED", **self._open.run}]
        cancelled = {"type": "RUN_FINISHED", **self._open.run, "outcome": {"type": "cancelled"}}
        return [*self._open.closing(STOPPED_TEXT), cancelled]

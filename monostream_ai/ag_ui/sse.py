"""Server-sent events with AG-UI events, made from stored UI message chunks, and their ids.

Sources: PyPI ag-ui-protocol 1.0.0, ag_ui/encoder/encoder.py (one `data` field for each event); HTML
Standard, 9.2 (framing, `Last-Event-ID`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from monostream_ai.ag_ui.events import Event
from monostream_ai.ag_ui.mapper import AGUIMapper
from monostream_ai.errors import InvalidCursor
from monostream_ai.json_text import encode_json
from monostream_ai.types import Cursor
from monostream_ai.ui_messages import sse
from monostream_ai.ui_messages.protocol import UIMessageProtocol

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {name: value for name, value in sse.HEADERS.items() if name != "x-vercel-ai-ui-message-stream"}
)
"""Headers of a streaming response. HTTP/2 forbids `connection`."""


class EventCursor(NamedTuple):
    """The position of one AG-UI event: resuming after it yields the next one.

    The last event of a chunk has the cursor of its chunk as text, `3.17`, with which a client of
    any protocol goes on. The events before it add their 0-based number: `3.17.0`.
    """

    chunk: Cursor
    event: int | None = None
    """None for the last event of the chunk."""

    def __str__(self) -> str:
        return f"{self.chunk}" if self.event is None else f"{self.chunk}.{self.event}"

    @classmethod
    def parse(cls, token: str) -> EventCursor:
        """Read the text that `str` made.

        Raises:
            InvalidCursor: It is another one.
        """
        parts = token.split(".")
        if len(parts) != 3:
            return cls(Cursor.parse(token))
        if not (parts[2].isascii() and parts[2].isdecimal() and len(parts[2]) < 10):
            raise InvalidCursor(token)
        return cls(Cursor.parse(".".join(parts[:2])), int(parts[2]))


class StoredEventEncoder:
    """Turns the payloads of AG-UI events into frames, whose ids are cursors."""

    def frames(self, batch: sse.Batch) -> str:
        return "".join(
            f"id: {batch.version}.{id}\ndata: {payload}\n\n"
            for id, payload in enumerate(sse.one_line(batch.payloads), batch.first)
        )

    def end(self, last_payload: str | None) -> str:
        return ""


class AGUIEncoder:
    """Turns the payloads of UI message chunks into the frames of AG-UI events for one response.

    It must be given the version from its first chunk on, also if the client has a part of it:
    the state of the run is in the chunks before.

    Args:
        after: The client has this event and those before it.
    """

    def __init__(self, thread_id: str, run_id: str, *, after: EventCursor | None = None) -> None:
        self._mapper = AGUIMapper(thread_id, run_id)
        self._protocol = UIMessageProtocol()
        self._after = after

    def __repr__(self) -> str:
        return f"<AGUIEncoder after {self._after}>"

    def frames(self, batch: sse.Batch) -> str:
        """Return the frames of the next payloads; empty if the client has all of their events.

        Raises:
            InvalidChunk: A payload is no UI message chunk.
        """
        return "".join(
            _frame(event, cursor)
            for id, payload in enumerate(batch.payloads, batch.first)
            for cursor, event in self._events(Cursor(batch.version, id), payload)
        )

    def end(self, last_payload: str | None) -> str:
        """Return the frames that end the run of a version that is closed without a terminal chunk.

        They have no id, since nothing of them is stored. Never call this for a version that is not
        closed: break the response off instead, because a clean end looks like success.
        """
        return "".join(_frame(event) for event in self._mapper.end())

    def cancelled(self) -> str:
        """Return the frames of a run that was cancelled before it began, in place of all others."""
        return "".join(_frame(event) for event in self._mapper.events({"type": "abort"}))

    def _events(self, chunk: Cursor, payload: str) -> Iterator[tuple[EventCursor, Event]]:
        events = self._mapper.events(self._protocol.decode(payload))
        for number, event in enumerate(events):
            cursor = EventCursor(chunk, None if number == len(events) - 1 else number)
            if not self._has(cursor):
                yield cursor, event

    def _has(self, cursor: EventCursor) -> bool:
        after = self._after
        if after is None:
            return False
        if cursor.chunk != after.chunk:
            return cursor.chunk < after.chunk
        return after.event is None or (cursor.event is not None and cursor.event <= after.event)


def _frame(event: Event, cursor: EventCursor | None = None) -> str:
    [data] = sse.one_line([encode_json(event)])
    return f"data: {data}\n\n" if cursor is None else f"id: {cursor}\ndata: {data}\n\n"

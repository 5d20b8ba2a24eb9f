"""Captures streams in a program without an event loop.

Each step runs on the loop of the `SyncPublisher`, in its thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Generic, Self

from monostream_ai.recording.capture import Capture, NewMapper, record
from monostream_ai.recording.streams import E, Stream
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages.file_hook import Files

_END: Final[Any] = object()


def record_sync(
    stream: Stream[E], pub: SyncPublisher, mapper: NewMapper, *, files: Files | None = None
) -> SyncCapture[E]:
    """Iterate over the events of any SDK, and record them to a `SyncPublisher`.

    Arguments and errors are those of `record`.

    Raises:
        PublisherClosed: The publisher's `with` block has not begun, or has ended.
    """
    if not isinstance(pub, SyncPublisher):
        raise TypeError(
            f"a sync capture needs a SyncPublisher, not {type(pub).__name__}: "
            "a Publisher takes capture or record"
        )
    return SyncCapture(record(stream, pub.publisher, mapper, files=files), pub)


class SyncCapture(Iterator[E], Generic[E]):
    """An iterator that records the events it passes through; made by `record_sync`.

    It ends and fails as `Capture` does.
    """

    def __init__(self, events: Capture[E], pub: SyncPublisher) -> None:
        self._events = events
        self._pub = pub

    def __repr__(self) -> str:
        return f"<SyncCapture by {self._events!r}>"

    def tool_result(self, call_id: str, *, output: Any = None, error: str | None = None) -> None:
        """As `Capture.tool_result`."""
        self._events.tool_result(call_id, output=output, error=error)

    def ask_approval(self, call_id: str, *, reason: str | None = None) -> None:
        """As `Capture.ask_approval`."""
        self._events.ask_approval(call_id, reason=reason)

    def close(self) -> None:
        """Close the HTTP stream; if the response is not complete, end the version."""
        self._pub.wait_for(self._events.aclose())

    def __next__(self) -> E:
        event = self._pub.wait_for(anext(self._events, _END))
        if event is _END:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pub.wait_for(self._events.__aexit__(kind, error, traceback))

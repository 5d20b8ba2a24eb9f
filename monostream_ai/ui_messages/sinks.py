"""The part of a publisher that a capture writes to, and checks of the publisher it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from monostream_ai.ui_messages.chunks import Chunk

CountUnread: TypeAlias = Callable[[str], None]
"""Counts a value that a capture could not read, by the name of its SDK. Safe in any thread."""


class Sink(Protocol):
    """The part of a publisher that a capture writes to."""

    @property
    def message_id(self) -> str | None: ...

    def push(self, *chunks: Chunk) -> None: ...


@runtime_checkable
class WaitingSink(Protocol):
    """A publisher, which also takes chunks that are still being made."""

    def _push_later(
        self,
        make: Callable[[], Awaitable[Sequence[Chunk]]],
        *,
        instead: Sequence[Chunk],
        size: int,
        timeout: float,
    ) -> None: ...


def check_sink(taker: str, pub: object) -> None:
    """Refuse an object that is no publisher, or one whose version has ended.

    A publisher that is not open yet passes, since it may be opened before it is used.

    Raises:
        TypeError: It is no publisher.
        StreamClosed, StreamStopped, Fenced, PublisherClosed: It has ended.
    """
    if (
        isinstance(pub, type)
        or not callable(getattr(pub, "push", None))
        or not hasattr(pub, "message_id")
    ):
        kind = f"the class {pub.__name__}" if isinstance(pub, type) else type(pub).__name__
        raise TypeError(
            f"{taker} needs a publisher, not {kind}: pass the one that "
            "'async with service.publisher(...) as pub' opens, or turn.pub"
        )
    if getattr(pub, "closed", False):
        check_open(pub)


def unread_counter(pub: object) -> CountUnread | None:
    """Return the function of a publisher that counts unread values; None for any other sink."""
    count: CountUnread | None = getattr(pub, "_count_unread", None)
    return count


def check_open(pub: object) -> None:
    """Raise the error that a write to this publisher would; does nothing for other sinks."""
    check = getattr(pub, "_check_open", None)
    if check is not None:
        check()

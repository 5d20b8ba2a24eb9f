"""Holds a client of a lost answer until the new attempt has as much text as the client shows.

A new attempt replaces the answer on the page. If it came at once, the text that somebody reads
would vanish, and be written again. The client is held by comments, then its connection is cut. It
comes back with the same event, and is told to load the new attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from monostream_ai.errors import InvalidCursor, MonostreamError, UnknownStream
from monostream_ai.fastapi.exit_signals import process_exiting
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Cursor, VersionInfo
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN

CATCH_UP: Final = 10.0
"""Seconds after the beginning of a new attempt for which clients are held at most."""

COMMENT_INTERVAL: Final = 1.0
"""Seconds between comments, and between looks for a shutdown."""

REMEMBERED: Final = 10_000
"""Attempts whose clients were held here, and for which the time is known."""


class CatchUp:
    """Decides which clients are held.

    Args:
        seconds: For which a client is held at most, from the beginning of the new attempt. The
            clocks of the database and of this host may differ, so the time since the first client
            came here counts too.
    """

    def __init__(self, service: DurableStreamService[Any], seconds: float) -> None:
        self._service = service
        self._seconds = seconds
        self._first_seen: dict[tuple[str, int], float] = {}

    async def hold(self, latest: VersionInfo, event_id: str) -> HeldBody | None:
        """Return the body that holds the client of an event of an earlier attempt; None if it shows
        no more text than the latest one has, or has been held long enough.
        """
        cursor = _cursor_of_attempt(latest, event_id)
        until = self._until(latest)
        if cursor is None or until <= asyncio.get_running_loop().time():
            return None
        try:
            shown = await self._service.chunks(latest.stream_id, cursor.version)
            written = await self._service.chunks(latest.stream_id, latest.version)
        except UnknownStream:
            return None
        for kind in ("text-delta", "reasoning-delta"):
            if characters := _characters(shown[: cursor.id + 1], kind):
                if _characters(written, kind) >= characters:
                    return None
                return HeldBody(self._service, latest, kind, characters, until=until)
        return None

    def _until(self, latest: VersionInfo) -> float:
        now = asyncio.get_running_loop().time()
        while len(self._first_seen) >= REMEMBERED:
            del self._first_seen[next(iter(self._first_seen))]
        since = self._first_seen.setdefault((latest.stream_id, latest.version), now)
        if latest.created_at is not None:
            age = (datetime.now(UTC) - latest.created_at).total_seconds()
            since = min(since, now - age)
        return since + self._seconds


class HeldBody:
    """Yields comments until an attempt has `characters` in chunks of a kind, or has ended, or the
    loop's clock shows `until`; then it breaks off.

    Raises (from `anext`):
        asyncio.CancelledError: The response breaks off; the server then cuts the connection.
    """

    complete = False

    def __init__(
        self,
        service: DurableStreamService[Any],
        latest: VersionInfo,
        kind: str,
        characters: int,
        *,
        until: float,
    ) -> None:
        self._service = service
        self._latest = latest
        self._kind = kind
        self._characters = characters
        self._until = until

    def __repr__(self) -> str:
        return f"<HeldBody {self._latest.stream_id!r} until v{self._latest.version} has caught up>"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield STREAM_OPEN.encode()
        async with self._service.subscribe(
            self._latest.stream_id, after=Cursor(self._latest.version, -1), on_superseded="raise"
        ) as reader:
            while self._characters > 0 and not self._service.closing:
                left = self._until - asyncio.get_running_loop().time()
                if left <= 0:
                    break
                try:
                    batch = await reader.next_batch(min(left, COMMENT_INTERVAL))
                # It has ended; or it was lost too, and the client that comes back has it taken
                # over.
                except (StopAsyncIteration, MonostreamError):
                    break
                chunks = map(self._service.protocol.decode, batch.payloads)
                self._characters -= _characters(chunks, self._kind)
                if not batch.payloads:
                    yield KEEP_ALIVE.encode()
        raise asyncio.CancelledError

    def open(self) -> None:
        """Start the clock that notices shutdown."""
        self._service._clock.join(self._on_tick, alarm=process_exiting)

    def close(self) -> None:
        """Stop that clock."""
        self._service._clock.leave(self._on_tick)

    def _on_tick(self) -> None:
        """Do nothing: the alarm alone is wanted."""


def _cursor_of_attempt(latest: VersionInfo, event_id: str) -> Cursor | None:
    """Return the cursor of an event of an earlier attempt of the open turn, if it is one."""
    if latest.attempt == 1 or latest.state != "open":
        return None
    try:
        cursor = Cursor.parse(event_id)
    except InvalidCursor:
        return None
    # Each attempt is the next version.
    return cursor if 0 < latest.version - cursor.version < latest.attempt else None


def _characters(chunks: Iterable[Chunk], kind: str) -> int:
    return sum(len(chunk["delta"]) for chunk in chunks if chunk["type"] == kind)

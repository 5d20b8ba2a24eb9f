"""Holds a client of a lost answer until the new attempt has as much text as the client shows.

A new attempt replaces the answer on the page. If it came at once, the text that somebody reads
would vanish, and be written again. The client is held by comments, then its connection is cut. It
comes back with the same event, and is told to load the new attempt.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from monostream_ai._periodic import start_task
from monostream_ai.chats.exit_signals import process_exiting
from monostream_ai.chats.turns.turn import is_attempt_of, may_be_attempt_of
from monostream_ai.errors import InvalidCursor, MonostreamError, UnknownStream
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Cursor, VersionInfo
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN

CATCH_UP: Final = 10.0
"""Seconds after the beginning of a new attempt for which clients are held at most."""

COMMENT_INTERVAL: Final = 1.0
"""Seconds between comments."""

LOOK_INTERVAL: Final = 0.1
"""Seconds between looks of a held client at the count that all of them share."""

REMEMBERED: Final = 200
"""Attempts whose clients are or were held here."""

KINDS: Final = ("text-delta", "reasoning-delta")
"""Chunks whose characters count; the second kind only where a client shows none of the first."""


class CatchUp:
    """Decides which clients are held. They come back all at once, so each version is counted once
    for all of them.

    Args:
        seconds: The longest time for which a client is held, from the beginning of the new attempt.
            The clocks of the database and of this host may differ, so the time since the first
            client came here counts too. The time for which it waits for a worker does not.
    """

    def __init__(self, service: DurableStreamService[Any], seconds: float) -> None:
        self._service = service
        self._seconds = seconds
        self._attempts: dict[tuple[str, int], Attempt] = {}

    async def hold(self, latest: VersionInfo, event_id: str) -> HeldBody | None:
        """Return the body that holds a client whose last event is of an earlier attempt; None if it
        shows no more text than the latest attempt has, or has been held long enough.
        """
        cursor = _cursor_of_attempt(latest, event_id)
        if cursor is None or self._seconds == 0:
            return None
        attempt = self._attempt(latest)
        now = asyncio.get_running_loop().time()
        if latest.waiting:
            attempt.until = math.inf
        elif attempt.until == math.inf:
            attempt.until = now + self._seconds
        if attempt.until <= now:
            return None
        try:
            shown = await attempt.shown(cursor)
        except UnknownStream:
            return None
        kind = next((kind for kind in KINDS if shown[kind]), None)
        if kind is None or await attempt.has(kind, shown[kind]):
            return None
        until = min(attempt.until, now + self._seconds)
        return HeldBody(self._service, attempt, kind, shown[kind], until=until)

    def _attempt(self, latest: VersionInfo) -> Attempt:
        key = (latest.stream_id, latest.version)
        known = self._attempts.get(key)
        if known is None or known.broke_off:
            while len(self._attempts) >= REMEMBERED:
                del self._attempts[next(iter(self._attempts))]
            now = asyncio.get_running_loop().time()
            age = 0.0
            if latest.created_at is not None:
                age = max(0.0, (datetime.now(UTC) - latest.created_at).total_seconds())
            self._attempts[key] = Attempt(self._service, latest, until=now - age + self._seconds)
        return self._attempts[key]


class Attempt:
    """Counts the characters of a new attempt, and of the earlier ones that it replaces.

    Args:
        until: Time of the loop's clock after which nobody is held; infinity while it waits.
    """

    def __init__(
        self, service: DurableStreamService[Any], latest: VersionInfo, *, until: float
    ) -> None:
        self.until = until
        self.over = False
        """Whether there is nothing to wait for: it has ended, was lost too, or cannot be read."""
        self._ended = False
        self._service = service
        self._latest = latest
        self._characters: Counter[str] = Counter()
        self._earlier: dict[int, asyncio.Task[Mapping[str, Sequence[int]]]] = {}
        self._holders = 0
        self._counting: asyncio.Task[None] | None = None
        self._counted = asyncio.Event()

    @property
    def broke_off(self) -> bool:
        """Whether it was lost; if it waited for a worker, it may go on in the same version."""
        return self.over and not self._ended

    async def shown(self, cursor: Cursor) -> Counter[str]:
        """Return the characters of an earlier attempt up to a cursor, by kind.

        Raises:
            UnknownStream: The version is no attempt of this turn, or is pruned.
        """
        version = cursor.version
        if version not in self._earlier:
            self._earlier[version] = start_task(self._sums(version))
        try:
            sums = await asyncio.shield(self._earlier[version])
        except MonostreamError:
            self._earlier.pop(version, None)
            raise
        return Counter(
            {kind: each[min(cursor.id + 1, len(each) - 1)] for kind, each in sums.items()}
        )

    async def _sums(self, version: int) -> Mapping[str, Sequence[int]]:
        """Return the characters before each chunk of a version, and before its end."""
        if not await is_attempt_of(self._service, self._latest, version):
            raise UnknownStream(self._latest.stream_id)
        sums = {kind: array("q", [0]) for kind in KINDS}
        async for page in self._service._pages(self._latest.stream_id, version):
            for kind, before in sums.items():
                for chunk in page:
                    before.append(before[-1] + _size(chunk, kind))
        return sums

    async def has(self, kind: str, characters: int) -> bool:
        """Whether this attempt has so many characters by now."""
        with self:
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMENT_INTERVAL):
                    await self._counted.wait()
            return self.has_now(kind, characters)

    def has_now(self, kind: str, characters: int) -> bool:
        return self._ended or self._characters[kind] >= characters

    def __enter__(self) -> Attempt:
        """Count, until as many blocks were left as entered."""
        self._holders += 1
        if self._counting is None and not self.over:
            self._characters.clear()
            self._counting = start_task(self._count())
        return self

    def __exit__(self, *error: object) -> None:
        self._holders -= 1
        if self._holders == 0 and self._counting is not None:
            self._counting.cancel()
            self._counting = None
            self._counted.clear()

    async def _count(self) -> None:
        latest = self._latest
        first = Cursor(latest.version, -1)
        async with self._service.subscribe(
            latest.stream_id, after=first, on_superseded="raise"
        ) as reader:
            # If it was lost too, a client that comes back has it taken over.
            with suppress(MonostreamError):
                while True:
                    try:
                        batch = await reader.next_batch()
                    except StopAsyncIteration:
                        self._ended = True
                        break
                    decode = self._service.protocol.decode
                    for chunk in map(decode, batch.payloads):
                        for kind in KINDS:
                            self._characters[kind] += _size(chunk, kind)
                    if not reader.behind:
                        self._counted.set()
        self.over = True
        self._counted.set()


class HeldBody:
    """Yields comments until an attempt has so many characters of a kind, or has ended; then it
    breaks off.

    Args:
        until: Time of the loop's clock at which it breaks off in any case.

    Raises (from `anext`):
        asyncio.CancelledError: The response breaks off; the server then cuts the connection.
    """

    complete = False

    def __init__(
        self,
        service: DurableStreamService[Any],
        attempt: Attempt,
        kind: str,
        characters: int,
        *,
        until: float,
    ) -> None:
        self._service = service
        self._attempt = attempt
        self._kind = kind
        self._characters = characters
        self._until = until

    def __repr__(self) -> str:
        return f"<HeldBody until there are {self._characters} characters>"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield STREAM_OPEN.encode()
        now = asyncio.get_running_loop().time
        spoke_at = now()
        with self._attempt as attempt:
            while (
                not attempt.has_now(self._kind, self._characters)
                and not attempt.over
                and now() < self._until
                and not self._service.closing
            ):
                await asyncio.sleep(LOOK_INTERVAL)
                if now() - spoke_at >= COMMENT_INTERVAL:
                    spoke_at = now()
                    yield KEEP_ALIVE.encode()
        raise asyncio.CancelledError

    def open(self) -> None:
        """Start the clock that notices shutdown."""
        self._service._clock.join(self._look, after=math.inf, alarm=process_exiting)

    def close(self) -> None:
        """Stop that clock."""
        self._service._clock.leave(self._look)

    def _look(self) -> float:
        # The alarm alone is wanted.
        return math.inf


def _cursor_of_attempt(latest: VersionInfo, event_id: str) -> Cursor | None:
    """Return the cursor of an event, if it may be of an earlier attempt of the open turn."""
    if latest.state != "open":
        return None
    try:
        cursor = Cursor.parse(event_id)
    except InvalidCursor:
        return None
    return cursor if may_be_attempt_of(latest, cursor.version) else None


def _size(chunk: Chunk, kind: str) -> int:
    return len(chunk["delta"]) if chunk["type"] == kind else 0

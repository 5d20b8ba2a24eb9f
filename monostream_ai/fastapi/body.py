"""The body of a streaming response: one version, replayed and then tailed, as SSE frames.

It ends cleanly only after a terminal chunk. In every other case it breaks off, so that the client
comes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn, Self, TypeAlias

from monostream_ai._reading.subscription import Subscription
from monostream_ai.errors import MonostreamError, PublisherLost
from monostream_ai.fastapi.exit_signals import process_exiting
from monostream_ai.fastapi.replays.frames import PIECE_CHARACTERS, ReplayFrames
from monostream_ai.fastapi.replays.starting import Replay
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Batch, Cursor
from monostream_ai.ui_messages.profiles import Profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN, SSEEncoder

logger = logging.getLogger(__name__)

LOST_PAUSE: Final = 0.25
"""Seconds between looks at a lost version that another process has taken over."""

LOST_LOOKS: Final = 40
"""Looks without a chunk after which a response stops waiting for that process."""

OnLost: TypeAlias = Callable[[PublisherLost], Awaitable[bool]]
"""Deals with a lost version. Returns True if more of its chunks follow and can be tailed, at least
its ending; False if the response must break off.
"""


class TurnBody:
    """Yields the frames of one version as bytes, up to its terminal chunk.

    Raises (from `anext`):
        asyncio.CancelledError: The response must break off; the server then cuts the connection.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        stream_id: str,
        replay: Replay,
        *,
        on_lost: OnLost | None,
        keep_alive: float,
        profile: Profile,
    ) -> None:
        self.complete = False
        """Whether the ending of the version was yielded."""
        self._service = service
        self._stream_id = stream_id
        self._on_lost = on_lost or self._end_lost
        self._keep_alive = keep_alive
        self._clock = service._clock
        self._encoder = SSEEncoder(profile)
        self._replayed = ReplayFrames(replay, self._encoder, profile)
        self._pieces = deque([STREAM_OPEN.encode(), *self._replayed.opening()])
        self._shared_as = f"sse {profile}" if self._encoder.shareable else None
        self._subscription = self._subscribe(replay.after)
        self._first_id = replay.first_id
        self._last: str | None = None
        self._lost_looks = 0
        self._spoke_at = time.monotonic()

    def __repr__(self) -> str:
        version = self._replayed.version
        return f"<TurnBody {self._stream_id!r} v{version}{' complete' if self.complete else ''}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces:
            # Only a task that waits can be cancelled, so yield even if the next piece is ready.
            await asyncio.sleep(0)
        elif self.complete:
            raise StopAsyncIteration
        else:
            self._pieces.extend(await self._more())
        self._spoke_at = time.monotonic()
        return self._pieces.popleft()

    def open(self) -> None:
        """Start the clock that sends keep-alives and notices shutdown."""
        self._clock.join(self._on_tick, alarm=process_exiting)

    def close(self) -> None:
        """Leave the stream; its publisher does not notice."""
        self._clock.leave(self._on_tick)
        self._subscription.close()

    def _on_tick(self) -> None:
        if self._service.closing or self._keep_alive_due:
            self._subscription.interrupt()

    @property
    def _keep_alive_due(self) -> bool:
        return time.monotonic() - self._spoke_at >= self._keep_alive

    async def _more(self) -> Sequence[bytes]:
        while True:
            if self._service.closing:
                self._break_off("the process is shutting down")
            try:
                batch = await self._subscription.next_batch()
            except StopAsyncIteration:
                self.complete = True
                return [self._encoder.end(self._last).encode()]
            except PublisherLost as lost:
                await self._follow_lost(lost)
                continue
            except MonostreamError as error:
                self._break_off(str(error))
            if batch.payloads:
                self._lost_looks = 0
                if batch.first < self._first_id:
                    batch = _from(batch, self._first_id)
                    if not batch.payloads:
                        continue
                self._last = batch.payloads[-1]
                if self._subscription.behind or not self._subscription.waited:
                    # Let the read of the next page start before this page is encoded.
                    await asyncio.sleep(0)
                return self._frames(batch)
            if self._keep_alive_due:
                return [KEEP_ALIVE.encode()]

    def _frames(self, batch: Batch) -> Sequence[bytes]:
        if batch.first < self._replayed.end:
            return self._replayed.of(batch)
        if self._shared_as is None:
            return self._live_frames(batch)
        # Readers of one batch share its frames. Nothing is awaited between the look and the store,
        # so no two of them encode it.
        shared = batch._frames
        if self._shared_as not in shared:
            shared[self._shared_as] = self._live_frames(batch)
        return shared[self._shared_as]

    def _live_frames(self, batch: Batch) -> list[bytes]:
        """Encode the payloads as they are, in pieces of about `PIECE_CHARACTERS`."""
        payloads = batch.payloads
        characters = sum(map(len, payloads))
        if characters <= PIECE_CHARACTERS:
            return [self._encoder.frames(batch).encode()]
        at_once = max(1, PIECE_CHARACTERS * len(payloads) // characters)
        parts = [
            Batch(batch.version, batch.first + start, payloads[start : start + at_once])
            for start in range(0, len(payloads), at_once)
        ]
        return [self._encoder.frames(part).encode() for part in parts]

    async def _follow_lost(self, lost: PublisherLost) -> None:
        """Have the lost version taken over, and subscribe again to see the rest of it."""
        try:
            more_follows = await self._on_lost(lost)
        except MonostreamError as error:
            self._break_off(str(error))
        if not more_follows or self._lost_looks > LOST_LOOKS:
            self._break_off(str(lost))
        if self._lost_looks > 0:
            # Another process has it.
            await asyncio.sleep(LOST_PAUSE)
        self._lost_looks += 1
        self._subscription = self._subscribe(self._subscription.cursor or Cursor(lost.version, -1))

    async def _end_lost(self, lost: PublisherLost) -> bool:
        await self._service.end_lost(lost.stream_id, lost.version)
        return True

    def _subscribe(self, after: Cursor) -> Subscription[Any]:
        return self._service.subscribe(self._stream_id, after=after, on_superseded="raise")

    def _break_off(self, reason: str) -> NoReturn:
        logger.debug("breaking off a response of stream %r: %s", self._stream_id, reason)
        raise asyncio.CancelledError


def _from(batch: Batch, id: int) -> Batch:
    return Batch(batch.version, id, batch.payloads[id - batch.first :])

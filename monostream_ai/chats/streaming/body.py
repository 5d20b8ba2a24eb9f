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
from typing import Any, Final, NoReturn, Protocol, Self, TypeAlias

from monostream_ai._reading.subscription import Subscription
from monostream_ai.chats.exit_signals import process_exiting
from monostream_ai.chats.streaming.replays.frames import PIECE_CHARACTERS, ReplayFrames
from monostream_ai.chats.streaming.replays.starting import Replay
from monostream_ai.errors import MonostreamError, PublisherLost
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Batch, Cursor
from monostream_ai.ui_messages.profiles import Profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN, SSEEncoder

logger = logging.getLogger(__name__)

LOST_PAUSE: Final = 0.25
"""Seconds between looks at a lost version that another process has taken over."""

LOST_LOOKS: Final = 40
"""Looks without a chunk after which a response stops waiting for that process."""

LostHandler: TypeAlias = Callable[[PublisherLost], Awaitable[bool]]
"""Deals with a lost version. Returns True if more of its chunks follow and can be tailed, at least
its ending; False if the response must break off.
"""


class Encoder(Protocol):
    """Turns a version into the frames of one response, for clients of another protocol."""

    def frames(self, batch: Batch) -> str:
        """Return the frames of consecutive payloads; empty if the client gets none."""

    def end(self, last_payload: str | None) -> str:
        """Return the frames that follow the last payload of a closed version."""


class TurnBody:
    """Yields the frames of one version as bytes, up to its terminal chunk.

    Args:
        encoder: Takes the place of the one for UI messages. It needs a whole replay whose chunks
            are neither merged nor shaped.

    Raises (from `anext`):
        asyncio.CancelledError: The response must break off; the server then cuts the connection.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        stream_id: str,
        replay: Replay,
        *,
        on_lost: LostHandler | None,
        keep_alive: float,
        profile: Profile,
        encoder: Encoder | None = None,
    ) -> None:
        self.complete = False
        """Whether the ending of the version was yielded."""
        self._service = service
        self._stream_id = stream_id
        self._on_lost = on_lost or self._end_lost
        self._keep_alive = keep_alive
        self._clock = service._clock
        messages = SSEEncoder(profile)
        self._encoder = encoder or messages
        self._translates = encoder is not None
        self._replayed = ReplayFrames(replay, messages, profile)
        self._pieces = deque([STREAM_OPEN.encode(), *self._replayed.opening()])
        self._shared_as = f"sse {profile}" if messages.shareable and not self._translates else None
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
            if not self._pieces:
                raise StopAsyncIteration
        self._spoke_at = time.monotonic()
        return self._pieces.popleft()

    def open(self) -> None:
        """Start the clock that sends keep-alives and notices shutdown."""
        self._clock.join(self._look, after=self._keep_alive, alarm=process_exiting)

    def close(self) -> None:
        """Leave the stream; its publisher does not notice."""
        self._clock.leave(self._look)
        self._subscription.close()

    def _look(self) -> float:
        left = self._keep_alive_in
        if self._service.closing or left <= 0:
            self._subscription.interrupt()
        return left if left > 0 else self._keep_alive

    @property
    def _keep_alive_in(self) -> float:
        """Seconds until a comment is due."""
        return self._spoke_at + self._keep_alive - time.monotonic()

    async def _more(self) -> Sequence[bytes]:
        """Return the next pieces; none only at the end."""
        while True:
            if self._service.closing:
                self._break_off("the process is shutting down")
            try:
                batch = await self._subscription.next_batch()
            except StopAsyncIteration:
                self.complete = True
                end = self._encoder.end(self._last)
                return [end.encode()] if end else []
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
                if batch.first < self._replayed.end:
                    # Nothing, if all of the page is held back.
                    if frames := await self._in_turn(self._replayed.of, batch):
                        return frames
                    continue
                behind = self._subscription.behind or not self._subscription.waited
                if behind and self._translates:
                    frames = await self._in_turn(self._frames, batch)
                else:
                    if behind:
                        # Let the read of the next page start before this page is encoded.
                        await asyncio.sleep(0)
                    frames = self._frames(batch)
                if any(frames):
                    return frames
            if self._keep_alive_in <= 0:
                return [KEEP_ALIVE.encode()]

    async def _in_turn(
        self, encode: Callable[[Batch], Sequence[bytes]], batch: Batch
    ) -> Sequence[bytes]:
        # One page in a turn of the loop: a hundred responses that decode one each would hold up
        # live readers for a hundred milliseconds. And the read of the next page starts meanwhile.
        async with self._service._merging:
            await asyncio.sleep(0)
            return encode(batch)

    def _frames(self, batch: Batch) -> Sequence[bytes]:
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

"""The body of a streaming response: one version, replayed and tailed, and never a clean end without
a terminal chunk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NoReturn, Self, TypeAlias

from monostream_ai._reading.subscription import Subscription
from monostream_ai.errors import MonostreamError, PublisherLost
from monostream_ai.fastapi.exiting import process_exiting
from monostream_ai.fastapi.merging import merge_deltas
from monostream_ai.fastapi.replays import Replay
from monostream_ai.fastapi.shaping import ReplayShape
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Batch, Cursor
from monostream_ai.ui_messages.profiles import Profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN, SSEEncoder

logger = logging.getLogger(__name__)

PIECE_CHARACTERS: Final = 64 * 1024
"""A long replay lets the loop run after each piece; without that a client that goes away is not
noticed.
"""

LOST_PAUSE: Final = 0.25
"""Seconds between looks at a lost version that another process is ending."""

LOST_LOOKS: Final = 40
"""Looks after which a response gives up on an ending that does not come."""

OnLost: TypeAlias = Callable[[PublisherLost], Awaitable[bool]]
"""Deals with a lost version. True: its ending will follow and can be tailed. False: break the
response.
"""


class TurnBody:
    """Frames of one version, from its first chunk to its terminal one.

    Raises (from `anext`):
        asyncio.CancelledError: The response must be broken off; servers then cut the connection.
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
        """Whether the version's ending was yielded."""
        self._service = service
        self._stream_id = stream_id
        self._on_lost = on_lost or self._end_lost
        self._keep_alive = keep_alive
        self._encoder = SSEEncoder(profile)
        self._subscription = self._subscribe(replay.after)
        self._pieces: deque[bytes] = deque([STREAM_OPEN.encode()])
        self._kind = f"sse {profile}" if self._encoder.shareable else None
        self._merge_before = replay.merge_before
        self._plain_from = max(replay.merge_before, 1 if replay.earlier else 0)
        self._shape = ReplayShape(profile, goes_on=replay.after.id >= 0) if replay.shaped else None
        self._earlier = replay.earlier
        if replay.earlier and replay.after.id >= 0:
            self._pieces.append(self._encoder.frames_without_id(self._earlier).encode())
        self._last: str | None = None
        self._lost_looks = 0
        self._spoke_at = time.monotonic()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces:
            # Also between pieces that are ready: only a task that waits can be cancelled.
            await asyncio.sleep(0)
        elif self.complete:
            raise StopAsyncIteration
        else:
            self._pieces.extend(await self._more())
        self._spoke_at = time.monotonic()
        return self._pieces.popleft()

    def open(self) -> None:
        """Begin to look at the time: for the next comment, and for the end of the process."""
        self._service._clock.join(self._look_at_the_time, alarm=process_exiting)

    def close(self) -> None:
        """Leave the stream. The publisher does not notice."""
        self._service._clock.leave(self._look_at_the_time)
        self._subscription.close()

    def _look_at_the_time(self) -> None:
        if self._service.closing or self._silent_for_long:
            self._subscription.interrupt()

    @property
    def _silent_for_long(self) -> bool:
        return time.monotonic() - self._spoke_at >= self._keep_alive

    async def _more(self) -> Sequence[bytes]:
        while True:
            if self._service.closing:
                self._break("the process is shutting down")
            try:
                batch = await self._subscription.next_batch()
            except StopAsyncIteration:
                self.complete = True
                return [self._encoder.end(self._last).encode()]
            except PublisherLost as lost:
                await self._recover(lost)
                continue
            except MonostreamError as error:
                self._break(str(error))
            if batch.payloads:
                self._last = batch.payloads[-1]
                if self._subscription.behind or not self._subscription.waited:
                    # Where more is stored, the read of the next page begins before this one is
                    # encoded.
                    await asyncio.sleep(0)
                return self._encoded(batch)
            if self._silent_for_long:
                return [KEEP_ALIVE.encode()]

    def _encoded(self, batch: Batch) -> Sequence[bytes]:
        if batch.first < self._plain_from:
            return [piece.encode() for piece in _packed(self._replayed(batch))]
        if self._kind is None:
            return self._plain(batch)
        # All readers of this batch send the same bytes.
        if self._kind not in batch._frames:
            batch._frames[self._kind] = self._plain(batch)
        return batch._frames[self._kind]

    def _replayed(self, batch: Batch) -> Iterator[str]:
        """Yield what is merged or shaped, and what follows it in its batch."""
        stored = max(0, self._merge_before - batch.first)
        ids, payloads = self._shaped(
            range(batch.first, batch.first + len(batch.payloads))[:stored], batch.payloads[:stored]
        )
        live = Batch(batch.version, batch.first + stored, batch.payloads[stored:])
        for id, payload in chain(merge_deltas(ids, payloads), enumerate(live.payloads, live.first)):
            frame = payload
            if id == 0 and self._earlier:
                # Only `start` may come before them: it makes the client begin the message anew. Its
                # id comes with the last of them: who goes on after it has them all.
                yield self._encoder.frames_without_id([payload, *self._earlier[:-1]])
                frame = self._earlier[-1]
            yield self._encoder.frames(Batch(batch.version, id, [frame]))

    def _plain(self, batch: Batch) -> list[bytes]:
        """Return what is neither merged nor shaped, as the tail is."""
        payloads = batch.payloads
        at_once = max(1, PIECE_CHARACTERS * len(payloads) // sum(map(len, payloads)))
        pieces = range(0, len(payloads), at_once)
        parts = [
            Batch(batch.version, batch.first + start, payloads[start : start + at_once])
            for start in pieces
        ]
        return [self._encoder.frames(part).encode() for part in parts]

    def _shaped(
        self, ids: Sequence[int], payloads: Sequence[str]
    ) -> tuple[Sequence[int], Sequence[str]]:
        shape = self._shape
        is_last = len(ids) > 0 and ids[-1] == self._merge_before - 1
        if shape is None or shape.passes(payloads):
            return ids, payloads
        shaped = [
            each
            for id, payload in zip(ids, payloads, strict=True)
            for each in shape.feed(id, payload)
        ]
        if is_last:
            shaped += shape.flush()
        return [id for id, _ in shaped], [payload for _, payload in shaped]

    async def _recover(self, lost: PublisherLost) -> None:
        try:
            followed = await self._on_lost(lost)
        except MonostreamError as error:
            self._break(str(error))
        self._lost_looks += 1
        if not followed or self._lost_looks > LOST_LOOKS:
            self._break(str(lost))
        # Another process may be writing the ending at this moment.
        await asyncio.sleep(LOST_PAUSE)
        self._subscription = self._subscribe(self._subscription.cursor or Cursor(lost.version, -1))

    async def _end_lost(self, lost: PublisherLost) -> bool:
        await self._service.end_lost(lost.stream_id, lost.version)
        return True

    def _subscribe(self, after: Cursor) -> Subscription[Any]:
        return self._service.subscribe(self._stream_id, after=after, on_superseded="raise")

    def _break(self, reason: str) -> NoReturn:
        logger.debug("breaking a response of stream %r: %s", self._stream_id, reason)
        raise asyncio.CancelledError


def _packed(frames: Iterable[str]) -> Iterator[str]:
    piece, size = list[str](), 0
    for frame in frames:
        piece.append(frame)
        size += len(frame)
        if size >= PIECE_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    if size:
        yield "".join(piece)

"""Writing one version of a stream."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Generic, Literal, Self

from monostream_ai.encoding import Encoded, encode_chunks
from monostream_ai.errors import (
    MASKED_ERROR_TEXT,
    ChunkRefused,
    MonostreamError,
    Overflow,
    PublisherClosed,
    StreamClosed,
)
from monostream_ai.interruption import Interruption
from monostream_ai.machinery import Machinery
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.shielding import finish_despite_cancel
from monostream_ai.types import Cursor, Ending, Lease, Opening, WakeUp
from monostream_ai.writer import Outbox, Write

logger = logging.getLogger(__name__)

MAX_PUSHED_BYTES: Final = 16 * 1024 * 1024
"""Bytes that one publisher may have pushed and not yet stored."""

OnCancel = Literal["abort", "release"]


class Publisher(Generic[C]):
    """The one writer of a version; made by `service.publisher`.

    `async with` opens the version and ends it: with the protocol's finish when the block completes, its error when the block
    raises, its abort when the block is cancelled. If the version is taken away meanwhile (a stop, a newer version), the block's
    task is cancelled and the block raises `StreamStopped` or `Fenced`.
    """

    def __init__(
        self,
        machinery: Machinery,
        protocol: ChunkProtocol[C],
        stream_id: str,
        version: int | None,
        opening: Opening,
        *,
        on_cancel: OnCancel,
    ) -> None:
        self._machinery = machinery
        self._protocol = protocol
        self._stream_id = stream_id
        self._asked_version = version
        self._opening = opening
        self._on_cancel = on_cancel
        self._transcript = protocol.transcript(opening.message_id)
        self._outbox: Outbox | None = None
        self._last_write: asyncio.Future[int] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._pushed: deque[tuple[tuple[C, ...], Encoded]] = deque()
        self._interruption = Interruption()
        self._ended = False
        self.dropped = 0
        """Chunks pushed after the end, which nothing takes."""

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def version(self) -> int:
        """The version that was opened. Raises `PublisherClosed` before `open`."""
        return self._opened().lease.version

    @property
    def message_id(self) -> str | None:
        return self._opening.message_id

    @property
    def attempt(self) -> int:
        """1 for a first run, more for a version that repeats a lost one."""
        return self._opening.attempt

    @property
    def next_id(self) -> int:
        return self._opened().next_id

    @property
    def cursor(self) -> Cursor:
        """The cursor of the last durable chunk; id -1 before the first."""
        return Cursor(self.version, self.next_id - 1)

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more: ended, fenced, stopped or failed."""
        return self._ended or (self._outbox is not None and self._outbox.failure is not None)

    async def open(self) -> Self:
        """Acquire the version; older ones are fenced when it returns.

        Raises:
            VersionConflict: The explicit version, or a newer one, exists.
            StoreUnavailable: The store did not answer; a version may have been opened and will count as lost.
        """
        if self._outbox is None:
            machinery = self._machinery
            await machinery.ready()
            version = await machinery.store.acquire(self._stream_id, self._asked_version, self._opening)
            lease = Lease(self._stream_id, version, self._opening.token)
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
            self._outbox = Outbox(lease)
            machinery.leases.add(lease, self)
            machinery.announce(WakeUp(self._stream_id, version, -1))
            logger.info("opened stream %r version %d", self._stream_id, version)
        return self

    async def write(self, *chunks: C) -> int:
        """Store chunks, all or none, in order; return the id of the last one.

        Durable when it returns. A terminal chunk closes the version in the same commit. If the call is cancelled, the chunks
        still land.

        Raises:
            InvalidChunk, ChunkTooLarge: Nothing of this call was written.
            StreamClosed, StreamStopped, Fenced, StreamDeleted: The version is not ours to write any more; nothing was written.
            PublisherClosed: The publisher was not opened, or it was released.
            ChunkRefused: The table's column cannot hold a chunk; nothing of this call was written.
            StoreUnavailable: The store did not answer for longer than the outage timeout.
        """
        outbox = self._drained()
        encoded = encode_chunks(self._protocol, chunks)
        if self.closed:
            raise outbox.failure or StreamClosed(self._stream_id, outbox.lease.version)
        if self._interruption.error is not None:
            raise self._interruption.error
        return await self._put(outbox, chunks, encoded) if chunks else outbox.next_id - 1

    def push(self, *chunks: C) -> None:
        """Queue chunks without waiting, from any thread, in order with `write`.

        A failure to store them interrupts the block as a stop does, and is raised by the next `write`, `flush` or `close`. Chunks
        pushed after the end are counted in `dropped`.

        Raises:
            InvalidChunk, ChunkTooLarge: Nothing of this call was queued.
            PublisherClosed: The publisher was not opened.
        """
        self._opened()
        self._pushed.append((chunks, encode_chunks(self._protocol, chunks)))
        if self._thread == threading.get_ident():
            self._drained()
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._drained)

    async def flush(self) -> None:
        """Wait until everything written and pushed so far is durable; raise what `write` would."""
        outbox = self._drained()
        if self._last_write is not None:
            await asyncio.wait([self._last_write])
        failure = outbox.failure or self._interruption.error
        if failure is not None:
            raise failure

    async def close(self, ending: Ending = "finish", *, error_text: str = MASKED_ERROR_TEXT) -> None:
        """End the version with the protocol's chunks for this ending; without effect if this publisher ended it before.

        Args:
            error_text: What a user may read about an error; never put an exception's text here unasked.

        Raises:
            StreamStopped, Fenced, StreamClosed, StoreUnavailable: As `write`.
        """
        outbox = self._drained()
        if self._ended:
            return
        chunks = self._transcript.ending(ending, error_text)
        if not chunks and ending in ("error", "lost"):
            # Without a chunk that says so, a clean close would look like success.
            await self.release()
            return
        payloads, _ = encode_chunks(self._protocol, chunks)
        await self._put(outbox, chunks, Encoded(payloads, closes=True))
        logger.info("closed stream %r version %d (%s)", self._stream_id, outbox.lease.version, ending)

    async def release(self) -> None:
        """Give the version up without an ending: its readers get `PublisherLost` at once, and another process may take over."""
        outbox = self._drained()
        self._end(outbox)
        if self._last_write is not None:
            await asyncio.wait([self._last_write])
        outbox.fail(PublisherClosed(self._stream_id, outbox.lease.version))
        await self._machinery.store.release(outbox.lease)
        self._machinery.announce(WakeUp(self._stream_id, outbox.lease.version, outbox.next_id))

    def lose(self, error: BaseException) -> None:
        """Be told that the version is not ours any more."""
        if self._outbox is not None and not self._ended:
            self._machinery.leases.remove(self._outbox.lease)
            self._outbox.fail(error)
            self._interruption.interrupt(error)

    async def __aenter__(self) -> Self:
        self._interruption.enter()
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        cancelled = await finish_despite_cancel(self._finish(error))
        self._interruption.leave(error, cancelled=cancelled)

    async def _finish(self, error: BaseException | None) -> None:
        outbox = self._drained()
        try:
            if self.closed:
                # A pushed terminal chunk may still be on its way.
                await self.flush()
                return
            if self._interruption.error is not None:
                await self.close("error")
            elif error is None:
                await self.close("finish")
            elif isinstance(error, Exception):
                await self.close("error")
            elif self._on_cancel == "release":
                await self.release()
            else:
                await self.close("abort")
        except MonostreamError as failure:
            if error is None and self._interruption.error is None:
                raise
            logger.warning("could not end stream %r version %d: %s", self._stream_id, outbox.lease.version, failure)
        finally:
            self._end(outbox)

    def _opened(self) -> Outbox:
        if self._outbox is None:
            raise PublisherClosed(self._stream_id, None)
        return self._outbox

    def _drained(self) -> Outbox:
        # Whatever was pushed, from whichever thread, stands before what comes now.
        outbox = self._opened()
        while self._pushed:
            chunks, encoded = self._pushed.popleft()
            if self.closed or self._interruption.error is not None:
                self.dropped += len(chunks)
                continue
            self._put(outbox, chunks, encoded).add_done_callback(self._settle_push)
            if outbox.size > MAX_PUSHED_BYTES:
                self._interruption.interrupt(Overflow(self._stream_id, outbox.lease.version, MAX_PUSHED_BYTES))
        return outbox

    def _put(self, outbox: Outbox, chunks: Sequence[C], encoded: Encoded) -> asyncio.Future[int]:
        for chunk in chunks:
            self._transcript.feed(chunk)
        done = asyncio.get_running_loop().create_future()
        self._last_write = done
        self._machinery.writer.put(outbox, Write(encoded.payloads, sum(map(len, encoded.payloads)), encoded.closes, done))
        if encoded.closes:
            self._end(outbox)
        return done

    def _settle_push(self, done: asyncio.Future[int]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, ChunkRefused):
            # The log lacks a chunk now, so it must not end as if it were whole; but an error ending still fits.
            self._interruption.interrupt(error)
        elif error is not None:
            self.lose(error)

    def _end(self, outbox: Outbox) -> None:
        self._ended = True
        self._machinery.leases.remove(outbox.lease)

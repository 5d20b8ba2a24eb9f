"""Writing one version of a stream."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Literal, Self

from monostream_ai.errors import (
    MASKED_ERROR_TEXT,
    ChunkRefused,
    ChunkTooLarge,
    MonostreamError,
    Overflow,
    PublisherClosed,
    StreamClosed,
)
from monostream_ai.interfaces import Store
from monostream_ai.leases import LeaseKeeper
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.shielding import finish_despite_cancel
from monostream_ai.types import MAX_CHUNK_BYTES, Cursor, Ending, Lease, Opening, WakeUp
from monostream_ai.writer import GroupWriter, Outbox, Write

logger = logging.getLogger(__name__)

MAX_PUSHED_BYTES: Final = 16 * 1024 * 1024
"""UTF-8 bytes that one publisher may have pushed and not yet stored."""

OnCancel = Literal["abort", "release"]


@dataclass(frozen=True, slots=True)
class Machinery:
    """What the publishers of a service share."""

    ready: Callable[[], Awaitable[None]]
    store: Store
    writer: GroupWriter
    leases: LeaseKeeper
    announce: Callable[[WakeUp], None]


def new_token() -> str:
    """Return a writer token: 128 random bits, so that nobody writes by guessing."""
    return secrets.token_hex(16)


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
        self._ready = machinery.ready
        self._store = machinery.store
        self._writer = machinery.writer
        self._leases = machinery.leases
        self._announce = machinery.announce
        self._protocol = protocol
        self._stream_id = stream_id
        self._asked_version = version
        self._opening = opening
        self._on_cancel = on_cancel
        self._transcript = protocol.transcript()
        self._outbox: Outbox | None = None
        self._last_write: asyncio.Future[int] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cancel_sent = False
        self._interruption: BaseException | None = None
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
            await self._ready()
            version = await self._store.acquire(self._stream_id, self._asked_version, self._opening)
            lease = Lease(self._stream_id, version, self._opening.token)
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
            self._outbox = Outbox(lease)
            self._leases.add(lease, self)
            self._announce(WakeUp(self._stream_id, version, -1))
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
        outbox = self._opened()
        if self._interruption is not None and outbox.failure is None:
            raise self._interruption
        if not chunks:
            return outbox.next_id - 1
        payloads, closes = self._encode(chunks)
        if self.closed:
            raise outbox.failure or StreamClosed(self._stream_id, outbox.lease.version)
        return await self._put(outbox, chunks, payloads, closes)

    def push(self, *chunks: C) -> None:
        """Queue chunks without waiting, from any thread, in order with `write`.

        A failure to store them interrupts the block as a stop does, and is raised by the next `write`, `flush` or `close`. Chunks
        pushed after the end are counted in `dropped`.

        Raises:
            InvalidChunk, ChunkTooLarge: Nothing of this call was queued.
        """
        self._opened()
        payloads, closes = self._encode(chunks)
        if self._thread == threading.get_ident():
            self._push(chunks, payloads, closes)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._push, chunks, payloads, closes)

    async def flush(self) -> None:
        """Wait until everything written and pushed so far is durable; raise what `write` would."""
        outbox = self._opened()
        if self._last_write is not None:
            await asyncio.wait([self._last_write])
        failure = outbox.failure or self._interruption
        if failure is not None:
            raise failure

    async def close(self, ending: Ending = "finish", *, error_text: str = MASKED_ERROR_TEXT) -> None:
        """End the version with the protocol's chunks for this ending; without effect if it was ended by this publisher before.

        Args:
            error_text: What a user may read about an error; never put an exception's text here unasked.

        Raises:
            StreamStopped, Fenced, StreamClosed, StoreUnavailable: As `write`.
        """
        outbox = self._opened()
        if self._ended:
            return
        chunks = self._transcript.ending(ending, error_text)
        if not chunks and ending in ("error", "lost"):
            # Without a chunk that says so, a clean close would look like success.
            await self.release()
            return
        payloads, _ = self._encode(chunks)
        self._ended = True
        try:
            await self._put(outbox, chunks, payloads, closes=True)
        finally:
            self._leases.remove(outbox.lease)
        logger.info("closed stream %r version %d (%s)", self._stream_id, outbox.lease.version, ending)

    async def release(self) -> None:
        """Give the version up without an ending: its readers get `PublisherLost` at once, and another process may take over."""
        outbox = self._opened()
        self._ended = True
        self._leases.remove(outbox.lease)
        if self._last_write is not None:
            await asyncio.wait([self._last_write])
        outbox.fail(PublisherClosed(self._stream_id, outbox.lease.version))
        await self._store.release(outbox.lease)
        self._announce(WakeUp(self._stream_id, outbox.lease.version, outbox.next_id))

    def lose(self, error: MonostreamError) -> None:
        """Be told that the version is not ours any more."""
        if self._outbox is not None and not self._ended:
            self._leases.remove(self._outbox.lease)
            self._outbox.fail(error)
            self._interrupt(error)

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        cancelled = await finish_despite_cancel(self._finish(error))
        interruption, task, self._task = self._interruption, self._task, None
        if interruption is not None:
            foreign = self._cancel_sent and task is not None and task.uncancel() > self._cancelling
            if not foreign and (error is None or isinstance(error, asyncio.CancelledError)):
                raise interruption from None
        elif cancelled and error is None:
            raise asyncio.CancelledError

    async def _finish(self, error: BaseException | None) -> None:
        outbox = self._opened()
        try:
            if self.closed:
                return
            if self._interruption is not None:
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
            if error is None:
                raise
            logger.warning("could not end stream %r version %d: %s", self._stream_id, outbox.lease.version, failure)
        finally:
            self._ended = True
            self._leases.remove(outbox.lease)

    def _opened(self) -> Outbox:
        if self._outbox is None:
            raise PublisherClosed(self._stream_id, None)
        return self._outbox

    def _encode(self, chunks: Sequence[C]) -> tuple[list[str], bool]:
        payloads = []
        for chunk in chunks:
            payload = self._protocol.encode(chunk)
            # A character takes at most 4 bytes, so most payloads need no second look.
            if len(payload) * 4 > MAX_CHUNK_BYTES and (size := len(payload.encode())) > MAX_CHUNK_BYTES:
                kind = chunk.get("type", "a") if isinstance(chunk, dict) else type(chunk).__name__
                raise ChunkTooLarge(str(kind), size, MAX_CHUNK_BYTES)
            payloads.append(payload)
        terminal = [self._protocol.is_terminal(chunk) for chunk in chunks]
        if any(terminal[:-1]):
            raise StreamClosed(self._stream_id, self.version)
        return payloads, bool(terminal) and terminal[-1]

    def _put(self, outbox: Outbox, chunks: Sequence[C], payloads: list[str], closes: bool) -> asyncio.Future[int]:
        for chunk in chunks:
            self._transcript.feed(chunk)
        done = asyncio.get_running_loop().create_future()
        self._last_write = done
        self._writer.put(outbox, Write(payloads, sum(map(len, payloads)), closes, done))
        if closes:
            self._ended = True
            self._leases.remove(outbox.lease)
        return done

    def _push(self, chunks: Sequence[C], payloads: list[str], closes: bool) -> None:
        outbox = self._opened()
        if self.closed or self._interruption is not None:
            self.dropped += len(chunks)
            return
        self._put(outbox, chunks, payloads, closes).add_done_callback(self._pushed)
        if outbox.size > MAX_PUSHED_BYTES:
            self._interrupt(Overflow(self._stream_id, outbox.lease.version, MAX_PUSHED_BYTES))

    def _pushed(self, done: asyncio.Future[int]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, ChunkRefused):
            # The log lacks a chunk now, so it must not end as if it were whole; but an error ending still fits.
            self._interrupt(error)
        elif isinstance(error, MonostreamError):
            self.lose(error)

    def _interrupt(self, error: BaseException) -> None:
        if self._interruption is None:
            self._interruption = error
            if self._task is not None and not self._task.done():
                self._cancel_sent = True
                self._task.cancel()

"""An open version as its publisher writes it: what was pushed, what is on its way to the store, and
how it may end.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic

from monostream_ai._runtime import Machinery
from monostream_ai._writing.cancelling import Interruption
from monostream_ai._writing.encoding import Encoded, encode_chunks
from monostream_ai._writing.outbox import Outbox, Write
from monostream_ai.errors import (
    ChunkRefused,
    Overflow,
    PublisherClosed,
    StreamClosed,
    WrongEventLoop,
)
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Ending, Lease, WakeUp, log_fields

logger = logging.getLogger(__name__)

MAX_PUSHED_BYTES: Final = 16 * 1024 * 1024
"""Bytes that one publisher may have pushed and not yet stored."""

MERGE_BYTES: Final = 256 * 1024
"""Bytes pushed and not yet stored past which adjacent chunks are merged where the protocol can."""


class OpenVersion(Generic[C]):
    """Belongs to the event loop that made it; only `push` may be called from other threads.

    Args:
        interruption: Told of what ends the publisher's block from outside.
    """

    def __init__(
        self,
        machinery: Machinery,
        protocol: ChunkProtocol[C],
        lease: Lease,
        interruption: Interruption,
        *,
        message_id: str | None,
    ) -> None:
        self.lease = lease
        self.ended = False
        """Whether this publisher has written, or is writing, the end, or gave the version up."""
        self.released = False
        self.dropped = 0
        self._machinery = machinery
        self._protocol = protocol
        self._interruption = interruption
        self._transcript = protocol.transcript(message_id)
        self._outbox = Outbox(lease)
        self._last_write: Write | None = None
        self._pushed: deque[tuple[tuple[C, ...], Encoded]] = deque()
        self._last_pushed: tuple[Write, C] | None = None
        self._waiting_bytes = 0
        self._overflow: Overflow | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    @property
    def next_id(self) -> int:
        return self._outbox.next_id

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more: ended, fenced, stopped or failed."""
        return self.ended or self._outbox.failure is not None

    @property
    def trouble(self) -> BaseException | None:
        """Why the version may only end with an error."""
        return self._interruption.error or self._outbox.incomplete or self._overflow

    async def write(self, chunks: Sequence[C]) -> int:
        """As `Publisher.write`."""
        self._drain_here()
        encoded = encode_chunks(self._protocol, chunks)
        if self.closed:
            # One object for all calls: without this, each would add its frames to it.
            failure = self._outbox.failure or StreamClosed(self.lease.stream_id, self.lease.version)
            raise failure.with_traceback(None)
        if self.trouble is not None:
            raise self.trouble.with_traceback(None)
        if not chunks:
            return self.next_id - 1
        write, done = self._put(chunks, encoded)
        try:
            # Shielded: a caller that gives up must not turn what it wrote into something that may
            # or may not land.
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            # Nobody waits for it any more, as for something pushed.
            write.pushed = True
            done.add_done_callback(self._settle_given_up)
            raise

    def push(self, chunks: tuple[C, ...]) -> None:
        """As `Publisher.push`."""
        encoded = encode_chunks(self._protocol, chunks)
        if self._waiting_bytes > MAX_PUSHED_BYTES:
            self._overflow = Overflow(self.lease.stream_id, self.lease.version, MAX_PUSHED_BYTES)
            raise self._overflow
        self._waiting_bytes += encoded.size
        self._pushed.append((chunks, encoded))
        if self._thread == threading.get_ident():
            self._drain()
        else:
            self._loop.call_soon_threadsafe(self._drain)

    async def flush(self) -> None:
        """As `Publisher.flush`."""
        self._drain_here()
        await self._settled()
        failure = self._outbox.failure or self.trouble
        if failure is not None:
            raise failure

    async def close(self, ending: Ending, error_text: str) -> None:
        """As `Publisher.close`."""
        self._drain_here()
        if self.ended:
            await self._settled()
            if self._outbox.failure is not None and not self.released:
                raise self._outbox.failure
            return
        try:
            await self._close(
                "error" if self.trouble and ending == "finish" else ending, error_text
            )
        except ChunkRefused:
            # Something pushed before could not be stored; an error ending still fits behind what
            # was.
            await self._close("error", error_text)
            raise
        if self.trouble is not None and ending == "finish":
            raise self.trouble

    async def release(self) -> None:
        """As `Publisher.release`."""
        self._drain_here()
        self.ended = self.released = True
        self._machinery.leases.remove(self.lease)
        await self._settled()
        self._outbox.fail(PublisherClosed(self.lease.stream_id, self.lease.version))
        await self._machinery.store.release(self.lease)
        self._machinery.announce(WakeUp(self.lease.stream_id, self.lease.version, self.next_id))

    def lose(self, error: BaseException) -> None:
        """Be told that the version is not ours any more."""
        if not self.ended:
            self._machinery.leases.remove(self.lease)
            self._outbox.fail(error)
            self._interruption.interrupt(error)

    def abandon(self) -> None:
        """Write nothing any more, and let the lease lapse if there is no end."""
        self.ended = True
        self._machinery.leases.remove(self.lease)

    async def _close(self, ending: Ending, error_text: str) -> None:
        chunks = self._transcript.ending(ending, error_text)
        if not chunks and ending in ("error", "lost"):
            # Without a chunk that says so, a clean close would look like success.
            await self.release()
            return
        _, done = self._put(chunks, encode_chunks(self._protocol, chunks)._replace(closes=True))
        await asyncio.shield(done)
        name, version, _ = self.lease
        logger.info(
            "closed stream %r version %d (%s)",
            name,
            version,
            ending,
            extra=log_fields(name, version),
        )

    async def _settled(self) -> None:
        if self._last_write is not None and not self._last_write.settled:
            await asyncio.wait([self._last_write.future()])

    def _drain_here(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongEventLoop
        self._drain()

    def _drain(self) -> None:
        # Whatever was pushed, from whichever thread, stands before what comes now.
        while self._pushed:
            chunks, encoded = self._pushed.popleft()
            self._waiting_bytes -= encoded.size
            if self.closed or self.trouble is not None:
                self.dropped += len(chunks)
                continue
            try:
                if not self._merge(chunks):
                    self._put_pushed(chunks, encoded)
            # From another thread nobody would hear of what the protocol raises.
            except Exception as error:
                self._interruption.interrupt(error)
                continue
            if self._outbox.size > MAX_PUSHED_BYTES:
                self._interruption.interrupt(
                    Overflow(self.lease.stream_id, self.lease.version, MAX_PUSHED_BYTES)
                )

    def _merge(self, chunks: tuple[C, ...]) -> bool:
        # The store lags behind: fewer and longer chunks say the same in less memory.
        if self._outbox.size < MERGE_BYTES or len(chunks) != 1 or self._last_pushed is None:
            return False
        write, earlier = self._last_pushed
        if not self._outbox.is_last(write):
            return False
        merged = self._protocol.merge(earlier, chunks[0])
        if len(merged) != 1:
            return False
        encoded = encode_chunks(self._protocol, merged)
        self._transcript.feed(chunks[0])
        self._outbox.replace(write, encoded.payloads[0])
        self._last_pushed = (write, merged[0])
        return True

    def _put(self, chunks: Sequence[C], encoded: Encoded) -> tuple[Write, asyncio.Future[int]]:
        write = Write(*encoded)
        done = write.future()
        self._last_pushed = None
        self._queue(chunks, write)
        return write, done

    def _put_pushed(self, chunks: Sequence[C], encoded: Encoded) -> None:
        write = Write(
            encoded.payloads, encoded.closes, encoded.size, on_failure=self._fail_push, pushed=True
        )
        self._last_pushed = (write, chunks[0]) if len(chunks) == 1 else None
        self._queue(chunks, write)

    def _queue(self, chunks: Sequence[C], write: Write) -> None:
        for chunk in chunks:
            self._transcript.feed(chunk)
        self._last_write = write
        if write.closes:
            self.ended = True
            write.future().add_done_callback(self._settle_close)
        self._machinery.writer.put(self._outbox, write)

    def _settle_given_up(self, done: asyncio.Future[int]) -> None:
        error = done.exception()
        if error is not None:
            self._fail_push(error)

    def _fail_push(self, error: BaseException) -> None:
        if isinstance(error, ChunkRefused):
            # The log lacks a chunk now, so it must not end as if it were whole.
            self._interruption.interrupt(error)
        else:
            self.lose(error)

    def _settle_close(self, done: asyncio.Future[int]) -> None:
        if isinstance(done.exception(), ChunkRefused):
            self.ended = False
        else:
            self._machinery.leases.remove(self.lease)

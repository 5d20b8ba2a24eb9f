"""Chunks pushed from any thread, waiting for the event loop; merged when the store lags behind.

Some are still being made when they are pushed. All chunks behind them wait here too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic

from monostream_ai._writing.encoding import Encoded, encode_chunks
from monostream_ai._writing.later import Later, Push
from monostream_ai._writing.outbox import MAX_WAITING, Outbox, Write
from monostream_ai.errors import Overflow
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Lease

MERGE_SIZE: Final = 256 * 1024
"""Characters pushed and not yet stored above which adjacent chunks are merged."""

MAX_HELD: Final = 64 * 1024 * 1024
"""Characters of data that the chunks being made for one publisher may hold."""


class Pushes(Generic[C]):
    """The pushed chunks of one publisher.

    Holds no reference to the publisher: a cycle would keep a dropped publisher, and so its lease,
    alive until the garbage collector runs.
    """

    def __init__(self, protocol: ChunkProtocol[C], lease: Lease) -> None:
        self.overflow: Overflow | None = None
        """Set when a push was refused: chunks are missing, so the version ends with an error."""
        self._protocol = protocol
        self._lease = lease
        # A deque's append and popleft are atomic, so pushing threads and the loop share it without
        # a lock. The count of its characters is read, changed and written, so it needs one.
        self.waiting: deque[Push[C]] = deque()
        self._laters: deque[Later[C]] = deque()
        self._held_size = 0
        self._waiting_size = 0
        self._lock = threading.Lock()
        self._last: tuple[Write, C] | None = None

    def put(self, chunks: tuple[C, ...]) -> None:
        """Encode and queue chunks, in any thread.

        Raises:
            InvalidChunk, ChunkTooLarge, WriteTooLarge, Overflow
        """
        encoded = encode_chunks(self._protocol, chunks)
        try:
            self._count(encoded)
        except Overflow as overflow:
            self.overflow = overflow
            raise
        self.waiting.append(Push(chunks, encoded))

    def put_write(self, chunks: Sequence[C], encoded: Encoded, write: Write) -> None:
        """Queue the chunks of a call of `write` behind those that are still being made.

        Raises:
            Overflow: Nothing was queued.
        """
        self._count(encoded)
        self.waiting.append(Push(chunks, encoded, write))

    def put_later(self, later: Later[C]) -> bool:
        """Queue chunks that are still being made, in any thread; return False if they and those
        before them hold too much data.
        """
        with self._lock:
            if self._held_size + later.size > MAX_HELD:
                return False
            self._held_size += later.size
            # Together, so that both have the same order.
            self._laters.append(later)
            self.waiting.append(later)
        return True

    def take(self) -> Push[C] | None:
        """Return the oldest push, or None if it is still being made, or there is none. On the event
        loop only.
        """
        waiting = self.waiting
        if not waiting or (encoded := waiting[0].encoded) is None:
            return None
        push = waiting.popleft()
        with self._lock:
            if type(push) is Later:
                self._held_size -= push.size
                self._laters.popleft()
            else:
                self._waiting_size -= encoded.size
        return push

    def give_up(self) -> None:
        """Stop waiting for chunks that are being made. On the event loop only."""
        for later in [*self._laters]:
            later.give_up()

    async def made(self) -> None:
        """Wait until the chunks that are being made at this moment are made or given up."""
        for later in [*self._laters]:
            await later.made.wait()

    def _count(self, encoded: Encoded) -> None:
        with self._lock:
            if self._waiting_size > MAX_WAITING:
                raise Overflow(self._lease.stream_id, self._lease.version, MAX_WAITING)
            self._waiting_size += encoded.size

    def remember(self, chunks: Sequence[C], write: Write) -> None:
        """Note the push queued last: the next one may be merged into it."""
        self._last = (write, chunks[0]) if len(chunks) == 1 else None

    def merge(self, outbox: Outbox, chunks: Sequence[C]) -> bool:
        """Merge a push into the one before it if the store lags and the protocol can; return
        whether it did.
        """
        # Fewer and longer chunks say the same in less memory.
        if outbox.size < MERGE_SIZE or len(chunks) != 1 or self._last is None:
            return False
        write, earlier = self._last
        if not outbox.is_last(write):
            return False
        merged = self._protocol.merge(earlier, chunks[0])
        if len(merged) != 1:
            return False
        outbox.replace(write, encode_chunks(self._protocol, merged).payloads[0])
        write.pushed_chunks += 1
        self._last = (write, merged[0])
        return True

"""Chunks pushed from any thread, waiting for the event loop; merged when the store lags behind."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic

from monostream_ai._writing.encoding import Encoded, encode_chunks
from monostream_ai._writing.outbox import MAX_WAITING, Outbox, Write
from monostream_ai.errors import Overflow
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Lease

MERGE_SIZE: Final = 256 * 1024
"""Characters pushed and not yet stored above which adjacent chunks are merged."""


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
        self.waiting: deque[tuple[tuple[C, ...], Encoded]] = deque()
        self._waiting_size = 0
        self._lock = threading.Lock()
        self._last: tuple[Write, C] | None = None

    def put(self, chunks: tuple[C, ...]) -> None:
        """Encode and queue chunks, in any thread.

        Raises:
            InvalidChunk, ChunkTooLarge, WriteTooLarge, Overflow
        """
        encoded = encode_chunks(self._protocol, chunks)
        with self._lock:
            if self._waiting_size > MAX_WAITING:
                self.overflow = Overflow(self._lease.stream_id, self._lease.version, MAX_WAITING)
                raise self.overflow
            self._waiting_size += encoded.size
        self.waiting.append((chunks, encoded))

    def take(self) -> tuple[tuple[C, ...], Encoded]:
        """Return the oldest push. On the event loop only."""
        chunks, encoded = self.waiting.popleft()
        with self._lock:
            self._waiting_size -= encoded.size
        return chunks, encoded

    def remember(self, chunks: Sequence[C], write: Write) -> None:
        """Note the push queued last, which the next one may be merged with."""
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

"""One version's writes on their way to the store, in order, and the lease they are made under."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from monostream_ai._backoff import Backoff
from monostream_ai.errors import ChunkRefused, Overflow
from monostream_ai.types import Ending, Lease

MAX_WAITING: Final = 16 * 1024 * 1024
"""Characters that one publisher may have waiting."""

MAX_WAITING_TOGETHER: Final = 128 * 1024 * 1024
"""Characters that all publishers of a process may have waiting."""

FAIR_SHARE: Final = 64 * 1024
"""Characters that a publisher may have waiting however much the others have."""


class Load:
    """The characters that all outboxes of a process have waiting."""

    def __init__(self) -> None:
        self.size = 0


@dataclass(slots=True, eq=False)
class Write:
    """Payloads that land together.

    `size` is in characters. `done` gets the id of the last payload, or the error. A pushed write
    has no future, since a future costs more than everything else a push does; a failure is passed
    to `on_failure` in a later turn of the loop instead.
    """

    payloads: Sequence[str]
    closes: bool
    size: int
    done: asyncio.Future[int] | None = None
    on_failure: Callable[[BaseException], None] | None = None
    pushed: bool = False
    pushed_chunks: int = 0
    """Chunks that were pushed, before some of them were merged."""
    resolved: bool = False
    ending: Ending | None = None
    """Why the version ends, if this write closes it."""

    def future(self) -> asyncio.Future[int]:
        """Return `done`, creating it on first use; not allowed once the write is resolved."""
        if self.done is None:
            self.done = asyncio.get_running_loop().create_future()
            # The waiter may have given up, and asyncio would report an error nobody retrieved.
            self.done.add_done_callback(asyncio.Future.exception)
        return self.done

    def fail(self, error: BaseException) -> None:
        """Resolve the write with an error, unless it is resolved already."""
        if self.resolved:
            return
        self.resolved = True
        if self.done is not None and not self.done.done():
            self.done.set_exception(error)
        if self.on_failure is not None:
            asyncio.get_running_loop().call_soon(self.on_failure, error)
            self.on_failure = None


class Outbox:
    """The writes of one open version that are not durable yet.

    Used by the event loop's thread only. Each write passes through once: `put`, then `take` into an
    append, then `landed`, `refuse`, `postpone` or `fail` with the store's answer.
    """

    def __init__(self, lease: Lease, load: Load, next_id: int = 0) -> None:
        self.lease = lease
        self.next_id = next_id
        """The id that follows the last durable chunk."""
        self.failure: BaseException | None = None
        """Why nothing can be written any more."""
        self.incomplete: ChunkRefused | None = None
        """Set when a pushed chunk could not be stored: the version may only end with an error."""
        self.writes: deque[Write] = deque()
        """Writes that no append has taken yet."""
        self.size = 0
        """Characters queued or in flight."""
        self.waiting = 0
        """Chunks queued or in flight."""
        self.dropped = 0
        """Pushed chunks that were queued or in flight when they failed."""
        self._load = load
        self._in_doubt = 0
        self._one_by_one = False
        self._backoff = Backoff()
        self._unavailable_since: float | None = None

    @property
    def full(self) -> Overflow | None:
        """Why nothing more may be queued at the moment: this publisher, or all of them, have too
        much waiting.
        """
        limit = None
        if self.size > MAX_WAITING:
            limit = MAX_WAITING
        elif self.size > FAIR_SHARE and self._load.size > MAX_WAITING_TOGETHER:
            limit = MAX_WAITING_TOGETHER
        return None if limit is None else Overflow(self.lease.stream_id, self.lease.version, limit)

    def put(self, write: Write) -> bool:
        """Queue a write; if the outbox has failed, fail the write and return False."""
        if self.failure is not None:
            self._drop(write, self.failure)
            return False
        self.writes.append(write)
        self._count(write.size, len(write.payloads))
        return True

    def is_last(self, write: Write) -> bool:
        """Whether this write waits at the end of the queue, so that it may still change."""
        return len(self.writes) > self._in_doubt and self.writes[-1] is write

    def replace(self, write: Write, payload: str) -> None:
        """Replace the payloads of a waiting write with this one."""
        self._count(len(payload) - write.size, 0)
        write.payloads, write.size = [payload], len(payload)

    def take(self, rows: int, size: int) -> list[Write]:
        """Take the writes of one append: at least one, then as many as fit.

        After an append of unknown outcome, exactly the same writes are taken again, so that the
        store can recognise an append that had landed.
        """
        writes = self.writes
        if self._in_doubt:
            return [writes.popleft() for _ in range(self._in_doubt)]
        taken = [writes.popleft()]
        while writes and not self._one_by_one:
            rows -= len(taken[-1].payloads)
            size -= taken[-1].size
            if len(writes[0].payloads) > rows or writes[0].size > size:
                break
            taken.append(writes.popleft())
        return taken

    def landed(self, writes: Sequence[Write]) -> None:
        """Resolve writes that are durable now."""
        self._in_doubt = 0
        if not self.writes:
            self._one_by_one = False
        if self._unavailable_since is not None:
            self._unavailable_since = None
            self._backoff.reset()
        for write in writes:
            self.next_id += len(write.payloads)
            self._count(-write.size, -len(write.payloads))
            write.resolved = True
            # It refers to the publisher, which remembers the write: a cycle would keep a publisher
            # that was dropped, and its lease, until the garbage collector runs.
            write.on_failure = None
            if write.done is not None and not write.done.done():
                write.done.set_result(self.next_id - 1)

    def refuse(self, writes: Sequence[Write], error: ChunkRefused) -> None:
        """Find the write the store cannot hold, by taking the writes one by one.

        That write fails. If it was pushed, so does everything queued behind it: otherwise the log
        would go on, and end, as if it were whole.
        """
        self._in_doubt = 0
        if len(writes) > 1:
            self._one_by_one = True
            self.writes.extendleft(reversed(writes))
            return
        self._one_by_one = False
        refused = [*writes]
        if writes[0].pushed:
            self.incomplete = error
            refused += self.writes
            self.writes.clear()
        for write in refused:
            self._count(-write.size, -len(write.payloads))
            self._drop(write, error)

    def put_back(self, writes: Sequence[Write]) -> None:
        """Take back writes whose outcome is unknown."""
        self.writes.extendleft(reversed(writes))
        self._in_doubt = len(writes)

    def postpone(self, writes: Sequence[Write], now: float, patience: float) -> float | None:
        """Put writes back; return the seconds until the next attempt, or None if patience ran out.

        The outage is measured from the first failure since an append last landed.
        """
        self.put_back(writes)
        if self._unavailable_since is None:
            self._unavailable_since = now
        if now - self._unavailable_since >= patience:
            return None
        return self._backoff.next()

    def fail(self, error: BaseException, writes: Sequence[Write] = ()) -> None:
        """End the outbox: these writes, those queued, and all later ones get the error."""
        self._count(-self.size, -self.waiting)
        if self.failure is None:
            self.failure = error
        for write in [*writes, *self.writes]:
            self._drop(write, self.failure)
        self.writes.clear()

    def _drop(self, write: Write, error: BaseException) -> None:
        if not write.resolved:
            self.dropped += write.pushed_chunks
        write.fail(error)

    def _count(self, characters: int, chunks: int) -> None:
        if self.failure is not None:
            # Writes in flight were taken off when the outbox failed.
            return
        self.size += characters
        self.waiting += chunks
        self._load.size += characters

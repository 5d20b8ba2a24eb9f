"""One publisher's writes on their way to the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monostream_ai._backoff import Backoff
from monostream_ai.errors import ChunkRefused
from monostream_ai.types import Lease


@dataclass(slots=True, eq=False)
class Write:
    """Payloads that land together.

    `done` gets the id of the last one, or the error. What is pushed has none, since futures cost
    more than all else there is to do; `on_failure` is called soon with the error then.
    """

    payloads: Sequence[str]
    closes: bool
    size: int
    done: asyncio.Future[int] | None = None
    on_failure: Callable[[BaseException], None] | None = None
    pushed: bool = False
    settled: bool = False

    def future(self) -> asyncio.Future[int]:
        """Return `done`, made if there is none yet; only for a write that is not settled."""
        if self.done is None:
            self.done = asyncio.get_running_loop().create_future()
            # Whoever waits for it may have given up, and asyncio would report an error that nobody
            # looks at.
            self.done.add_done_callback(lambda settled: settled.exception())
        return self.done


class Outbox:
    """One publisher's writes that are not yet durable, in order."""

    def __init__(self, lease: Lease, next_id: int = 0) -> None:
        self.lease = lease
        self.next_id = next_id
        self.failure: BaseException | None = None
        self.incomplete: ChunkRefused | None = None
        """Set when something that nobody waited for could not be stored: the version may only end
        with an error.
        """
        self.size = 0
        self._writes: deque[Write] = deque()
        self._in_doubt = 0
        self._one_by_one = False
        self._backoff = Backoff()
        self._unavailable_since: float | None = None

    @property
    def has_writes(self) -> bool:
        return bool(self._writes)

    def put(self, write: Write) -> bool:
        """Queue a write; return False if the outbox has failed, and so has the write."""
        if self.failure is not None:
            _reject(write, self.failure)
            return False
        self._writes.append(write)
        self.size += write.size
        return True

    def is_last(self, write: Write) -> bool:
        """Whether this write waits at the end of the queue, so that it may still change."""
        return len(self._writes) > self._in_doubt and self._writes[-1] is write

    def replace(self, write: Write, payload: str) -> None:
        """Let a write that waits store this payload instead."""
        self.size += len(payload) - write.size
        write.payloads, write.size = [payload], len(payload)

    def take(self, rows: int, size: int) -> list[Write]:
        """Take the writes of one append: at least one, then as many as fit.

        An append whose outcome is unknown is taken again exactly as it was, so that the store can
        tell that it had landed.
        """
        if self._in_doubt:
            return [self._writes.popleft() for _ in range(self._in_doubt)]
        taken = [self._writes.popleft()]
        while self._writes and not self._one_by_one:
            rows -= len(taken[-1].payloads)
            size -= taken[-1].size
            if len(self._writes[0].payloads) > rows or self._writes[0].size > size:
                break
            taken.append(self._writes.popleft())
        return taken

    def landed(self, writes: Sequence[Write]) -> None:
        self._in_doubt, self._one_by_one, self._unavailable_since = 0, False, None
        self._backoff.reset()
        for write in writes:
            self.next_id += len(write.payloads)
            self.size -= write.size
            _resolve(write, self.next_id - 1)

    def refuse(self, writes: Sequence[Write], error: ChunkRefused) -> None:
        """Find the write that the store cannot hold by taking them one by one.

        It fails; if nobody waits for it, so do those queued behind it, or the log would go on, and
        end, as if it were whole.
        """
        self._in_doubt = 0
        if len(writes) > 1:
            self._one_by_one = True
            self._writes.extendleft(reversed(writes))
            return
        self._one_by_one = False
        refused = [*writes]
        if writes[0].pushed:
            self.incomplete = error
            refused += self._writes
            self._writes.clear()
        for write in refused:
            self.size -= write.size
            _reject(write, error)

    def put_back(self, writes: Sequence[Write]) -> None:
        """Take back writes whose outcome is unknown."""
        self._writes.extendleft(reversed(writes))
        self._in_doubt = len(writes)

    def postpone(self, writes: Sequence[Write], now: float, patience: float) -> float | None:
        """Put writes back; return the seconds to wait before the next attempt, or None if patience
        ran out.
        """
        self.put_back(writes)
        if self._unavailable_since is None:
            self._unavailable_since = now
        if now - self._unavailable_since >= patience:
            return None
        return self._backoff.next()

    def fail(self, error: BaseException, writes: Sequence[Write] = ()) -> None:
        """End the outbox: these writes, those queued, and all later ones get the error."""
        if self.failure is None:
            self.failure = error
        for write in [*writes, *self._writes]:
            _reject(write, self.failure)
        self._writes.clear()
        self.size = 0


def _resolve(write: Write, last_id: int) -> None:
    write.settled = True
    if write.done is not None and not write.done.done():
        write.done.set_result(last_id)


def _reject(write: Write, error: BaseException) -> None:
    if write.settled:
        return
    write.settled = True
    if write.done is not None and not write.done.done():
        write.done.set_exception(error)
    if write.on_failure is not None:
        asyncio.get_running_loop().call_soon(write.on_failure, error)

"""Group commit: what all publishers of a process queued while the last append was in flight becomes the next append.

There is no timer: at idle a chunk is written at once, under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from monostream_ai.backoff import Backoff
from monostream_ai.errors import ChunkRefused, ServiceClosed, StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Store
from monostream_ai.types import Append, Lease

MAX_BATCH_ROWS: Final = 2000
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
FIRST_RETRY: Final = 0.05
LAST_RETRY: Final = 2.0
"""Seconds between attempts while the store is unavailable; they double from the first to the last."""


@dataclass(slots=True, eq=False)
class Write:
    """Payloads that land together; `done` gets the id of the last one, or the error."""

    payloads: Sequence[str]
    size: int
    closes: bool
    done: asyncio.Future[int]


class Outbox:
    """One publisher's writes that are not yet durable, in order."""

    def __init__(self, lease: Lease, next_id: int = 0) -> None:
        self.lease = lease
        self.next_id = next_id
        self.failure: BaseException | None = None
        self.size = 0
        self._writes: deque[Write] = deque()
        self._in_doubt = 0
        self._one_by_one = False
        self._backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        self._unavailable_since: float | None = None

    def __bool__(self) -> bool:
        return bool(self._writes)

    def put(self, write: Write) -> None:
        self._writes.append(write)
        self.size += write.size

    def take(self, rows: int, size: int) -> list[Write]:
        """Take the writes of one append: at least one, then as many as fit.

        An append whose outcome is unknown is taken again exactly as it was, so that the store can tell that it had landed.
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
        """Find the write that the store cannot hold by taking them one by one; only that one fails."""
        self._in_doubt = 0
        if len(writes) > 1:
            self._one_by_one = True
            self._writes.extendleft(reversed(writes))
            return
        self._one_by_one = False
        self.size -= writes[0].size
        _reject(writes[0], error)

    def postpone(self, writes: Sequence[Write], now: float, patience: float) -> float | None:
        """Put writes of unknown outcome back; return the seconds to wait before the next attempt, or None if patience ran out."""
        self._writes.extendleft(reversed(writes))
        self._in_doubt = len(writes)
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


class GroupWriter:
    """Writes the outboxes of a process, one append in flight at a time.

    Args:
        lease: Seconds that each append renews its leases for.
        patience: Seconds for which an append of unknown outcome is retried before its publisher gets `StoreUnavailable`.
        on_landed: Called after each commit, once per version, before whoever awaits the writes runs on.
    """

    def __init__(
        self,
        store: Store,
        *,
        lease: float,
        patience: float,
        on_landed: Callable[[Append], None],
        on_error: BackgroundErrors,
    ) -> None:
        self._store = store
        self._lease = lease
        self._patience = patience
        self._on_landed = on_landed
        self._on_error = on_error
        self._ready: dict[Outbox, None] = {}
        self._postponed: dict[Outbox, asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, outbox: Outbox, write: Write) -> None:
        """Queue a write of an outbox; its future tells the outcome."""
        if self._closed:
            outbox.fail(ServiceClosed())
        if outbox.failure is not None:
            _reject(write, outbox.failure)
            return
        outbox.put(write)
        if outbox not in self._postponed:
            self._schedule(outbox)

    async def aclose(self) -> None:
        """Write what is queued, but wait for no outage; afterwards every write gets `ServiceClosed`."""
        self._closed = True
        while self._task is not None:
            await asyncio.wait([self._task])
        for outbox, timer in self._postponed.items():
            timer.cancel()
            outbox.fail(ServiceClosed())
        self._postponed.clear()

    def _schedule(self, outbox: Outbox) -> None:
        self._postponed.pop(outbox, None)
        self._ready[outbox] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._ready:
                await self._commit(self._take())
        finally:
            self._task = None

    def _take(self) -> list[tuple[Outbox, list[Write]]]:
        rows, size = MAX_BATCH_ROWS, MAX_BATCH_BYTES
        batch: list[tuple[Outbox, list[Write]]] = []
        while self._ready and rows > 0 and size > 0:
            outbox = next(iter(self._ready))
            del self._ready[outbox]
            if outbox:
                writes = outbox.take(rows, size)
                rows -= sum(len(write.payloads) for write in writes)
                size -= sum(write.size for write in writes)
                batch.append((outbox, writes))
        return batch

    async def _commit(self, batch: list[tuple[Outbox, list[Write]]]) -> None:
        if not batch:
            return
        appends = [
            Append(outbox.lease, outbox.next_id, [text for write in writes for text in write.payloads], writes[-1].closes)
            for outbox, writes in batch
        ]
        verdicts: Sequence[Exception | None]
        try:
            verdicts = await self._store.append(appends, lease=self._lease)
        # Whatever a store raises must reach the publishers and must not end the writer.
        except Exception as error:
            verdicts = [error] * len(appends)
        for (outbox, writes), append, verdict in zip(batch, appends, verdicts, strict=True):
            self._settle(outbox, writes, append, verdict)

    def _settle(self, outbox: Outbox, writes: list[Write], append: Append, verdict: Exception | None) -> None:
        if verdict is None:
            outbox.landed(writes)
            self._on_landed(append)
        elif isinstance(verdict, ChunkRefused):
            outbox.refuse(writes, verdict)
        elif isinstance(verdict, StoreUnavailable) and not self._closed:
            self._postpone(outbox, writes, verdict)
            return
        else:
            outbox.fail(verdict, writes)
        if outbox:
            self._ready[outbox] = None

    def _postpone(self, outbox: Outbox, writes: list[Write], error: StoreUnavailable) -> None:
        self._on_error("append", error)
        loop = asyncio.get_running_loop()
        delay = outbox.postpone(writes, loop.time(), self._patience)
        if delay is None:
            outbox.fail(error)
        else:
            self._postponed[outbox] = loop.call_later(delay, self._schedule, outbox)


def _resolve(write: Write, last_id: int) -> None:
    if not write.done.done():
        write.done.set_result(last_id)


def _reject(write: Write, error: BaseException) -> None:
    if not write.done.done():
        write.done.set_exception(error)

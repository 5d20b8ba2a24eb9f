"""Group commit: what all publishers of a process queued while the last append was in flight becomes
the next append.

There is no timer: at idle a chunk is written at once, under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from monostream_ai._writing.outbox import Outbox, Write
from monostream_ai.errors import ChunkRefused, ServiceClosed, StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Store
from monostream_ai.types import Append

MAX_BATCH_ROWS: Final = 2000
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024


class GroupWriter:
    """Writes the outboxes of a process, one append in flight at a time.

    Args:
        lease: Seconds that each append renews its leases for.
        patience: Seconds for which an append of unknown outcome is retried before its publisher
            gets `StoreUnavailable`.
        on_landed: Called after each commit, once per version, before whoever awaits the writes runs
            on.
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
        if outbox.put(write) and outbox not in self._ready and outbox not in self._postponed:
            self._schedule(outbox)

    async def aclose(self) -> None:
        """Write what is queued, but wait for no outage; afterwards every write gets
        `ServiceClosed`.
        """
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
        self._start()

    def _start(self) -> None:
        if self._task is None and self._ready:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._ready:
                batch = self._take()
                try:
                    await self._commit(batch)
                except asyncio.CancelledError:
                    for outbox, writes in batch:
                        outbox.put_back(writes)
                        self._ready[outbox] = None
                    raise
        finally:
            self._task = None
            if self._ready:
                # The loop is being torn down, and publishers that are ending their versions still
                # need us.
                asyncio.get_running_loop().call_soon(self._start)

    def _take(self) -> list[tuple[Outbox, list[Write]]]:
        rows, size = MAX_BATCH_ROWS, MAX_BATCH_BYTES
        batch: list[tuple[Outbox, list[Write]]] = []
        while self._ready and rows > 0 and size > 0:
            outbox = next(iter(self._ready))
            del self._ready[outbox]
            if outbox.has_writes:
                writes = outbox.take(rows, size)
                rows -= sum(len(write.payloads) for write in writes)
                size -= sum(write.size for write in writes)
                batch.append((outbox, writes))
        return batch

    async def _commit(self, batch: list[tuple[Outbox, list[Write]]]) -> None:
        if not batch:
            return
        appends = [
            Append(
                outbox.lease,
                outbox.next_id,
                [text for write in writes for text in write.payloads],
                writes[-1].closes,
            )
            for outbox, writes in batch
        ]
        verdicts: Sequence[Exception | None]
        try:
            verdicts = await self._store.append(appends, lease=self._lease)
            if len(verdicts) != len(appends):
                raise RuntimeError(
                    f"the store gave {len(verdicts)} verdicts on {len(appends)} appends"
                )
        # Whatever a store raises must reach the publishers and must not end the writer.
        except Exception as error:
            verdicts = [error] * len(appends)
        for (outbox, writes), append, verdict in zip(batch, appends, verdicts, strict=True):
            self._settle(outbox, writes, append, verdict)

    def _settle(
        self, outbox: Outbox, writes: list[Write], append: Append, verdict: Exception | None
    ) -> None:
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
        if outbox.has_writes:
            self._ready[outbox] = None

    def _postpone(self, outbox: Outbox, writes: list[Write], error: StoreUnavailable) -> None:
        self._on_error("append", error)
        self._ready.pop(outbox, None)
        loop = asyncio.get_running_loop()
        delay = outbox.postpone(writes, loop.time(), self._patience)
        if delay is None:
            outbox.fail(error)
        else:
            self._postponed[outbox] = loop.call_later(delay, self._schedule, outbox)

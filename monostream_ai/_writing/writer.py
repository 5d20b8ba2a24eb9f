"""The writing side of a service: opens versions, commits the queued writes of all publishers in
groups, and gives versions up.

Group commit: everything queued while one append is in flight becomes the next append. There is no
timer. At idle a chunk is written at once; under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Final, TypeVar

from monostream_ai import _backoff
from monostream_ai._background_errors import Report
from monostream_ai._writing.announcer import Announcer
from monostream_ai._writing.leases import Holder, LeaseKeeper
from monostream_ai._writing.outbox import Load, Outbox, Write
from monostream_ai.errors import ChunkRefused, Fenced, ServiceClosed, StoreUnavailable
from monostream_ai.interfaces import Store
from monostream_ai.types import Append, Ending, Lease, Opening, WakeUp, log_fields

T = TypeVar("T")

MAX_BATCH_ROWS: Final = 2000
MAX_BATCH_SIZE: Final = 4 * 1024 * 1024
"""Characters in one append of all publishers."""

logger = logging.getLogger(__name__)


class Writer:
    """Writes the outboxes of a process, one append in flight at a time.

    Args:
        lease: Seconds for which a version is leased when it is opened, and by each append.
        patience: Seconds of outage after which a publisher gets `StoreUnavailable`.
        announcer: Tells other processes of each commit; None if there is no notifier.
        on_landed: Called after each commit, once for each version, before the tasks that await the
            writes continue.
        on_wake_up: Tells this process that a stream has moved without a commit.
    """

    def __init__(
        self,
        store: Store,
        *,
        lease: float,
        patience: float,
        announcer: Announcer | None,
        on_landed: Callable[[Append], None],
        on_wake_up: Callable[[WakeUp], None],
        on_error: Report,
    ) -> None:
        self.store = store
        self.lease = lease
        self.closing = False
        """Set when the service begins to close: no version is opened, no outage waited out."""
        self.abandoned = 0
        """Watched versions that this process has given up looking after."""
        self.endings: Counter[Ending] = Counter()
        """Versions that this process has ended, by ending."""
        self.load = Load()
        self.leases = LeaseKeeper(store, lease=lease, on_error=on_error)
        self._patience = patience
        self._announcer = announcer
        self._on_landed = on_landed
        self._on_wake_up = on_wake_up
        self.on_error = on_error
        self._ready: dict[Outbox, None] = {}
        self._postponed: dict[Outbox, asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> Lease:
        """Open a version; older ones are fenced when it returns.

        Raises:
            VersionConflict, NotLost, StoreUnavailable, ServiceClosed
        """
        number = await self.store.acquire(stream_id, version, opening)
        lease = Lease(stream_id, number, opening.token)
        if self.closing:
            await self.store.release(lease, handover=True)
            raise ServiceClosed
        self.announce(WakeUp(stream_id, number, -1))
        fields = log_fields(stream_id, number)
        logger.info("opened stream %r version %d", stream_id, number, extra=fields)
        return lease

    def hold(self, lease: Lease, holder: Holder) -> None:
        """Renew the lease for as long as its holder lives, or until `let_go`."""
        self.leases.add(lease, holder)

    def let_go(self, lease: Lease) -> None:
        """Stop renewing a lease."""
        self.leases.remove(lease)

    async def release(self, outbox: Outbox, *, handover: bool) -> None:
        """Let the lease lapse now, so that others may take the version over at once."""
        lease = outbox.lease
        await self.store.release(lease, handover=handover)
        self.announce(WakeUp(lease.stream_id, lease.version, outbox.next_id))

    async def leave(self, outbox: Outbox, *, within: float) -> None:
        """Let the version wait for a successor.

        Raises:
            Fenced, StreamStopped, StreamClosed, StreamDeleted: It is not held any more.
            StoreUnavailable
        """
        lease, store = outbox.lease, self.store
        left = await self.patiently(
            lambda: store.claim(lease, lease=within, stop=False, waits=True)
        )
        if left is None:
            [verdict] = await self.patiently(lambda: store.check([lease]))
            raise verdict or Fenced(*lease[:2], lease.version)
        self.announce(WakeUp(lease.stream_id, lease.version, outbox.next_id))

    def put(self, outbox: Outbox, write: Write) -> None:
        """Queue a write of an outbox; the write's future gets the outcome."""
        if self._closed:
            outbox.fail(ServiceClosed())
        if outbox.put(write) and outbox not in self._postponed:
            self._ready[outbox] = None
            if self._task is None:
                self._start()

    def announce(self, wake_up: WakeUp) -> None:
        """Tell this process's readers and publishers at once, and other processes soon."""
        self._on_wake_up(wake_up)
        if self._announcer is not None:
            self._announcer.add(wake_up)

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call to the store, which must be safe to repeat, through an outage."""
        return await _backoff.patiently(
            attempt, patience=self._patience, giving_up=lambda: self.closing
        )

    async def aclose(self) -> None:
        """Write the queue, without waiting out an outage; later writes get `ServiceClosed`."""
        self._closed = True
        while self._task is not None:
            await asyncio.wait([self._task])
        for outbox, timer in self._postponed.items():
            timer.cancel()
            outbox.fail(ServiceClosed())
        self._postponed.clear()

    def _start(self) -> None:
        if self._task is None and self._ready:
            # Every chunk passes here, so the call of `start_task` is spared.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

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
                # The loop is being torn down, and publishers that are ending still need a writer.
                asyncio.get_running_loop().call_soon(self._start)

    def _take(self) -> list[tuple[Outbox, list[Write]]]:
        rows, size = MAX_BATCH_ROWS, MAX_BATCH_SIZE
        batch: list[tuple[Outbox, list[Write]]] = []
        while self._ready and rows > 0 and size > 0:
            # Each outbox gets an equal share of the room that is left, so that one with a lot to
            # write does not crowd out those behind it.
            outboxes = len(self._ready)
            outbox = next(iter(self._ready))
            del self._ready[outbox]
            # A failure may have emptied it.
            if outbox.writes:
                writes = outbox.take(rows // outboxes, size // outboxes)
                for write in writes:
                    rows -= len(write.payloads)
                    size -= write.size
                batch.append((outbox, writes))
        return batch

    async def _commit(self, batch: list[tuple[Outbox, list[Write]]]) -> None:
        if not batch:
            return
        appends = []
        for outbox, writes in batch:
            payloads = [*writes[0].payloads]
            for write in writes[1:]:
                payloads += write.payloads
            appends.append(Append(outbox.lease, outbox.next_id, payloads, writes[-1].closes))
        verdicts = await self._append(appends)
        for (outbox, writes), append, verdict in zip(batch, appends, verdicts, strict=True):
            self._acknowledge(outbox, writes, append, verdict)

    async def _append(self, appends: list[Append]) -> Sequence[Exception | None]:
        try:
            verdicts = await self.store.append(appends, lease=self.lease)
            if len(verdicts) != len(appends):
                raise RuntimeError(
                    f"the store gave {len(verdicts)} verdicts on {len(appends)} appends"
                )
            return verdicts
        except StoreUnavailable as error:
            return [error] * len(appends)
        # Whatever a store raises must reach the publisher at fault, and must not end the writer.
        except Exception as error:
            if len(appends) == 1:
                return [error]
        # One of the versions is at fault. Each is tried alone, so that the others land.
        return [(await self._append([append]))[0] for append in appends]

    def _acknowledge(
        self, outbox: Outbox, writes: list[Write], append: Append, verdict: Exception | None
    ) -> None:
        if verdict is None:
            outbox.landed(writes)
            self._on_landed(append)
            if append.closes:
                # A program wrote it itself, in a protocol that tells no endings apart.
                self.endings[writes[-1].ending or "finish"] += 1
                # Its readers know, but those that wait only for the end of a version do not, and a
                # notifier need not deliver the wake-ups of its own process.
                stream_id, version, _ = append.lease
                end = append.first + len(append.payloads)
                self._on_wake_up(WakeUp(stream_id, version, end - 1))
            if self._announcer is not None:
                end = append.first + len(append.payloads)
                # A close without a chunk is announced by an id past the end, or nobody would look.
                last = end - 1 if append.payloads else end
                wake_up = WakeUp(outbox.lease.stream_id, outbox.lease.version, last)
                self._announcer.add(wake_up, append)
        elif isinstance(verdict, ChunkRefused):
            outbox.refuse(writes, verdict)
        elif isinstance(verdict, StoreUnavailable) and not self._closed:
            self._postpone(outbox, writes, verdict)
            return
        else:
            outbox.fail(verdict, writes)
        if outbox.writes:
            self._ready[outbox] = None

    def _postpone(self, outbox: Outbox, writes: list[Write], error: StoreUnavailable) -> None:
        self.on_error("append", error, outbox.lease[:2])
        self._ready.pop(outbox, None)
        loop = asyncio.get_running_loop()
        delay = outbox.postpone(writes, loop.time(), self._patience)
        if delay is None:
            outbox.fail(error)
        else:
            self._postponed[outbox] = loop.call_later(
                delay, self._resume, outbox, context=Context()
            )

    def _resume(self, outbox: Outbox) -> None:
        self._postponed.pop(outbox, None)
        self._ready[outbox] = None
        self._start()

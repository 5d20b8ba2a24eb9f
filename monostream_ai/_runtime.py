"""What one service's publishers and readers share: the writer, the hub, the leases, the wake-ups,
and their lifecycle.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol, TypeVar

from monostream_ai._backoff import Backoff
from monostream_ai._reading.tailer import Hub
from monostream_ai._writing.announcer import Announcer
from monostream_ai._writing.leases import LeaseKeeper
from monostream_ai._writing.writer import GroupWriter
from monostream_ai.errors import ServiceClosed, StoreUnavailable, WrongEventLoop
from monostream_ai.interfaces import BackgroundErrors, Notifier, Store
from monostream_ai.observing import Activity
from monostream_ai.types import Append, WakeUp

T = TypeVar("T")

ENDINGS_TIMEOUT: Final = 5.0
"""Seconds that a service which is closed gives to versions it is ending for others."""

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """A subscription, as far as an observer asks for it."""

    @property
    def behind(self) -> int:
        """How many chunks this process knows to be stored that it has not yielded."""


class Machinery:
    """Connects on first use, belongs to one event loop and process, and ends everything it started.

    Args:
        is_terminal: Judges a stored payload; needed for versions that another program wrote.
        lease, poll_interval, outage_timeout: In seconds, as the service documents them.
    """

    def __init__(
        self,
        store: Store,
        notifier: Notifier | None,
        *,
        is_terminal: Callable[[str], bool],
        lease: float,
        poll_interval: float,
        outage_timeout: float,
        create_tables: bool,
    ) -> None:
        self.store = store
        self.lease = lease
        self.writer = GroupWriter(
            store,
            lease=lease,
            patience=outage_timeout,
            on_landed=self._landed,
            on_error=self.report,
        )
        self.leases = LeaseKeeper(store, lease=lease, on_error=self.report)
        self.hub = Hub(
            store,
            poll_interval=poll_interval,
            patience=outage_timeout,
            lease=lease,
            is_healthy=lambda: notifier is not None and notifier.healthy,
            is_terminal=is_terminal,
            on_error=self.report,
        )
        self.error_counts: Counter[str] = Counter()
        self.observers: list[BackgroundErrors] = []
        self.closed = False
        self._notifier = notifier
        self._announcer = None if notifier is None else Announcer(notifier, self.report)
        self._create_tables = create_tables
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._unlisten: Callable[[], Awaitable[None]] | None = None
        self._outage_timeout = outage_timeout
        self._background: set[asyncio.Task[Any]] = set()
        self._started = False
        self._readers: set[weakref.ref[Reader]] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Connect what must be connected, once.

        Raises:
            ServiceClosed, WrongEventLoop
            StoreUnavailable, SchemaMismatch, SchemaTooNew: The tables could not be created; the
                next call tries again.
        """
        if self.closed:
            raise ServiceClosed
        here = (os.getpid(), asyncio.get_running_loop())
        if self._home is None:
            self._home = here
        # Connections belong to one loop and must not cross a fork.
        if self._home != here:
            raise WrongEventLoop
        if self._started:
            return
        if self._starting is None or (
            self._starting.done() and (self._starting.cancelled() or self._starting.exception())
        ):
            self._starting = here[1].create_task(self._start())
        # One impatient caller must not take the start from the others.
        await asyncio.shield(self._starting)

    def announce(self, wake_up: WakeUp) -> None:
        """Tell this process's readers and publishers at once, and other processes soon."""
        self.on_wake_up(wake_up)
        if self._announcer is not None:
            self._announcer.add(wake_up)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Take a wake-up from the notifier (see `Listener`)."""
        self.hub.on_wake_up(wake_up)
        self.leases.on_wake_up(wake_up)

    def on_resync(self) -> None:
        """Take a resync from the notifier (see `Listener`)."""
        self.hub.on_resync()
        self.leases.on_resync()

    def report(self, source: str, error: BaseException) -> None:
        """Count, log and pass on an error of work in the background."""
        self.error_counts[source] += 1
        logger.warning("%s failed: %s", source, type(error).__name__)
        for observer in self.observers:
            try:
                observer(source, error)
            except Exception:
                logger.exception("an error observer raised")

    def watched(self) -> Callable[[], Activity]:
        """Begin to note the readers; return what tells at any time, in any thread, what is going
        on.
        """
        self._readers = set()
        return self._activity

    def note_reader(self, reader: Reader) -> None:
        """Count a reader that was attached, if anybody asks, until it is dropped."""
        if self._readers is not None:
            self._readers.add(weakref.ref(reader, self._readers.discard))

    def _activity(self) -> Activity:
        # Copied at once: the loop goes on in its own thread.
        readers = [
            reader for reference in [*(self._readers or ())] if (reader := reference()) is not None
        ]
        feeds = self.hub.readers_of_streams
        return Activity(
            open_versions=self.leases.held,
            readers=sum(feeds),
            streams_read=len(feeds),
            reader_lag=max((reader.behind for reader in readers), default=0),
            rescues=self.hub.rescues,
            errors=self.error_counts.copy(),
        )

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat a store's method, which must be safe to repeat, while the store is unavailable and
        patience lasts.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._outage_timeout
        backoff = Backoff()
        while True:
            try:
                return await attempt()
            except StoreUnavailable:
                if self.closed or loop.time() >= deadline:
                    raise
            await asyncio.sleep(backoff.next())

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work in a task that goes on if its caller is cancelled, and that `aclose` waits
        for.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Write what is queued, release open versions, end readers with `ServiceClosed`, and
        disconnect.

        Idempotent; goes on to the end if the caller is cancelled.
        """
        if self._home not in (None, (os.getpid(), asyncio.get_running_loop())):
            raise WrongEventLoop
        if self._ending is None:
            self.closed = True
            self._ending = asyncio.get_running_loop().create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        async with AsyncExitStack() as stack:
            # Run from the last to the first, whatever one of them raises.
            stack.push_async_callback(self.store.aclose)
            if self._notifier is not None:
                stack.push_async_callback(self._notifier.aclose)
            if self._starting is not None:
                await asyncio.wait([self._starting])
            if self._unlisten is not None:
                stack.push_async_callback(self._unlisten)
            if self._announcer is not None:
                stack.push_async_callback(self._announcer.aclose)
            if self._background:
                await asyncio.wait(self._background, timeout=ENDINGS_TIMEOUT)
            # Noted before the writer refuses: a publisher that is refused forgets its lease.
            held = await self.leases.stop()
            await self.writer.aclose()
            # Before the leases lapse: readers of this process are told that it ends, not that their
            # publisher was lost.
            await self.hub.aclose(ServiceClosed())
            for wake_up in await self.leases.release(held):
                self.announce(wake_up)

    async def _start(self) -> None:
        if self._create_tables:
            await self.store.setup()
        if self._notifier is not None:
            self._unlisten = await self._notifier.listen(self, self.report)
        self._started = True

    def _landed(self, append: Append) -> None:
        self.hub.landed(append)
        end = append.first + len(append.payloads)
        # A close without a chunk is announced by an id past the end, or no reader would look.
        self.announce(
            WakeUp(
                append.lease.stream_id, append.lease.version, end - 1 if append.payloads else end
            )
        )

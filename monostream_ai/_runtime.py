"""The runtime of one service: composes the writing and the reading side, and starts and ends them.

It connects on first use, belongs to one event loop and process, and hands each wake-up to both
sides. Neither side knows the other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar, get_args

from monostream_ai._background_errors import ErrorReports
from monostream_ai._inline import Carriage, Inline
from monostream_ai._periodic import start_task
from monostream_ai._reading.tailer import Tailer
from monostream_ai._writing.announcer import Announcer
from monostream_ai._writing.writer import Writer
from monostream_ai.errors import ServiceClosed, WrongEventLoop
from monostream_ai.interfaces import Listener, Notifier, Store
from monostream_ai.observing import Statistics
from monostream_ai.types import Ending, WakeUp

T = TypeVar("T")

ENDINGS_TIMEOUT: Final = 5.0
"""Seconds that closing a service gives to the versions it is ending for others."""

logger = logging.getLogger(__name__)


class Runtime:
    """Everything that the publishers and subscriptions of one service share.

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
        inline: Inline,
    ) -> None:
        self.store = store
        self.poll_interval = poll_interval
        self.errors = ErrorReports()
        report = self.errors.report
        self._carriage = Carriage(notifier, inline, report)
        self._announcer = (
            None if notifier is None else Announcer(notifier, report, room=self._carriage.room)
        )
        self.tailer = Tailer(
            store,
            poll_interval=poll_interval,
            patience=outage_timeout,
            lease=lease,
            is_healthy=lambda: notifier is not None and notifier.healthy,
            is_ours=self.writes,
            is_terminal=is_terminal,
            takes_carried=lambda: self._carriage.room() > 0,
            on_error=report,
        )
        self.writer = Writer(
            store,
            lease=lease,
            patience=outage_timeout,
            announcer=self._announcer,
            on_landed=self.tailer.landed,
            on_wake_up=self.on_wake_up,
            on_error=report,
        )
        self.listeners: list[Listener] = []
        """Get every wake-up and resync besides the two sides."""
        self._unread: Counter[str] = Counter()
        # Captures count from any thread, and adding to a count takes two steps.
        self._unread_lock = threading.Lock()
        self._notifier = notifier
        self._create_tables = create_tables
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._started = False
        self._unlisten: Callable[[], Awaitable[None]] | None = None
        self._unwatch: Callable[[], Awaitable[None]] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._ending: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Create the tables if asked to, and listen; once.

        Raises:
            ServiceClosed, WrongEventLoop
            StoreUnavailable, SchemaMismatch, SchemaTooNew: The tables could not be created; the
                next call tries again.
        """
        if self._ending is not None:
            raise ServiceClosed
        here = (os.getpid(), asyncio.get_running_loop())
        if self._home is None:
            self._home = here
        # Connections belong to one loop and must not cross a fork.
        if self._home != here:
            raise WrongEventLoop
        if self._started:
            return
        starting = self._starting
        if starting is None or (starting.done() and (starting.cancelled() or starting.exception())):
            self._starting = starting = start_task(self._start())
        # Shielded: a caller that gives up must not take the start from the others.
        await asyncio.shield(starting)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Take a wake-up from the notifier (see `Listener`)."""
        self.tailer.on_wake_up(wake_up)
        self.writer.leases.on_wake_up(wake_up)
        for listener in self.listeners:
            listener.on_wake_up(wake_up)

    def on_resync(self) -> None:
        """Take a resync from the notifier (see `Listener`)."""
        logger.debug("wake-ups may have been missed: every stream is looked at")
        self.tailer.on_resync()
        self.writer.leases.on_resync()
        for listener in self.listeners:
            listener.on_resync()

    @property
    def is_writing(self) -> bool:
        """Whether a version is held here (see `Watcher`)."""
        return self.writer.leases.held > 0

    def is_reading(self, stream_id: str) -> bool:
        """Whether a stream is read here (see `Watcher`)."""
        return self.tailer.reads(stream_id)

    def renew_leases(self) -> None:
        """Renew all leases at once (see `Watcher`)."""
        self.writer.leases.renew_soon()

    def announce(self, wake_up: WakeUp) -> None:
        """Announce a version whose process died (see `Watcher`)."""
        self.writer.announce(wake_up)

    def count_unread(self, sdk: str) -> None:
        """Count a value that a capture of this SDK could not read. Safe in any thread."""
        with self._unread_lock:
            self._unread[sdk] += 1

    def writes(self, stream_id: str, version: int) -> bool:
        """Whether a living publisher of this process writes the version."""
        return self.writer.leases.holds(stream_id, version)

    def statistics(self) -> Statistics:
        """Return the state of this moment. Safe in any thread."""
        # Lists and counters are copied in one step, whatever the loop's thread does meanwhile.
        streams = self.tailer.readers_of_streams
        return Statistics(
            open_versions=self.writer.leases.held,
            readers=sum(streams),
            streams_read=len(streams),
            reader_lag=self.tailer.reader_lag,
            rescues=self.tailer.rescues,
            abandoned=self.writer.abandoned,
            errors=self.errors.counts.copy(),
            endings={ending: self.writer.endings[ending] for ending in get_args(Ending)},
            unread=self._unread.copy(),
        )

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work in a task that goes on if its caller is cancelled; `aclose` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Write queued chunks, release open versions, end readers with `ServiceClosed`, disconnect.

        Idempotent; goes on to the end if the caller is cancelled.
        """
        if self._home not in (None, (os.getpid(), asyncio.get_running_loop())):
            raise WrongEventLoop
        if self._ending is None:
            self.writer.closing = True
            self._ending = asyncio.get_running_loop().create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        async with AsyncExitStack() as stack:
            # Run from the last to the first, whatever one of them raises.
            stack.push_async_callback(self.store.aclose)
            if self._unwatch is not None:
                stack.push_async_callback(self._unwatch)
            if self._notifier is not None:
                stack.push_async_callback(self._notifier.aclose)
            if self._starting is not None:
                await asyncio.wait([self._starting])
            if self._unlisten is not None:
                stack.push_async_callback(self._unlisten)
            # Before the connection goes on which it may be asking.
            stack.push_async_callback(self._carriage.aclose)
            if self._announcer is not None:
                stack.push_async_callback(self._announcer.aclose)
            if self._background:
                await asyncio.wait(self._background, timeout=ENDINGS_TIMEOUT)
            # Before the writer closes: a publisher whose write is refused forgets its lease.
            held = await self.writer.leases.halt()
            await self.writer.aclose()
            # Before the leases lapse: readers of this process learn that it ends, not that their
            # publisher was lost.
            await self.tailer.aclose(ServiceClosed())
            for wake_up in await self.writer.leases.release(held):
                self.writer.announce(wake_up)

    async def _start(self) -> None:
        if self._create_tables:
            await self.store.setup()
        if self._notifier is not None:
            self._notifier.lend_to(self.store)
            self._unlisten = await self._notifier.listen(self, self.errors.report)
            await self._carriage.start()
        self._unwatch = await self.store.watch(self, self.errors.report)
        self._started = True

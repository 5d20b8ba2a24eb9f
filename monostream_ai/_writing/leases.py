"""Renews the leases of all publishers of a process with one statement, and informs a publisher when
it has lost its version.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from monostream_ai._background_errors import Report
from monostream_ai._periodic import start_task
from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Store
from monostream_ai.types import Lease, WakeUp

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 3

RETRIES_PER_RENEWAL: Final = 4
"""After a failed renewal the pause is divided by this, so that several retries fit into the two
thirds of the lease that are left.
"""

RELEASE_TIMEOUT: Final = 5.0
"""Seconds that closing a service spends on releasing leases; those not released lapse."""

RESYNC_CHECK: Final = 0.25
"""Seconds between checks of all leases while a notifier reports that wake-ups may be missing."""


class Holder(Protocol):
    """A publisher, as its lease keeper sees it."""

    @property
    def next_id(self) -> int:
        """The id that its next chunk gets."""

    def _lose(self, error: BaseException) -> None:
        """Stop writing: the lease is gone. Private to users, not to the lease keeper."""


class LeaseKeeper:
    """Keeps the leases of living publishers.

    Holders are referenced weakly. A publisher that is dropped without being closed is not renewed,
    so its readers learn that it is lost.

    Args:
        lease: Seconds; renewed every third of it.
    """

    def __init__(self, store: Store, *, lease: float, on_error: Report) -> None:
        self._store = store
        self._lease = lease
        self._on_error = on_error
        self._holders: weakref.WeakValueDictionary[Lease, Holder] = weakref.WeakValueDictionary()
        self._by_stream: dict[str, set[Lease]] = {}
        self._renewal: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        # A dict, since a set's order differs from run to run, and the fuzzers replay runs.
        self._checks: dict[Lease, None] = {}
        self._check_all = False
        self._checking: asyncio.Task[None] | None = None

    @property
    def held(self) -> int:
        """How many leases are renewed."""
        return len(self._holders)

    def holds(self, stream_id: str, version: int) -> bool:
        """Whether a living publisher of this process writes the version.

        If the event loop was blocked for longer than a lease, a read may come before the renewal
        and find the lease lapsed, although the publisher is about to go on.
        """
        leases = self._by_stream.get(stream_id, ())
        return any(lease.version == version and lease in self._holders for lease in leases)

    def add(self, lease: Lease, holder: Holder) -> None:
        """Renew this lease for as long as its holder lives."""
        self._holders[lease] = holder
        self._by_stream.setdefault(lease.stream_id, set()).add(lease)
        if self._renewal is None:
            self._renewal = start_task(self._renew())

    def remove(self, lease: Lease) -> None:
        """Stop renewing this lease."""
        self._holders.pop(lease, None)
        siblings = self._by_stream.get(lease.stream_id, set())
        siblings.discard(lease)
        if not siblings:
            self._by_stream.pop(lease.stream_id, None)
        renewal = self._renewal
        if not self._holders and renewal is not None and renewal is not asyncio.current_task():
            renewal.cancel()
            self._renewal = None

    def renew_soon(self) -> None:
        """Renew all leases now, not only when they are due."""
        if self._renewal is not None:
            self._urgent.set()

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Check a lease whose stream was moved from outside: by a stop, a takeover or a newer
        version.
        """
        for lease in self._by_stream.get(wake_up.stream_id, ()):
            holder = self._holders.get(lease)
            news = (wake_up.version, wake_up.id)
            if holder is not None and news >= (lease.version, holder.next_id):
                self._checks[lease] = None
                self._check()

    def on_resync(self) -> None:
        """Check all leases, at most once every `RESYNC_CHECK` seconds."""
        if self._holders:
            self._check_all = True
            self._check()

    async def halt(self) -> list[tuple[Lease, Holder]]:
        """Stop renewing and checking; return the leases that were held, for `release`."""
        tasks = [task for task in (self._renewal, self._checking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        held = [*self._holders.items()]
        self._holders.clear()
        return held

    async def release(self, held: Sequence[tuple[Lease, Holder]]) -> list[WakeUp]:
        """Let leases lapse now, so that others need not wait for this process; return the wake-ups
        for their readers.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await asyncio.gather(*(self._release(lease) for lease, _ in held))
        return [WakeUp(lease.stream_id, lease.version, holder.next_id) for lease, holder in held]

    async def _release(self, lease: Lease) -> None:
        try:
            await self._store.release(lease, handover=True)
        # Whatever a store raises, the lease lapses by itself.
        except Exception as error:
            self._on_error("release", error, lease[:2])

    def _check(self) -> None:
        if self._checking is None:
            self._checking = start_task(self._run_checks())

    async def _run_checks(self) -> None:
        try:
            while self._checks or self._check_all:
                everything, self._check_all = self._check_all, False
                leases = [*self._holders] if everything else [*self._checks]
                self._checks.clear()
                try:
                    self._tell(leases, await self._store.check(leases))
                # Whatever a store raises, the next append or renewal asks the same question.
                except Exception as error:
                    self._on_error("check", error)
                if everything:
                    await asyncio.sleep(RESYNC_CHECK)
        finally:
            self._checking = None

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._lease / RENEWALS_PER_LEASE
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._urgent.wait()
            self._urgent.clear()
            leases = [*self._holders]
            self._forget_dropped()
            if not leases:
                self._renewal = None
                return
            try:
                self._tell(leases, await self._store.renew(leases, lease=self._lease))
                due = loop.time() + self._lease / RENEWALS_PER_LEASE
            # Whatever a store raises must not end the renewals of every publisher.
            except Exception as error:
                self._on_error("renew", error)
                pause = self._lease / RENEWALS_PER_LEASE / RETRIES_PER_RENEWAL
                # One that was not due yet is tried again when it is.
                due = max(due, loop.time() + pause)

    def _forget_dropped(self) -> None:
        for stream_id, leases in [*self._by_stream.items()]:
            # One by one: a set operation would go through all holders for each stream.
            leases.difference_update([lease for lease in leases if lease not in self._holders])
            if not leases:
                del self._by_stream[stream_id]

    def _tell(self, leases: Sequence[Lease], verdicts: Sequence[MonostreamError | None]) -> None:
        for lease, verdict in zip(leases, verdicts, strict=True):
            holder = self._holders.get(lease)
            if verdict is not None and holder is not None:
                logger.debug(
                    "stream %r version %d is lost to its publisher: %s",
                    lease.stream_id,
                    lease.version,
                    type(verdict).__name__,
                )
                self.remove(lease)
                holder._lose(verdict)

"""Wake-ups between processes that share a SQLite file: each one asks the file for new commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from monostream_ai.interfaces import BackgroundErrors, Listener
from monostream_ai.notifiers.file_events import FileEvents
from monostream_ai.notifiers.serving import ServingNotifier
from monostream_ai.stores.sqlite.store import SQLiteStore
from monostream_ai.types import WakeUp

logger = logging.getLogger(__name__)

SOONEST: Final = 0.001
"""Seconds to another look after an event of the file: a commit is seen a moment later than told."""

FASTEST: Final = 0.01
SLOWEST: Final = 0.1
"""Seconds between two looks without an event: first the fastest, then half as much again each time,
up to the slowest.
"""

RETRY: Final = 1.0
"""Seconds before the next look after one that failed."""


class SQLiteNotifier(ServingNotifier):
    """Watches the file's data version, which changes with each commit of another connection.

    It looks when the kernel tells that the write-ahead log was written to, and from time to time,
    since not every file system tells. A change does not say which stream has moved, so each one is
    a resync. So is the death of a process that was writing. A write-ahead log that cannot be
    emptied is reported as `checkpoint`.

    Args:
        store: The source of the data version. Borrowed: `aclose` leaves it open.
    """

    def __init__(self, store: SQLiteStore) -> None:
        super().__init__()
        self._store = store

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        """Do nothing: the commit itself is the wake-up."""

    def _address(self) -> str:
        return f"of {self._store!r}"

    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        while True:
            try:
                # Its first answer opens the log, which exists from then on.
                known = await self._store.data_version()
                self._set_healthy(True, listener)
                with FileEvents(self._store.log, lambda: self._store.commits) as events:
                    await self._watch(known, events, listener, on_error)
            # Readers poll meanwhile, and the next look may succeed.
            except Exception as error:
                on_error("listen", error)
                self._set_healthy(False, listener)
                logger.debug("%r looks again in %.1f s", self, RETRY)
            await asyncio.sleep(RETRY)

    async def _watch(
        self, known: int, events: FileEvents, listener: Listener, on_error: BackgroundErrors
    ) -> None:
        """Deliver each change of the data version; raises once it cannot be read."""
        delay = FASTEST
        while True:
            told = await events.wait(delay)
            current = await self._store.data_version()
            # The end of a process is no commit, but its versions are lost now.
            died = self._store.somebody_died()
            if current != known or died:
                known = current
                delay = SLOWEST if events.come else FASTEST
                listener.on_resync()
            else:
                delay = SOONEST if told else min(max(delay * 1.5, FASTEST), SLOWEST)
            if (held := self._store.held_log()) is not None:
                on_error("checkpoint", held)

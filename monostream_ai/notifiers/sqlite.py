"""Wake-ups between processes that share a SQLite file: each one asks the file for new commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from monostream_ai.interfaces import BackgroundErrors, Listener
from monostream_ai.notifiers.serving import ServingNotifier
from monostream_ai.stores.sqlite.store import SQLiteStore
from monostream_ai.types import WakeUp

logger = logging.getLogger(__name__)

FASTEST: Final = 0.01
SLOWEST: Final = 0.1
"""Seconds between two looks: the fastest after a commit, then half as much again each time, up to
the slowest.
"""

RETRY: Final = 1.0
"""Seconds before the next look after one that failed."""


class SQLiteNotifier(ServingNotifier):
    """Watches the file's data version, which changes with each commit of another connection.

    It does not tell which stream has moved, so each change is a resync. So is the death of a
    process that was writing. A write-ahead log that cannot be emptied is reported as `checkpoint`.

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
        known: int | None = None
        delay = FASTEST
        while True:
            try:
                current = await self._store.data_version()
            # Readers poll meanwhile, and the next look may succeed.
            except Exception as error:
                on_error("listen", error)
                self._set_healthy(False, listener)
                known, delay = None, RETRY
                logger.debug("%r looks again in %.1f s", self, delay)
            else:
                # The end of a process is no commit, but its versions are lost now.
                died = self._store.somebody_died()
                changed = current != known or died
                known = current
                delay = FASTEST if changed else min(delay * 1.5, SLOWEST)
                if self._healthy and changed:
                    listener.on_resync()
                self._set_healthy(True, listener)
                if (held := self._store.held_log()) is not None:
                    on_error("checkpoint", held)
            await asyncio.sleep(delay)

"""Wake-ups between processes that share a SQLite file: each looks whether somebody else has
committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from monostream_ai.interfaces import BackgroundErrors, Listener
from monostream_ai.notifiers.serving import ServingNotifier
from monostream_ai.stores.sqlite.store import SQLiteStore
from monostream_ai.types import WakeUp

FASTEST: Final = 0.01
SLOWEST: Final = 0.1
"""Seconds between looks: the fastest after a commit of somebody else, then slower by half each time
up to the slowest.
"""


class SQLiteNotifier(ServingNotifier):
    """Looks at the file's data version, which says that something was committed, not what: every
    stream may have moved.

    Args:
        store: Asked for its data version; not closed.
    """

    def __init__(self, store: SQLiteStore) -> None:
        super().__init__()
        self._store = store

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        """Do nothing: the commit itself is the wake-up."""

    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        known: int | None = None
        delay = FASTEST
        while True:
            try:
                current = await self._store.data_version()
            # Whatever happens to the file, readers poll meanwhile and the next look may succeed.
            except Exception as error:
                on_error("listen", error)
                self._set_healthy(False, listener)
                known, delay = None, 1.0
            else:
                changed = current != known
                known = current
                delay = FASTEST if changed else min(delay * 1.5, SLOWEST)
                if self._healthy and changed:
                    listener.on_resync()
                self._set_healthy(True, listener)
            await asyncio.sleep(delay)

"""Sends wake-ups after commits: one coalesced batch at a time, for each stream only the newest."""

from __future__ import annotations

import asyncio
from typing import Final

from monostream_ai.interfaces import BackgroundErrors, Notifier
from monostream_ai.types import WakeUp

LONGEST_PAUSE: Final = 0.005
"""Seconds between two notifications at most that are due one after the other."""


class Announcer:
    """Tells other processes what this one stored. A failure costs a wake-up, never a chunk.

    Where the next notification is due when one ends, it waits as long as that one took: what is
    slow is shared, and leaves others half of the time, and what is fast costs next to nothing.
    """

    def __init__(self, notifier: Notifier, on_error: BackgroundErrors) -> None:
        self._notifier = notifier
        self._on_error = on_error
        self._pending: dict[str, WakeUp] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, wake_up: WakeUp) -> None:
        """Queue a wake-up; what queues while a batch is being sent is the next batch."""
        known = self._pending.get(wake_up.stream_id)
        if known is None or known < wake_up:
            self._pending[wake_up.stream_id] = wake_up
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Send what is queued."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                batch = [*self._pending.values()]
                self._pending.clear()
                begun = loop.time()
                try:
                    await self._notifier.notify(batch)
                # A notifier may raise anything; readers poll for what they were not told.
                except Exception as error:
                    self._on_error("notify", error)
                if self._pending:
                    await asyncio.sleep(min(loop.time() - begun, LONGEST_PAUSE))
        finally:
            self._task = None

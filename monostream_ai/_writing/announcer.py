"""Sends wake-ups after commits: one batch at a time, and for each stream only the newest."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import Final

from monostream_ai.interfaces import BackgroundErrors, Notifier
from monostream_ai.types import WakeUp

logger = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 0.005
"""Seconds between two consecutive notifications at most."""


class Announcer:
    """Tells other processes what this one stored. A failure costs a wake-up, never a chunk.

    If wake-ups are waiting when a notification returns, the next one pauses as long as that one
    took, at most `LONGEST_PAUSE`: slow notifications are batched, fast ones hardly delayed.
    """

    def __init__(self, notifier: Notifier, on_error: BackgroundErrors) -> None:
        self._notifier = notifier
        self._on_error = on_error
        self._pending: dict[str, WakeUp] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, wake_up: WakeUp) -> None:
        """Queue a wake-up; those queued while a batch is being sent make the next batch."""
        known = self._pending.get(wake_up.stream_id)
        if known is None or known < wake_up:
            self._pending[wake_up.stream_id] = wake_up
        if self._task is None:
            # On the way of each chunk, so without a call of `start_task`.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def aclose(self) -> None:
        """Send the wake-ups that are queued."""
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
                    logger.debug("sent wake-ups for %d streams", len(batch))
                # A notifier may raise anything; readers poll for chunks that no wake-up announced.
                except Exception as error:
                    self._on_error("notify", error)
                if self._pending:
                    await asyncio.sleep(min(loop.time() - begun, LONGEST_PAUSE))
        finally:
            self._task = None

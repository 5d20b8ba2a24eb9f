"""Sends wake-ups after commits: one batch at a time, and for each stream only the newest.

A wake-up carries the chunks of all commits that it stands for, if they fit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Final

from monostream_ai._inline import Parcel
from monostream_ai.interfaces import BackgroundErrors, Notifier
from monostream_ai.types import Append, WakeUp

logger = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 0.005
"""At most this many seconds pass between two consecutive notifications."""

CLOSING_TIMEOUT: Final = 3.0
"""Seconds that queued wake-ups are given when the announcer closes."""

MOST_WAITING: Final = 4 * 1024 * 1024
"""Characters of chunks in the wake-ups of one batch; those queued beyond it carry none."""


class Announcer:
    """Tells other processes what this one stored. A failure costs a wake-up, never a chunk.

    If wake-ups are waiting when a notification returns, the next one pauses as long as that one
    took, at most `LONGEST_PAUSE`: slow notifications are batched, fast ones hardly delayed.

    Args:
        room: Returns how many bytes a wake-up may carry at this moment.
    """

    def __init__(
        self, notifier: Notifier, on_error: BackgroundErrors, *, room: Callable[[], int]
    ) -> None:
        self._notifier = notifier
        self._on_error = on_error
        self._room = room
        self._pending: dict[str, WakeUp] = {}
        self._parcels: dict[str, Parcel] = {}
        """The chunks of pending wake-ups, where one carries all that it announces."""
        self._waiting = 0
        """Characters of chunks that pending wake-ups have been given."""
        self._task: asyncio.Task[None] | None = None

    def add(self, wake_up: WakeUp, committed: Append | None = None) -> None:
        """Queue a wake-up; those queued while a batch is being sent make the next batch.

        Args:
            committed: The commit that it announces. It must be durable.
        """
        known = self._pending.get(wake_up.stream_id)
        if known is None or known < wake_up:
            self._pending[wake_up.stream_id] = wake_up
            if committed is not None and (room := self._room()):
                self._pack(committed, room, known)
            elif known is not None:
                self._parcels.pop(wake_up.stream_id, None)
        if self._task is None:
            # Every chunk passes here, so the call of `start_task` is spared.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def aclose(self) -> None:
        """Send the wake-ups that are queued, unless that takes longer than `CLOSING_TIMEOUT`."""
        if self._task is None:
            return
        _, late = await asyncio.wait([self._task], timeout=CLOSING_TIMEOUT)
        for task in late:
            # Behind a silent server each batch would wait for a connection of its own.
            logger.debug("closes without the last wake-ups: sending them takes too long")
            task.cancel()
            await asyncio.wait([task])

    def _pack(self, committed: Append, room: int, known: WakeUp | None) -> None:
        stream_id, version, _ = committed.lease
        parcel = self._parcels.pop(stream_id, None)
        if known is None or known.version < version:
            parcel = Parcel(committed.lease, committed.first)
        # Without a parcel there is a gap, and a reader must read in any case.
        if parcel is not None and self._waiting < MOST_WAITING and parcel.add(committed, room):
            self._waiting += sum(map(len, committed.payloads))
            self._parcels[stream_id] = parcel

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                for stream_id, parcel in self._parcels.items():
                    _, version, id, _ = self._pending[stream_id]
                    self._pending[stream_id] = WakeUp(stream_id, version, id, parcel.sealed())
                batch = [*self._pending.values()]
                self._pending.clear()
                self._parcels.clear()
                self._waiting = 0
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

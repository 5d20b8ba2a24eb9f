"""Decides when each tail is polled. Many tails share one timer and, when due together, one read."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from contextvars import Context
from typing import Final

from monostream_ai._reading.tail import Tail

POLL_TICK: Final = 0.25
"""Polls are due on multiples of this many seconds of loop time, so that many are due together."""

FIRST_POLL: Final = 0.25
"""Seconds to the first poll after a chunk when no notifier works; they double up to the poll
interval.
"""


class PollSchedule:
    """Calls back for each tail when its poll is due.

    Args:
        on_due: Takes a tail whose poll is due, and schedules the next one if there is to be one.
    """

    def __init__(self, on_due: Callable[[Tail], None]) -> None:
        self._on_due = on_due
        self._entries: list[tuple[float, int, Tail]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, tail: Tail, now: float, delay: float) -> None:
        """Poll the tail after `delay` seconds, or when it was due before, whichever is first."""
        due = math.ceil((now + delay) / POLL_TICK) * POLL_TICK
        if tail.poll_at is not None and now < tail.poll_at <= due:
            return
        tail.poll_at = due
        heapq.heappush(self._entries, (due, next(self._order), tail))
        if self._timer is None or due < self._timer.when():
            self._arm()

    def cancel(self) -> None:
        """Poll nothing any more."""
        self._entries.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._entries[0][0], self._fire, context=Context())

    def _fire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._entries and self._entries[0][0] <= now:
            due, _, tail = heapq.heappop(self._entries)
            # The entry is stale if the readers have left, or an earlier entry was handled.
            if tail.poll_at == due and tail.readers:
                tail.poll_at = None
                self._on_due(tail)
        self._arm()

"""When which feed is to be polled; many feeds share one timer and, when due together, one
statement.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

from monostream_ai._reading.tail import Feed

POLL_TICK: Final = 0.25
"""Polls are due on multiples of this many seconds of loop time, so that many feeds are due
together.
"""

FIRST_POLL: Final = 0.25
"""Seconds to the first poll after a chunk when no notifier works; they double up to the poll
interval.
"""


class PollSchedule:
    """Calls back for each feed when its poll is due.

    Args:
        on_due: Takes a feed whose poll is due; schedules the next one if there is to be one.
    """

    def __init__(self, on_due: Callable[[Feed], None]) -> None:
        self._on_due = on_due
        self._entries: list[tuple[float, int, Feed]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, feed: Feed, now: float, delay: float) -> None:
        """Poll the feed after `delay` seconds, or when it was to be polled before, whichever is
        first.
        """
        due = math.ceil((now + delay) / POLL_TICK) * POLL_TICK
        if feed.poll_at is not None and now < feed.poll_at <= due:
            return
        feed.poll_at = due
        heapq.heappush(self._entries, (due, next(self._order), feed))
        if self._timer is None or due < self._timer.when():
            self._arm()

    def cancel(self) -> None:
        """Poll nothing any more."""
        self._entries.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = (
            asyncio.get_running_loop().call_at(self._entries[0][0], self._fire)
            if self._entries
            else None
        )

    def _fire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._entries and self._entries[0][0] <= now:
            due, _, feed = heapq.heappop(self._entries)
            # A feed that was left, or that has an earlier entry, is stale here.
            if feed.poll_at == due and feed.readers:
                feed.poll_at = None
                self._on_due(feed)
        self._arm()

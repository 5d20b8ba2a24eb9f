"""An event loop whose clock jumps: when every task waits, the time of the next timer is now.

Hours of leases and polls cost nothing, and the same choices give the same interleaving every time.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Final

BUSY: Final = 100_000
"""Turns of the loop in which no time passes, after which somebody must be going round in circles."""

LONGEST: Final = 10_000.0
"""Seconds of virtual time after which a scenario that cannot be cancelled is broken off."""


class Stalled(Exception):
    """Nothing would ever happen again, or the same for ever."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Runs tasks and timers; there are no sockets and no threads. It stands in as its own selector."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._selector = self
        # A jump may fall short of its timer by the last digit of a float.
        self._clock_resolution = 1e-6
        self._numbers = itertools.count()

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time until the next timer pass."""
        if timeout is None:
            raise Stalled("every task waits for another one and no timer is set")
        self._now += timeout
        self._turns = 0 if timeout else self._turns + 1
        if self._turns > BUSY or self._now > LONGEST:
            raise Stalled("tasks go round in circles")
        return []

    def create_future(self) -> asyncio.Future[Any]:
        return _NumberedFuture(next(self._numbers), self)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _NumberedFuture(asyncio.Future[Any]):
    # The order of a set of futures must not depend on their addresses.
    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._number = number

    def __hash__(self) -> int:
        return self._number

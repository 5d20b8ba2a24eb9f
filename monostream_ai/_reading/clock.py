"""One slow timer for all responses of a process, whatever their number."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from contextvars import Context
from typing import Final, TypeAlias

TICK: Final = 0.5
"""Seconds. A response that is silent notices within this time that it must end."""

Look: TypeAlias = Callable[[], float]
"""Looks after one response, and returns the seconds until it wants to be called again."""


class Clock:
    """Calls each of its members when it is due; the others cost nothing meanwhile.

    Args:
        is_over: Asked at each tick while there are members. All of them are called when it is True.
        on_alarm: Called at each tick at which the alarm of any member returns True, before the
            members.
    """

    def __init__(self, is_over: Callable[[], bool], on_alarm: Callable[[], object]) -> None:
        self._is_over = is_over
        self._on_alarm = on_alarm
        self._due: dict[float, dict[Look, None]] = defaultdict(dict)
        """The members by the tick at which they are due; one that is never due is at infinity."""
        self._members: dict[Look, tuple[float, Callable[[], bool]]] = {}
        self._alarms: Counter[Callable[[], bool]] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def join(self, look: Look, *, after: float, alarm: Callable[[], bool]) -> None:
        """Call `look` after so many seconds. A shared alarm is asked once a tick."""
        self._alarms[alarm] += 1
        self._schedule(look, after, alarm)
        if self._timer is None:
            self._arm()

    def leave(self, look: Look) -> None:
        """Stop calling `look`. Idempotent."""
        if look not in self._members:
            return
        due, alarm = self._members.pop(look)
        del self._due[due][look]
        self._alarms[alarm] -= 1
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ring(self) -> None:
        """Call all members now."""
        for look in [*self._members]:
            self._call(look)

    def _tick(self) -> None:
        self._arm()
        if any(alarm() for alarm, members in self._alarms.items() if members):
            self._on_alarm()
        if self._is_over():
            self.ring()
            return
        now = asyncio.get_running_loop().time() / TICK
        for tick in [tick for tick in self._due if tick <= now]:
            for look in [*self._due[tick]]:
                self._call(look)
            del self._due[tick]

    def _call(self, look: Look) -> None:
        due, alarm = self._members[look]
        del self._due[due][look]
        self._schedule(look, look(), alarm)

    def _schedule(self, look: Look, after: float, alarm: Callable[[], bool]) -> None:
        due = (asyncio.get_running_loop().time() + after) / TICK
        # Never the tick that is under way.
        due = math.floor(due) + 1 if math.isfinite(due) else due
        self._due[due][look] = None
        self._members[look] = due, alarm

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick, context=Context())

"""One slow timer for all responses of a process, whatever their number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

TICK: Final = 0.5
"""Seconds. A response that is silent notices within this time that it must end."""


class Clock:
    """Calls its members every half second while there are any.

    Args:
        on_alarm: Called at each tick at which the alarm of any member returns True, before the
            members.
    """

    def __init__(self, on_alarm: Callable[[], object]) -> None:
        self._on_alarm = on_alarm
        self._members: dict[Callable[[], object], Callable[[], bool]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def join(self, member: Callable[[], object], *, alarm: Callable[[], bool]) -> None:
        """Call `member` at each tick until it leaves. A shared alarm is asked once a tick."""
        self._members[member] = alarm
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick, context=Context())

    def leave(self, member: Callable[[], object]) -> None:
        """Stop calling `member`. Idempotent."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ring(self) -> None:
        """Call all members now, besides at the next tick."""
        for member in [*self._members]:
            member()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick, context=Context())
        if any(alarm() for alarm in {*self._members.values()}):
            self._on_alarm()
        self.ring()

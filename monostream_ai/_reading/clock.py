"""A slow clock for many: one timer, whatever their number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

BEAT: Final = 0.5
"""Seconds. A response that says nothing notices within this time that it must end."""


class Beat:
    """Calls its members every half second while there are any.

    Args:
        on_alarm: Called, before the members, at each beat at which an alarm is on.
    """

    def __init__(self, on_alarm: Callable[[], object]) -> None:
        self._on_alarm = on_alarm
        self._members: dict[Callable[[], object], Callable[[], bool]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def join(self, member: Callable[[], object], *, alarm: Callable[[], bool]) -> None:
        """Call `member` at each beat until it leaves; alarms that members have in common are looked
        at once.
        """
        self._members[member] = alarm
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def leave(self, member: Callable[[], object]) -> None:
        """Call `member` no more. Idempotent."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)
        if any(alarm() for alarm in {*self._members.values()}):
            self._on_alarm()
        for member in [*self._members]:
            member()

"""Consecutive notifications leave room for other work in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from fuzz.virtual_time import VirtualTimeLoop
from monostream_ai._writing.announcer import LONGEST_PAUSE, Announcer
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier
from monostream_ai.types import WakeUp


class SlowNotifier(Notifier):
    """Takes this many seconds for each notification, and notes its time and contents."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.sent: list[tuple[float, list[int]]] = []

    @property
    def healthy(self) -> bool:
        return True

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        self.sent.append((asyncio.get_running_loop().time(), [wake_up.id for wake_up in wake_ups]))
        await asyncio.sleep(self._seconds)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        raise AssertionError("nobody listens")

    async def aclose(self) -> None:
        pass


def announced(seconds: float, instants: list[float]) -> list[tuple[float, list[int]]]:
    """Return what a notifier is told, and when, of wake-ups with ids from 0 at these instants."""
    notifier = SlowNotifier(seconds)

    async def announce() -> None:
        loop = asyncio.get_running_loop()
        announcer = Announcer(notifier, lambda source, error: None)
        for number, instant in enumerate(instants):
            await asyncio.sleep(instant - loop.time())
            announcer.add(WakeUp("s", 0, number))
        await announcer.aclose()

    VirtualTimeLoop().run_until_complete(announce())
    return notifier.sent


def test_at_idle_a_notification_is_sent_at_once() -> None:
    assert announced(0.002, [0.0, 0.010]) == [
        (pytest.approx(0.0), [0]),
        (pytest.approx(0.010), [1]),
    ]


def test_under_load_the_next_one_waits_as_long_as_the_last_one_took_and_says_all() -> None:
    assert announced(0.002, [0.0, 0.001, 0.003]) == [
        (pytest.approx(0.0), [0]),
        (pytest.approx(0.004), [2]),
    ]


def test_a_slow_notification_does_not_hold_up_the_next_one_for_long() -> None:
    sent = announced(1.0, [0.0, 0.5])
    assert sent == [(pytest.approx(0.0), [0]), (pytest.approx(1.0 + LONGEST_PAUSE), [1])]

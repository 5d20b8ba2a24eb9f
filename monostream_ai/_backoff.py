"""Retries: growing delays that never run in step, and the loop that waits out an outage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from monostream_ai.errors import StoreUnavailable

T = TypeVar("T")

FIRST_RETRY: Final = 0.05
"""Seconds before the first retry while a store is unavailable."""

LAST_RETRY: Final = 2.0
"""Seconds between retries at most; the delays double up to this."""


class Backoff:
    """Delays that double from `first` to `last`, each cut by up to a half at random; in seconds."""

    def __init__(self, first: float = FIRST_RETRY, last: float = LAST_RETRY) -> None:
        self._first = first
        self._last = last
        self._delay = first

    def next(self) -> float:
        """Return the delay before the next attempt, and double the one after it."""
        delay = self._delay * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
        self._delay = min(self._delay * 2, self._last)
        return delay

    def reset(self) -> None:
        """Start again from the first delay."""
        self._delay = self._first


async def patiently(
    attempt: Callable[[], Awaitable[T]],
    *,
    patience: float,
    on_error: Callable[[StoreUnavailable], None] | None = None,
    giving_up: Callable[[], bool] = lambda: False,
) -> T:
    """Repeat a call to the store, which must be safe to repeat, until the store answers.

    Args:
        patience: Seconds of outage after which the last `StoreUnavailable` is raised.
        on_error: Told of each failed attempt.
        giving_up: Whether to raise at once, whatever patience is left.

    Raises:
        StoreUnavailable
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    backoff = Backoff()
    while True:
        try:
            return await attempt()
        except StoreUnavailable as error:
            if on_error is not None:
                on_error(error)
            if giving_up() or loop.time() >= deadline:
                raise
        await asyncio.sleep(backoff.next())

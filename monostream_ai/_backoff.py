"""Waiting longer after each failure, and never in step with others."""

from __future__ import annotations

import random
from typing import Final

FIRST_RETRY: Final = 0.05
LAST_RETRY: Final = 2.0
"""Seconds between attempts while a store is unavailable; they double from the first to the last."""


class Backoff:
    """Delays that double from the first to the last, each cut by up to a half at random; all in
    seconds.
    """

    def __init__(self, first: float = FIRST_RETRY, last: float = LAST_RETRY) -> None:
        self._first = first
        self._last = last
        self._delay = first

    def next(self) -> float:
        """Return how long to wait now, and wait longer the next time."""
        delay = self._delay * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
        self._delay = min(self._delay * 2, self._last)
        return delay

    def reset(self) -> None:
        """Start from the first delay again."""
        self._delay = self._first

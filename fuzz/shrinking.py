"""Making a failure smaller: fewer chunks, readers and faults, while it still fails."""

from __future__ import annotations

import time
from collections.abc import Callable

from fuzz.players import Result

PATIENCE = 30.0
"""Seconds for a whole shrink."""


def shrink(
    failed: Result, attempt: Callable[[dict[str, int]], Result], *, repeats: int
) -> tuple[dict[str, int], Result]:
    """Return caps on choices with which the scenario still fails, and how it then fails.

    Args:
        repeats: Runs that must all succeed before smaller choices count as harmless; above 1 if
            timing is random.
    """
    caps: dict[str, int] = {}
    deadline = time.monotonic() + PATIENCE
    for all_others in (0, 1, 2, 5):
        if again := _fails(attempt, {"*": all_others}, repeats, deadline):
            return {"*": all_others}, again
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        for name, value in sorted(failed.used.items(), key=lambda item: -item[1]):
            for smaller in _smaller(min(value, caps.get(name, value))):
                again = _fails(attempt, {**caps, name: smaller}, repeats, deadline)
                if again is not None:
                    caps, failed, progress = {**caps, name: smaller}, again, True
                    break
    return caps, failed


def _smaller(value: int) -> list[int]:
    return sorted(
        {candidate for candidate in (0, 1, value // 2, value - 1) if 0 <= candidate < value}
    )


def _fails(
    attempt: Callable[[dict[str, int]], Result], caps: dict[str, int], repeats: int, deadline: float
) -> Result | None:
    for _ in range(repeats):
        if time.monotonic() > deadline:
            return None
        result = attempt(caps)
        if result.error is not None:
            return result
    return None

"""What is left when the load is over: nothing that was not there before it, and each turn has been
handed over.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmarks.soaking.processes import ServerProcess
from benchmarks.soaking.sampling import Sample, Sampler
from benchmarks.soaking.tally import Tally

PATIENCE = 30.0
"""Seconds in which everything must be given back."""

HANDED_OVER_WITHIN = 90.0
"""Seconds in which a turn is handed over whose process died at it: a minute, and a sweep."""

ALLOWED = {"tasks": 0, "threads": 8, "files": 12, "writing": 0, "reading": 0, "streams read": 0}
"""What a process may have more than before the load. Its pools fill: FastAPI's threads, 5
connections of the store and 2 that notify; and clients keep connections alive that they use again."""

COUNT = "SELECT chat_id, version, count(*) FROM handed_over WHERE chat_id NOT LIKE 'warm-up%' GROUP BY 1, 2"


@dataclass(frozen=True)
class Ending:
    """`before` and `after` are what both processes and the database had when nothing was going on."""

    before: Sample
    after: Sample
    left: list[str]
    """What there is more than before."""
    settled_after: float
    """Seconds after the load until nothing was left."""
    handed_over: int
    handed_over_again: int
    """Turns that were handed over more than once, as they are when a process dies at it."""


async def wind_up(
    servers: Sequence[ServerProcess],
    sampler: Sampler,
    before: Sample,
    ended: Collection[tuple[str, int]],
    tally: Tally,
) -> Ending:
    """Wait until nothing is left and all is handed over, and let both processes leave."""
    over = time.monotonic()
    while left := excess(before, after := await sampler.sample()):
        if time.monotonic() > over + PATIENCE:
            break
        await asyncio.sleep(0.5)
    settled_after = time.monotonic() - over
    counts = await _handed_over(sampler, ended, tally)
    for server in servers:
        await server.leave()
    return Ending(
        before,
        after,
        left,
        settled_after,
        counts.total(),
        sum(count > 1 for count in counts.values()),
    )


def excess(before: Sample, after: Sample) -> list[str]:
    """Return what both processes have more than they had before, beyond what they may."""
    return [
        f"process {place} has {after[f'{name} {place}']} {name} after {before[f'{name} {place}']}"
        for place in range(2)
        for name, more in ALLOWED.items()
        if after[f"{name} {place}"] > before[f"{name} {place}"] + more
    ]


async def _handed_over(
    sampler: Sampler, ended: Collection[tuple[str, int]], tally: Tally
) -> Counter[tuple[str, int]]:
    deadline = time.monotonic() + HANDED_OVER_WITHIN
    while True:
        counts = Counter(
            {(chat_id, version): count for chat_id, version, count in await sampler.fetch(COUNT)}
        )
        missing = set(ended) - set(counts)
        if not missing or time.monotonic() > deadline:
            break
        await asyncio.sleep(1.0)
    for chat_id, version in sorted(missing):
        tally.mismatch(f"version {version} of {chat_id} was never handed over")
    return counts

"""What came of the load: counts, mismatches, and the latencies since they were last asked for."""

from __future__ import annotations

import statistics
import sys
from collections import Counter, defaultdict


class Tally:
    """Shared by all that make load."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []
        """What must never be: any of them spoils the run."""
        self.open = 0
        """Responses that are being read now."""
        self._latencies: defaultdict[str, list[float]] = defaultdict(list)

    def mismatch(self, what: str) -> None:
        self.mismatches.append(what)
        print(f"MISMATCH {what}", file=sys.stderr, flush=True)

    def late(self, way: str, seconds: float) -> None:
        self._latencies[way].append(seconds)

    def latencies(self, way: str) -> tuple[float | None, float | None, int]:
        """Return the p50 and the p99 in milliseconds of what was read since the last call, and how
        much that was.
        """
        values = self._latencies.pop(way, [])
        if len(values) < 2:
            return None, None, len(values)
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        return cuts[49] * 1000, cuts[98] * 1000, len(values)

"""The progress line: `[5s] ok=1986 fail=0 rate=396.9/s peak=0.6s heap=16MB`."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

INTERVAL = 5.0
"""Seconds between lines."""


class Progress:
    """Counts scenarios.

    The peak is the longest scenario since the last line, the heap the memory of the process now.
    """

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self._began = self._printed = time.monotonic()
        self._peak = 0.0
        self._kinds: Counter[str] = Counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def count(self, kinds: Sequence[str], *, failed: bool, seconds: float) -> None:
        """Count scenarios that ran together; print a line if one is due."""
        if failed:
            self.failed += len(kinds)
        else:
            self.ok += len(kinds)
        self._kinds.update(kinds)
        self._peak = max(self._peak, seconds)
        if time.monotonic() - self._printed >= INTERVAL:
            self.print()

    def print_kinds(self) -> None:
        """Print how often each kind ran."""
        print(*(f"{kind}={count}" for kind, count in sorted(self._kinds.items())), flush=True)

    def print(self) -> None:
        seconds = self.seconds
        rate = (self.ok + self.failed) / seconds
        counts = f"[{seconds:.0f}s] ok={self.ok} fail={self.failed} rate={rate:.1f}/s"
        print(f"{counts} peak={self._peak:.1f}s heap={_megabytes()}MB", flush=True)
        self._printed, self._peak = time.monotonic(), 0.0


def _megabytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        # macOS reports bytes, other systems kilobytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (
            1024 * 1024 if sys.platform == "darwin" else 1024
        )
    return pages * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)

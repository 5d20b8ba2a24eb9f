"""What the times and sizes of a version's chunks say: rates, pauses, gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from monostream_ai.types import StoredChunk

PAUSES: Final = 5
BARS: Final = "▁▂▃▄▅▆▇█"


@dataclass
class Timeline:
    """Collects chunks in the order of their ids; durations in seconds."""

    chunks: int = 0
    size: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of ids, both ends included, that are not there."""
    times: list[datetime] = field(default_factory=list)
    _next_id: int = 0

    def add(self, chunk: StoredChunk) -> None:
        if chunk.id > self._next_id:
            self.missing.append((self._next_id, chunk.id - 1))
        self._next_id = chunk.id + 1
        self.chunks += 1
        self.size += chunk.size
        self.times.append(chunk.stored_at)

    def end(self, next_id: int) -> None:
        """Take note of the id after the last chunk, as the version knows it."""
        if next_id > self._next_id:
            self.missing.append((self._next_id, next_id - 1))

    @property
    def duration(self) -> float:
        """Seconds from the first chunk to the last one."""
        return (self.times[-1] - self.times[0]).total_seconds() if self.times else 0.0

    @property
    def rate(self) -> float | None:
        """Chunks in a second; None if all came at once."""
        return (self.chunks - 1) / self.duration if self.duration > 0 else None

    def pauses(self) -> list[tuple[int, float]]:
        """Return the longest waits: how many chunks there were before each, and how long it took."""
        waits = [
            (later - earlier).total_seconds()
            for earlier, later in zip(self.times, self.times[1:], strict=False)
        ]
        longest = sorted(enumerate(waits, start=1), key=lambda wait: -wait[1])[:PAUSES]
        return [wait for wait in longest if wait[1] > 0]

    def buckets(self, count: int) -> list[int]:
        """Return how many chunks came in each of `count` equal parts of the duration."""
        buckets = [0] * count
        for time in self.times:
            part = (
                (time - self.times[0]).total_seconds() / self.duration if self.duration > 0 else 0.0
            )
            buckets[min(int(part * count), count - 1)] += 1
        return buckets


def drawn(buckets: list[int]) -> str:
    """Return a line of bars; empty parts stay empty."""
    highest = max(buckets, default=0)
    return "".join(
        " " if bucket == 0 else BARS[bucket * (len(BARS) - 1) // highest] for bucket in buckets
    )

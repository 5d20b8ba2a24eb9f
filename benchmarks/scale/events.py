"""The parts of a discrete simulation: a clock, processors, event loops and a disk, each with its
queue.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence

Then = Callable[[], None]


class Clock:
    """Runs what is due, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Then]] = []
        self._order = itertools.count()

    def at(self, moment: float, then: Then) -> None:
        heapq.heappush(self._due, (moment, next(self._order), then))

    def run(self) -> None:
        while self._due:
            self.now, _, then = heapq.heappop(self._due)
            then()


class Processors:
    """Some processors with one queue."""

    def __init__(self, clock: Clock, count: int) -> None:
        self.used = 0.0
        self._clock = clock
        self._free = count
        self._waiting: deque[tuple[float, Then]] = deque()

    def work(self, seconds: float, then: Then) -> None:
        if self._free:
            self._free -= 1
            self._begin(seconds, then)
        else:
            self._waiting.append((seconds, then))

    def _begin(self, seconds: float, then: Then) -> None:
        self.used += seconds
        self._clock.at(self._clock.now + seconds, lambda: self._done(then))

    def _done(self, then: Then) -> None:
        if self._waiting:
            self._begin(*self._waiting.popleft())
        else:
            self._free += 1
        then()


class Loop:
    """The event loop of a process: one thing at a time, on some processors."""

    def __init__(self, processors: Processors) -> None:
        self.used = 0.0
        self._processors = processors
        self._tasks: deque[tuple[float, Then]] = deque()
        self._busy = False

    def work(self, seconds: float, then: Then) -> None:
        self._tasks.append((seconds, then))
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._tasks)
        if self._busy:
            seconds, then = self._tasks.popleft()
            self.used += seconds
            self._processors.work(seconds, lambda: self._done(then))

    def _done(self, then: Then) -> None:
        then()
        self._next()


class Disk:
    """Flushes the log: who commits during a flush shares the next one.

    Args:
        waits: Seconds that a flush takes, each as likely as another; drawn from a fixed seed.
    """

    def __init__(self, clock: Clock, waits: Sequence[float]) -> None:
        self._clock = clock
        self._waits = waits
        self._random = random.Random(1)
        self._waiting: list[Then] = []
        self._busy = False

    def flush(self, then: Then) -> None:
        self._waiting.append(then)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy, waiting, self._waiting = True, self._waiting, []
        self._clock.at(
            self._clock.now + self._random.choice(self._waits), lambda: self._done(waiting)
        )

    def _done(self, waiting: list[Then]) -> None:
        self._busy = False
        if self._waiting:
            self._begin()
        for then in waiting:
            then()

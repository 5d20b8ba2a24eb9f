"""A discrete simulation of one database and the processes that write and read through it.

Each stream has a chunk every 20 ms. Each process writes some streams, by group commit as in
writer.py and announcer.py, and reads as many that others write, as in hub.py. Work that takes CPU
queues for a processor; a commit waits for the disk as well, together with all that commit at once.
The phases of the streams are spread evenly; only how long the disk takes is drawn, from a fixed
seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.scale.costs import Costs
from benchmarks.scale.events import Clock, Disk, Loop, Processors, Then

INTERVAL = 0.020
"""Seconds between two chunks of a stream."""

MAX_BATCH = 2000
TAILS_PER_READ = 64
"""As in writer.py and hub.py."""


@dataclass
class Counts:
    """What happened; `ages` are seconds from a chunk's writing to its reader, each with how many
    chunks were so old.
    """

    said: int = 0
    committed: int = 0
    delivered: int = 0
    batches: int = 0
    notifications: int = 0
    reads: int = 0
    wal: float = 0.0
    ages: list[tuple[float, int]] = field(default_factory=list)

    def note_age(self, batch: Batch, now: float) -> None:
        for moment in (batch.first, (batch.first + batch.last) / 2, batch.last):
            self.ages.append((now - moment, batch.chunks))

    def age(self, part: float) -> float:
        """Return how old at most this part of the chunks was."""
        left = part * sum(chunks for _, chunks in self.ages)
        for age, chunks in sorted(self.ages):
            left -= chunks
            if left <= 0:
                return age
        return 0.0


@dataclass(frozen=True)
class Batch:
    """Some chunks of one process, written between two moments."""

    chunks: int
    first: float
    last: float


class Database:
    """The server: its processors, its disk, and who listens."""

    def __init__(self, clock: Clock, costs: Costs, processors: Processors, counts: Counts) -> None:
        self.clock, self.costs, self.processors, self.counts = clock, costs, processors, counts
        self.used = 0.0
        self._disk = Disk(clock, costs.flush)

    def append(self, streams: int, chunks: int, then: Then) -> None:
        self.counts.batches += 1
        self.counts.wal += self.costs.wal.of(streams, chunks)
        self.work(self.costs.append.server.of(streams, chunks), lambda: self._disk.flush(then))

    def work(self, seconds: float, then: Then) -> None:
        self.used += seconds
        self.processors.work(seconds, then)


class Reader:
    """What one process hears and reads: one statement at a time.

    Args:
        follows: Whether it reads streams; else it only listens.
    """

    def __init__(self, database: Database, loop: Loop, *, follows: bool) -> None:
        self.follows = follows
        self._database, self._loop = database, loop
        self._unheard: list[list[Batch]] = []
        self._behind: deque[Batch] = deque()
        self._reading = False

    def wake(self, batches: list[Batch]) -> None:
        """Let the server's process for it send a notification; what comes before it has a processor
        goes with it.
        """
        self._unheard.append(batches)
        if len(self._unheard) == 1:
            self._database.work(self._database.costs.wake, self._hear)

    def _hear(self) -> None:
        heard, self._unheard = self._unheard, []
        batches = [batch for batches in heard for batch in batches if batch.chunks]
        self._loop.work(self._database.costs.hear * len(heard), lambda: self._heard(batches))

    def _heard(self, batches: list[Batch]) -> None:
        self._behind += batches
        if self._behind and not self._reading:
            self._reading = True
            self._read()

    def _read(self) -> None:
        taken: list[Batch] = []
        room = TAILS_PER_READ
        while self._behind and room:
            batch = self._behind.popleft()
            if batch.chunks > room:
                self._behind.appendleft(Batch(batch.chunks - room, batch.first, batch.last))
                batch = Batch(room, batch.first, batch.last)
            taken.append(batch)
            room -= batch.chunks
        # Within 20 ms, each chunk is of another stream.
        chunks = TAILS_PER_READ - room
        costs = self._database.costs
        self._database.counts.reads += 1
        here = costs.read.client.of(chunks, chunks) + costs.take * chunks
        there = costs.read.server.of(chunks, chunks)
        self._database.work(there, lambda: self._loop.work(here, lambda: self._delivered(taken)))

    def _delivered(self, taken: list[Batch]) -> None:
        for batch in taken:
            self._database.counts.delivered += batch.chunks
            self._database.counts.note_age(batch, self._database.clock.now)
        if self._behind:
            self._read()
        else:
            self._reading = False


class Writer:
    """Writes the streams of one process: one append and one notification in flight.

    Args:
        place: Where its first chunk falls between two of another process, from 0 to 1.
        until: When its models stop, in seconds.
    """

    def __init__(
        self, database: Database, loop: Loop, streams: int, *, place: float, until: float
    ) -> None:
        self._database, self._loop, self._streams = database, loop, streams
        self._pace = INTERVAL / streams
        self._offset = place * self._pace
        # A millionth of a chunk forgives what rounding adds to a moment.
        self._total = math.ceil((until - self._offset) / self._pace - 1e-6)
        self._readers: Sequence[Reader] = ()
        self._following: list[Reader] = []
        self._taken = self._turn = 0
        self._to_announce: list[Batch] = []
        self._announcing = False

    def begin(self, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._following = [reader for reader in readers if reader.follows]
        self._database.clock.at(self._offset, self._commit)

    def _commit(self) -> None:
        chunks = min(self._said() - self._taken, MAX_BATCH)
        next_one = self._offset + self._taken * self._pace
        if chunks == 0:
            if self._taken < self._total:
                self._database.clock.at(next_one, self._commit)
            return
        batch = Batch(chunks, next_one, next_one + (chunks - 1) * self._pace)
        self._taken += chunks
        self._database.counts.said += chunks
        streams, costs = min(chunks, self._streams), self._database.costs
        here = costs.append.client.of(streams, chunks) + costs.push * chunks
        self._loop.work(
            here, lambda: self._database.append(streams, chunks, lambda: self._committed(batch))
        )

    def _said(self) -> int:
        return min(
            int((self._database.clock.now - self._offset) / self._pace + 1e-6) + 1, self._total
        )

    def _committed(self, batch: Batch) -> None:
        self._database.counts.committed += batch.chunks
        self._to_announce.append(batch)
        if not self._announcing:
            self._announcing = True
            self._announce()
        self._loop.work(0.0, self._commit)

    def _announce(self) -> None:
        batches, self._to_announce = self._to_announce, []
        streams = min(sum(batch.chunks for batch in batches), self._streams)
        notify = self._database.costs.notify
        self._database.counts.notifications += 1

        def sent() -> None:
            self._wake(batches)
            if self._to_announce:
                self._announce()
            else:
                self._announcing = False

        there = notify.server.of(streams, 0)
        self._loop.work(notify.client.of(streams, 0), lambda: self._database.work(there, sent))

    def _wake(self, batches: list[Batch]) -> None:
        for reader in self._readers:
            if not reader.follows:
                reader.wake([])
        # Each process that listens is woken, whether it reads one of these streams or not.
        for place, reader in enumerate(self._following):
            reader.wake([self._share(batch, place) for batch in batches])
        self._turn += 1

    def _share(self, batch: Batch, place: int) -> Batch:
        share, rest = divmod(batch.chunks, len(self._following))
        return Batch(
            share + ((place + self._turn) % len(self._following) < rest), batch.first, batch.last
        )

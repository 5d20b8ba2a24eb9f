"""One database and its processes, run for some time: what it takes, and whether it keeps up."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scale.costs import Costs
from benchmarks.scale.events import Clock, Loop, Processors
from benchmarks.scale.simulation import Counts, Database, Reader, Writer


@dataclass(frozen=True)
class Outcome:
    """What a cell did in `seconds`; CPU in cores."""

    counts: Counts
    seconds: float
    drained: float
    database: float
    writers: float
    readers: float

    @property
    def chunks_per_batch(self) -> float:
        return self.counts.committed / self.counts.batches

    @property
    def keeps_up(self) -> bool:
        """Whether readers had the last chunk a tenth of a second after it was said."""
        return self.drained <= self.seconds + 0.1


def one_machine(costs: Costs, streams: int, *, seconds: float, processors: int = 2) -> Outcome:
    """Run one process that writes and one that reads beside their database, as rows 1 and 2 do."""
    clock, counts = Clock(), Counts()
    shared = Processors(clock, processors)
    database = Database(clock, costs, shared, counts)
    writing, reading = Loop(shared), Loop(shared)
    writer = Writer(database, writing, streams, place=0.0, until=seconds)
    writer.begin(
        [Reader(database, reading, follows=True), Reader(database, writing, follows=False)]
    )
    clock.run()
    return Outcome(
        counts,
        seconds,
        clock.now,
        database.used / seconds,
        writing.used / seconds,
        reading.used / seconds,
    )


def one_database(
    costs: Costs, streams: int, processes: int, *, processors: int, seconds: float
) -> Outcome:
    """Run a database with processors of its own, and processes that each have one, and write and
    read an equal part.
    """
    clock, counts = Clock(), Counts()
    database = Database(clock, costs, Processors(clock, processors), counts)
    loops = [Loop(Processors(clock, 1)) for _ in range(processes)]
    readers = [Reader(database, loop, follows=True) for loop in loops]
    for place, loop in enumerate(loops):
        share = streams // processes + (place < streams % processes)
        Writer(database, loop, share, place=place / processes, until=seconds).begin(readers)
    clock.run()
    used = sum(loop.used for loop in loops) / seconds
    return Outcome(counts, seconds, clock.now, database.used / seconds, used, used)

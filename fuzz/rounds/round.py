"""One round: publishers and readers in several processes, a fault, and the promises that must hold
after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fuzz.chunks import ABORT, ERROR, FINISH
from fuzz.draws import Draws
from fuzz.parts.crew import Job, Worker
from fuzz.parts.stage import Place, Stage, patiently
from fuzz.parts.worker import chunk_of
from fuzz.rounds.leaks import require_no_leak
from fuzz.world import Mismatch, brief
from monostream_ai.json_text import encode_json
from monostream_ai.types import MAX_CHUNK_BYTES

BOUND: Final = 20.0
"""Seconds after the fault within which all must have come to an end. Generous, since a hang is not
a matter of seconds.
"""

LATE: Final = 5.0
"""Seconds beyond the lease within which readers must learn of a lost publisher, on a busy machine.
"""


@dataclass(slots=True)
class Publishing:
    """A version that is being written in some process."""

    worker: Worker
    stream: str
    author: str
    payloads: list[str]
    job: Job
    may: set[str] = field(default_factory=lambda: {"closed"})
    """Its allowed outcomes: `closed`, `dead`, or the name of an error."""

    @property
    def version(self) -> int | None:
        return next((version for (version,) in self.job.said("opened")), None)

    @property
    def acknowledged(self) -> int:
        return len(self.job.said("wrote"))

    @property
    def outcome(self) -> str:
        over = self.job.over or ["nothing"]
        return str(over[1] if over[0] == "error" else over[0])


@dataclass(slots=True)
class Reading:
    """A reader in some process; it comes back after a loss as a client does."""

    worker: Worker
    stream: str
    job: Job
    floor: int
    """The newest version that was known to be open when it began."""


@dataclass(slots=True)
class Stored:
    """A version as it is stored."""

    rows: list[str]
    state: str


class Round:
    """The streams, publishers and readers of one round. `topic` is part of its stream ids."""

    def __init__(self, stage: Stage, draws: Draws, topic: str, *, tracing: bool) -> None:
        self.stage = stage
        self.draws = draws
        self.topic = topic
        self.trace: list[tuple[float, tuple[object, ...]]] = []
        self.place: Place = "postgres"
        self.publishings: list[Publishing] = []
        self.readings: list[Reading] = []
        self.stops = False
        """Whether a stop may have been asked."""
        self.ends = False
        """Whether a lost version may have been ended by another process."""
        self._tracing = tracing
        self._began = time.monotonic()

    def log(self, *line: object) -> None:
        if self._tracing:
            self.trace.append((time.monotonic() - self._began, line))

    def require(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise Mismatch(complaint)

    def number(self, name: str, low: int, high: int) -> int:
        return self.draws.number(name, low, high)

    async def crew(self, place: Place, count: int) -> list[Worker]:
        """Return live workers of a place, and make it the place of this round."""
        self.place = place
        return await self.stage.workers(place, count)

    def stream(self, number: int = 0) -> str:
        return f"{self.topic}/{number}"

    async def pause(self, name: str, most: float) -> None:
        """Wait for up to so many seconds."""
        await asyncio.sleep(most * self.draws.number(name, 0, 100) / 100)

    def publish(self, worker: Worker, stream: str, *, least: int = 1, most: int = 40) -> Publishing:
        """Let a worker publish the next version."""
        count, size = (
            self.number("chunks", least, most),
            self.draws.choice("size", (0, 20, 200, 3000)),
        )
        author = f"{self.topic} {len(self.publishings)}"
        payloads = [encode_json(chunk_of(author, number, size)) for number in range(count)]
        pause = self.draws.choice("pace", (0.0, 0.002, 0.01))
        job = worker.tell("publish", stream, author, count, size, pause)
        self.publishings.append(Publishing(worker, stream, author, payloads, job))
        self.log(worker.name, "publishes", count, "chunks to", stream)
        return self.publishings[-1]

    def read(self, worker: Worker, stream: str) -> Reading:
        """Let a worker read."""
        known = [
            each.version
            for each in self.publishings
            if each.stream == stream and each.version is not None
        ]
        self.readings.append(
            Reading(worker, stream, worker.tell("read", stream), max(known, default=-1))
        )
        self.log(worker.name, "reads", stream)
        return self.readings[-1]

    def readers(self, workers: Sequence[Worker], stream: str, *, most: int = 3) -> list[Reading]:
        """Let one or several readers read, each in any of the workers."""
        return [
            self.read(self.draws.choice("reader's process", workers), stream)
            for _ in range(self.number("readers", 1, most))
        ]

    async def instant(self, publishing: Publishing) -> None:
        """Wait for a random instant in the life of a publishing."""
        some = self.number("instant", 0, len(publishing.payloads))
        if some:
            await publishing.job.until("wrote", within=BOUND, count=some)
        await self.pause("moment", 0.01)
        self.log("the instant: after", publishing.acknowledged, "acknowledgements")

    async def told_of_the_loss(self) -> None:
        """Insist that all readers learn in time that a publisher is lost."""
        for reading in self.readings:
            if reading.worker.alive:
                await reading.job.until("lost", within=self.stage.lease + LATE)

    async def conclude(self) -> None:
        """Wait until all have come to an end, and insist on every promise."""
        for publishing in self.publishings:
            await publishing.job.end(within=BOUND)
            self.log(
                publishing.worker.name,
                "ended with",
                publishing.outcome,
                "after",
                publishing.acknowledged,
            )
            fitting = publishing.outcome in publishing.may
            self.require(
                fitting,
                f"{publishing.worker.name} ended with {publishing.job.over} but may "
                f"{publishing.may}",
            )
        for stream in sorted({each.stream for each in [*self.publishings, *self.readings]}):
            await self._succeed(stream)
        for reading in self.readings:
            over = await reading.job.end(within=BOUND)
            self.log(
                "a reader of",
                reading.worker.name,
                "is over:",
                *[line[0] for line in reading.job.lines if line[0] != "read"],
            )
            over_or_killed = over == ["ended"] or (over == ["dead"] and not reading.worker.alive)
            self.require(over_or_killed, f"a reader of {reading.worker.name} got {over}")
        for stream in sorted({each.stream for each in [*self.publishings, *self.readings]}):
            await self._verify(stream)
        self.log("everything is stored and was read as it should")
        await require_no_leak(self.stage, self.place)
        self.log("nothing is left")

    async def _succeed(self, stream: str) -> None:
        """Publish a version that is read to its end, unless there is one already."""
        store = await self.stage.store(self.place)
        info = await patiently(lambda: store.info(stream))
        if info is None or info.state == "open":
            (worker,) = await self.stage.workers(self.place, 1)
            successor = self.publish(worker, stream, most=5)
            await successor.job.end(within=BOUND)
            self.require(
                successor.outcome == "closed", f"the successor ended with {successor.job.over}"
            )

    async def _verify(self, stream: str) -> None:
        versions = await self._stored(stream)
        for publishing in self.publishings:
            if publishing.stream == stream:
                self._verify_publishing(publishing, versions)
        authors = [publishing.author for publishing in self.publishings]
        for version, stored in enumerate(versions):
            self._verify_ending(version, stored)
            strangers = [
                row
                for row in stored.rows
                if row not in (FINISH, ERROR, ABORT) and not any(each in row for each in authors)
            ]
            self.require(not strangers, f"version {version} holds {brief(strangers)}")
        for reading in self.readings:
            if reading.stream == stream:
                self._verify_reading(reading, versions)
        await patiently(lambda: self._delete(stream))

    async def _delete(self, stream: str) -> None:
        await (await self.stage.store(self.place)).delete(stream)

    async def _stored(self, stream: str) -> list[Stored]:
        store = await self.stage.store(self.place)
        latest = await patiently(lambda: store.info(stream))
        versions: list[Stored] = []
        while latest is not None and len(versions) <= latest.version:
            version = len(versions)
            info = await patiently(lambda version=version: store.info(stream, version))
            if info is None:
                raise Mismatch(f"version {version} of {latest.version} is not there")
            rows = await patiently(
                lambda version=version: store.payloads(
                    stream, version, 0, max_rows=10_000, max_bytes=MAX_CHUNK_BYTES * 100
                )
            )
            self.require(
                info.next_id == len(rows),
                f"version {version} has {len(rows)} rows and next id {info.next_id}",
            )
            versions.append(Stored(rows, info.state))
        return versions

    def _verify_publishing(self, publishing: Publishing, versions: Sequence[Stored]) -> None:
        mine = [
            n
            for n, each in enumerate(versions)
            if each.rows and f'"by":"{publishing.author}"' in each.rows[0]
        ]
        version = publishing.version if publishing.version is not None else next(iter(mine), None)
        if version is None:
            return
        self.require(
            set(mine) <= {version},
            f"{publishing.author} wrote versions {mine} and opened {version}",
        )
        rows = versions[version].rows
        body = [row for row in rows if row not in (FINISH, ERROR, ABORT)]
        what = f"version {version} of {publishing.author!r} ({publishing.outcome})"
        self.require(
            body == publishing.payloads[: len(body)],
            f"{what} holds {brief(rows)} of {brief(publishing.payloads)}",
        )
        lacks = publishing.acknowledged - len(body)
        self.require(lacks <= 0, f"{what} lacks {lacks} acknowledged chunks")
        ids = [id for (id,) in publishing.job.said("wrote")]
        self.require(ids == [*range(len(ids))], f"{what} was told the ids {ids}")
        whole = len(body) == len(publishing.payloads)
        self.require(whole or rows[-1:] != [FINISH], f"{what} was finished with {len(body)} chunks")
        self.require(
            rows[-1:] == [FINISH] or publishing.outcome != "closed",
            f"{what} was closed and ends with {brief(rows[-1:])}",
        )

    def _verify_ending(self, version: int, stored: Stored) -> None:
        endings = [place for place, row in enumerate(stored.rows) if row in (FINISH, ERROR, ABORT)]
        last = stored.rows[-1] if endings else None
        self.require(
            endings in ([], [len(stored.rows) - 1]), f"version {version} has endings at {endings}"
        )
        self.require(
            (stored.state == "closed") == bool(endings),
            f"version {version} is {stored.state} and ends with {last}",
        )
        expected = (
            last in (None, FINISH)
            or (last == ABORT and self.stops)
            or (last == ERROR and self.ends)
        )
        self.require(expected, f"version {version} was ended with {last}")

    def _verify_reading(self, reading: Reading, versions: Sequence[Stored]) -> None:
        at = (-1, -1)
        for version, first, payloads in reading.job.said("read"):
            for id, payload in enumerate(payloads, first):
                expected = 0 if version > at[0] else at[1] + 1
                what = f"a reader of {reading.worker.name}"
                self.require(
                    version >= max(at[0], reading.floor) and id == expected,
                    f"{what} got {(version, id)} after {at}",
                )
                stored = versions[version].rows[id : id + 1]
                self.require(
                    stored == [payload],
                    f"{what} got {payload[:80]} at {(version, id)} where {brief(stored)} is stored",
                )
                at = (version, id)
        if reading.job.over == ["ended"]:
            ended = versions[at[0]]
            whole = ended.state == "closed" and at[1] == len(ended.rows) - 1
            self.require(
                whole, f"a reader ended at {at} of {len(ended.rows)} rows in state {ended.state}"
            )

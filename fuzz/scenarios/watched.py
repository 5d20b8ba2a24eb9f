"""Work for watched versions, by several processes at once, some of which fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fuzz.faults import FaultyStore
from fuzz.sites import Service
from fuzz.world import World
from fuzz.writer import publish
from monostream_ai._writing.attending import RECOVER_ATTEMPTS, SETTLE_ATTEMPTS
from monostream_ai.types import VersionInfo, WatchedState

KINDS = ("good", "good", "flaky", "kills", "hangs", "raises")

STATES: Final[Sequence[WatchedState | None]] = (None, "open", "closed")

Process = tuple[Service, FaultyStore]

DEATHS: Final = 2
"""Attempts at work that kill their process, before one does not."""


class WorkFailed(Exception):
    """The work of a scenario fails on purpose."""


class ProcessDied(Exception):
    """The work of a scenario takes its process with it."""


@dataclass(slots=True)
class Job:
    """A watched version, and the attempts at the work for it."""

    stream_id: str
    kind: str
    lost: bool
    begun: list[float] = field(default_factory=list)
    """Loop times at which an attempt began."""
    done: int = 0
    late: bool = False
    """Whether a process was so slow that its time was over before it could say that it was done."""

    @property
    def fails(self) -> bool:
        return self.kind in ("hangs", "raises")

    async def work(self) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        if self.kind == "raises" or (self.kind == "flaky" and len(self.begun) == 1):
            raise WorkFailed
        if self.kind == "kills" and len(self.begun) <= DEATHS:
            raise ProcessDied
        if self.kind == "hangs":
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        self.done += 1


async def watched(world: World) -> None:
    """Work that fails, hangs or kills its process takes nothing from other versions. Each of these
    has its work done once, and failing work waits longer each time.
    """
    world.expects_errors = True
    jobs = {}
    for n in range(world.number("versions", 2, 9)):
        kind = world.draws.choice("kind", KINDS)
        # Only an ended version has a limit for its work.
        lost = kind not in ("hangs", "kills") and world.draws.chance("lost", 50)
        job = Job(f"{world.topic}/w{n}", kind, lost)
        jobs[job.stream_id] = job
        await _leave(world.service(n), job)
    timeout = 0.1 if world.site.virtual else 2.0
    sweepers = [
        asyncio.create_task(_sweep(world, n, jobs, timeout))
        for n in range(world.number("processes", 1, 3))
    ]
    try:
        # All that does not fail is done while all that fails goes on failing.
        while not all(job.done or job.fails for job in jobs.values()):
            _require_no_end(world, sweepers)
            await asyncio.sleep(0.05)
        if world.site.virtual and world.draws.chance("to the end", 30):
            await _until_given_up(world, jobs)
    finally:
        for task in sweepers:
            task.cancel()
        await asyncio.wait(sweepers)
    for job in jobs.values():
        _check(world, job, timeout)
        world.require(await world.site.store(0).delete(job.stream_id), "a watched stream is gone")
    await publish(world, world.service())
    await world.verify()


async def _leave(service: Service, job: Job) -> None:
    pub = await service.publisher(job.stream_id, watched=True).open()
    await pub.write({"type": "text"})
    await (pub.release() if job.lost else pub.close())


async def _sweep(world: World, number: int, jobs: dict[str, Job], timeout: float) -> None:
    draws, process = world.actor("sweeper"), world.own_service(number)
    prefix = f"{world.topic}/w"
    while True:
        state = draws.choice("state", STATES)
        found = await process[0].unattended(
            prefix=prefix, limit=draws.number("limit", 1, 4), state=state
        )
        for info in found:
            try:
                await _look_after(world, process, info, jobs[info.stream_id], timeout)
            except (WorkFailed, TimeoutError):
                world.log("work failed", info.stream_id)
            except ProcessDied:
                world.log("a process died of", info.stream_id)
                process = world.own_service(number)
                break
        await asyncio.sleep(0.1 if found else 0.4)


async def _look_after(
    world: World, process: Process, info: VersionInfo, job: Job, timeout: float
) -> None:
    service, store = process

    async def settling() -> None:
        try:
            await job.work()
        except ProcessDied:
            # Nothing that the core does about the failure reaches the store.
            store.kill()
            raise

    async def recovering() -> None:
        await job.work()
        await service.end_lost(info.stream_id, info.version)

    loop = asyncio.get_running_loop()
    began, lease = loop.time(), timeout
    try:
        if info.state == "closed" and job.lost and job.kind != "raises":
            # Its work was to be ended.
            await service.settle(info.stream_id, info.version, _nothing, timeout=timeout)
        elif info.state == "closed":
            await service.settle(info.stream_id, info.version, settling, timeout=timeout)
        else:
            lease = world.site.times.patient_lease
            await service.recover(info.stream_id, info.version, recovering)
    finally:
        job.late |= loop.time() - began > lease


async def _nothing() -> None:
    pass


def _require_no_end(world: World, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and task.exception() is not None:
            world.require(False, f"a sweep ended with {task.exception()!r}")


async def _until_given_up(world: World, jobs: dict[str, Job]) -> None:
    """Wait until nothing is listed any more, and insist that all failing work was given up."""
    service, prefix = world.service(), f"{world.topic}/w"
    while True:
        infos = await service.streams(prefix=prefix)
        if all(
            info.state == "closed" and info.abandoned_at is not None
            for info in infos
            if jobs[info.stream_id].fails
        ):
            break
        await asyncio.sleep(5.0)
    listed = {info.stream_id for info in await service.unattended(prefix=prefix)}
    given_up = {job.stream_id for job in jobs.values() if job.fails}
    world.require(not listed & given_up, "a version that was given up is listed")


def _check(world: World, job: Job, timeout: float) -> None:
    world.require(
        job.done == (0 if job.fails else 1) or (job.late and job.done > 1),
        f"work that {job.kind} was done {job.done} times",
    )
    if job.kind == "raises" and job.lost:
        begun = job.begun[:RECOVER_ATTEMPTS]
        first = world.site.times.patient_lease
    else:
        # A sweep that had listed the version before it was given up may try it once more.
        begun, first = job.begun[:SETTLE_ATTEMPTS], timeout
    waits = [later - earlier for earlier, later in zip(begun, begun[1:], strict=False)]
    for n, waited in enumerate(waits):
        # The store counts from when it was asked, a little before the work begins.
        least = first * 2 ** min(n, 8) * 0.9 - 0.1
        world.require(waited >= least, f"attempt {n + 2} came after {waited} s, not {least} s")

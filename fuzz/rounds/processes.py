"""Processes that are killed, or stopped for a while, at any instant."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from fuzz.parts.crew import Worker
from fuzz.rounds.round import Publishing, Round
from fuzz.world import Mismatch

PLACES = ("postgres", "sqlite")


async def killed_publisher(round: Round) -> None:
    """A publisher's process is killed: acknowledged chunks are there, and its readers are told or
    follow a successor.
    """
    writer, other = await round.crew(round.draws.choice("place", PLACES), 2)
    publishing = round.publish(writer, round.stream())
    round.readers([other, other, writer], round.stream())
    await round.instant(publishing)
    await writer.kill()
    publishing.may.add("dead")
    if (
        publishing.outcome == "dead"
        and publishing.acknowledged
        and round.draws.chance("wait for the verdict", 25)
    ):
        await _verdict(round, publishing, other)
    await round.conclude()


async def _verdict(round: Round, publishing: Publishing, other: Worker) -> None:
    await round.told_of_the_loss()
    if round.draws.chance("end it", 50):
        round.ends = True
        enders = [
            other.tell("end_lost", publishing.stream, publishing.version)
            for _ in range(round.number("enders", 1, 3))
        ]
        for ender in enders:
            await ender.until("ended lost", within=20.0)
        won = [answer for ender in enders for (answer,) in ender.said("ended lost")]
        # The kill may have come after the finish had landed.
        round.require(won.count(True) <= 1, f"enders of a lost version were told {won}")


async def killed_reader(round: Round) -> None:
    """A reader's process is killed: the others notice nothing."""
    writer, other, witness = await round.crew(round.draws.choice("place", PLACES), 3)
    publishing = round.publish(writer, round.stream())
    round.readers([other], round.stream())
    round.readers([witness, writer], round.stream())
    await round.instant(publishing)
    await other.kill()
    await round.conclude()


async def killed_stopper(round: Round) -> None:
    """A process is killed while it stops a version: the publisher goes on or is stopped, and the
    stream can be written again.
    """
    writer, stopper = await round.crew(round.draws.choice("place", PLACES), 2)
    publishing = round.publish(writer, round.stream())
    round.readers([writer], round.stream())
    await publishing.job.until("opened", within=20.0)
    await round.instant(publishing)
    round.stops = True
    publishing.may |= {"StreamStopped"}
    stopper.tell("stop", round.stream(), publishing.version)
    await round.pause("until the kill", 0.015)
    await stopper.kill()
    await round.conclude()


async def stopped_elsewhere(round: Round) -> None:
    """Stops from other processes race the finish: there is one ending, and readers everywhere get
    it.
    """
    writer, stopper = await round.crew(round.draws.choice("place", PLACES), 2)
    publishing = round.publish(writer, round.stream())
    round.readers([writer, stopper], round.stream())
    await publishing.job.until("opened", within=20.0)
    await round.instant(publishing)
    round.stops = True
    publishing.may |= {"StreamStopped"}
    stops = [
        round.draws.choice("who", (stopper, writer)).tell(
            "stop", round.stream(), publishing.version
        )
        for _ in range(2)
    ]
    for stop in stops:
        await stop.until("stopped", within=20.0)
    won = [answer for stop in stops for (answer,) in stop.said("stopped")]
    await publishing.job.end(within=20.0)
    stopped = publishing.outcome == "StreamStopped"
    round.require(
        won.count(True) == int(stopped),
        f"stops were told {won} and the publisher {publishing.outcome}",
    )
    await round.conclude()


async def killed_crew(round: Round) -> None:
    """All processes are killed at once: new ones find every acknowledged chunk, and go on."""
    place = round.draws.choice("place", PLACES)
    workers = await round.crew(place, 3)
    publishings = [
        round.publish(worker, round.stream(number)) for number, worker in enumerate(workers)
    ]
    for number in range(3):
        round.readers(workers, round.stream(number), most=1)
    await round.instant(publishings[0])
    for worker in workers:
        worker.signal(signal.SIGKILL)
    for worker, publishing in zip(workers, publishings, strict=True):
        await worker.kill()
        publishing.may.add("dead")
    for number, worker in enumerate(await round.crew(place, 3)):
        round.read(worker, round.stream(number))
    await round.conclude()


async def paused_publisher(round: Round) -> None:
    """A publisher's process stands still: it goes on if nobody took over, and else writes nothing
    more.
    """
    writer, other = await round.crew(round.draws.choice("place", PLACES), 2)
    publishing = round.publish(writer, round.stream())
    round.readers([other], round.stream())
    await round.instant(publishing)
    writer.signal(signal.SIGSTOP)
    try:
        match round.draws.choice("takeover", ("nobody", "successor", "successor", "ender")):
            case "nobody":
                await round.pause("pause", round.stage.lease * 0.5)
            case "successor":
                publishing.may.add("Fenced")
                successor = round.publish(other, round.stream(), most=10)
                await _patiently(successor.job.end(within=round.number("patience", 0, 60) / 100))
            case "ender":
                publishing.may |= {"Fenced", "StreamClosed"}
                await _end_in_its_absence(round, publishing, other)
    finally:
        writer.signal(signal.SIGCONT)
    await round.conclude()


async def _end_in_its_absence(round: Round, publishing: Publishing, other: Worker) -> None:
    round.ends = True
    if publishing.version is None or publishing.job.over is not None:
        return
    # In SQLite it may stand still while it holds the lock, and then nobody can end its version.
    await _patiently(round.told_of_the_loss())
    await _patiently(
        other.tell("end_lost", publishing.stream, publishing.version).until(
            "ended lost", within=0.5
        )
    )


async def _patiently(work: asyncio.Future[object] | object) -> None:
    with suppress(Mismatch):
        await work  # type: ignore[misc]


async def paused_reader(round: Round) -> None:
    """A reader's process stands still: the others notice nothing, and it gets everything
    afterwards.
    """
    writer, other, witness = await round.crew(round.draws.choice("place", PLACES), 3)
    publishing = round.publish(writer, round.stream())
    round.readers([other], round.stream())
    seen = round.readers([witness, writer], round.stream())
    await round.instant(publishing)
    other.signal(signal.SIGSTOP)
    try:
        if round.draws.chance("until all is over", 50):
            await publishing.job.end(within=20.0)
            for reading in seen:
                await reading.job.end(within=20.0)
        else:
            await round.pause("pause", 0.3)
    finally:
        other.signal(signal.SIGCONT)
    await round.conclude()

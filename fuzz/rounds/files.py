"""A SQLite file that another program has locked, and one on a full disk."""

from __future__ import annotations

import asyncio

from fuzz.rounds.round import Round


async def locked_file(round: Round) -> None:
    """Another program locks the file, sometimes for longer than one attempt waits: work goes on
    afterwards.
    """
    workers = await round.crew("sqlite", 2)
    publishings = [
        round.publish(worker, round.stream(number)) for number, worker in enumerate(workers)
    ]
    for number in range(2):
        round.readers(workers, round.stream(number))
    await round.instant(publishings[0])
    intruder = round.stage.intruder("sqlite")
    try:
        await asyncio.to_thread(intruder.execute, "PRAGMA busy_timeout = 5000")
        await asyncio.to_thread(
            intruder.execute, round.draws.choice("lock", ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"))
        )
        await round.pause("locked", round.draws.choice("length", (0.1, 0.1, 0.1, 2.5)))
        intruder.execute("ROLLBACK")
    finally:
        intruder.close()
    await round.conclude()


async def full_disk(round: Round) -> None:
    """The disk is full for a while: acknowledged chunks are there, the others land when there is
    room.
    """
    workers = await round.crew("disk", 2)
    publishing = round.publish(workers[0], round.stream())
    round.readers(workers, round.stream())
    await round.instant(publishing)
    pids = round.stage.pids("disk")
    round.stage.disk.fill(pids)
    try:
        await round.pause("full", 0.3)
    finally:
        round.stage.disk.free(pids)
    await round.conclude()
    intruder = round.stage.intruder("disk")
    try:
        damage = await asyncio.to_thread(
            lambda: intruder.execute("PRAGMA integrity_check").fetchall()
        )
    finally:
        intruder.close()
    round.require(damage == [("ok",)], f"the file is damaged: {damage}")

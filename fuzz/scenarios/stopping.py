"""Stops from any process at any time, even from a process that dies while it stops."""

from __future__ import annotations

import asyncio

from fuzz.chunks import ABORT, FINISH
from fuzz.reader import Reader, all_ended
from fuzz.virtual_time import turns
from fuzz.world import World
from fuzz.writer import end_lost, publish, settle, try_to_publish
from monostream_ai.errors import MonostreamError, StreamStopped


async def stop_race(world: World) -> None:
    """Stops race a finish and each other: there is one ending, and the next turn is untouched."""
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 3))]
    publishing = asyncio.create_task(try_to_publish(world, world.service(0)))
    await world.until_open()
    stops = [asyncio.create_task(_stop(world, n)) for n in range(world.number("stops", 1, 4))]
    attempt = await publishing
    stopped = [await stop for stop in stops].count(True)
    rows = await settle(world, attempt, ABORT)
    world.require(
        stopped == (0 if attempt.outcome is None else 1),
        f"{stopped} stops won; {attempt.outcome!r}",
    )
    if attempt.outcome is not None:
        world.require_error("the publisher", attempt.outcome, StreamStopped)
    world.require(
        rows[-1] == (ABORT if stopped else FINISH),
        f"{stopped} stops won and the version ends with {rows[-1]}",
    )
    await all_ended(readers)
    next_turn = asyncio.create_task(publish(world, world.service(1)))
    late = [
        asyncio.create_task(world.service(n).stop(world.stream, 0))
        for n in range(world.number("late", 0, 2))
    ]
    await next_turn
    world.require(not any([await stop for stop in late]), "a stop ended a version that had ended")
    await world.verify()


async def _stop(world: World, number: int) -> bool:
    draws = world.actor("stopper")
    await turns(draws.number("instant", 0, 40))
    await world.pause(draws)
    won = await world.service(number % 3).stop(world.stream, draws.choice("version", (None, 0)))
    world.log("stop", number, "returned", won)
    return won


async def dead_stopper(world: World) -> None:
    """A process dies anywhere in its stop: the publisher goes on, or others end the version with
    the abort.
    """
    world.expects_errors = True
    times = world.site.times
    service, store = world.own_service(1, slow=6, notifier=False, lease=times.lease)
    publishing = asyncio.create_task(try_to_publish(world, world.own_service(0)[0]))
    await world.until_open()
    draws = world.actor("stopper")
    stopping = asyncio.create_task(service.stop(world.stream, 0))
    await turns(draws.number("instant", 0, 60))
    store.pause()
    await world.pause(draws)
    store.kill()
    await service.aclose()
    await asyncio.wait([stopping])
    attempt = await publishing
    info = await world.service().status(world.stream, 0)
    if info.state == "open":
        world.require_error("the publisher", attempt.outcome, StreamStopped)
        reader = Reader(world, world.service())
        await reader.task
        world.require(
            type(reader.error).__name__ == "PublisherLost", f"the reader got {reader.error!r}"
        )
        ended = await asyncio.gather(
            *(end_lost(world, n, draws) for n in range(draws.number("enders", 1, 4)))
        )
        world.require(ended.count(True) == 1, f"{ended} for ending a lost version")
        world.require(
            (await world.rows(0))[-1] == ABORT, "a version that was stopped ended otherwise"
        )
    elif not stopping.cancelled() and stopping.exception() is None and stopping.result():
        world.require_error("the publisher", attempt.outcome, StreamStopped)
    if stopping.exception() is not None:
        world.require_error("the stop", stopping.exception(), MonostreamError)
    await settle(world, attempt, ABORT)
    await asyncio.sleep(times.moment / 100)
    await all_ended([Reader(world, world.service())])
    await world.verify()

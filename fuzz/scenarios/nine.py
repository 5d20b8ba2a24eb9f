"""The nine scenarios of the TypeScript package, one at a time or as a crowd in the same processes.

Readers come before, while and after a stream is written, or leave early; publishers vanish; a
stream is used again; several processes take part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fuzz.reader import Reader, all_ended
from fuzz.virtual_time import turns
from fuzz.world import World
from fuzz.writer import crash, publish
from monostream_ai.errors import SubscriptionClosed, SubscriptionTimeout


async def live(world: World) -> None:
    """Readers wait for a stream that nobody has written yet."""
    readers = [Reader(world, world.service()) for _ in range(world.few("readers", 1, 4))]
    await world.pause()
    await publish(world, world.service())
    await all_ended(readers)
    await world.verify()


async def replay(world: World) -> None:
    """Readers come after everything has been written."""
    await publish(world, world.service())
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 4))]
    await all_ended(readers)
    await world.verify()


async def late_join(world: World) -> None:
    """Readers come one by one while the stream is being written."""
    readers: list[Reader] = []

    async def join() -> None:
        draws = world.actor("joiner")
        for _ in range(draws.few("readers", 1, 4)):
            await world.pause(draws)
            readers.append(Reader(world, world.service()))

    joining = world.spawn(join())
    await publish(world, world.service(), least=1)
    await joining
    await all_ended(readers)
    await world.verify()


async def mixed(world: World) -> None:
    """Readers of several processes come before, while and after one process writes."""
    for n in range(world.few("history", 0, 3)):
        await crash(world, world.service(n))
    readers: list[Reader] = []

    async def join() -> None:
        draws = world.actor("joiner")
        for _ in range(draws.few("readers", 1, 5)):
            service = world.service(draws.number("process", 0, 2))
            readers.append(Reader(world, service, stubborn=True))
            await world.pause(draws)

    joining = world.spawn(join())
    await world.pause()
    await publish(world, world.service(world.number("publisher", 0, 2)), least=1)
    await joining
    await all_ended(readers)
    await world.verify()


async def crash_replay(world: World) -> None:
    """Publishers vanish one after another: readers get the last version, the others stay as they
    were.
    """
    for n in range(world.few("crashes", 1, 4)):
        await crash(world, world.service(n))
    await publish(world, world.service())
    await all_ended([Reader(world, world.service(n)) for n in range(world.few("readers", 1, 4))])
    await world.verify()


async def crash_live(world: World) -> None:
    """Readers that see a publisher vanish follow to the next version."""
    readers = [
        Reader(world, world.service(n % 2), stubborn=True)
        for n in range(world.few("readers", 1, 3))
    ]
    for n in range(world.few("crashes", 1, 3)):
        await crash(world, world.service(n))
        await world.pause()
        readers.append(Reader(world, world.service(n), stubborn=True))
    await publish(world, world.service(world.number("process", 0, 1)), least=1)
    await all_ended(readers)
    await world.verify()


async def reuse(world: World) -> None:
    """A stream is used again: old readers had the old answer, new ones get the new."""
    for n in range(world.few("versions", 2, 4)):
        explicit = world.draws.chance("explicit", 30)
        reader = Reader(world, world.service(n)) if n == 0 else None
        gap = world.draws.number("gap", 0, 5)
        version = await publish(
            world, world.service(n), version=world.newest + 1 + gap if explicit else "next", most=8
        )
        readers = [Reader(world, world.service(m)) for m in range(world.few("readers", 1, 3))]
        await all_ended(readers if reader is None else [*readers, reader])
        world.require(version == world.newest, f"version {version} was opened after {world.newest}")
    await world.verify()


async def abort(world: World) -> None:
    """Readers leave after some chunks, or are cancelled at any instant; the rest get everything."""
    stay = [Reader(world, world.service(n)) for n in range(world.few("stay", 1, 3))]
    leave = [
        Reader(world, world.service(n), enough=world.number("enough", 1, 10))
        for n in range(world.few("leave", 0, 3))
    ]
    cancelled = [Reader(world, world.service(n)) for n in range(world.few("cancelled", 0, 3))]

    async def cancel(reader: Reader) -> None:
        await turns(world.actor("canceller").few("instant", 0, 60))
        reader.task.cancel()

    for reader in cancelled:
        world.spawn(cancel(reader))
    await publish(world, world.service())
    await all_ended(stay)
    await asyncio.wait([reader.task for reader in [*stay, *leave, *cancelled]])
    for reader in [*leave, *cancelled]:
        reader.check()
    await world.verify()


async def pre_aborted(world: World) -> None:
    """A subscription given back before its first read yields nothing and disturbs nobody."""
    service = world.service()
    match world.draws.choice("how", ("closed", "cancelled", "timeout", "dropped")):
        case "closed":
            subscription = service.subscribe(world.stream)
            subscription.close()
            try:
                await anext(subscription)
            except SubscriptionClosed:
                pass
            else:
                world.require(False, "a closed subscription yielded")
        case "cancelled":
            reading = asyncio.ensure_future(anext(service.subscribe(world.stream)))
            await turns(world.number("turns", 0, 8))
            reading.cancel()
            await asyncio.wait([reading])
        case "timeout":
            subscription = service.subscribe(world.stream, timeout=0.001)
            try:
                await anext(subscription)
            except SubscriptionTimeout:
                pass
            subscription.close()
        case _:
            service.subscribe(world.stream)
    reader = Reader(world, service)
    await publish(world, service)
    await all_ended([reader])
    await world.verify()


NINE: Final[dict[str, Callable[[World], Coroutine[Any, Any, None]]]] = {
    "live": live,
    "replay": replay,
    "crash-replay": crash_replay,
    "crash-live": crash_live,
    "late-join": late_join,
    "mixed": mixed,
    "abort": abort,
    "pre-aborted": pre_aborted,
    "reuse": reuse,
}

CHEAP: Final = ("live", "replay", "late-join", "abort", "pre-aborted")
"""Those with one version, which cost half as much as the others."""


async def crowd(world: World) -> None:
    """Many of the nine run at once in the same processes and share statements; each counts."""
    siblings = [world.sibling(n) for n in range(world.number("streams", 2, 60))]
    kinds = (*CHEAP, *CHEAP, *NINE)
    async with asyncio.TaskGroup() as group:
        for sibling in siblings:
            kind = sibling.draws.choice("kind", kinds)
            world.kinds.append(kind)
            group.create_task(NINE[kind](sibling))
    for sibling in siblings:
        await sibling.dispose()

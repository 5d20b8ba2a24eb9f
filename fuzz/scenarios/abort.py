"""Readers that leave in the middle or before they began (the TypeScript package's abort and
pre-aborted).
"""

from __future__ import annotations

import asyncio

from fuzz.reader import Reader, all_ended
from fuzz.turns import turns
from fuzz.world import World
from fuzz.writer import publish
from monostream_ai.errors import SubscriptionClosed, SubscriptionTimeout


async def abort(world: World) -> None:
    """Readers leave after some chunks, or are cancelled at any instant; the others get everything."""
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
    """A subscription that is given back before its first read yields nothing and disturbs nobody."""
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

"""Readers that come before, after and while a stream is written (the TypeScript package's live,
replay and late-join).
"""

from __future__ import annotations

from fuzz.reader import Reader, all_ended
from fuzz.world import World
from fuzz.writer import publish


async def live(world: World) -> None:
    """Readers wait for a stream that nobody has written yet."""
    readers = [Reader(world, world.service()) for _ in range(world.few("readers", 1, 4))]
    await world.pause()
    await publish(world, world.service())
    await all_ended(readers)
    await world.verify()


async def replay(world: World) -> None:
    """Readers come when all is written."""
    await publish(world, world.service())
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 4))]
    await all_ended(readers)
    await world.verify()


async def late_join(world: World) -> None:
    """Readers come one by one while the stream is written."""
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

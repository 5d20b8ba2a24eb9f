"""Several processes, a history of versions, readers of every kind (the TypeScript package's mixed
cross-instance).
"""

from __future__ import annotations

from fuzz.reader import Reader, all_ended
from fuzz.world import World
from fuzz.writer import crash, publish


async def mixed(world: World) -> None:
    """Readers in all processes come before, while and after one process writes."""
    for n in range(world.few("history", 0, 3)):
        await crash(world, world.service(n))
    readers: list[Reader] = []

    async def join() -> None:
        draws = world.actor("joiner")
        for _ in range(draws.few("readers", 1, 5)):
            readers.append(
                Reader(world, world.service(draws.number("process", 0, 2)), stubborn=True)
            )
            await world.pause(draws)

    joining = world.spawn(join())
    await world.pause()
    await publish(world, world.service(world.number("publisher", 0, 2)), least=1)
    await joining
    await all_ended(readers)
    await world.verify()

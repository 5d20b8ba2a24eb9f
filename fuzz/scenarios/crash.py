"""Publishers that vanish, and later versions (the TypeScript package's crash-replay, crash-live and
reuse).
"""

from __future__ import annotations

from fuzz.reader import Reader, all_ended
from fuzz.world import World
from fuzz.writer import crash, publish


async def crash_replay(world: World) -> None:
    """Only the last of several versions is read, the others are untouched."""
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
    """A stream is used again after its end: old readers had the old answer, new ones get the new."""
    for n in range(world.few("versions", 2, 4)):
        explicit = world.draws.chance("explicit", 30)
        reader = Reader(world, world.service(n)) if n == 0 else None
        gap = world.draws.number("gap", 0, 5)
        version = await publish(
            world, world.service(n), version=world.newest + 1 + gap if explicit else "next", most=8
        )
        readers = [Reader(world, world.service(m)) for m in range(world.few("readers", 1, 3))]
        await all_ended(readers if reader is None else [*readers, reader])
        world.require(version == world.newest, "version", version, "was opened after", world.newest)
    await world.verify()

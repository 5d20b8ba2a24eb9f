"""Readers that are slow, join at every instant, resume with a cursor, or fall behind the window."""

from __future__ import annotations

import asyncio

from fuzz.reader import Reader, Seen, all_ended
from fuzz.world import SLACK, World
from fuzz.writer import opened, publish
from monostream_ai.errors import Superseded


async def slow_reader(world: World) -> None:
    """A reader that dawdles after every chunk delays no other and misses nothing."""
    slow = Reader(world, world.service(), slow=100)
    fast = [Reader(world, world.service(n), slow=0) for n in range(world.number("fast", 1, 3))]
    await publish(world, world.service())
    written_at = asyncio.get_running_loop().time()
    await all_ended([*fast, slow])
    late = max(reader.over_at for reader in fast) - written_at
    world.require(
        not world.site.virtual or late <= SLACK, f"a fast reader was late by {late} seconds"
    )
    await world.verify()


async def join_at_every_instant(world: World) -> None:
    """One reader joins at each turn of the loop: no two see different streams."""
    publishing = asyncio.create_task(publish(world, world.service(0), most=8))
    readers: list[Reader] = []
    for _ in range(world.number("joins", 1, 50 if world.site.virtual else 20)):
        readers.append(Reader(world, world.service(len(readers) % 2), slow=0))
        await asyncio.sleep(0)
    await publishing
    await all_ended(readers)
    await world.verify()


async def resume(world: World) -> None:
    """A client reads a few chunks, goes away, and resumes elsewhere with its cursor: in all it gets
    every chunk once.
    """
    publishing = asyncio.create_task(publish(world, world.service(0), least=1))
    seen: list[Seen] = []
    reader = Reader(world, world.service(0), enough=world.number("enough", 1, 6))
    await reader.task
    while not reader.ended:
        seen.extend(reader.seen)
        await world.pause()
        process = world.number("process", 0, 2)
        reader = Reader(
            world, world.service(process), after=reader.cursor, enough=world.number("enough", 1, 6)
        )
        await reader.task
        world.require(reader.error is None, f"a reader that came back got {reader.error!r}")
        reader.check()
    await publishing
    got = [each.payload for each in [*seen, *reader.seen]]
    # A batch may hold more than enough; the cursor then stands behind the chunks that were taken.
    world.require(got == world.truth[0].payloads, f"a reader that came back got {len(got)} chunks")
    await world.verify()


async def this_turn_only(world: World) -> None:
    """Readers that do not follow get `Superseded` when a newer version comes, and else the whole
    version.
    """
    readers = [
        Reader(world, world.service(n), on_superseded="raise")
        for n in range(world.few("readers", 1, 4))
    ]
    for n in range(world.number("versions", 1, 3)):
        await publish(world, world.service(n), most=5)
        readers.append(Reader(world, world.service(n), on_superseded="raise"))
    for reader in readers:
        await reader.task
        reader.check()
        world.require(
            reader.ended or isinstance(reader.error, Superseded), f"a reader got {reader.error!r}"
        )
        versions = {each.version for each in reader.seen}
        world.require(len(versions) <= 1, f"a reader of one turn got the versions {versions}")
    await world.verify()


async def behind_the_window(world: World) -> None:
    """Readers fall behind the window in memory, in rows or in bytes, and go on from the store."""
    slow = world.number("slowness", 0, 30)
    readers = [
        Reader(world, world.service(n), slow=slow) for n in range(world.few("readers", 1, 3))
    ]
    rows, size = world.draws.choice("mass", ((1500, 1), (40, 60_000), (2600, 1), (300, 9000)))
    # On a busy database a commit may take a tenth of a second.
    width = world.number("width", 1 if world.site.virtual else 50, 400)
    async with world.service().publisher(world.stream) as pub:
        chunks = [{"type": "text", "n": n, "text": "x" * size} for n in range(rows)]
        opened(world, pub, chunks, finished=True)
        for start in range(0, rows, width):
            await pub.write(*chunks[start : start + width])
            if world.draws.chance("join", 5):
                readers.append(Reader(world, world.service(1), slow=0))
    await all_ended(readers)
    await world.verify()

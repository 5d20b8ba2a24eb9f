"""Deleting and pruning beside live publishers and readers."""

from __future__ import annotations

import asyncio

from fuzz.reader import Reader, all_ended
from fuzz.virtual_time import turns
from fuzz.world import World
from fuzz.writer import crash, opened, publish, try_to_publish
from monostream_ai.errors import ChunksMissing, StreamDeleted


async def deleted(world: World) -> None:
    """A stream is deleted at any instant: its publisher and readers get a named error, none hangs,
    and nothing is left.
    """
    world.chunks_may_go = True
    readers = [Reader(world, world.service(n)) for n in range(world.number("readers", 0, 3))]
    publishing = asyncio.create_task(try_to_publish(world, world.service(0)))
    await world.until_open()
    await turns(world.number("instant", 0, 40))
    await world.pause()
    world.require(await world.service(1).delete(world.stream), "there was nothing to delete")
    attempt = await publishing
    fitting = isinstance(attempt.outcome, StreamDeleted | None)
    world.require(fitting, f"the publisher got {attempt.outcome!r}")
    world.require(await world.rows(0) == [], "a deleted stream has rows")
    for reader in readers:
        # A reader that has read nothing yet waits for the stream to be written again.
        if reader.cursor is not None:
            await reader.task
            world.require(
                reader.ended or isinstance(reader.error, StreamDeleted | ChunksMissing),
                repr(reader.error),
            )
    world.truth.clear()
    world.newest = -1
    waiting = [reader for reader in readers if not reader.task.done()]
    for reader in waiting:
        reader.task.cancel()
    await publish(world, world.service(1))
    await all_ended([Reader(world, world.service(0))])
    await world.verify()


async def pruned(world: World) -> None:
    """Prune removes versions that are over and spares those being written; numbers never start
    over.
    """
    service = world.service()
    for n in range(world.number("history", 0, 3)):
        await crash(world, world.service(n))
    live = service.publisher(world.stream)
    await live.open()
    opened(world, live)
    reader = Reader(world, world.service(1))
    await asyncio.sleep(world.site.times.lease * 4 if world.site.virtual else 0)
    await live.write({"type": "text"})
    old = [version for version in world.truth if version < live.version]
    removed = await _prune(world)
    if world.site.virtual:
        world.require(removed == len(old), f"prune removed {removed} of {len(old)} versions")
        for version in old:
            del world.truth[version]
            world.require(await world.rows(version) == [], "a pruned version has rows")
    await live.write({"type": "finish"})
    world.truth[live.version].payloads.extend(['{"type":"text"}', '{"type":"finish"}'])
    world.truth[live.version].state = "closed"
    await all_ended([reader])
    await world.verify()
    if world.site.virtual:
        await asyncio.sleep(world.site.times.lease * 4)
        world.require(await _prune(world) == 1, "prune left a version that is over")
        gone = Reader(world, service)
        await gone.task
        world.require_error("a reader of a pruned version", gone.error, StreamDeleted)
        del world.truth[live.version]
        next_version = await publish(world, service)
        world.require(
            next_version == live.version + 1, f"version {next_version} follows {live.version}"
        )
        await all_ended([Reader(world, service)])


async def _prune(world: World) -> int:
    # A database is shared with other scenarios, and their versions must stay.
    return await world.service(1).prune(
        older_than=world.site.times.lease if world.site.virtual else 3600.0
    )

"""Notifiers that lie, readers that poll, and chunks that come past the store."""

from __future__ import annotations

import asyncio

from fuzz.chunks import Chunk
from fuzz.faults import FaultyNotifier
from fuzz.reader import Reader, all_ended
from fuzz.sites import Service
from fuzz.world import SLACK, World
from fuzz.writer import opened, publish, settle, try_to_publish


async def bad_notifications(world: World) -> None:
    """Wake-ups are lost, doubled, late, stale, replayed, invented, or fail to be sent, and the
    chunks in them are forged: readers are late by one poll at most.
    """
    world.expects_errors = True
    writer, elsewhere = _liar(world, 0), _liar(world, 1)
    readers = [Reader(world, elsewhere, slow=0) for _ in range(world.few("readers", 1, 4))]
    for _ in range(world.number("history", 0, 2)):
        await world.pause()
        await settle(world, await try_to_publish(world, writer, most=6))
        for reader in readers:
            await reader.task
        readers = [Reader(world, elsewhere, slow=0) for _ in readers]
    await publish(world, writer)
    for reader in readers:
        await reader.task
        # A reader that came before this version may have found the last one, which was over.
        world.require(reader.ended, f"a reader got {reader.error!r}")
        reader.check()
    await all_ended([Reader(world, elsewhere)])
    await world.verify()


async def lost_notifications(world: World) -> None:
    """No wake-up arrives, although the notifier says it is healthy: the end is read within one poll
    interval.
    """
    world.expects_errors = True
    notified = world.draws.chance("notifier", 50)
    elsewhere = world.own_service(1, notifier=_liar_of(world, 1, "lost") if notified else False)[0]
    readers = [Reader(world, elsewhere, slow=0) for _ in range(world.few("readers", 1, 3))]
    await world.pause()
    attempt = await try_to_publish(world, world.own_service(0)[0])
    await settle(world, attempt)
    await all_ended(readers)
    if world.site.virtual:
        late = max(reader.over_at for reader in readers) - attempt.over_at
        world.require(
            late <= world.site.times.poll_interval + SLACK, f"a reader was late by {late} seconds"
        )
    await world.verify()


async def carried_chunks(world: World) -> None:
    """A reader whose store is frozen goes on with the chunks that wake-ups carry; its end waits for
    the store.
    """
    writer = world.own_service(0, inline="always")[0]
    elsewhere, store = world.own_service(1, inline="always")
    reader = Reader(world, elsewhere, slow=0)
    draws = world.actor("writer")
    chunks: list[Chunk] = [{"type": "text", "n": n} for n in range(draws.number("chunks", 2, 40))]
    async with writer.publisher(world.stream) as pub:
        opened(world, pub, chunks, finished=True)
        await pub.write(chunks[0])
        await _until_seen(world, reader, 1)
        if world.site.notifier(1, world.topic).most_carried:
            store.pause()
        for chunk in chunks[1:]:
            await world.pause(draws)
            if draws.chance("push", 50):
                pub.push(chunk)
            else:
                await pub.write(chunk)
        await pub.flush()
        await _until_seen(world, reader, len(chunks))
        world.require(not reader.ended, "a reader ended before its version did")
        store.resume()
    await all_ended([reader])
    await world.verify()


async def _until_seen(world: World, reader: Reader, count: int) -> None:
    while len(reader.seen) < count:
        await asyncio.sleep(world.site.times.moment / 100)


def _liar(world: World, process: int) -> Service:
    fate = world.draws.choice("liar", ("mixed", "lost", "invented", "late", "forged", "replayed"))
    return world.own_service(process, notifier=_liar_of(world, process, fate))[0]


def _liar_of(world: World, process: int, fate: str) -> FaultyNotifier:
    return FaultyNotifier(
        world.site.notifier(process, world.topic),
        world.actor("notifier"),
        world.log,
        delay=world.site.times.moment,
        streams=(world.stream, f"{world.topic}/other"),
        only=None if fate == "mixed" else fate,
    )

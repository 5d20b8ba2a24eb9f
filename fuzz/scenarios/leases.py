"""Publishers that are paused: for less than a lease, nobody notices; for more, they are lost."""

from __future__ import annotations

import asyncio

from fuzz.chunks import ERROR, FINISH
from fuzz.reader import Reader, all_ended
from fuzz.world import Told, World
from fuzz.writer import end_lost, opened, publish
from monostream_ai.errors import Fenced, PublisherLost, StreamClosed
from monostream_ai.json_text import encode_json


async def paused_publisher(world: World) -> None:
    """A paused publisher is lost when its lease is over, not before; one process ends its version;
    its later writes are refused.
    """
    lease = world.site.times.lease
    service, store = world.own_service(0, slow=world.number("slow", 0, 2), lease=lease)
    pub = service.publisher(world.stream)
    await pub.open()
    opened(world, pub)
    for n in range(world.number("chunks", 0, 6)):
        await pub.write({"type": "text", "n": n})
        world.truth[0].payloads.append(encode_json({"type": "text", "n": n}))
    readers = [
        Reader(world, world.own_service(n)[0], slow=0) for n in range(world.few("readers", 1, 4))
    ]
    await asyncio.sleep(lease * world.number("alive", 0, 30) / (10 if world.site.virtual else 100))
    world.require(
        not any(reader.task.done() for reader in readers),
        "a reader ended although the publisher lives",
    )
    store.pause()
    paused_at = asyncio.get_running_loop().time()
    for reader in readers:
        await reader.task
        world.require_error("a reader", reader.error, PublisherLost)
        reader.check()
        _check_time(world, reader.over_at - paused_at)
    await _end_it(world, world.draws.choice("end", ("error", "next")))
    store.resume()
    for write in (lambda: pub.write({"type": "text"}), pub.close):
        await world.require_refusal(
            write(), Fenced, StreamClosed, complaint="a publisher that was replaced could write"
        )
    await all_ended([Reader(world, world.service(1))])
    await world.verify()


def _check_time(world: World, waited: float) -> None:
    lease = world.site.times.lease
    # The last renewal may be a third of a lease old. On a real clock it may be older, and readers
    # may be late.
    earliest, latest = (lease * 0.6, lease + 0.6) if world.site.virtual else (0.0, lease + 20)
    world.require(
        earliest <= waited <= latest,
        f"the publisher was lost {waited} seconds after its last sign of life",
    )


async def _end_it(world: World, how: str) -> None:
    if how == "next":
        await publish(world, world.service(1))
        return
    count = world.number("enders", 1, 5)
    ended = await asyncio.gather(*(end_lost(world, n, world.actor("ender")) for n in range(count)))
    world.require(
        ended.count(True) == 1, f"of {count} processes {ended.count(True)} ended a lost version"
    )
    world.truth[0] = Told([*world.truth[0].payloads, ERROR], "closed")


async def short_pause(world: World) -> None:
    """A publisher that is paused for less than its lease goes on, and nobody can take it over."""
    lease = world.site.times.lease
    service, store = world.own_service(0)
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 3))]
    publishing = asyncio.create_task(publish(world, service, least=1))
    await world.until_open()
    await world.pause()
    store.pause()
    await asyncio.sleep(lease * world.few("pause", 0, 60) / 100)
    if not publishing.done() and (await world.rows(0))[-1:] != world.truth[0].payloads[-1:]:
        world.require(
            not await world.service(1).end_lost(world.stream, 0), "a live publisher was taken over"
        )
    store.resume()
    await publishing
    await all_ended(readers)
    await world.verify()


async def reaper(world: World) -> None:
    """A publisher that is silent for many leases, and renewed, is never taken over, however often
    others try.
    """
    lease = world.site.times.lease
    service = world.own_service(0)[0]
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 3))]
    async with service.publisher(world.stream) as pub:
        opened(world, pub)
        for n in range(world.number("chunks", 0, 4)):
            await pub.write({"type": "text", "n": n})
            world.truth[0].payloads.append(encode_json({"type": "text", "n": n}))
            reapers = [_reap(world, number) for number in range(world.number("reapers", 1, 3))]
            await asyncio.gather(
                asyncio.sleep(lease * world.number("silence", 0, 20) / 10 * world.site.virtual),
                *reapers,
            )
    world.truth[0] = Told([*world.truth[0].payloads, FINISH], "closed")
    await all_ended(readers)
    await world.verify()


async def _reap(world: World, number: int) -> None:
    for _ in range(world.number("tries", 1, 2)):
        world.require(
            not await end_lost(world, number, world.actor("ender")),
            "a live publisher was taken for lost",
        )

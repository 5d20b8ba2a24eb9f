"""Publishers that are lost again and again, and successors that go on with the same version."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fuzz.chunks import FINISH, Chunk
from fuzz.faults import FaultyStore
from fuzz.reader import Reader, all_ended
from fuzz.world import Told, World, brief
from fuzz.writer import opened
from monostream_ai import Publisher
from monostream_ai.errors import Fenced, NotLost, StreamClosed
from monostream_ai.json_text import encode_json

LONG: Final = 600.0
"""Seconds that no scenario takes."""


@dataclass(slots=True)
class Holder:
    """The publisher of the moment, its way to the store, and the payloads that it knows of."""

    pub: Publisher[Chunk]
    store: FaultyStore
    told: list[str]

    async def write(self) -> None:
        chunk = self.next_chunk()
        await self.pub.write(chunk)
        self.told.append(encode_json(chunk))

    def next_chunk(self) -> Chunk:
        return {"type": "text", "n": len(self.told), "attempt": self.pub.attempt}


async def gone_on(world: World) -> None:
    """Of several successors one gets a lost version; it knows all that was acknowledged and writes
    on from there; its predecessor writes nothing any more; readers see one answer, once, in order.
    """
    service, store = world.own_service(0, lease=world.site.times.lease)
    holder = Holder(await service.publisher(world.stream).open(), store, [])
    opened(world, holder.pub)
    readers = [
        Reader(world, world.service(n), stubborn=True) for n in range(world.few("readers", 1, 3))
    ]
    for _ in range(world.number("deaths", 1, 3)):
        for _ in range(world.number("chunks", 0, 4)):
            await holder.write()
            await world.pause()
        kill = world.draws.choice("death", (_release, _freeze, _leave))
        holder = await kill(world, holder)
    await holder.pub.close()
    world.truth[0] = Told([*holder.told, FINISH], "closed")
    await all_ended(readers)
    await world.verify()


async def _release(world: World, old: Holder) -> Holder:
    await old.pub.release()
    return await _succeed(world, old.told, old.told)


async def _leave(world: World, old: Holder) -> Holder:
    """Leave the version to a successor, which may come at once, or only when it waits again."""
    in_vain = world.number("in_vain", 0, 1) == 1
    await old.pub.leave(within=world.site.times.lease if in_vain else LONG)
    if in_vain:
        while not (await world.service(1).status(world.stream)).lost:
            await asyncio.sleep(world.site.times.moment / 4)
        rivals = [world.service(n) for n in range(world.number("rivals", 1, 4))]
        left = await asyncio.gather(
            *(rival.leave_lost(world.stream, 0, within=LONG) for rival in rivals)
        )
        world.require(sum(left) == 1, f"{sum(left)} of {len(left)} let the version wait again")
    waits = (await world.service(1).status(world.stream)).attended
    world.require(waits == int(in_vain), f"{int(in_vain)} waits in vain were counted as {waits}")
    return await _succeed(world, old.told, old.told)


async def _freeze(world: World, old: Holder) -> Holder:
    """Freeze a publisher with a write in flight, and let it wake up behind its successor."""
    chunk = old.next_chunk()
    writing = asyncio.create_task(old.pub.write(chunk))
    await world.pause()
    old.store.pause()
    successor = await _succeed(world, old.told, [*old.told, encode_json(chunk)])
    old.store.resume()
    landed = len(successor.told) > len(old.told)
    [error] = await asyncio.gather(writing, return_exceptions=True)
    world.require(
        isinstance(error, Fenced) or (landed and not isinstance(error, BaseException)),
        f"a write that {'landed' if landed else 'did not land'} ended with {error!r}",
    )
    for _ in range(world.number("late", 1, 3)):
        await world.require_refusal(
            old.pub.write({"type": "text", "late": True}),
            Fenced,
            StreamClosed,
            complaint="a publisher that has a successor could write",
        )
    return successor


async def _succeed(world: World, least: list[str], most: list[str]) -> Holder:
    """Wait until version 0 is lost or waits, and let successors race for it; return the one that
    got it.

    Args:
        least, most: Payloads that it must find, and may find.
    """
    while not ((info := await world.service(1).status(world.stream)).lost or info.waiting):
        await asyncio.sleep(world.site.times.moment / 4)
    rivals = [
        world.own_service(n, lease=world.site.times.lease, slow=world.number("slow", 0, 3))
        for n in range(world.number("successors", 1, 4))
    ]
    pubs = [service.successor(world.stream, 0) for service, _ in rivals]
    results = await asyncio.gather(*(pub.open() for pub in pubs), return_exceptions=True)
    won = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
    for result in results:
        lost_race = isinstance(result, NotLost | Publisher)
        world.require(lost_race, f"a successor got {result!r}")
    world.require(len(won) == 1, f"{len(won)} of {len(rivals)} successors got the version")
    pub, store = pubs[won[0]], rivals[won[0]][1]
    written = [encode_json(chunk) for chunk in pub.written]
    world.log("attempt", pub.attempt, "found", brief(written))
    world.require(written in (least, most), f"a successor found {brief(written)}: {brief(most)}")
    return Holder(pub, store, written)

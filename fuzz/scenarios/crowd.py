"""Many streams in the same processes: their appends and reads share statements, and must not disturb each other."""

from __future__ import annotations

import asyncio

from fuzz.scenarios.crash import crash_live, crash_replay
from fuzz.scenarios.live import late_join, live, replay
from fuzz.world import World

KINDS = (live, late_join, replay, crash_live, crash_replay)


async def crowd(world: World) -> None:
    """Several streams are written and read at once."""
    siblings = [world.sibling(n) for n in range(world.number("streams", 2, 8))]
    await asyncio.gather(*(world.draws.choice("kind", KINDS)(sibling) for sibling in siblings))
    for sibling in siblings:
        world.require(await world.site.store(0).delete(sibling.stream), "a stream is gone")

"""Many streams in the same processes: their appends and reads share statements, and must not
disturb each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fuzz.scenarios.abort import abort, pre_aborted
from fuzz.scenarios.crash import crash_live, crash_replay, reuse
from fuzz.scenarios.live import late_join, live, replay
from fuzz.scenarios.mixed import mixed
from fuzz.world import World

KINDS: Final[dict[str, Callable[[World], Coroutine[Any, Any, None]]]] = {
    "live": live,
    "replay": replay,
    "crash-replay": crash_replay,
    "crash-live": crash_live,
    "late-join": late_join,
    "mixed": mixed,
    "abort": abort,
    "pre-aborted": pre_aborted,
    "reuse": reuse,
}
"""The nine of the TypeScript package."""

OFTEN: Final = ("live", "replay", "late-join", "abort", "pre-aborted")
"""Those with one version, which cost half of what the others do."""


async def crowd(world: World) -> None:
    """Many scenarios of the nine go on at once in the same processes; each counts."""
    siblings = [world.sibling(n) for n in range(world.number("streams", 2, 60))]
    kinds = (*OFTEN, *OFTEN, *KINDS)
    async with asyncio.TaskGroup() as group:
        for sibling in siblings:
            kind = sibling.draws.choice("kind", kinds)
            world.kinds.append(kind)
            group.create_task(KINDS[kind](sibling))
    for sibling in siblings:
        await sibling.dispose()

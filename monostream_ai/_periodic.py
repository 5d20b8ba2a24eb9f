"""The one loop that repeats upkeep, such as pruning, while a block runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from monostream_ai.errors import ServiceClosed
from monostream_ai.interfaces import BackgroundErrors


@asynccontextmanager
async def sweeping(
    sweep: Callable[[], Awaitable[object]],
    *,
    every: float,
    on_error: BackgroundErrors,
    name: str = "prune",
    first_after: float = 0.0,
    jitter: tuple[float, float] = (0.9, 1.1),
) -> AsyncIterator[None]:
    """Call `sweep` again and again until the block is left or it raises `ServiceClosed`.

    Args:
        every: Seconds between the end of one sweep and the start of the next.
        on_error: Called with `name` and each error; the next sweep runs all the same.
        first_after: Seconds before the first sweep.
        jitter: Bounds of the random factor on each pause, so that processes started together do not
            sweep together.
    """

    async def repeat() -> None:
        await asyncio.sleep(first_after * _between(jitter))
        while True:
            try:
                await sweep()
            except ServiceClosed:
                return
            # Whatever a store raises: the next sweep picks up what this one left.
            except Exception as error:
                on_error(name, error)
            await asyncio.sleep(every * _between(jitter))

    task = asyncio.get_running_loop().create_task(repeat(), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _between(bounds: tuple[float, float]) -> float:
    return random.uniform(*bounds)  # noqa: S311  (jitter, not a secret)

"""Pruning again and again, for as long as a block runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from monostream_ai.errors import ServiceClosed
from monostream_ai.interfaces import BackgroundErrors


@asynccontextmanager
async def sweeping(
    prune: Callable[[], Awaitable[object]], *, every: float, on_error: BackgroundErrors
) -> AsyncIterator[None]:
    """Call `prune` now and about every `every` seconds, until the block is left."""
    task = asyncio.get_running_loop().create_task(_sweep(prune, every, on_error))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _sweep(
    prune: Callable[[], Awaitable[object]], every: float, on_error: BackgroundErrors
) -> None:
    while True:
        try:
            await prune()
        except ServiceClosed:
            return
        # Whatever a store raises, the next sweep finds what this one has left.
        except Exception as error:
            on_error("prune", error)
        # Processes that were started together need not sweep together.
        await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311  (no secret)

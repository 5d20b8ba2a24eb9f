"""Work of the service itself: tasks that belong to no request, and the loop that repeats upkeep."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, TypeVar

from monostream_ai.errors import ServiceClosed
from monostream_ai.interfaces import BackgroundErrors

T = TypeVar("T")


def start_task(work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Start a task that serves the whole process, with an empty context.

    It would otherwise copy the context of the request that happens to start it, and keep alive
    everything in there, such as a user or a database session, for as long as it runs.
    """
    return asyncio.get_running_loop().create_task(work, name=name, context=Context())


@asynccontextmanager
async def sweeping(
    sweep: Callable[[], Awaitable[object]],
    *,
    every: float,
    on_error: BackgroundErrors,
    name: str,
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

    task = start_task(repeat(), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _between(bounds: tuple[float, float]) -> float:
    return random.uniform(*bounds)  # noqa: S311  (jitter, not a secret)

"""Looks for turns that nobody looks after: lost ones without readers, and ended ones that were not
handed over.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from monostream_ai.errors import MonostreamError
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

logger = logging.getLogger(__name__)

SWEEP_LIMIT: Final = 50
"""Turns that one sweep looks after; the next one takes the others."""


@asynccontextmanager
async def sweeping(
    service: DurableStreamService[Any],
    prefix: str,
    attend: Callable[[VersionInfo], Awaitable[object]],
    *,
    interval: float,
) -> AsyncIterator[None]:
    """Attend, every `interval` seconds while the block runs, to the unattended versions of streams
    that begin with `prefix`.
    """
    task = asyncio.create_task(_sweep(service, prefix, attend, interval), name=f"sweep {prefix}")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(
    service: DurableStreamService[Any],
    prefix: str,
    attend: Callable[[VersionInfo], Awaitable[object]],
    interval: float,
) -> None:
    while not service.closing:
        # Processes that were started together must not look at the same moment.
        await asyncio.sleep(interval * random.uniform(0.5, 1.0))  # noqa: S311
        try:
            found = await service.unattended(prefix=prefix, limit=SWEEP_LIMIT)
        except MonostreamError as error:
            logger.warning("a sweep of %r failed: %s", prefix, type(error).__name__)
            continue
        for result in await asyncio.gather(*map(attend, found), return_exceptions=True):
            if isinstance(result, BaseException):
                logger.warning("attending to a turn failed: %s", type(result).__name__)

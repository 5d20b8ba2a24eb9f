"""Finishing a last write although the task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def finish_despite_cancel(work: Coroutine[Any, Any, None]) -> bool:
    """Run the work to its end; return whether this task was cancelled meanwhile, which the caller must pass on.

    Level cancellation (anyio scopes cancel again at every await) does not stop it either. The work must be bounded in time.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    return cancelled

"""Finishing work although the task that wants it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def finish_despite_cancel(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Run the work to its end; return the cancellation that came meanwhile, which the caller must
    raise again as it is.

    Level cancellation (anyio scopes cancel again at every await) does not stop it either. The work
    must be bounded in time.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    task.result()
    return cancellation

"""A limit on how long a reply may write nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from monostream_ai._writing.publisher import Publisher


@asynccontextmanager
async def silence_limit(pub: Publisher[Any], seconds: float | None) -> AsyncIterator[None]:
    """Cancel the block, and raise `TimeoutError`, once nothing was stored for one to two times
    `seconds`; None sets no limit.
    """
    if seconds is None:
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle
    async with asyncio.timeout(None) as limit:

        def look(seen: int) -> None:
            nonlocal timer
            if pub.next_id == seen:
                limit.reschedule(loop.time())
            else:
                timer = loop.call_later(seconds, look, pub.next_id)

        timer = loop.call_later(seconds, look, pub.next_id)
        try:
            yield
        finally:
            timer.cancel()

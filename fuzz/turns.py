"""Letting others run for some turns of the event loop."""

from __future__ import annotations

import asyncio

from fuzz.virtual_time import VirtualTimeLoop


async def turns(count: int) -> None:
    """Wait for so many turns of the loop."""
    loop = asyncio.get_running_loop()
    if count and isinstance(loop, VirtualTimeLoop):
        await loop.turns(count)
        return
    for _ in range(count):
        await asyncio.sleep(0)

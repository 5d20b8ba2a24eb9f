"""Settling: work that is owed once for each watched version, after its end, whichever process wrote
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from monostream_ai._runtime import Machinery
from monostream_ai.tokens import new_token
from monostream_ai.types import Lease


async def settle_version(
    machinery: Machinery,
    stream_id: str,
    version: int,
    work: Callable[[], Awaitable[object]],
    *,
    timeout: float,
) -> bool:
    """Do the work if the version is closed, not settled, and attended by nobody; return whether it
    was done here.

    Work that fails or is not done in time leaves the version to whoever comes after `timeout`
    seconds.
    """
    taker = Lease(stream_id, version, new_token())
    # The limit begins before the lease does, so this work has ended by the time that somebody else
    # may begin.
    async with asyncio.timeout(timeout):
        if not await machinery.patiently(lambda: machinery.store.attend(taker, lease=timeout)):
            return False
        await work()
    await machinery.patiently(lambda: machinery.store.settle(taker))
    return True

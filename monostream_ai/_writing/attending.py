"""Looks after watched versions: recovers those that were lost, and settles those that have ended.

Work that fails is tried again after growing delays, and abandoned after a number of attempts. The
store counts an attempt before it begins, so work that kills its process is no exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from monostream_ai._writing.writer import Writer
from monostream_ai.types import Lease, WatchedState, log_fields, new_token

logger = logging.getLogger(__name__)

SETTLE_ATTEMPTS: Final = 12
"""With the default timeout of 60 s the last one begins 17 hours after the first."""

RECOVER_ATTEMPTS: Final = 5
"""With the default lease of 15 s the last one begins 4 minutes after the first."""

Work = Callable[[], Awaitable[object]]


async def settle_version(
    writer: Writer, stream_id: str, version: int, work: Work, *, timeout: float
) -> bool:
    """Do the work if the version is closed, not settled, and attended by nobody else; return
    whether it was done here.
    """
    taker: Lease | None = None
    attempt = 0
    try:
        # The limit begins before the lease, so this work is over before another may begin.
        async with asyncio.timeout(timeout):
            taker, attempt = await _attend(writer, stream_id, version, "closed", timeout)
            if taker is not None and attempt > SETTLE_ATTEMPTS:
                # The process died in the last attempt. Whatever comes of this one, it is the last.
                await _abandon(writer, taker, attempt - 1)
                taker, attempt = await _attend(writer, stream_id, version, "closed", timeout)
            if taker is None:
                return False
            await work()
    except Exception as error:
        if taker is not None:
            writer.on_error("settle", error, (stream_id, version))
            if attempt == SETTLE_ATTEMPTS:
                await _abandon(writer, taker, attempt)
        raise
    settled = taker
    await writer.patiently(lambda: writer.store.settle(settled))
    return True


async def recover_version(
    writer: Writer, stream_id: str, version: int, work: Work, *, end: Callable[[], Awaitable[bool]]
) -> bool:
    """Do the work if the version is lost and attended by nobody else; return whether it was done
    here.

    Args:
        end: Ends the version instead, once the work has failed too often.
    """
    taker, attempt = await _attend(writer, stream_id, version, "open", writer.lease)
    if taker is None:
        return False
    try:
        if attempt <= RECOVER_ATTEMPTS:
            await work()
        elif await end():
            logger.error(
                "stream %r version %d could not be recovered in %d attempts, and was ended",
                stream_id,
                version,
                RECOVER_ATTEMPTS,
                extra=log_fields(stream_id, version),
            )
        else:
            await _abandon(writer, taker, attempt)
    except Exception as error:
        writer.on_error("recover", error, (stream_id, version))
        if attempt > RECOVER_ATTEMPTS:
            await _abandon(writer, taker, attempt)
        raise
    return True


async def _attend(
    writer: Writer, stream_id: str, version: int, state: WatchedState, lease: float
) -> tuple[Lease | None, int]:
    """Take the version; return the lease and how often it was taken, or None and 0."""
    taker = Lease(stream_id, version, new_token())
    attempt = await writer.patiently(lambda: writer.store.attend(taker, lease=lease, state=state))
    return (None, 0) if attempt is None else (taker, attempt)


async def _abandon(writer: Writer, taker: Lease, attempts: int) -> None:
    stream_id, version, _ = taker
    await writer.patiently(lambda: writer.store.abandon(taker))
    writer.abandoned += 1
    logger.error(
        "stream %r version %d is abandoned after %d attempts to look after it",
        stream_id,
        version,
        attempts,
        extra=log_fields(stream_id, version),
    )

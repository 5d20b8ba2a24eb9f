"""How a publisher comes by its version: it opens a new one, or goes on with one that was lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Generic, NamedTuple

from monostream_ai._writing.endings import stored_pages
from monostream_ai._writing.writer import Writer
from monostream_ai.errors import ChunksMissing, NotLost, ServiceClosed, UnknownStream
from monostream_ai.interfaces import Store
from monostream_ai.protocol import C, ChunkProtocol, Transcript
from monostream_ai.types import Lease, Opening, VersionInfo, WakeUp, log_fields, new_token

logger = logging.getLogger(__name__)


class Beginning(NamedTuple, Generic[C]):
    """A version that is held, and the chunks that another publisher has written to it."""

    lease: Lease
    message_id: str | None
    attempt: int
    written: Sequence[C] = ()
    transcript: Transcript[C] | None = None
    """The record that was fed these chunks; None if there are none."""


async def open_new(
    writer: Writer, stream_id: str, version: int | None, opening: Opening
) -> Beginning[C]:
    """Open a version; older ones are fenced when it returns.

    Raises:
        VersionConflict, NotLost, StoreUnavailable, ServiceClosed
    """
    lease = await writer.acquire(stream_id, version, opening)
    return Beginning(lease, opening.message_id, opening.attempt)


async def take_over(
    writer: Writer,
    protocol: ChunkProtocol[C],
    stream_id: str,
    version: int,
    attempt: int | None,
) -> Beginning[C]:
    """Take over a version that is lost or waits, as its next attempt: fence its publisher, then
    read its chunks.

    Raises:
        UnknownStream: There is no such version.
        NotLost: Its publisher lives, it has ended, a stop was requested, somebody else has taken
            it, or another attempt is the next one.
        InvalidChunk: A stored chunk cannot be read; the version stays lost.
        StoreUnavailable, ServiceClosed
    """
    store, patiently = writer.store, writer.patiently
    info = await patiently(lambda: store.info(stream_id, version))
    if info is None:
        raise UnknownStream(stream_id)
    # A blocked event loop renews no lease, and its publishers go on once it runs again.
    free = info.waiting or (info.lost and not writer.leases.holds(stream_id, version))
    number = info.attempt + 1
    if not free or attempt not in (None, number):
        raise NotLost(stream_id, version)
    lease = Lease(stream_id, version, new_token())
    next_id = await patiently(
        lambda: store.claim(lease, lease=writer.lease, stop=False, attempt=number)
    )
    if next_id is None:
        raise NotLost(stream_id, version)
    try:
        if writer.closing:
            raise ServiceClosed
        written, transcript = await patiently(lambda: _read(store, protocol, info))
        if len(written) != next_id:
            raise ChunksMissing(stream_id, version, len(written))
    except BaseException as error:
        # An exit of this process is no failure of the version.
        exits = isinstance(error, asyncio.CancelledError | ServiceClosed)
        await store.release(lease, handover=exits)
        raise
    writer.announce(WakeUp(stream_id, version, next_id))
    first = "began stream %r version %d, which waited, as attempt %d"
    logger.info(
        first if number == 1 else "took over stream %r version %d to go on with it as attempt %d",
        stream_id,
        version,
        number,
        extra=log_fields(stream_id, version),
    )
    return Beginning(lease, info.message_id, number, written, transcript)


async def _read(
    store: Store, protocol: ChunkProtocol[C], info: VersionInfo
) -> tuple[list[C], Transcript[C]]:
    written, transcript = list[C](), protocol.transcript(info.message_id)
    async for page in stored_pages(store, protocol, info):
        for chunk in page:
            transcript.feed(chunk)
        written += page
    return written, transcript


async def leave_again(writer: Writer, stream_id: str, version: int, within: float) -> bool:
    """Let a lost version wait for a successor; return whether this call did."""
    lease = Lease(stream_id, version, new_token())
    left = await writer.patiently(
        lambda: writer.store.claim(lease, lease=within, stop=False, waits=True)
    )
    return left is not None

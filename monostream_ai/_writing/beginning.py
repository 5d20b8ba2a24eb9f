"""How a publisher comes by its version: it opens a new one, or goes on with one that was lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Generic, NamedTuple

from monostream_ai._writing.endings import stored_chunks
from monostream_ai._writing.writer import Writer
from monostream_ai.errors import ChunksMissing, NotLost, ServiceClosed, UnknownStream
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Lease, Opening, WakeUp, log_fields, new_token

logger = logging.getLogger(__name__)


class Beginning(NamedTuple, Generic[C]):
    """A version that is held, and the chunks that another publisher has written to it."""

    lease: Lease
    message_id: str | None
    attempt: int
    written: Sequence[C] = ()


async def open_new(
    writer: Writer, stream_id: str, version: int | None, opening: Opening
) -> Beginning[C]:
    """Open a version; older ones are fenced when it returns.

    Raises:
        VersionConflict, StoreUnavailable, ServiceClosed
    """
    lease = await writer.acquire(stream_id, version, opening)
    return Beginning(lease, opening.message_id, opening.attempt)


async def take_over(
    writer: Writer, protocol: ChunkProtocol[C], stream_id: str, version: int
) -> Beginning[C]:
    """Take a lost version over as its next attempt: fence its publisher, then read its chunks.

    Raises:
        UnknownStream: There is no such version.
        NotLost: Its publisher lives, it has ended, a stop was asked, or somebody else has taken it.
        InvalidChunk: A stored chunk cannot be read; the version stays lost.
        StoreUnavailable, ServiceClosed
    """
    store, patiently = writer.store, writer.patiently
    info = await patiently(lambda: store.info(stream_id, version))
    if info is None:
        raise UnknownStream(stream_id)
    # A blocked event loop renews no lease, and its publishers go on when it does.
    if not info.lost or writer.leases.holds(stream_id, version):
        raise NotLost(stream_id, version)
    lease = Lease(stream_id, version, new_token())
    attempt = info.attempt + 1
    next_id = await patiently(
        lambda: store.claim(lease, lease=writer.lease, stop=False, attempt=attempt)
    )
    if next_id is None:
        raise NotLost(stream_id, version)
    try:
        if writer.closing:
            raise ServiceClosed
        written = await patiently(lambda: stored_chunks(store, protocol, info))
        if len(written) != next_id:
            raise ChunksMissing(stream_id, version, len(written))
    except BaseException:
        await store.release(lease)
        raise
    writer.announce(WakeUp(stream_id, version, next_id))
    logger.info(
        "took over stream %r version %d to go on with it as attempt %d",
        stream_id,
        version,
        attempt,
        extra=log_fields(stream_id, version),
    )
    return Beginning(lease, info.message_id, attempt, written)

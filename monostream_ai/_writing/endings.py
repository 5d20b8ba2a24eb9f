"""Ends a version in its publisher's stead, after a stop or a loss, and settles watched versions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from monostream_ai._writing.encoding import encode_chunks
from monostream_ai._writing.outbox import Outbox, Write
from monostream_ai._writing.writer import Writer
from monostream_ai.errors import PublisherError, StreamDeleted
from monostream_ai.interfaces import PAGE_BYTES, PAGE_ROWS, Store
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Lease, VersionInfo, WakeUp, new_token

logger = logging.getLogger(__name__)


async def end_version(
    writer: Writer, protocol: ChunkProtocol[C], info: VersionInfo, *, stop: bool
) -> bool:
    """Fence the publisher, then read the log, then end it; return whether this call did.

    In any other order a fast publisher could write behind the chunks that the ending was made from.
    If this process dies in between, its claim lapses like any lease, and the next caller finishes
    the work: with the abort, if a stop was ever asked.

    Args:
        stop: Take the version from a live publisher. Otherwise it is taken only if it is lost.
    """
    store, patiently = writer.store, writer.patiently
    lease = Lease(info.stream_id, info.version, new_token())
    next_id = await patiently(lambda: store.claim(lease, lease=writer.lease, stop=stop))
    if next_id is None:
        return False
    logger.debug("took over stream %r version %d to end it", info.stream_id, info.version)
    fenced = await patiently(lambda: store.info(info.stream_id, info.version))
    stopped = fenced is not None and fenced.stop_requested_at is not None
    transcript = protocol.transcript(info.message_id)
    for chunk in await patiently(lambda: stored_chunks(store, protocol, info)):
        transcript.feed(chunk)
    chunks = transcript.ending("abort" if stopped else "lost")
    if not chunks and not stopped:
        await store.release(lease)
        return False
    outbox = Outbox(lease, writer.load, next_id)
    write = Write(*encode_chunks(protocol, chunks)._replace(closes=True))
    done = write.future()
    writer.put(outbox, write)
    try:
        await done
    except (PublisherError, StreamDeleted):
        return False
    # A publisher in this process hears of local commits only from us.
    writer.leases.on_wake_up(WakeUp(info.stream_id, info.version, outbox.next_id))
    return True


async def settle_version(
    writer: Writer,
    stream_id: str,
    version: int,
    work: Callable[[], Awaitable[object]],
    *,
    timeout: float,
) -> bool:
    """Do the work if the version is closed, not settled, and attended by nobody else; return
    whether it was done here.

    Work that fails or takes too long is left to the first caller after `timeout` seconds.
    """
    taker = Lease(stream_id, version, new_token())
    # The limit begins before the lease, so this work is over before another may begin.
    async with asyncio.timeout(timeout):
        if not await writer.patiently(lambda: writer.store.attend(taker, lease=timeout)):
            return False
        await work()
    await writer.patiently(lambda: writer.store.settle(taker))
    return True


async def stored_chunks(store: Store, protocol: ChunkProtocol[C], info: VersionInfo) -> list[C]:
    """Return every chunk of a version, decoded, read in pages."""
    chunks: list[C] = []
    while payloads := await store.payloads(
        info.stream_id, info.version, len(chunks), max_rows=PAGE_ROWS, max_bytes=PAGE_BYTES
    ):
        chunks.extend(map(protocol.decode, payloads))
    return chunks

"""Ends a version in its publisher's stead, after a stop or a loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from monostream_ai._writing.encoding import Encoded, encode_chunks
from monostream_ai._writing.outbox import Outbox, Write
from monostream_ai._writing.writer import Writer
from monostream_ai.errors import PublisherError, ServiceClosed, StoreUnavailable, StreamDeleted
from monostream_ai.interfaces import PAGE_BYTES, PAGE_ROWS, Store
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Ending, Lease, VersionInfo, WakeUp, log_fields, new_token

logger = logging.getLogger(__name__)

DECODED_AT_ONCE: Final = 200
"""Chunks of a version handled in one turn of the loop. Decoding and recording a thousand would hold
up everything else for some 20 ms.
"""


async def end_version(
    writer: Writer,
    protocol: ChunkProtocol[C],
    info: VersionInfo,
    *,
    stop: bool,
    error_text: str,
) -> bool:
    """Fence the publisher, then read the log, then end it; return whether this call did.

    In any other order a fast publisher could add chunks that the ending does not know.
    If this process dies in between, its claim lapses like any lease, and the next caller finishes
    the work: with the abort, if a stop was ever requested.

    The version always ends. If the ending that the stored chunks call for cannot be made or stored,
    it gets the ending of an empty version, and if that fails too, it is closed without one: it must
    not stay open for ever.

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
    ending: Ending = "abort" if stopped else "lost"
    for make in (_fitting, _plain):
        try:
            chunks = await patiently(partial(make, store, protocol, info, ending, error_text))
            if not chunks and not stopped:
                await store.release(lease)
                return False
            outbox = Outbox(lease, writer.load, next_id)
            ended = await _close(writer, outbox, encode_chunks(protocol, chunks), ending)
        except (StoreUnavailable, ServiceClosed):
            raise
        # A protocol of the application may raise anything, and a database refuse what it makes.
        except Exception:
            logger.exception(
                "stream %r version %d: its ending cannot be stored; a simpler one is tried",
                info.stream_id,
                info.version,
                extra=log_fields(info.stream_id, info.version),
            )
        else:
            return ended
    outbox = Outbox(lease, writer.load, next_id)
    return await _close(writer, outbox, Encoded([], closes=True, size=0), ending)


async def _fitting(
    store: Store, protocol: ChunkProtocol[C], info: VersionInfo, ending: Ending, error_text: str
) -> Sequence[C]:
    transcript = protocol.transcript(info.message_id)
    async for page in stored_pages(store, protocol, info):
        for chunk in page:
            transcript.feed(chunk)
    return transcript.ending(ending, error_text)


async def _plain(
    store: Store, protocol: ChunkProtocol[C], info: VersionInfo, ending: Ending, error_text: str
) -> Sequence[C]:
    return protocol.transcript().ending(ending, error_text)


async def _close(writer: Writer, outbox: Outbox, encoded: Encoded, ending: Ending) -> bool:
    """Append the ending; return False if somebody else has ended or taken the version meanwhile."""
    write = Write(encoded.payloads, True, encoded.size, ending=ending)
    done = write.future()
    writer.put(outbox, write)
    try:
        await done
    except (PublisherError, StreamDeleted):
        return False
    # A publisher in this process hears of local commits only from us.
    stream_id, version, _ = outbox.lease
    writer.leases.on_wake_up(WakeUp(stream_id, version, outbox.next_id))
    return True


async def stored_pages(
    store: Store, protocol: ChunkProtocol[C], info: VersionInfo
) -> AsyncIterator[Sequence[C]]:
    """Yield every chunk of a version, decoded, in pages of at most `DECODED_AT_ONCE`, with turns of
    the loop in between.

    A version may have more chunks than one turn of the loop, or the memory, should hold.
    """
    next_id = 0
    while payloads := await store.payloads(
        info.stream_id, info.version, next_id, max_rows=PAGE_ROWS, max_bytes=PAGE_BYTES
    ):
        next_id += len(payloads)
        for first in range(0, len(payloads), DECODED_AT_ONCE):
            yield [*map(protocol.decode, payloads[first : first + DECODED_AT_ONCE])]
            await asyncio.sleep(0)

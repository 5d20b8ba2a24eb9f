"""Ending a version in its publisher's stead: because a user pressed stop, or because the publisher
was lost.
"""

from __future__ import annotations

from monostream_ai._reading.tailer import PAGE_BYTES, PAGE_ROWS
from monostream_ai._runtime import Machinery
from monostream_ai._writing.encoding import encode_chunks
from monostream_ai._writing.outbox import Outbox, Write
from monostream_ai.errors import PublisherError, StreamDeleted
from monostream_ai.interfaces import Store
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.tokens import new_token
from monostream_ai.types import Lease, VersionInfo


async def end_version(
    machinery: Machinery, protocol: ChunkProtocol[C], info: VersionInfo, *, stop: bool
) -> bool:
    """Fence the publisher, then read the log, then end it; return whether this call did.

    In this order, or a fast publisher would outrun the ending. If this process dies in between, its
    claim lapses like any lease, and the next one finishes: with the abort, if a stop was asked by
    whoever came first.
    """
    store, patiently = machinery.store, machinery.patiently
    lease = Lease(info.stream_id, info.version, new_token())
    next_id = await patiently(lambda: store.claim(lease, lease=machinery.lease, stop=stop))
    if next_id is None:
        return False
    frozen = await patiently(lambda: store.info(info.stream_id, info.version))
    stopped = frozen is not None and frozen.stop_requested_at is not None
    transcript = protocol.transcript(info.message_id)
    for chunk in await patiently(lambda: stored_chunks(store, protocol, info)):
        transcript.feed(chunk)
    chunks = transcript.ending("abort" if stopped else "lost")
    if not chunks and not stopped:
        await store.release(lease)
        return False
    payloads, _, size = encode_chunks(protocol, chunks)
    write = Write(payloads, True, size)
    done = write.future()
    machinery.writer.put(Outbox(lease, next_id), write)
    try:
        await done
    except (PublisherError, StreamDeleted):
        return False
    return True


async def stored_chunks(store: Store, protocol: ChunkProtocol[C], info: VersionInfo) -> list[C]:
    """Return every chunk of a version, decoded, read in pages."""
    chunks: list[C] = []
    while payloads := await store.payloads(
        info.stream_id, info.version, len(chunks), max_rows=PAGE_ROWS, max_bytes=PAGE_BYTES
    ):
        chunks.extend(map(protocol.decode, payloads))
    return chunks

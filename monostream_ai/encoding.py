"""From chunks to the payloads of one write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from monostream_ai.errors import ChunkTooLarge, InvalidChunk
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import MAX_CHUNK_BYTES


class Encoded(NamedTuple):
    """Payloads, and whether the last of them closes the version."""

    payloads: list[str]
    closes: bool


def encode_chunks(protocol: ChunkProtocol[C], chunks: Sequence[C]) -> Encoded:
    """Encode all chunks or none.

    Raises:
        InvalidChunk: A chunk is refused by the protocol, or a terminal chunk is not the last one.
        ChunkTooLarge
    """
    payloads = []
    for chunk in chunks:
        payload = protocol.encode(chunk)
        # A character takes at most 4 bytes, so most payloads need no second look.
        if len(payload) * 4 > MAX_CHUNK_BYTES and (size := len(payload.encode())) > MAX_CHUNK_BYTES:
            raise ChunkTooLarge(_kind(chunk), size, MAX_CHUNK_BYTES)
        payloads.append(payload)
    terminal = [protocol.is_terminal(chunk) for chunk in chunks]
    if any(terminal[:-1]):
        raise InvalidChunk("$", f"it stands behind a terminal {_kind(chunks[terminal.index(True)])} chunk in one write")
    return Encoded(payloads, bool(terminal) and terminal[-1])


def _kind(chunk: object) -> str:
    return str(chunk.get("type", "dict")) if isinstance(chunk, dict) else type(chunk).__name__

"""Encodes chunks into the payloads of one write, once, and refuses those that cannot be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from monostream_ai.errors import ChunkTooLarge, InvalidChunk
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import MAX_CHUNK_BYTES


class Encoded(NamedTuple):
    """Payloads, whether the last one closes the version, and their length in characters."""

    payloads: list[str]
    closes: bool
    size: int


def encode_chunks(protocol: ChunkProtocol[C], chunks: Sequence[C]) -> Encoded:
    """Encode all chunks or none. Safe to call in any thread.

    Raises:
        InvalidChunk: The protocol refuses a chunk, or a terminal chunk is not the last one.
        ChunkTooLarge
    """
    payloads: list[str] = []
    size, closes = 0, False
    for chunk in chunks:
        if closes:
            terminal = _kind(chunks[len(payloads) - 1])
            raise InvalidChunk("$", f"it stands behind a terminal {terminal} chunk in one write")
        payload = protocol.encode(chunk)
        # A character takes at most 4 bytes, so most payloads need not be measured.
        length = len(payload)
        if length * 4 > MAX_CHUNK_BYTES and (stored := len(payload.encode())) > MAX_CHUNK_BYTES:
            raise ChunkTooLarge(_kind(chunk), stored, MAX_CHUNK_BYTES)
        payloads.append(payload)
        size += length
        closes = protocol.is_terminal(chunk)
    return Encoded(payloads, closes, size)


def _kind(chunk: object) -> str:
    return str(chunk.get("type", "dict")) if isinstance(chunk, dict) else type(chunk).__name__

"""Encodes chunks into the payloads of one write, once, and refuses those that cannot be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from monostream_ai.errors import ChunkTooLarge, InvalidChunk, WriteTooLarge
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import MAX_CHUNK_BYTES

MAX_WRITE_SIZE: Final = 8 * 1024 * 1024
"""Characters in one call of `write` or `push`, which land in one append. While a store takes them,
the other publishers of the process wait.
"""


class Encoded(NamedTuple):
    """Payloads, whether the last one closes the version, and their length in characters."""

    payloads: list[str]
    closes: bool
    size: int


def encode_chunks(protocol: ChunkProtocol[C], chunks: Sequence[C]) -> Encoded:
    """Encode all chunks or none. Safe to call in any thread.

    Raises:
        InvalidChunk: The protocol refuses a chunk, or encodes it as text that is not Unicode, or a
            terminal chunk is not the last one.
        ChunkTooLarge, WriteTooLarge
    """
    payloads: list[str] = []
    size, closes = 0, False
    for chunk in chunks:
        if closes:
            terminal = _kind(chunks[len(payloads) - 1])
            raise InvalidChunk("$", f"it follows a terminal {terminal} chunk in one write")
        payload = protocol.encode(chunk)
        if not isinstance(payload, str):
            raise InvalidChunk("$", f"the protocol made {type(payload).__name__} of it, not text")
        # Half a surrogate pair has no encoding. No database takes it, and one that refuses it may
        # refuse the whole batch of all publishers.
        length = len(payload) if payload.isascii() else _encoded_size(payload)
        if length > MAX_CHUNK_BYTES:
            raise ChunkTooLarge(_kind(chunk), length, MAX_CHUNK_BYTES)
        payloads.append(payload)
        size += len(payload)
        if size > MAX_WRITE_SIZE:
            raise WriteTooLarge(len(chunks), size, MAX_WRITE_SIZE)
        closes = protocol.is_terminal(chunk)
    return Encoded(payloads, closes, size)


def _encoded_size(payload: str) -> int:
    try:
        return len(payload.encode())
    except UnicodeEncodeError as error:
        raise InvalidChunk("$", "its text holds half a surrogate pair") from error


def _kind(chunk: object) -> str:
    return str(chunk.get("type", "dict")) if isinstance(chunk, dict) else type(chunk).__name__

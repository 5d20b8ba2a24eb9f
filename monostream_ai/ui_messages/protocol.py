"""UI message chunks as a protocol: which chunk is terminal, and how a version that did not end
itself is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.types import Ending
from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.open_parts import OpenParts, stop_mark

MERGED_CHARACTERS: Final = 4096
"""Length at which a merged delta is long enough: each merge encodes all of it again."""

_DELTA_KEYS: Final[Mapping[str, str]] = {
    "text-delta": "delta",
    "reasoning-delta": "delta",
    "tool-input-delta": "inputTextDelta",
}

TERMINAL_TYPES: Final = frozenset({"finish", "error", "abort"})


class UIMessageProtocol:
    """The chunks that `useChat` reads. Any object with a string under `type` is stored;
    `check_chunk` says more than that.
    """

    def encode(self, chunk: Chunk) -> str:
        if not isinstance(chunk, dict):
            raise InvalidChunk("$", "a UI message chunk is an object")
        if not isinstance(chunk.get("type"), str):
            raise InvalidChunk("$.type", "a UI message chunk needs a string here")
        return encode_json(chunk)

    def decode(self, payload: str) -> Chunk:
        chunk: Any = decode_json(payload)
        if not isinstance(chunk, dict) or not isinstance(chunk.get("type"), str):
            raise InvalidChunk("$", "what is stored is not a UI message chunk")
        return chunk

    def is_terminal(self, chunk: Chunk) -> bool:
        return chunk["type"] in TERMINAL_TYPES

    def merge(self, earlier: Chunk, later: Chunk) -> list[Chunk]:
        key = _DELTA_KEYS.get(earlier["type"])
        if key is None or len(earlier[key]) > MERGED_CHARACTERS:
            return [earlier, later]
        merged = {**later, key: earlier[key] + later[key]} if key in later else later
        return [merged] if {**merged, key: earlier[key]} == earlier else [earlier, later]

    def transcript(self, message_id: str | None = None) -> UIMessageTranscript:
        return UIMessageTranscript(message_id)


class UIMessageTranscript:
    """Follows one version and knows how to end it.

    The chunk `message-metadata{messageMetadata: {finishReason}}` has a meaning here: `finish`
    repeats the last reason it gave. That is how a mapper, which must not end a version that others
    go on writing to, says why its model stopped.
    """

    def __init__(self, message_id: str | None = None) -> None:
        self._message_id = message_id
        self._parts = OpenParts()

    def feed(self, chunk: Chunk) -> None:
        self._parts.feed(chunk)

    def ending(self, ending: Ending, error_text: str = MASKED_ERROR_TEXT) -> list[Chunk]:
        """Return the stored ending. What a client needs after an `error` or `abort` is added by
        `SSEEncoder` and never stored.
        """
        start: Chunk = (
            {"type": "start"}
            if self._message_id is None
            else {"type": "start", "messageId": self._message_id}
        )
        return [
            *([start] if self._parts.empty else []),
            *self._parts.closing(),
            *_ENDINGS[ending](self._parts, error_text),
        ]


def _finish(parts: OpenParts, error_text: str) -> list[Chunk]:
    return [{"type": "finish", "finishReason": parts.finish_reason or "stop"}]


def _error(parts: OpenParts, error_text: str) -> list[Chunk]:
    return [{"type": "error", "errorText": error_text}]


def _abort(parts: OpenParts, error_text: str) -> list[Chunk]:
    return [*stop_mark(), {"type": "abort"}]


_ENDINGS: Final[Mapping[Ending, Callable[[OpenParts, str], list[Chunk]]]] = {
    "finish": _finish,
    "error": _error,
    "lost": _error,
    "abort": _abort,
}

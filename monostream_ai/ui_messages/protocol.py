"""The protocol of UI message chunks: which chunks end a version, and how to end one early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.types import Ending
from monostream_ai.ui_messages.chunks import DELTA_KEYS, Chunk
from monostream_ai.ui_messages.contributing import Notes
from monostream_ai.ui_messages.message_chunks import chunks_of_message
from monostream_ai.ui_messages.open_parts import OpenParts, stop_mark

MERGED_CHARACTERS: Final = 4096
"""Length from which a delta is no longer merged, since each merge encodes all of it again."""

TERMINAL_TYPES: Final = frozenset({"finish", "error", "abort"})


class UIMessageProtocol:
    """The chunks that `useChat` reads.

    Stores any object with a string under `type`; `check_chunk` is stricter.
    """

    def __repr__(self) -> str:
        return "UIMessageProtocol()"

    def encode(self, chunk: Chunk) -> str:
        if not isinstance(chunk, dict):
            raise InvalidChunk("$", "a UI message chunk is an object")
        if not isinstance(chunk.get("type"), str):
            raise InvalidChunk("$.type", "a UI message chunk needs a string here")
        return encode_json(chunk)

    def decode(self, payload: str) -> Chunk:
        chunk: Any = decode_json(payload)
        if not isinstance(chunk, dict) or not isinstance(chunk.get("type"), str):
            raise InvalidChunk("$", "the stored payload is not a UI message chunk")
        return chunk

    def is_terminal(self, chunk: Chunk) -> bool:
        return chunk["type"] in TERMINAL_TYPES

    def ending_of(self, terminal: Chunk) -> Ending:
        return _WRITTEN.get(terminal["type"], "finish")

    def merge(self, earlier: Chunk, later: Chunk) -> list[Chunk]:
        return merge_deltas(DELTA_KEYS, earlier, later)

    def notes(self) -> Notes:
        return Notes()

    def transcript(self, message_id: str | None = None) -> UIMessageTranscript:
        return UIMessageTranscript(message_id)


class UIMessageTranscript:
    """Follows the chunks of one version and returns the chunks that end it.

    A capture must not end a version that others still write to. It reports why its model stopped in
    `message-metadata{messageMetadata: {finishReason}}`, and `finish` repeats the last such reason.
    """

    def __init__(self, message_id: str | None = None) -> None:
        self._message_id = message_id
        self._parts = OpenParts()
        self.continued: Mapping[str, Any] | None = None
        """The assistant message that this version continues, as a client sent it."""

    def feed(self, chunk: Chunk) -> None:
        self._parts.feed(chunk)

    def continues(self, message: Mapping[str, Any]) -> None:
        """Take note of the calls in an assistant message that this version continues.

        The message may come from a client, so malformed parts are ignored.
        """
        self.continued = message
        self._parts.adopt(_calls_of_last_step(message.get("parts")))

    def before_terminal(self, terminal: Chunk) -> list[Chunk]:
        """Return the chunks that a page needs before a terminal chunk that a program wrote."""
        lead = {"finish": self._parts.seal, "abort": self._parts.stop_seal}.get(terminal["type"])
        chunks = [] if lead is None else lead()
        return [{"type": "finish-step"}, *chunks] if chunks and self._parts.step_open else chunks

    def ending(self, ending: Ending, error_text: str = MASKED_ERROR_TEXT) -> list[Chunk]:
        """Return the chunks that end the version.

        After an `error` or `abort`, `SSEEncoder` sends one more chunk, which is never stored.
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


def merge_deltas(keys: Mapping[str, str], earlier: Chunk, later: Chunk) -> list[Chunk]:
    """Return one delta that says the same as two that follow each other, or both of them.

    Args:
        keys: The key that holds the text, for each type of chunk that is a delta.
    """
    key = keys.get(earlier["type"])
    if key is None or len(earlier[key]) > MERGED_CHARACTERS:
        return [earlier, later]
    merged = {**later, key: earlier[key] + later[key]} if key in later else later
    # Merge only if all other keys are equal: the type, the id, and any metadata.
    return [merged] if {**merged, key: earlier[key]} == earlier else [earlier, later]


def note_continued(pub: object, message: Mapping[str, Any]) -> None:
    """Tell the publisher of a version which message it continues, since its ending depends on it.

    Does nothing for a sink that keeps no transcript of UI messages.
    """
    transcript = getattr(pub, "transcript", None)
    if isinstance(transcript, UIMessageTranscript):
        transcript.continues(message)


def continued_by(pub: object) -> Mapping[str, Any] | None:
    """Return the message that a publisher's version continues, if it was told."""
    transcript = getattr(pub, "transcript", None)
    return transcript.continued if isinstance(transcript, UIMessageTranscript) else None


def _finish(parts: OpenParts, error_text: str) -> list[Chunk]:
    return [*parts.seal(), {"type": "finish", "finishReason": parts.finish_reason or "stop"}]


def _error(parts: OpenParts, error_text: str) -> list[Chunk]:
    return [{"type": "error", "errorText": error_text}]


def _abort(parts: OpenParts, error_text: str) -> list[Chunk]:
    return [*stop_mark(), {"type": "abort"}]


def _calls_of_last_step(parts: Any) -> list[Chunk]:
    """Return the chunks of the calls that a client finds behind the last `step-start`."""
    calls: list[Any] = []
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping) and part.get("type") == "step-start":
            calls.clear()
        elif isinstance(part, Mapping) and "toolCallId" in part:
            # A result may be large, and only its presence matters.
            calls.append({**part, "output": None} if "output" in part else part)
    return chunks_of_message({"parts": calls})[1:]


_ENDINGS: Final[Mapping[Ending, Callable[[OpenParts, str], list[Chunk]]]] = {
    "finish": _finish,
    "error": _error,
    "lost": _error,
    "abort": _abort,
}
_WRITTEN: Final[Mapping[str, Ending]] = {"error": "error", "abort": "abort"}

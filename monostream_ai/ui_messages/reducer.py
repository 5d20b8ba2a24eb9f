"""Reduces chunks to the message that a client shows, so that a server can store the history.

Source: vercel/ai, ai@7.0.173, packages/ai/src/ui/process-ui-message-stream.ts and
ui-message-stream/read-ui-message-stream.ts. Works like `readUIMessageStream`, with two differences:
a message can be settled, and metadata that is no object is replaced by the next metadata, where the
client would spread a list and throw at anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final, TypeAlias

from monostream_ai.errors import InvalidArgument, InvalidChunk
from monostream_ai.ui_messages.chunks import Chunk, check_chunk
from monostream_ai.ui_messages.tool_parts import Part, ToolParts, current_step

UIMessage: TypeAlias = dict[str, Any]
"""`{id, role, metadata?, parts}` as JSON."""


def reduce_chunks(chunks: Iterable[Chunk], *, finished: bool = False) -> UIMessage:
    """Return the assistant message that these chunks make.

    Args:
        chunks: All chunks of the message, beginning with `start`.
        finished: Settle the message, as a history needs; see `MessageReducer.settle`.

    Raises:
        InvalidChunk: A client would fail at one of the chunks.
    """
    reducer = MessageReducer()
    for chunk in chunks:
        reducer.feed(chunk)
    if finished:
        reducer.settle()
    return reducer.message


@dataclass(slots=True)
class _Growing:
    """A text or reasoning part that takes deltas, joined only when the message is read."""

    part: Part
    # A list of pieces takes ten times the memory of the text that they make.
    text: StringIO = field(default_factory=StringIO)

    def join(self) -> None:
        self.part["text"] = self.text.getvalue()


class MessageReducer:
    """Builds one assistant message from its chunks, one at a time.

    Args:
        message: An assistant message that the chunks continue. It is copied, not changed.

    Raises:
        InvalidArgument: `message` is no assistant message with parts.
    """

    def __init__(self, message: Mapping[str, Any] | None = None) -> None:
        self._message: UIMessage = {"id": "", "role": "assistant", **_checked(message)}
        self._parts: list[Part] = [dict(part) for part in self._message.get("parts", [])]
        self._growing: dict[tuple[str, str], _Growing] = {}
        self._named: dict[tuple[str, str], Part] = {}
        self._tools = ToolParts(self._parts)
        self._index_parts()

    def __repr__(self) -> str:
        return f"<MessageReducer {self._message['id']!r}, {len(self._parts)} parts>"

    @property
    def message(self) -> UIMessage:
        """The message so far, as a copy that later chunks do not change."""
        self._join_deltas()
        return {**self._message, "parts": [dict(part) for part in self._parts]}

    def feed(self, chunk: Chunk) -> None:
        """Apply the next chunk. Chunks of unknown types change nothing.

        Raises:
            InvalidChunk: A client would fail at this chunk and ignore all later ones. The message
                is unchanged.
        """
        check_chunk(chunk)
        kind = chunk["type"]
        if kind.startswith("data-"):
            self._data(chunk)
        elif kind in _EFFECTS:
            _EFFECTS[kind](self, chunk)
        elif kind in _TOOL_EFFECTS:
            self._tools.read_inputs()
            _TOOL_EFFECTS[kind](self._tools, chunk)

    def settle(self) -> None:
        """Finish the message: no part is left streaming, and `safeValidateUIMessages` accepts it.

        An incomplete tool input becomes an error. A call without a result stays open, since the
        client may still answer it.
        """
        self._join_deltas()
        self._growing.clear()
        for part in self._parts:
            if part.get("state") == "streaming":
                part["state"] = "done"
        self._tools.finish()

    def _join_deltas(self) -> None:
        for growing in self._growing.values():
            growing.join()
        self._tools.read_inputs()

    def _start(self, chunk: Chunk) -> None:
        message_id = chunk.get("messageId", self._message["id"])
        if message_id != self._message["id"]:
            self._message = {"id": message_id, "role": "assistant"}
            self._parts.clear()
            self._after_removal()
        self._metadata(chunk)

    def _metadata(self, chunk: Chunk) -> None:
        metadata = chunk.get("messageMetadata")
        if metadata is not None:
            known = self._message.get("metadata")
            self._message["metadata"] = metadata if known is None else _merge(known, metadata)

    def _start_step(self, chunk: Chunk) -> None:
        self._tools.read_inputs()
        self._parts.append({"type": "step-start"})
        self._tools.begin_step()

    def _reset_step(self, chunk: Chunk) -> None:
        # Join first: an open part may belong to an earlier step, which stays.
        self._join_deltas()
        del self._parts[len(self._parts) - len(current_step(self._parts)) :]
        self._after_removal()

    def _after_removal(self) -> None:
        self._growing.clear()
        self._tools.forget_inputs()
        self._tools.index_parts()
        self._index_parts()

    def _index_parts(self) -> None:
        named = (
            (part, part.get("id"))
            for part in reversed(self._parts)
            if part["type"].startswith("data-")
        )
        self._named = {
            (part["type"], data_id): part for part, data_id in named if isinstance(data_id, str)
        }

    def _open_part(self, chunk: Chunk) -> None:
        kind, part_id = chunk["type"].removesuffix("-start"), chunk["id"]
        if (kind, part_id) in self._growing:
            self._growing[(kind, part_id)].join()
        part: Part = {"type": kind, "text": "", "state": "streaming"}
        if kind == "reasoning":
            part["id"] = part_id
        self._growing[(kind, part_id)] = _Growing(part)
        self._append(part, chunk)

    def _extend_part(self, chunk: Chunk) -> None:
        growing = self._active(chunk)
        growing.text.write(chunk["delta"])
        if "providerMetadata" in chunk:
            growing.part["providerMetadata"] = chunk["providerMetadata"]

    def _close_part(self, chunk: Chunk) -> None:
        growing = self._active(chunk)
        growing.join()
        growing.part["state"] = "done"
        growing.part.update(
            {key: chunk[key] for key in ("citations", "providerMetadata") if key in chunk}
        )
        del self._growing[(growing.part["type"], chunk["id"])]

    def _active(self, chunk: Chunk) -> _Growing:
        kind = chunk["type"].partition("-")[0]
        growing = self._growing.get((kind, chunk["id"]))
        if growing is None:
            raise InvalidChunk("$.id", f"{kind} {chunk['id']!r} is not open")
        return growing

    def _copy(self, chunk: Chunk) -> None:
        kind = chunk["type"]
        copied = {key: chunk[key] for key in COPIED_KEYS[kind] if key in chunk}
        self._append({"type": kind, **copied}, chunk)

    def _append(self, part: Part, chunk: Chunk) -> None:
        self._tools.read_inputs()
        if "providerMetadata" in chunk:
            part["providerMetadata"] = chunk["providerMetadata"]
        self._parts.append(part)

    def _data(self, chunk: Chunk) -> None:
        if chunk.get("transient"):
            return
        data_id = chunk.get("id")
        known = None if data_id is None else self._named.get((chunk["type"], data_id))
        if known is not None:
            known["data"] = chunk["data"]
            return
        part = dict(chunk)
        self._append(part, {})
        if data_id is not None:
            self._named[(chunk["type"], data_id)] = part


COPIED_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "source-url": ("sourceId", "url", "title"),
    "source-document": ("sourceId", "mediaType", "title", "filename"),
    "file": ("mediaType", "url"),
    "reasoning-file": ("mediaType", "url"),
    "custom": ("kind",),
    "steering-message": ("id", "parts"),
}
"""Chunk types that become a part of the same type, and the keys it copies.

`providerMetadata` is copied too.
"""

_EFFECTS: Final[Mapping[str, Callable[[MessageReducer, Chunk], None]]] = {
    "start": MessageReducer._start,
    "finish": MessageReducer._metadata,
    "message-metadata": MessageReducer._metadata,
    "start-step": MessageReducer._start_step,
    "reset-step": MessageReducer._reset_step,
    "text-start": MessageReducer._open_part,
    "text-delta": MessageReducer._extend_part,
    "text-end": MessageReducer._close_part,
    "reasoning-start": MessageReducer._open_part,
    "reasoning-delta": MessageReducer._extend_part,
    "reasoning-end": MessageReducer._close_part,
    "tool-input-delta": lambda reducer, chunk: reducer._tools.input_delta(chunk),
    **dict.fromkeys(COPIED_KEYS, MessageReducer._copy),
}

_TOOL_EFFECTS: Final[Mapping[str, Callable[[ToolParts, Chunk], None]]] = {
    "tool-input-start": ToolParts.input_start,
    "tool-input-available": ToolParts.input_available,
    "tool-input-error": ToolParts.input_error,
    "tool-output-available": ToolParts.output_available,
    "tool-output-error": ToolParts.output_error,
    "tool-output-denied": ToolParts.output_denied,
    "tool-approval-request": ToolParts.approval_request,
    "tool-approval-response": ToolParts.approval_response,
}


def _checked(message: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if message is None:
        return {}
    if not isinstance(message, Mapping):
        raise InvalidArgument(f"{type(message).__name__} is not a UI message")
    role, parts = message.get("role", "assistant"), message.get("parts", [])
    if role != "assistant":
        raise InvalidArgument(f"a message of {role!r} cannot be continued")
    if not isinstance(parts, list) or not all(
        isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in parts
    ):
        raise InvalidArgument("the message needs a list of parts, each with a type")
    return message


def _merge(base: Any, overrides: Any) -> Any:
    # Source: vercel/ai, ai@7.0.173, packages/ai/src/util/merge-objects.ts.
    if not isinstance(base, dict) or not isinstance(overrides, dict):
        return overrides
    merged = dict(base)
    for key, value in overrides.items():
        if key not in ("constructor", "prototype"):
            merged[key] = _merge(base[key], value) if key in base else value
    return merged

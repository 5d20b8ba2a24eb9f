"""Assembles the tool calls of one chat completion from their pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.json_text import encode_json
from monostream_ai.openai.remains import Remains
from monostream_ai.recording.fields import get_text, present_fields, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import StreamedCall, StreamedCalls

_LEGACY_CALL: Final = "function_call"
_CALL_FIELDS: Final = frozenset({"name", "arguments", "input"})
_PIECE_FIELDS: Final = _CALL_FIELDS | {
    "index",
    "id",
    "call_id",
    "type",
    "function",
    "custom",
    "status",
    "role",
    "logprobs",
    "extra_content",
    "provider_specific_fields",
    "parsed_arguments",
}
"""Fields of a piece that are read, or repeat others."""
CUSTOM_CALL: Final = "custom_tool_call"
CUSTOM: Final[dict[str, Any]] = {"openai": {"type": CUSTOM_CALL}}
"""State of a call whose input is a text, and no JSON."""


class ChatCalls:
    """Maps the calls of one completion; a call is announced with the first piece of its input."""

    def __init__(self, recording: Recording, output: ModelOutput, remains: Remains) -> None:
        self.in_message = False
        """Whether the pieces come in a message, which repeats calls that were streamed."""
        self._recording = recording
        self._output = output
        self._remains = remains
        self._unread = recording.unread("openai")
        self._calls = StreamedCalls()
        self._states: dict[StreamedCall, dict[str, Any]] = {}

    def pieces(self, given: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for each in given if isinstance(given, list | tuple) else (given,):
            piece = present_fields(each)
            custom = piece.get("custom")
            function = present_fields(piece.get("function") or custom or piece)
            if not _is_call(function):
                if each:
                    self._remains.add("delta.tool_calls", each)
                continue
            for name in sorted(piece.keys() - _PIECE_FIELDS):
                if piece[name] and not isinstance(piece[name], int | float):
                    self._unread.lose(f"field {name} of a tool call")
            call, more = self._piece(number_of(piece), get_text(piece, "id"), function)
            chunks += more
            if custom:
                self._states[call] = CUSTOM
            if signature := _signature(piece, function):
                self._states[call] = {"google": {"thoughtSignature": signature}}
        return chunks

    def legacy(self, function: Any) -> list[Chunk]:
        fields = present_fields(function)
        if not _is_call(fields):
            self._remains.add("delta.function_call", function)
            return []
        return self._piece(_LEGACY_CALL, _LEGACY_CALL, fields)[1]

    def cut_off(self) -> list[Chunk]:
        """Show the calls as far as they have come, since the response was cut."""
        chunks: list[Chunk] = []
        for call in self._calls:
            if call.published is None and (call.name or call.arguments):
                chunks += self._named(call)
            chunks += self._output.cut_off(call)
        return chunks

    @property
    def unfinished(self) -> list[StreamedCall]:
        """The calls that have not got their input."""
        return [call for call in self._calls if self._output.takes_input(call)]

    def end(self) -> list[Chunk]:
        """Give all calls their input."""
        chunks: list[Chunk] = []
        for call in self._calls:
            call.name = call.name or "unknown"
            state = self._states.get(call)
            if state is CUSTOM:
                chunks += with_state(self._output.call_with(call, call.arguments), state)
            else:
                chunks += with_state(self._output.call_with_json(call, call.arguments), state)
        return chunks

    def _piece(
        self, index: int | str | None, call_id: str, function: Mapping[str, Any]
    ) -> tuple[StreamedCall, list[Chunk]]:
        name = get_text(function, "name")
        given = function.get("arguments")
        arguments = arguments_text(function.get("input") if given is None else given)
        call = self._calls.find(index, call_id, name, arguments)
        whole_again = _repeats(call, arguments)
        if whole_again:
            arguments = ""
        elif self.in_message or not isinstance(given, str):
            arguments = arguments.removeprefix(call.arguments)
        if call.published is not None:
            chunks = self._output.extend(call, arguments)
        else:
            call.add(call_id, name, arguments)
            # More of the name may come until the first piece of the input.
            ready = call.call_id and call.name and call.arguments
            chunks = self._output.announce(call) if ready else []
        if call.published and call_id not in ("", call.call_id):
            # The program may answer the call under any id that it had.
            self._recording.calls.rename(call.published, call_id)
        return call, chunks

    def _named(self, call: StreamedCall) -> list[Chunk]:
        call.name = call.name or "unknown"
        return self._output.announce(call)


def number_of(holder: Mapping[str, Any]) -> int | None:
    """Return the index of a choice or a call, which some servers send as text."""
    given = holder.get("index")
    if isinstance(given, str) and given.isdecimal():
        return int(given)
    return given if isinstance(given, int) else None


def _repeats(call: StreamedCall, arguments: str) -> bool:
    """Whether a piece has the whole arguments once more, perhaps with other spaces."""
    if arguments == call.arguments:
        return call.whole
    if arguments[:1] not in ("{", "[") or not call.whole:
        return False
    try:
        return bool(json.loads(arguments) == json.loads(call.arguments))
    except (ValueError, RecursionError):
        return False


def arguments_text(given: Any) -> str:
    """Return arguments as JSON text, which some servers send as an object.

    An empty object stands for arguments that are still to come.
    """
    if isinstance(given, str):
        return given
    value = to_json(given)
    return encode_json(value) if value not in (None, {}) else ""


def with_state(chunks: list[Chunk], state: dict[str, Any] | None) -> list[Chunk]:
    """Put state that goes back to the model with a call on the chunk of its input."""
    if not state:
        return chunks
    return [
        {**chunk, "providerMetadata": state}
        if chunk["type"] in ("tool-input-available", "tool-input-error")
        else chunk
        for chunk in chunks
    ]


def _signature(piece: Mapping[str, Any], function: Mapping[str, Any]) -> str:
    """Return Gemini's signature of a call, where Gemini or LiteLLM puts it."""
    passed_on = piece.get("provider_specific_fields") or function.get("provider_specific_fields")
    return get_text(piece.get("extra_content"), "google", "thought_signature") or get_text(
        passed_on, "thought_signature"
    )


def _is_call(function: Mapping[str, Any]) -> bool:
    return not _CALL_FIELDS.isdisjoint(function)

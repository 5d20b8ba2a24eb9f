"""Chunks of `chat.completions`, from OpenAI and from the many servers that speak its API, to UI
message chunks.
"""

from __future__ import annotations

from typing import Any

from monostream_ai.openai.errors import ResponseFailed
from monostream_ai.openai.fields import get, get_index, get_list, get_text
from monostream_ai.openai.output import Call, Output
from monostream_ai.openai.recording import Recording
from monostream_ai.ui_messages import Chunk

_LEGACY_CALL = "function_call"


class ChatMapper:
    """Maps one completion; of several choices the first one, whose index is 0."""

    def __init__(self, recording: Recording) -> None:
        self.output = Output(recording)
        self._recording = recording
        self._begun = False
        self._calls: dict[object, Call] = {}

    def feed(self, chunk: Any) -> list[Chunk]:
        chunks = [] if self._begun else self._recording.builder.start_step()
        self._begun = True
        if error := get(chunk, "error"):
            failure = ResponseFailed(
                str(get(error, "code") or "") or None, get_text(error, "message")
            )
            return [*chunks, *self.output.fail(failure)]
        if usage := get(chunk, "usage"):
            chunks += self.output.use(usage)
        for choice in get_list(chunk, "choices"):
            if not get(choice, "index"):
                chunks += self._choice(choice)
        return chunks

    def _choice(self, choice: Any) -> list[Chunk]:
        delta, output = get(choice, "delta"), self.output
        chunks = output.reasoning(
            None, get_text(delta, "reasoning_content") or get_text(delta, "reasoning")
        )
        chunks += output.text("content", get_text(delta, "content"))
        chunks += output.refusal("refusal", get_text(delta, "refusal"))
        for piece in get_list(delta, "tool_calls"):
            chunks += self._call_piece(
                get_index(piece, "index"),
                get_text(piece, "id"),
                get(piece, "function") or get(piece, "custom"),
            )
        if legacy := get(delta, "function_call"):
            chunks += self._call_piece(_LEGACY_CALL, _LEGACY_CALL, legacy)
        for annotation in get_list(delta, "annotations"):
            chunks += self._recording.source(annotation)
        reason = get_text(choice, "finish_reason")
        return [*chunks, *self._finish(reason)] if reason and not output.complete else chunks

    def _call_piece(self, index: int | str | None, call_id: str, function: Any) -> list[Chunk]:
        call, arguments = (
            self._call(index, call_id),
            get_text(function, "arguments") or get_text(function, "input"),
        )
        call.call_id, call.name = call.call_id or call_id, call.name or get_text(function, "name")
        if call.published is not None:
            return self.output.extend(call, arguments)
        call.arguments += arguments
        return self.output.announce(call) if call.call_id and call.name else []

    def _call(self, index: int | str | None, call_id: str) -> Call:
        key = index if index is not None else call_id or next(reversed(self._calls), None)
        call = self._calls.get(key)
        if call is not None and call_id and call.call_id and call_id != call.call_id:
            # Some servers give every call the index 0.
            key = (index, call_id)
            call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = Call()
        return call

    def _finish(self, reason: str) -> list[Chunk]:
        chunks = self.output.end_part()
        for call in self._calls.values():
            call.name = call.name or "unknown"
            chunks += self.output.call_with_json(call, call.arguments)
        return [*chunks, *self.output.finish(reason)]

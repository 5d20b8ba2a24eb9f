"""Turns chunks of the chat completions API into UI message chunks.

It reads OpenAI's own chunks and those of the many servers that imitate its API.
"""

from __future__ import annotations

from typing import Any

from monostream_ai.openai.sources import source_of
from monostream_ai.openai.usage import usage_of
from monostream_ai.recording.fields import get, get_index, get_list, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import StreamedCalls

_LEGACY_CALL = "function_call"


class ChatMapper:
    """Maps one completion. Of several choices it shows the first one, with index 0."""

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self._recording = recording
        self._begun = False
        self._calls = StreamedCalls()

    def feed(self, chunk: Any) -> list[Chunk]:
        chunks = [] if self._begun else self._recording.builder.start_step()
        self._begun = True
        if error := get(chunk, "error"):
            code = str(get(error, "code") or "") or None
            return [*chunks, *self.output.fail(ResponseFailed(code, get_text(error, "message")))]
        if usage := get(chunk, "usage"):
            chunks += self.output.use(usage_of(usage))
        for choice in get_list(chunk, "choices"):
            if not get(choice, "index"):
                chunks += self._choice(choice)
        return chunks

    def _choice(self, choice: Any) -> list[Chunk]:
        delta, output = get(choice, "delta"), self.output
        reasoning = get_text(delta, "reasoning_content") or get_text(delta, "reasoning")
        chunks = output.speech.reasoning(None, reasoning)
        chunks += output.speech.text("content", get_text(delta, "content"))
        chunks += output.refusal("refusal", get_text(delta, "refusal"))
        for piece in get_list(delta, "tool_calls"):
            function = get(piece, "function") or get(piece, "custom")
            chunks += self._call_piece(get_index(piece, "index"), get_text(piece, "id"), function)
        if legacy := get(delta, "function_call"):
            chunks += self._call_piece(_LEGACY_CALL, _LEGACY_CALL, legacy)
        for annotation in get_list(delta, "annotations"):
            chunks += source_of(self._recording, annotation)
        reason = get_text(choice, "finish_reason")
        return [*chunks, *self._finish(reason)] if reason and not output.complete else chunks

    def _call_piece(self, index: int | str | None, call_id: str, function: Any) -> list[Chunk]:
        call = self._calls.find(index, call_id)
        call.call_id, call.name = call.call_id or call_id, call.name or get_text(function, "name")
        arguments = get_text(function, "arguments") or get_text(function, "input")
        if call.published is not None:
            return self.output.extend(call, arguments)
        call.arguments += arguments
        return self.output.announce(call) if call.call_id and call.name else []

    def _finish(self, reason: str) -> list[Chunk]:
        chunks = self.output.speech.end()
        for call in self._calls:
            call.name = call.name or "unknown"
            chunks += self.output.call_with_json(call, call.arguments)
        return [*chunks, *self.output.finish(reason)]

"""Turns events of the Responses API into UI message chunks.

The table at the end names the method for each event; output items have their own module, `items`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.openai.items import Items
from monostream_ai.openai.sources import source_of
from monostream_ai.openai.usage import usage_of
from monostream_ai.recording.fields import get, get_index, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.ui_messages import Chunk


class ResponsesMapper:
    """Maps the events of one response after another; unknown events are ignored.

    Parts and calls are found by `output_index`, since some servers give every event a new
    `item_id`.
    """

    def __init__(
        self, recording: Recording, *, encrypted_reasoning: bool = False, other_items: bool = False
    ) -> None:
        self._recording = recording
        self._options = {"encrypted_reasoning": encrypted_reasoning, "other_items": other_items}
        self._begin()

    def feed(self, event: Any) -> list[Chunk]:
        effect = _EFFECTS.get(get_text(event, "type"))
        return [] if effect is None else effect(self, event)

    def _begin(self) -> None:
        self.output = ModelOutput(self._recording)
        self._items = Items(self._recording, self.output, **self._options)

    def _created(self, event: Any) -> list[Chunk]:
        chunks = self.output.speech.end()
        self._begin()
        return [*chunks, *self._recording.builder.start_step()]

    def _item_added(self, event: Any) -> list[Chunk]:
        return self._items.added(get_index(event, "output_index"), get(event, "item"))

    def _item_done(self, event: Any) -> list[Chunk]:
        return self._items.done(get_index(event, "output_index"), get(event, "item"))

    def _arguments(self, event: Any) -> list[Chunk]:
        call = self._items.call(get_index(event, "output_index"), get_text(event, "item_id"))
        return [] if call is None else self.output.extend(call, get_text(event, "delta"))

    def _text(self, event: Any) -> list[Chunk]:
        return self.output.speech.text(
            self._items.streamed(event, "content_index"), get_text(event, "delta")
        )

    def _refusal(self, event: Any) -> list[Chunk]:
        return self.output.refusal(
            self._items.streamed(event, "content_index"), get_text(event, "delta")
        )

    def _summary(self, event: Any) -> list[Chunk]:
        return self.output.speech.reasoning(
            self._items.streamed(event, "summary_index"), get_text(event, "delta")
        )

    def _reasoning(self, event: Any) -> list[Chunk]:
        return self.output.speech.reasoning(
            self._items.streamed(event, "content_index"), get_text(event, "delta")
        )

    def _part_done(self, event: Any) -> list[Chunk]:
        return self.output.speech.end()

    def _reasoning_done(self, event: Any) -> list[Chunk]:
        # Encrypted reasoning comes with the whole item and rides on the end of its last part.
        return [] if self._options["encrypted_reasoning"] else self.output.speech.end()

    def _annotation(self, event: Any) -> list[Chunk]:
        return source_of(
            self._recording, self._recording.unread("openai"), get(event, "annotation")
        )

    def _completed(self, event: Any) -> list[Chunk]:
        response = get(event, "response")
        self.output.use(usage_of(get(response, "usage")))
        reason = get_text(response, "incomplete_details", "reason")
        reason = reason or get_text(event, "type").removeprefix("response.")
        response_id = get_text(response, "id")
        return self.output.finish(reason, **({"responseId": response_id} if response_id else {}))

    def _failed(self, event: Any) -> list[Chunk]:
        self.output.use(usage_of(get(event, "response", "usage")))
        error = get(event, "response", "error") or get(event, "error") or event
        code = get(error, "code") or get(event, "response", "status")
        return self.output.fail(
            ResponseFailed(None if code is None else str(code), get_text(error, "message"))
        )


_EFFECTS: Final[Mapping[str, Callable[[ResponsesMapper, Any], list[Chunk]]]] = {
    "response.created": ResponsesMapper._created,
    "response.output_item.added": ResponsesMapper._item_added,
    "response.output_item.done": ResponsesMapper._item_done,
    "response.function_call_arguments.delta": ResponsesMapper._arguments,
    "response.custom_tool_call_input.delta": ResponsesMapper._arguments,
    "response.output_text.delta": ResponsesMapper._text,
    "response.refusal.delta": ResponsesMapper._refusal,
    "response.content_part.done": ResponsesMapper._part_done,
    "response.reasoning_summary_text.delta": ResponsesMapper._summary,
    "response.reasoning_summary_part.done": ResponsesMapper._reasoning_done,
    "response.reasoning_text.delta": ResponsesMapper._reasoning,
    "response.reasoning_text.done": ResponsesMapper._reasoning_done,
    "response.output_text.annotation.added": ResponsesMapper._annotation,
    "response.completed": ResponsesMapper._completed,
    "response.incomplete": ResponsesMapper._completed,
    "response.failed": ResponsesMapper._failed,
    "response.cancelled": ResponsesMapper._failed,
    "error": ResponsesMapper._failed,
}

"""Maps the output items of a response: messages, reasoning, and tool calls.

Tools may be the program's own or the provider's.
"""

from __future__ import annotations

import logging
from typing import Any

from monostream_ai.openai.server_tools import (
    RESULT_ITEMS,
    failed,
    has_result_item,
    image_url,
    is_server_tool,
    is_tool,
    tool_input,
    tool_name,
    tool_output,
)
from monostream_ai.openai.sources import source_of
from monostream_ai.recording.fields import get, get_index, get_list, get_text, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import StreamedCall
from monostream_ai.ui_messages.texts import FAILED_TEXT

logger = logging.getLogger(__name__)


class Items:
    """Maps the items of one response, each when it begins and when it is whole.

    A whole item also brings the content that was not streamed before.
    """

    def __init__(
        self,
        recording: Recording,
        output: ModelOutput,
        *,
        encrypted_reasoning: bool,
        other_items: bool,
    ) -> None:
        self._recording = recording
        self._builder = recording.builder
        self._output = output
        self._encrypted_reasoning = encrypted_reasoning
        self._other_items = other_items
        # Each call under its output index and under its item id.
        self._calls: dict[object, StreamedCall] = {}
        # The provider's last call whose result comes as an item of its own.
        self._awaited: StreamedCall | None = None
        self._streamed: set[object] = set()

    def call(self, index: int | None, item_id: str) -> StreamedCall | None:
        """Return the call that a delta belongs to."""
        return self._calls.get(index) or self._calls.get(item_id)

    def streamed(self, event: Any, key: str) -> object:
        """Return the place of a delta's part, and note that this part is streamed."""
        place = (get_index(event, "output_index"), key, get_index(event, key))
        self._streamed.add(place)
        return place

    def added(self, index: int | None, item: Any) -> list[Chunk]:
        """Announce a tool call; other items begin with their first delta."""
        call, item_id = _new_call(item), get_text(item, "id")
        if call is None:
            return []
        self._calls[index if index is not None else item_id] = self._calls[item_id] = call
        return self._output.announce(call)

    def done(self, index: int | None, item: Any) -> list[Chunk]:
        kind = get_text(item, "type")
        if kind == "message":
            return [*self._rest_of_message(index, item), *self._output.speech.end()]
        if kind == "reasoning":
            return [*self._rest_of_reasoning(index, item), *self._end_reasoning(item)]
        if kind in ("function_call", "custom_tool_call") or is_tool(item):
            return self._whole_call(index, item)
        if kind in RESULT_ITEMS:
            return self._result(get_text(item, "call_id"), to_json(get(item, RESULT_ITEMS[kind])))
        return self._builder.data("openai-item", to_json(item)) if self._other_items else []

    def _rest_of_message(self, index: int | None, item: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for content_index, content in enumerate(get_list(item, "content")):
            place = (index, "content_index", content_index)
            if place not in self._streamed:
                chunks += self._output.speech.text(place, get_text(content, "text"))
                chunks += self._output.refusal(place, get_text(content, "refusal"))
            for annotation in get_list(content, "annotations"):
                chunks += source_of(self._recording, self._recording.unread("openai"), annotation)
        return chunks

    def _rest_of_reasoning(self, index: int | None, item: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for field, key in (("summary", "summary_index"), ("content", "content_index")):
            for part_index, part in enumerate(get_list(item, field)):
                place = (index, key, part_index)
                if place not in self._streamed:
                    chunks += self._output.speech.reasoning(place, get_text(part, "text"))
        return chunks

    def _end_reasoning(self, item: Any) -> list[Chunk]:
        encrypted = get_text(item, "encrypted_content") if self._encrypted_reasoning else ""
        if not encrypted:
            return self._output.speech.end()
        ids = {"itemId": get_text(item, "id"), "reasoningEncryptedContent": encrypted}
        *before, end = self._output.speech.end_reasoning()
        return [*before, {**end, "providerMetadata": {"openai": ids}}]

    def _whole_call(self, index: int | None, item: Any) -> list[Chunk]:
        kind, item_id = get_text(item, "type"), get_text(item, "id")
        call = self.call(index, item_id)
        chunks = self.added(index, item) if call is None else []
        call = call or self._calls[index if index is not None else item_id]
        if kind == "function_call":
            arguments = get_text(item, "arguments") or call.arguments
            return [*chunks, *self._output.call_with_json(call, arguments)]
        if kind == "custom_tool_call":
            text = get_text(item, "input") or call.arguments
            return [*chunks, *self._output.call_with(call, text)]
        chunks += self._output.call_with(call, tool_input(item))
        return [*chunks, *self._found(call, item)] if call.provider_executed else chunks

    def _found(self, call: StreamedCall, item: Any) -> list[Chunk]:
        known = self._builder.call(call.published or "")
        if known is None or known.state == "done":
            return []
        if failed(item):
            return self._builder.tool_error(call.published or "", FAILED_TEXT)
        if has_result_item(item):
            self._awaited = call
            return []
        image = image_url(item)
        chunks = [] if image is None else self._builder.file(image[0], media_type=image[1])
        return [*chunks, *self._builder.tool_output(call.published or "", tool_output(item))]

    def _result(self, call_id: str, output: Any) -> list[Chunk]:
        # A result that names no call belongs to the provider's call before it.
        awaited = "" if self._awaited is None else self._awaited.published or ""
        published = self._recording.calls.find(call_id) or "" if call_id else awaited
        known = self._builder.call(published)
        if known is None or known.state == "done":
            logger.debug("leaving out a result, since no call waits for it")
            return []
        return self._builder.tool_output(published, output)


def _new_call(item: Any) -> StreamedCall | None:
    """Return the tool call that an item begins, or None if it is another kind of item."""
    kind, item_id = get_text(item, "type"), get_text(item, "id")
    call_id = get_text(item, "call_id") or item_id
    if kind in ("function_call", "custom_tool_call"):
        return StreamedCall(call_id, get_text(item, "name") or "unknown")
    if not is_tool(item):
        return None
    by_provider = is_server_tool(item)
    if by_provider and not has_result_item(item):
        call_id = item_id
    return StreamedCall(call_id, tool_name(item), provider_executed=by_provider)

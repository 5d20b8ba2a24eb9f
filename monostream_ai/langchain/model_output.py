"""What one call of a model says, as parts of the message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from langchain_core.messages import AIMessage, AIMessageChunk

from monostream_ai.langchain.calls import Calls
from monostream_ai.langchain.content import blocks_of
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, to_json_value

INVALID_INPUT_TEXT: Final = "The arguments of the call are not valid."
FAILED_TEXT: Final = "The tool failed."

Source = Literal["tokens", "events"]


@dataclass(slots=True)
class _Streamed:
    """A tool call whose arguments are arriving; it is announced once its id and name are known."""

    call_id: str | None = None
    name: str | None = None
    arguments: str = ""
    published: str | None = None


class ModelOutput:
    """Maps one model run. Its parts are ended in the order in which the model goes on to the next one.

    `source` is where its output is taken from, once that is known: a model may report the same output as tokens and as events.
    """

    def __init__(self, run_id: str, builder: UIMessageBuilder, calls: Calls) -> None:
        self.source: Source | None = None
        self._run_id = run_id
        self._builder = builder
        self._calls = calls
        self._part: tuple[str, object] | None = None
        self._part_id = ""
        self._parts = 0
        self._unnamed = 0
        self._streamed: dict[object, _Streamed] = {}
        self._whole: set[str] = set()

    def text(self, index: object, delta: str) -> list[Chunk]:
        """Append to the text block of this index; another index, or another kind, begins a new part."""
        if not delta:
            return []
        return [*self._turn_to("text", index), *self._builder.text(self._part_id, delta)]

    def reasoning(self, index: object, delta: str) -> list[Chunk]:
        if not delta:
            return []
        return [*self._turn_to("reasoning", index), *self._builder.reasoning(self._part_id, delta)]

    def message_chunk(self, message: AIMessage) -> list[Chunk]:
        """Map one streamed message chunk."""
        chunks = [chunk for block in blocks_of(message) for chunk in self.block(block)]
        if isinstance(message, AIMessageChunk):
            for call in message.tool_call_chunks:
                chunks += self.call_chunk(call["index"], call["id"], call["name"], call["args"] or "")
        return chunks

    def block(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a content block. Tool calls of ours are not here: they come as chunks or at the end."""
        kind, index = block.get("type"), block.get("index")
        if kind == "text":
            return self.text(index, block.get("text") or "")
        if kind == "reasoning":
            return self.reasoning(index, block.get("reasoning") or "")
        if kind == "server_tool_call":
            return self._server_call(block)
        if kind == "server_tool_result":
            return self._server_result(block)
        return []

    def call_chunk(self, index: object, call_id: str | None, name: str | None, arguments: str) -> list[Chunk]:
        """Append to the arguments of a tool call. Without an index, an id begins a call, and no id continues the last one."""
        call = self._streamed_call(index, call_id)
        call.call_id, call.name = call.call_id or call_id, call.name or name
        if call.published is not None:
            return self._builder.tool_input(call.published, call.name or "", arguments)
        call.arguments += arguments
        if not call.call_id or not call.name:
            return []
        chunks = self.close()
        call.published = self._calls.publish(call.call_id)
        return [*chunks, *self._builder.tool_input(call.published, call.name, call.arguments)]

    def close(self) -> list[Chunk]:
        """End the open part."""
        part, self._part = self._part, None
        if part is None:
            return []
        end = self._builder.end_text if part[0] == "text" else self._builder.end_reasoning
        return end(self._part_id)

    def complete(self, message: AIMessage) -> list[Chunk]:
        """Map the whole message: what was not streamed, then the tool calls."""
        chunks: list[Chunk] = []
        if self.source is None:
            chunks = [chunk for block in blocks_of(message) for chunk in self.block(block)]
        chunks += self.close()
        for call in message.tool_calls:
            chunks += self.whole_call(call["id"], call["name"], call["args"])
        for invalid in message.invalid_tool_calls:
            chunks += self.invalid_call(invalid["id"], invalid["name"], invalid["args"])
        return [*chunks, *self.fail()]

    def whole_call(self, call_id: str | None, name: str, arguments: Any) -> list[Chunk]:
        """Give a call its arguments, once: events tell it before the message is whole."""
        if (call_id or "") in self._whole:
            return []
        if self.source == "events":
            self._whole.add(call_id or "")
        chunks = self.close()
        return [*chunks, *self._builder.tool_call(self._settle(call_id, name), name, to_json_value(arguments))]

    def invalid_call(self, call_id: str | None, name: str | None, arguments: str | None) -> list[Chunk]:
        """End a call whose arguments cannot be read."""
        published = self._settle(call_id, name or "")
        return self._builder.tool_input_error(published, name or "unknown", arguments, INVALID_INPUT_TEXT)

    def fail(self) -> list[Chunk]:
        """End what is open; tool calls that did not become whole get no result."""
        chunks = self.close()
        for call in self._streamed.values():
            if call.published is not None and self._calls.state(call.published) == "streaming":
                chunks += self._builder.tool_input_error(call.published, call.name or "", None, INVALID_INPUT_TEXT)
        self._streamed.clear()
        return chunks

    def _turn_to(self, kind: str, index: object) -> list[Chunk]:
        if self._part == (kind, index):
            return []
        chunks = self.close()
        self._part = (kind, index)
        self._part_id = f"{self._run_id}:{self._parts}"
        self._parts += 1
        return chunks

    def _streamed_call(self, index: object, call_id: str | None) -> _Streamed:
        key = index if index is not None else call_id or next(reversed(self._streamed), None)
        call = self._streamed.get(key)
        if call is not None and call_id and call.call_id and call_id != call.call_id:
            # Some servers give every call the index 0.
            key, call = (index, call_id), self._streamed.get((index, call_id))
        if call is None:
            call = self._streamed[key] = _Streamed()
        return call

    def _settle(self, call_id: str | None, name: str) -> str:
        """Return the id of a call that is whole now: of the streamed one, or a new one."""
        for key, call in self._streamed.items():
            if call.call_id == call_id or (call.name == name and not (call.call_id and call_id)):
                del self._streamed[key]
                return call.published or self._publish(call_id)
        return self._publish(call_id)

    def _publish(self, call_id: str | None) -> str:
        if not call_id:
            self._unnamed += 1
            call_id = f"{self._run_id}:call-{self._unnamed}"
        return self._calls.publish(call_id)

    def _server_call(self, block: Mapping[str, Any]) -> list[Chunk]:
        published = self._publish(block.get("id"))
        name, arguments = str(block.get("name") or "unknown"), to_json_value(block.get("args"))
        return [*self.close(), *self._builder.tool_call(published, name, arguments, provider_executed=True)]

    def _server_result(self, block: Mapping[str, Any]) -> list[Chunk]:
        published = self._calls.find_unanswered(str(block.get("tool_call_id")))
        if published is None:
            return []
        if block.get("status") == "error":
            return self._builder.tool_error(published, FAILED_TEXT)
        return self._builder.tool_output(published, to_json_value(block.get("output")))

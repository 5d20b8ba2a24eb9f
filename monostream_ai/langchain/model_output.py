"""What one call of a model says, as parts of the message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk

from monostream_ai.langchain.attachments import FILE_KINDS, Attachments
from monostream_ai.langchain.call_inputs import CallInputs
from monostream_ai.langchain.content import blocks_of
from monostream_ai.langchain.message import AgentMessage
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.call_ids import CallIds

Source = Literal["tokens", "events"]


class ModelOutput:
    """Maps one model run. Its parts are ended in the order in which the model goes on to the next
    one.

    `source` is where its output is taken from, once that is known: a model may report the same
        output as tokens and as events.
    """

    def __init__(
        self, run_id: str, message: AgentMessage, calls: CallIds, attachments: Attachments
    ) -> None:
        self.source: Source | None = None
        self._run_id = run_id
        self._message = message
        self._attachments = attachments
        self._inputs = CallInputs(run_id, message, calls, self.close)
        self._part: tuple[str, object] | None = None
        self._part_id = ""
        self._parts = 0
        self._whole: set[str] = set()
        self._files: set[tuple[object, object]] = set()

    def text(self, index: object, delta: str) -> list[Chunk]:
        """Append to the text block of this index; another index, or another kind, begins a new
        part.
        """
        if not delta:
            return []
        return [*self._turn_to("text", index), *self._message.text(self._part_id, delta)]

    def reasoning(self, index: object, delta: str) -> list[Chunk]:
        if not delta:
            return []
        return [*self._turn_to("reasoning", index), *self._message.reasoning(self._part_id, delta)]

    def token(self, message: AIMessage) -> list[Chunk]:
        """Map one streamed message chunk."""
        # Sound and film come in pieces, which are of no use before the message is whole.
        blocks = [
            block for block in blocks_of(message) if block.get("type") not in ("audio", "video")
        ]
        chunks = [chunk for block in blocks for chunk in self.block(block)]
        if isinstance(message, AIMessageChunk):
            for call in message.tool_call_chunks:
                chunks += self._inputs.chunk(
                    call["index"], call["id"], call["name"], call["args"] or ""
                )
        return chunks

    def event(self, event: Mapping[str, Any]) -> list[Chunk]:
        """Map an event of the `v3` streaming protocol. Source: langchain-protocol 0.0.20,
        `MessagesData`.
        """
        kind, index, content = event.get("event"), event.get("index"), event.get("content") or {}
        if kind == "content-block-delta":
            return self._delta(index, event["delta"])
        if kind == "content-block-start" and content.get("type") == "tool_call_chunk":
            return self._inputs.chunk(index, content.get("id"), content.get("name"), "")
        if kind != "content-block-finish":
            return []
        if content.get("type") == "tool_call":
            self._whole.add(content.get("id") or "")
            return self._inputs.whole(content.get("id"), content["name"], content["args"])
        return self._finished(content)

    def block(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a content block. Tool calls of ours are not here: they come as chunks or at the end."""
        kind, index = block.get("type"), block.get("index")
        if kind == "text":
            return [*self.text(index, block.get("text") or ""), *self._attachments.sources(block)]
        if kind == "reasoning":
            return self.reasoning(index, block.get("reasoning") or "")
        if kind == "server_tool_call_chunk":
            return self._inputs.chunk(
                index, block.get("id"), block.get("name"), block.get("args") or "", provider=True
            )
        return self._finished(block)

    def close(self) -> list[Chunk]:
        """End the open part."""
        part, self._part = self._part, None
        if part is None:
            return []
        end = self._message.end_text if part[0] == "text" else self._message.end_reasoning
        return end(self._part_id)

    def complete(self, message: AIMessage) -> list[Chunk]:
        """Map the whole message: what was not streamed, then the tool calls."""
        show = self.block if self.source is None else self._rest
        chunks = [chunk for block in blocks_of(message) for chunk in show(block)]
        chunks += self.close()
        for call in message.tool_calls:
            if (call["id"] or "") not in self._whole:
                chunks += self._inputs.whole(call["id"], call["name"], call["args"])
        for invalid in message.invalid_tool_calls:
            chunks += self._inputs.invalid(invalid["id"], invalid["name"], invalid["args"])
        return [*chunks, *self.fail()]

    def fail(self) -> list[Chunk]:
        """End what is open; tool calls that did not become whole get no result."""
        return [*self.close(), *self._inputs.fail()]

    def _finished(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map what a whole block adds to its pieces, and blocks that come in one piece. Seeing one
        again changes nothing.
        """
        kind = block.get("type")
        if kind == "text":
            return self._attachments.sources(block)
        if kind == "server_tool_call":
            return self._inputs.served(block)
        if kind == "server_tool_result":
            return self._inputs.served_result(block)
        if kind in FILE_KINDS and (file := self._attachments.file(block)):
            self._files.add((kind, block.get("index")))
            return [*self.close(), *file]
        return []

    def _rest(self, block: Mapping[str, Any]) -> list[Chunk]:
        # LangChain joins the files of one index to what is no file.
        index = block.get("index")
        return (
            []
            if index is not None and (block.get("type"), index) in self._files
            else self._finished(block)
        )

    def _delta(self, index: object, delta: Mapping[str, Any]) -> list[Chunk]:
        if delta["type"] == "text-delta":
            return self.text(index, delta["text"])
        if delta["type"] == "reasoning-delta":
            return self.reasoning(index, delta["reasoning"])
        if delta["type"] == "tool-call-delta":
            return self._inputs.chunk(index, None, None, delta["args"])
        fields = delta.get("fields") or {}
        if delta["type"] == "block-delta" and fields.get("type") == "tool_call_chunk":
            return self._inputs.so_far(
                index, fields.get("id"), fields.get("name"), fields.get("args") or ""
            )
        return []

    def _turn_to(self, kind: str, index: object) -> list[Chunk]:
        if self._part == (kind, index):
            return []
        chunks = self.close()
        self._part = (kind, index)
        self._part_id = f"{self._run_id}:{self._parts}"
        self._parts += 1
        return chunks

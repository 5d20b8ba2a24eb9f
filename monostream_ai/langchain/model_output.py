"""Turns the output of one model run into parts of the message.

The output may arrive as tokens, as `v3` stream events, or only as a whole message at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.content_blocks import blocks_of
from monostream_ai.langchain.sources_and_files import FILE_KINDS, SourcesAndFiles
from monostream_ai.langchain.tool_calls import ToolCalls
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.model_output import Speech

Source = Literal["tokens", "events"]


class ModelOutput:
    """Maps one model run.

    `source` says where the output is taken from, once that is known: a model may report the same
    output both as tokens and as events.
    """

    def __init__(
        self, run_id: str, message: AgentMessage, calls: CallIds, sources_and_files: SourcesAndFiles
    ) -> None:
        numbers = itertools.count()
        self.source: Source | None = None
        self.speech = Speech(message, lambda kind: f"{run_id}:{next(numbers)}")
        self._sources_and_files = sources_and_files
        self._tool_calls = ToolCalls(run_id, message, calls, self.speech)
        # Ids of the calls that an event has given their whole input.
        self._whole: set[str] = set()
        # Kind and index of the files shown, which the final message repeats.
        self._files: set[tuple[object, object]] = set()

    def token(self, message: AIMessage) -> list[Chunk]:
        """Map one streamed message chunk."""
        # Pieces of audio and video cannot be played; the whole message brings them joined.
        blocks = [
            block for block in blocks_of(message) if block.get("type") not in ("audio", "video")
        ]
        chunks = [chunk for block in blocks for chunk in self._block(block)]
        if isinstance(message, AIMessageChunk):
            for call in message.tool_call_chunks:
                chunks += self._tool_calls.chunk(
                    call["index"], call["id"], call["name"], call["args"] or ""
                )
        return chunks

    def event(self, event: Mapping[str, Any]) -> list[Chunk]:
        """Map an event of the `v3` streaming protocol.

        Source: langchain-protocol 0.0.20, `MessagesData`.
        """
        kind, index, content = event.get("event"), event.get("index"), event.get("content") or {}
        if kind == "content-block-delta":
            return self._delta(index, event["delta"])
        if kind == "content-block-start" and content.get("type") == "tool_call_chunk":
            return self._tool_calls.chunk(index, content.get("id"), content.get("name"), "")
        if kind != "content-block-finish":
            return []
        if content.get("type") == "tool_call":
            self._whole.add(content.get("id") or "")
            return self._tool_calls.whole(content.get("id"), content["name"], content["args"])
        return self._finished(content)

    def complete(self, message: AIMessage) -> list[Chunk]:
        """Map the whole message: content that was not streamed, then the tool calls."""
        show = self._block if self.source is None else self._rest
        chunks = [chunk for block in blocks_of(message) for chunk in show(block)]
        chunks += self.speech.end()
        for call in message.tool_calls:
            if (call["id"] or "") not in self._whole:
                chunks += self._tool_calls.whole(call["id"], call["name"], call["args"])
        for invalid in message.invalid_tool_calls:
            chunks += self._tool_calls.invalid(invalid["id"], invalid["name"], invalid["args"])
        return [*chunks, *self.fail()]

    def fail(self) -> list[Chunk]:
        """End everything that is open; unfinished tool calls get no result."""
        return [*self.speech.end(), *self._tool_calls.fail()]

    def _block(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a content block. Calls of the program's tools come elsewhere, as chunks or whole."""
        kind, index = block.get("type"), block.get("index")
        if kind == "text":
            text = self.speech.text(index, block.get("text") or "")
            return [*text, *self._sources_and_files.sources(block)]
        if kind == "reasoning":
            return self.speech.reasoning(index, block.get("reasoning") or "")
        if kind == "server_tool_call_chunk":
            return self._tool_calls.chunk(
                index, block.get("id"), block.get("name"), block.get("args") or "", provider=True
            )
        return self._finished(block)

    def _finished(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the remainder of a streamed block, or a block that comes in one piece.

        Mapping the same block again sends nothing.
        """
        kind = block.get("type")
        if kind == "text":
            return self._sources_and_files.sources(block)
        if kind == "server_tool_call":
            return self._tool_calls.provider_call(block)
        if kind == "server_tool_result":
            return self._tool_calls.provider_result(block)
        if kind in FILE_KINDS and (file := self._sources_and_files.file(block)):
            self._files.add((kind, block.get("index")))
            return [*self.speech.end(), *file]
        return []

    def _rest(self, block: Mapping[str, Any]) -> list[Chunk]:
        index = block.get("index")
        if index is not None and (block.get("type"), index) in self._files:
            # LangChain concatenates the files of one index, and the result is no file.
            return []
        return self._finished(block)

    def _delta(self, index: object, delta: Mapping[str, Any]) -> list[Chunk]:
        if delta["type"] == "text-delta":
            return self.speech.text(index, delta["text"])
        if delta["type"] == "reasoning-delta":
            return self.speech.reasoning(index, delta["reasoning"])
        if delta["type"] == "tool-call-delta":
            return self._tool_calls.chunk(index, None, None, delta["args"])
        fields = delta.get("fields") or {}
        if delta["type"] == "block-delta" and fields.get("type") == "tool_call_chunk":
            return self._tool_calls.so_far(
                index, fields.get("id"), fields.get("name"), fields.get("args") or ""
            )
        return []

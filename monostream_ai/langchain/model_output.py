"""Turns the output of one model run into parts of the message.

The output may arrive as tokens, as `v3` stream events, or only as a whole message at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.content_blocks import blocks_of, listed_calls
from monostream_ai.langchain.endings import refusal_text
from monostream_ai.langchain.provider_blocks import (
    APPROVAL_REQUEST,
    PROGRAM_CALL,
    UNREAD,
    read_block,
    told_strings,
    unread_block,
)
from monostream_ai.langchain.reasoning_state import (
    call_state,
    signed,
    state_of,
    text_signature,
    text_state,
)
from monostream_ai.langchain.sources_and_files import FILE_KINDS, SourcesAndFiles
from monostream_ai.langchain.tool_calls import ToolCalls
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.model_output import OpenText, Speech
from monostream_ai.ui_messages.open_parts import PartKind
from monostream_ai.ui_messages.unread import Unread

Source = Literal["tokens", "events"]


class ModelOutput:
    """Maps one model run.

    `source` says where the output is taken from, once that is known: a model may report the same
    output both as tokens and as events.

    Args:
        structured: The calls are the answer, so each gets its own input as its result.
        open_text: The open text part that the output goes on with.
    """

    def __init__(
        self,
        run_id: str,
        message: AgentMessage,
        calls: CallIds,
        sources_and_files: SourcesAndFiles,
        unread: Unread,
        *,
        structured: bool = False,
        open_text: OpenText | None = None,
    ) -> None:
        numbers = itertools.count()
        self.source: Source | None = None
        self.structured = structured
        self.speech = Speech(message, lambda kind: f"{run_id}:{next(numbers)}", open_text)
        self._heard = Heard()
        self._sources_and_files = sources_and_files
        self._unread = unread
        self._tool_calls = ToolCalls(
            run_id, message, calls, self.speech, unread, answers=structured
        )
        # Ids of the calls that an event has given their whole input.
        self._whole: set[str] = set()
        self._provider: object = None
        # State of the reasoning that was said last, until its part ends.
        self._state: dict[str, dict[str, str]] = {}
        self._state_index: object = None
        # States that the message has, which the final message repeats.
        self._states: list[dict[str, dict[str, str]]] = []
        # Signatures of texts, which come with the last block of each.
        self._signatures = ""
        # State of texts, by index; it comes with their first block.
        self._text_states: dict[object, dict[str, dict[str, str]]] = {}
        # Kind and index of the files shown, which the final message repeats.
        self._files: set[tuple[object, object]] = set()
        # Blocks that nobody reads. The final message has them joined from their pieces.
        self._waiting: list[Mapping[str, Any]] = []

    def token(self, message: AIMessage) -> list[Chunk]:
        """Map one streamed message chunk."""
        # Pieces of audio and video cannot be played; the whole message brings them joined.
        blocks = [
            block for block in blocks_of(message) if block.get("type") not in ("audio", "video")
        ]
        self._provider = message.response_metadata.get("model_provider", self._provider)
        chunks = [chunk for block in blocks for chunk in self._block(block)]
        if isinstance(message, AIMessageChunk):
            for call in message.tool_call_chunks:
                chunks += self._end_reasoning()
                chunks += self._tool_calls.chunk(
                    call["index"], call["id"], call["name"], call["args"]
                )
        return chunks

    def shown(self, text: str) -> None:
        """Note that this text of the message is shown already."""
        self.source = "tokens"
        self._heard.add("text", None, text)

    def text(self, index: object, text: str) -> list[Chunk]:
        return self._say("text", index, text)

    def event(self, event: Mapping[str, Any]) -> list[Chunk]:
        """Map an event of the `v3` streaming protocol.

        Source: langchain-protocol 0.0.20, `MessagesData`.
        """
        kind, index, content = event.get("event"), event.get("index"), event.get("content") or {}
        if kind == "content-block-delta":
            return self._delta(index, event.get("delta") or {})
        if kind == "content-block-start" and content.get("type") == "tool_call_chunk":
            return self._tool_calls.chunk(index, content.get("id"), content.get("name"), "")
        if kind != "content-block-finish":
            return []
        if content.get("type") == "tool_call" and content.get("id"):
            self._whole.add(content["id"])
            return self._tool_calls.whole(
                content.get("id"), content.get("name") or "", content.get("args")
            )
        return [
            chunk
            for block in read_block({"index": index, **content}, AIMessage(""))
            for chunk in self._rest(block)
        ]

    def complete(self, message: AIMessage) -> list[Chunk]:
        """Map the whole message: content that was not streamed, then the tool calls."""
        blocks = blocks_of(message, whole=True)
        self._provider = message.response_metadata.get("model_provider", self._provider)
        self._tool_calls.repeat()
        show = self._block if self.source is None else self._rest
        waiting, self._waiting = self._waiting, []
        chunks = [chunk for block in blocks for chunk in show(block)]
        joined = "".join(told_strings(self._waiting))
        self._waiting += [
            piece for piece in waiting if any(text not in joined for text in told_strings([piece]))
        ]
        chunks += self._sources_and_files.beside(message)
        if not self._heard and (refusal := refusal_text(message)) is not None:
            chunks += self.text(None, refusal)
        chunks += [*self._end_reasoning(), *self.speech.end()]
        for call in listed_calls(message, blocks):
            if (call["id"] or "") not in self._whole:
                state = call_state(message, call["id"])
                chunks += self._tool_calls.whole(
                    call["id"], call["name"], call["args"], state=state
                )
        for invalid in message.invalid_tool_calls:
            chunks += self._tool_calls.invalid(invalid["id"], invalid["name"], invalid["args"])
        return [*chunks, *self._tool_calls.end_provider_inputs(), *self.fail()]

    def fail(self) -> list[Chunk]:
        """End everything that is open; unfinished tool calls get no result."""
        chunks = [*self._end_reasoning(), *self.speech.end()]
        for block in self._waiting:
            chunks += self._unread.keep(block["kind"], block["value"])
        self._waiting = []
        return [*chunks, *self._tool_calls.fail()]

    def _say(self, kind: PartKind, index: object, text: str) -> list[Chunk]:
        if not text:
            return []
        self._heard.add(kind, index, text)
        goes_on = kind == "reasoning" and index is not None and index == self._state_index
        chunks = [] if goes_on else self._end_reasoning()
        if kind == "reasoning":
            return chunks + self.speech.reasoning(index, text)
        state = self._text_states.get(index)
        return chunks + [
            {**chunk, "providerMetadata": state}
            if state and chunk["type"] == "text-start"
            else chunk
            for chunk in self.speech.text(index, text)
        ]

    def _note_text_state(self, block: Mapping[str, Any]) -> None:
        state, index = text_state(block), block.get("index")
        if state or index is None:
            self._text_states[index] = state

    def _note_state(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Keep the state in a reasoning block for the end of its part; it may come in pieces."""
        state, index = state_of(block, self._provider), block.get("index")
        if not state or state in self._states:
            return []
        goes_on = bool(self._state) and index is not None and index == self._state_index
        chunks = [] if goes_on else self._end_reasoning()
        if goes_on:
            self._states.remove(self._state)
            state = _joined(self._state, state)
        self._state, self._state_index = state, index
        self._states.append(state)
        return chunks

    def _end_reasoning(self) -> list[Chunk]:
        """End the reasoning that has state, and give the state to its part."""
        state, self._state = self._state, {}
        if not state:
            return []
        *before, end = self.speech.end_reasoning()
        return [*before, {**end, "providerMetadata": state}]

    def _sign(self, block: Mapping[str, Any]) -> list[Chunk]:
        """End the text that Gemini has signed, or an empty thought if the signature comes alone."""
        signature = text_signature(block)
        # The final message has the signatures of one index joined.
        if not signature or signature in self._signatures:
            return []
        self._signatures += signature
        chunks = self._end_reasoning()
        ended = self.speech.end() if self.speech.in_text else []
        *before, end = [*chunks, *(ended or self.speech.end_reasoning())]
        return [*before, {**end, "providerMetadata": signed(signature)}]

    def _block(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a content block. Calls of the program's tools come elsewhere, as chunks or whole."""
        kind, index = block.get("type"), block.get("index")
        if kind == "text":
            self._note_text_state(block)
            text = self._say("text", index, block.get("text") or "")
            return [*text, *self._sign(block), *self._sources_and_files.sources(block)]
        if kind == "reasoning":
            said = self._say("reasoning", index, block.get("reasoning") or "")
            return [*said, *self._note_state(block)]
        if kind == "server_tool_call_chunk":
            ended = self._end_reasoning()
            return ended + self._tool_calls.chunk(
                index, block.get("id"), block.get("name"), block.get("args"), provider=True
            )
        return self._whole_block(block)

    def _rest(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the remainder of a streamed block, or a block that comes in one piece.

        Mapping the same block again sends nothing.
        """
        kind, index = block.get("type"), block.get("index")
        if kind == "text":
            self._note_text_state(block)
            rest = self._heard.rest("text", index, block.get("text") or "")
            text = self._say("text", index, rest)
            return [*text, *self._sign(block), *self._sources_and_files.sources(block)]
        if kind == "reasoning":
            rest = self._heard.rest("reasoning", index, block.get("reasoning") or "")
            return [*self._say("reasoning", index, rest), *self._note_state(block)]
        if index is not None and (kind, index) in self._files:
            # LangChain concatenates the files of one index, and the result is no file.
            return []
        return self._whole_block(block)

    def _whole_block(self, block: Mapping[str, Any]) -> list[Chunk]:
        kind = block.get("type")
        mapped = {
            "server_tool_call": self._tool_calls.provider_call,
            "server_tool_result": self._tool_calls.provider_result,
            PROGRAM_CALL: self._tool_calls.program_call,
            APPROVAL_REQUEST: self._tool_calls.approval_request,
        }.get(str(kind))
        if mapped is not None:
            return [*self._end_reasoning(), *mapped(block)]
        if kind == UNREAD:
            self._waiting.append(block)
        if kind not in FILE_KINDS:
            return []
        if not self._sources_and_files.is_readable(block):
            self._waiting.append(unread_block(block))
        elif file := self._sources_and_files.file(block):
            self._files.add((kind, block.get("index")))
            return [*self._end_reasoning(), *self.speech.end(), *file]
        return []

    def _delta(self, index: object, delta: Mapping[str, Any]) -> list[Chunk]:
        kind, fields = delta.get("type"), delta.get("fields") or {}
        if kind == "text-delta":
            return self._say("text", index, delta.get("text") or "")
        if kind == "reasoning-delta":
            return self._say("reasoning", index, delta.get("reasoning") or "")
        if kind == "tool-call-delta":
            return self._tool_calls.chunk(index, None, None, delta.get("args"))
        if kind == "block-delta" and fields.get("type") == "tool_call_chunk":
            return self._tool_calls.so_far(
                index, fields.get("id"), fields.get("name"), fields.get("args") or ""
            )
        return []


def _joined(
    state: Mapping[str, Mapping[str, str]], more: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Join two pieces of a state, whose ids are repeated and whose other values are continued."""
    joined = {provider: dict(values) for provider, values in state.items()}
    for provider, values in more.items():
        known = joined.setdefault(provider, {})
        for key, value in values.items():
            known[key] = value if key == "itemId" else known.get(key, "") + value
    return joined


class Heard:
    """The text and reasoning that a model has streamed, to find what its whole message adds."""

    def __init__(self) -> None:
        self._all: dict[PartKind, list[str]] = {"text": [], "reasoning": []}
        self._placed: dict[tuple[PartKind, object], list[str]] = {}

    def __bool__(self) -> bool:
        return any(self._all.values())

    def add(self, kind: PartKind, index: object, text: str) -> None:
        if text:
            self._all[kind].append(text)
            self._placed.setdefault((kind, index), []).append(text)

    def rest(self, kind: PartKind, index: object, text: str) -> str:
        """Return the end of a whole block that was not streamed, or all of it."""
        placed = "".join(self._placed.get((kind, index), ()))
        if placed and text.startswith(placed):
            return text[len(placed) :]
        return "" if text in "".join(self._all[kind]) else text

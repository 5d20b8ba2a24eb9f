"""Maps the content blocks of a message: text, thinking, calls, and results of server tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from monostream_ai.anthropic.citations import source_of
from monostream_ai.anthropic.server_tools import (
    CALLS,
    RESULT,
    call_metadata,
    is_by_provider,
    name_of_result,
    result_of,
    shown_input,
    tool_name,
)
from monostream_ai.json_text import encode_json
from monostream_ai.recording.fields import get, get_list, get_text, to_json
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import StreamedCall
from monostream_ai.ui_messages.unread import Unread


@dataclass(slots=True, eq=False)
class _Block:
    """A block that is open. `state` goes back to Anthropic with the part."""

    given: Any
    state: dict[str, Any] = field(default_factory=dict)
    call: StreamedCall | None = None
    begun_whole: bool = False
    """Whether the input of the call came with its beginning."""
    unread: list[Any] = field(default_factory=list)
    unknown: bool = False

    @property
    def kind(self) -> str:
        return get_text(self.given, "type")

    @property
    def is_whole(self) -> bool:
        """Whether another block ends this one, for servers that do not say when it stops."""
        return self.call is None or self.call.whole

    def text(self, source: Any, key: str) -> str:
        """Return the text under a key; a value of any other shape is kept as it is."""
        value = get(source, key)
        if isinstance(value, str):
            return value
        if value:
            self.unread.append(to_json(source))
        return ""


class Blocks:
    """Maps the blocks of one message.

    They come one after another, but some servers send the inputs of several calls at once.
    """

    def __init__(self, recording: Recording, output: ModelOutput, unread: Unread) -> None:
        self._recording = recording
        self._output = output
        self._unread = unread
        self._open: dict[int | None, _Block] = {}

    def start(self, index: int | None, given: Any) -> list[Chunk]:
        """Begin a block, with the content that it has already."""
        kind = get_text(given, "type")
        if kind.endswith(RESULT):
            return [*self.end(), *self._result(given)]
        ended = [each for each, block in self._open.items() if each == index or block.is_whole]
        chunks = [chunk for each in ended for chunk in self.stop(each)]
        block = self._open[index] = _Block(given)
        if kind in CALLS:
            return [*chunks, *self._call(block)]
        if kind == "text":
            chunks += self._output.speech.text(index, block.text(given, "text"))
            for citation in get_list(given, "citations"):
                chunks += self._cite(block, citation)
        elif kind == "thinking":
            chunks += self._output.speech.reasoning(index, block.text(given, "thinking"))
            self._sign(block, get_text(given, "signature"))
        elif kind == "redacted_thinking":
            block.state["redactedData"] = block.text(given, "data")
        elif kind == "compaction":
            block.state["type"] = kind
            chunks += self._output.speech.text(index, block.text(given, "content"))
        elif kind != "fallback":
            # A block of an unknown kind is kept whole when it ends. A fallback to another model has
            # no content.
            block.unknown = True
            block.unread.append(to_json(given))
        return chunks

    def delta(self, index: int | None, delta: Any) -> list[Chunk]:
        block = self._open.setdefault(index, _Block(None))
        effect = _DELTAS.get(get_text(delta, "type"))
        if block.unknown or effect is None or (effect is Blocks._json and block.call is None):
            block.unread.append(to_json(delta))
            return []
        return effect(self, index, block, delta)

    def stop(self, index: int | None) -> list[Chunk]:
        block = self._open.pop(index, None)
        if block is None:
            return []
        if block.call is not None:
            chunks = self._whole_call(block, block.call)
        elif block.state and block.kind in ("thinking", "redacted_thinking", ""):
            chunks = _with_state(self._output.speech.end_reasoning(), block.state)
        else:
            chunks = self._output.speech.end()
            if chunks or not block.state:
                chunks = _with_state(chunks, block.state)
            elif block.state.get("citations"):
                # Citations of a text that was never said.
                block.unread.append(block.state)
        if block.unread:
            kept = block.unread[0] if len(block.unread) == 1 else block.unread
            chunks += self._unread.keep(block.kind or "delta", kept)
        return chunks

    def end(self) -> list[Chunk]:
        """End all open blocks."""
        return [chunk for index in list(self._open) for chunk in self.stop(index)]

    def cut_off(self) -> list[Chunk]:
        """End all open blocks of a message that was cut or has failed; no call of it is made."""
        chunks: list[Chunk] = []
        for index, block in list(self._open.items()):
            if block.call is None:
                chunks += self.stop(index)
            else:
                del self._open[index]
                chunks += self._output.cut_off(block.call)
        return chunks

    def _text(self, index: int | None, block: _Block, delta: Any) -> list[Chunk]:
        return self._output.speech.text(index, block.text(delta, "text"))

    def _compaction(self, index: int | None, block: _Block, delta: Any) -> list[Chunk]:
        return self._output.speech.text(index, block.text(delta, "content"))

    def _thinking(self, index: int | None, block: _Block, delta: Any) -> list[Chunk]:
        return self._output.speech.reasoning(index, block.text(delta, "thinking"))

    def _signature(self, index: int | None, block: _Block, delta: Any) -> list[Chunk]:
        self._sign(block, get_text(delta, "signature"))
        return []

    def _json(self, index: int | None, block: _Block, delta: Any) -> list[Chunk]:
        text = block.text(delta, "partial_json")
        if block.call is None or not text:
            return []
        if block.begun_whole:
            # It is repeated in pieces.
            block.call.arguments, block.begun_whole = "", False
        return self._output.extend(block.call, text)

    def _citation(self, index: int | None, block: _Block, delta: Any) -> list[Chunk]:
        return self._cite(block, get(delta, "citation"))

    def _sign(self, block: _Block, signature: str) -> None:
        if signature:
            block.state["signature"] = block.state.get("signature", "") + signature

    def _cite(self, block: _Block, citation: Any) -> list[Chunk]:
        block.state.setdefault("citations", []).append(to_json(citation))
        return source_of(self._recording, citation)

    def _call(self, block: _Block) -> list[Chunk]:
        given = to_json(get(block.given, "input"))
        call = block.call = StreamedCall(
            get_text(block.given, "id"),
            tool_name(block.given),
            given if isinstance(given, str) else encode_json(given) if given else "",
            provider_executed=is_by_provider(block.given),
        )
        block.begun_whole = bool(given)
        return self._output.announce(call)

    def _whole_call(self, block: _Block, call: StreamedCall) -> list[Chunk]:
        try:
            given = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            return self._output.call_with_json(call, call.arguments)
        if isinstance(given, dict):
            given = shown_input(block.given, given)
        return _with_state(self._output.call_with(call, given), call_metadata(block.given))

    def _result(self, given: Any) -> list[Chunk]:
        call_id, chunks = get_text(given, "tool_use_id"), list[Chunk]()
        published = self._recording.calls.find(call_id)
        if published is None:
            call = StreamedCall(call_id, name_of_result(given), provider_executed=True)
            chunks += self._output.call_with(call, {})
            published = call.published or ""
        known = self._recording.builder.call(published)
        if known is None or known.state == "done":
            return [*chunks, *self._unread.keep(get_text(given, "type"), to_json(given))]
        output, failed = result_of(given)
        if failed:
            text = output if isinstance(output, str) else encode_json(output)
            return [*chunks, *self._recording.builder.tool_error(published, text)]
        chunks += self._recording.builder.tool_output(published, output)
        for page in get_list(given, "content"):
            chunks += self._recording.source_url(get_text(page, "url"), get_text(page, "title"))
        return chunks


_DELTAS: Final[Mapping[str, Callable[[Blocks, int | None, _Block, Any], list[Chunk]]]] = {
    "text_delta": Blocks._text,
    "thinking_delta": Blocks._thinking,
    "signature_delta": Blocks._signature,
    "input_json_delta": Blocks._json,
    "citations_delta": Blocks._citation,
    "compaction_delta": Blocks._compaction,
}


def _with_state(chunks: list[Chunk], state: Mapping[str, Any]) -> list[Chunk]:
    """Put the state on the last chunk, if there is one."""
    if not state or not chunks:
        return chunks
    *before, last = chunks
    return [*before, {**last, "providerMetadata": {"anthropic": dict(state)}}]

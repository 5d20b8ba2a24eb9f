"""A scripted client of the `anthropic` SDK, for tests of applications."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from monostream_ai._extras import needs

with needs("anthropic", "anthropic", by=__name__):
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

from monostream_ai.testing.script import ScriptedAnswer, Thought, ToolCall
from monostream_ai.testing.scripted_api import ApiAnswer, Json, Pieces, ScriptedApi


class ScriptedAnthropic(AsyncAnthropic):
    """An `AsyncAnthropic` that gives the answers of a script, one for each request.

        gate = Gate()
        client = ScriptedAnthropic([ToolCall("clock")], ["It is ", gate, "noon"])

    It answers `messages`, streamed or whole, and `beta.messages`, without a key or a network. The
    results of its tool calls come from your program. An exception of the script is raised where the
    stream is read; without a stream, it is the cause of an `APIConnectionError`.

    Args:
        options: Of `AsyncAnthropic`, such as `timeout`. `with_options` works, and the requests of
            the client that it returns are in `asked` of the first one.
    """

    def __init__(self, *answers: ScriptedAnswer, **options: Any) -> None:
        api = ScriptedApi(answers, _answer_to, DefaultAsyncHttpxClient)
        self.asked: list[Json] = api.asked
        """The bodies of the requests, such as `{"model": …, "messages": […]}`."""
        super().__init__(**api.client_options("http://scripted.invalid", options))


def _answer_to(path: str, body: Json, number: str) -> ApiAnswer | None:
    return _Message(str(body.get("model")), number) if path.endswith("/messages") else None


class _Message:
    """A message, whose events have the order and the fields of the Messages API."""

    def __init__(self, model: str, number: str) -> None:
        self._content: list[Json] = []
        self._open = False
        self._head: Json = {"id": f"msg_{number}", "type": "message", "role": "assistant"}
        self._head |= {"model": model, "stop_reason": None, "stop_sequence": None}
        self._head["usage"] = {"input_tokens": 1, "output_tokens": 1}

    async def events(self, pieces: Pieces) -> AsyncIterator[Json]:
        yield {"type": "message_start", "message": {**self._head, "content": []}}
        async for piece in pieces:
            for event in self._piece(piece):
                yield event
        for event in self._stop():
            yield event
        told = {"stop_reason": self._stop_reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": told, "usage": {"output_tokens": 1}}
        yield {"type": "message_stop"}

    def whole(self, events: list[Json]) -> Json:
        return {**self._head, "content": self._content, "stop_reason": self._stop_reason}

    @property
    def _stop_reason(self) -> str:
        called = any(block["type"] == "tool_use" for block in self._content)
        return "tool_use" if called else "end_turn"

    def _piece(self, piece: str | Thought | ToolCall) -> Iterator[Json]:
        if isinstance(piece, ToolCall):
            yield from self._call(piece)
        elif isinstance(piece, Thought):
            yield from self._text("thinking", piece.text, signature="")
        else:
            yield from self._text("text", piece)

    def _text(self, kind: str, text: str, **fields: Any) -> Iterator[Json]:
        if not self._open or self._content[-1]["type"] != kind:
            yield from self._start({"type": kind, kind: "", **fields})
        self._content[-1][kind] += text
        yield self._delta(f"{kind}_delta", **{kind: text})

    def _call(self, call: ToolCall) -> Iterator[Json]:
        arguments = dict(call.arguments)
        block = {"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}}
        yield from self._start(block)
        self._content[-1] = {**block, "input": arguments}
        yield self._delta("input_json_delta", partial_json=json.dumps(arguments))
        yield from self._stop()

    def _start(self, block: Json) -> Iterator[Json]:
        yield from self._stop()
        self._content.append({**block})
        self._open = True
        yield self._at("content_block_start", content_block=block)

    def _stop(self) -> Iterator[Json]:
        if not self._open:
            return
        if self._content[-1]["type"] == "thinking":
            self._content[-1]["signature"] = "scripted"
            yield self._delta("signature_delta", signature="scripted")
        self._open = False
        yield self._at("content_block_stop")

    def _delta(self, kind: str, **fields: Any) -> Json:
        return self._at("content_block_delta", delta={"type": kind, **fields})

    def _at(self, kind: str, **fields: Any) -> Json:
        return {"type": kind, "index": len(self._content) - 1, **fields}

"""A scripted client of the `openai` SDK, for tests of applications."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any, Final, NamedTuple

from monostream_ai._extras import needs

with needs("openai", "openai", by=__name__):
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from monostream_ai.testing.script import ScriptedAnswer, Thought, ToolCall
from monostream_ai.testing.scripted_api import ApiAnswer, Json, Pieces, ScriptedApi


class ScriptedOpenAI(AsyncOpenAI):
    """An `AsyncOpenAI` that gives the answers of a script, one for each request.

        gate = Gate()
        client = ScriptedOpenAI([ToolCall("clock")], ["It is ", gate, "noon"])

    It answers `chat.completions` and `responses`, streamed or whole, without a key or a network.
    The results of its tool calls come from your program. An exception of the script is raised where
    the stream is read. Without a stream, openai 2 makes it the cause of an `APIConnectionError`.

    Args:
        options: Of `AsyncOpenAI`, such as `timeout`. `with_options` works, and the requests of
            the client that it returns are in `asked` of the first one.
    """

    def __init__(self, *answers: ScriptedAnswer, **options: Any) -> None:
        api = ScriptedApi(answers, _answer_to, DefaultAsyncHttpxClient, end=b"data: [DONE]\n\n")
        self.asked: list[Json] = api.asked
        """The bodies of the requests, such as `{"model": …, "messages": […]}`."""
        super().__init__(**api.client_options("http://scripted.invalid/v1", options))


def _answer_to(path: str, body: Json, number: str) -> ApiAnswer | None:
    if not path.endswith(("/chat/completions", "/responses")):
        return None
    answer = _Completion if "messages" in body else _Response
    return answer(str(body.get("model")), number)


class _Completion:
    def __init__(self, model: str, number: str) -> None:
        self._head: Json = {"id": f"chatcmpl-{number}", "created": 0, "model": model}

    async def events(self, pieces: Pieces) -> AsyncIterator[Json]:
        yield self._chunk({"role": "assistant", "content": ""})
        calls = 0
        async for piece in pieces:
            if isinstance(piece, ToolCall):
                yield self._chunk({"tool_calls": [{"index": calls, **_function(piece)}]})
                calls += 1
            elif isinstance(piece, Thought):
                yield self._chunk({"reasoning_content": piece.text})
            else:
                yield self._chunk({"content": piece})
        yield self._chunk({}, "tool_calls" if calls else "stop")

    def _chunk(self, delta: Json, reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def whole(self, events: list[Json]) -> Json:
        deltas = [chunk["choices"][0]["delta"] for chunk in events]
        content = "".join(delta.get("content", "") for delta in deltas)
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        message: Json = {"role": "assistant", "content": content or None}
        if calls:
            message["tool_calls"] = calls
        reason = events[-1]["choices"][0]["finish_reason"]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {**events[0], "object": "chat.completion", "choices": [choice]}


def _function(call: ToolCall) -> Json:
    arguments = json.dumps(dict(call.arguments))
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.call_id, "type": "function", "function": function}


class _Texts(NamedTuple):
    """The names of an item that holds one text, and of its events."""

    item: Json
    parts: str
    part: str
    text: str
    type: str


_MESSAGE: Final = _Texts(
    {"type": "message", "role": "assistant", "status": "completed"},
    *("content", "content_part", "output_text", "output_text"),
)
_REASONING: Final = _Texts(
    {"type": "reasoning"},
    *("summary", "reasoning_summary_part", "reasoning_summary_text", "summary_text"),
)


class _Response:
    """A response, whose events have the order and the fields of the Responses API."""

    def __init__(self, model: str, number: str) -> None:
        self._output: list[Json] = []
        self._numbers = count()
        self._open: tuple[_Texts, str] | None = None
        self._head: Json = {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 0,
            "model": model,
        }
        self._head |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}

    async def events(self, pieces: Pieces) -> AsyncIterator[Json]:
        yield self._event("created", response=self._state("in_progress"))
        async for piece in pieces:
            if isinstance(piece, ToolCall):
                events = [*self._end(), *self._call(piece)]
            elif isinstance(piece, Thought):
                events = [*self._text(_REASONING, piece.text)]
            else:
                events = [*self._text(_MESSAGE, piece)]
            for event in events:
                yield event
        for event in self._end():
            yield event
        yield self._event("completed", response=self._state("completed"))

    def whole(self, events: list[Json]) -> Json:
        return dict(events[-1]["response"])

    def _state(self, status: str) -> Json:
        return {**self._head, "status": status, "output": self._output}

    def _event(self, kind: str, **fields: Any) -> Json:
        return {"type": f"response.{kind}", "sequence_number": next(self._numbers), **fields}

    def _item(self, event: str, item: Json) -> Json:
        return self._event(f"output_item.{event}", output_index=len(self._output), item=item)

    def _id(self) -> str:
        return f"{self._head['id']}_{len(self._output)}"

    def _at(self, kind: str, of: _Texts, **fields: Any) -> Json:
        place = {"item_id": self._id(), "output_index": len(self._output)}
        return self._event(kind, **place, **{f"{of.parts}_index": 0}, **fields)

    def _text(self, of: _Texts, text: str) -> Iterator[Json]:
        before = ""
        if self._open and self._open[0] is of:
            before = self._open[1]
        else:
            yield from self._end()
            yield self._item("added", {**of.item, "id": self._id(), of.parts: []})
            yield self._at(f"{of.part}.added", of, part=_part(of, ""))
        self._open = of, before + text
        yield self._at(f"{of.text}.delta", of, delta=text, logprobs=[])

    def _end(self) -> Iterator[Json]:
        if self._open is None:
            return
        (of, text), self._open = self._open, None
        item = {**of.item, "id": self._id(), of.parts: [_part(of, text)]}
        yield self._at(f"{of.text}.done", of, text=text, logprobs=[])
        yield self._at(f"{of.part}.done", of, part=_part(of, text))
        yield self._item("done", item)
        self._output.append(item)

    def _call(self, call: ToolCall) -> Iterator[Json]:
        arguments = json.dumps(dict(call.arguments))
        item = {"type": "function_call", "id": self._id(), "call_id": call.call_id}
        item |= {"name": call.name, "arguments": arguments}
        place = {"item_id": self._id(), "output_index": len(self._output)}
        yield self._item("added", {**item, "arguments": ""})
        yield self._event("function_call_arguments.delta", **place, delta=arguments)
        yield self._event("function_call_arguments.done", **place, arguments=arguments)
        yield self._item("done", item)
        self._output.append(item)


def _part(of: _Texts, text: str) -> Json:
    return {"type": of.type, "text": text} | ({"annotations": []} if of is _MESSAGE else {})

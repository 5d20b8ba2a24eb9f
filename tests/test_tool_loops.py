"""The replies of the pages about SDKs that call tools of the application, and ask before one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Final

import anthropic
import httpx
import httpx2
import openai
import pytest
from fastapi import FastAPI

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import create_chat_router
from monostream_ai.testing import ChatProcesses, Gate
from tests.pages import Block, blocks


class ModelServer(ABC):
    """Looks order 7 up, wants to refund it, and says so; waits in the middle of the text."""

    http: Any
    """The package with which the SDK speaks HTTP."""
    create_client: Any

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        self.gate = Gate()
        client = self.http.AsyncClient(transport=self.http.MockTransport(self._answer))
        self.client = self.create_client(api_key="none", http_client=client)

    @abstractmethod
    def results_in(self, messages: list[dict[str, Any]]) -> int: ...

    @abstractmethod
    def call(self, call_id: str, name: str) -> list[Any]:
        """Return the events of an answer that calls a tool with order 7."""

    @abstractmethod
    def text(self) -> tuple[list[Any], list[Any]]:
        """Return the events of an answer until "That is ", and those of "all."."""

    async def _answer(self, request: Any) -> Any:
        messages = json.loads(request.content)["messages"]
        self.asked.append(messages)
        events = self._events(self.results_in(messages))
        headers = {"content-type": "text/event-stream"}
        return self.http.Response(200, headers=headers, content=events)

    async def _events(self, results: int) -> AsyncIterator[bytes]:
        first, rest = self.text()
        if results < 2:
            first, rest = self.call(f"c{results + 1}", ("look_up", "refund")[results]), []
        for event in first:
            yield self._frame(event)
        if rest:
            await self.gate.passed()
        for event in rest:
            yield self._frame(event)

    def _frame(self, event: Any) -> bytes:
        name = f"event: {event['type']}\n" if "type" in event else ""
        return f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()


class ChatServer(ModelServer):
    """Chat Completions."""

    http = httpx
    create_client = openai.AsyncOpenAI

    def results_in(self, messages: list[dict[str, Any]]) -> int:
        return sum(each["role"] == "tool" for each in messages)

    def call(self, call_id: str, name: str) -> list[Any]:
        function = {"name": name, "arguments": '{"order": 7}'}
        called = {"index": 0, "id": call_id, "type": "function", "function": function}
        return [self._chunk({"tool_calls": [called]}), self._chunk({}, "tool_calls"), "[DONE]"]

    def text(self) -> tuple[list[Any], list[Any]]:
        return [self._chunk({"content": "That is "})], [
            self._chunk({"content": "all."}),
            self._chunk({}, "stop"),
            "[DONE]",
        ]

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": reason}
        kind = {"object": "chat.completion.chunk", "created": 1, "model": "m", "id": "x"}
        return {**kind, "choices": [choice]}


class MessagesServer(ModelServer):
    """Anthropic's Messages."""

    http = httpx2
    create_client = anthropic.AsyncAnthropic

    def results_in(self, messages: list[dict[str, Any]]) -> int:
        blocks = [block for each in messages if each["role"] == "user" for block in each["content"]]
        return sum(isinstance(block, dict) and block["type"] == "tool_result" for block in blocks)

    def call(self, call_id: str, name: str) -> list[Any]:
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": '{"order": 7}'}
        return [*self._begin(block), self._delta(delta), *self._end("tool_use")]

    def text(self) -> tuple[list[Any], list[Any]]:
        parts = [{"type": "text_delta", "text": text} for text in ("That is ", "all.")]
        first, rest = map(self._delta, parts)
        begin = self._begin({"type": "text", "text": ""})
        return [*begin, first], [rest, *self._end("end_turn")]

    def _begin(self, block: dict[str, Any]) -> list[Any]:
        usage = {"input_tokens": 1, "output_tokens": 1}
        kind = {"id": "m", "type": "message", "role": "assistant", "model": "m"}
        open_ended = {"content": [], "stop_reason": None, "stop_sequence": None}
        return [
            {"type": "message_start", "message": {**kind, **open_ended, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": block},
        ]

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": 0, "delta": delta}

    def _end(self, reason: str) -> list[Any]:
        told = {"stop_reason": reason, "stop_sequence": None}
        return [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": told, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]


SERVERS: Final = {"openai.md": ChatServer, "anthropic.md": MessagesServer}

REFUND: Final = {
    "yes": ("output-available", "Order 7 is refunded.", ["c2"]),
    "no": ("output-denied", "denied", []),
    "fails": ("output-error", "The function failed.", ["c2"]),
}
"""State of the call, the text that the model gets about it, and the calls that have run."""


def test_each_page_with_a_loop_is_run() -> None:
    assert {block.page for block in blocks("python", "tools")} == {*SERVERS}


@pytest.mark.parametrize("case", REFUND)
@pytest.mark.parametrize("block", [pytest.param(b, id=b.page) for b in blocks("python", "tools")])
async def test_a_tool_asks_first_and_may_fail(block: Block, case: str) -> None:
    page: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), page)
    refund, refunded, model = page["FUNCTIONS"]["refund"], list[str](), SERVERS[block.page]()

    async def noted(call_id: str, order: int) -> str:
        refunded.append(call_id)
        if case == "fails":
            raise RuntimeError("secret")
        return str(await refund(call_id, order))

    page["FUNCTIONS"]["refund"] = noted

    def create_app(service: DurableStreamService[Any]) -> FastAPI:
        app = FastAPI()
        replies = page["Answers"](service, model.client).replies
        app.include_router(create_chat_router(service, replies), prefix="/api/chat")
        return app

    async with ChatProcesses(create_app) as processes:
        server = await processes.start()
        message = await (await server.ask("Refund order 7.")).rest()
        [looked_up, call] = [part for part in message["parts"] if "toolCallId" in part]
        assert looked_up["output"] == "Order 7 is on its way."
        assert call["state"] == "approval-requested"
        approval = {**call["approval"], "approved": case != "no"}
        call.update(state="approval-responded", approval=approval)
        answer = await server.ask(message)
        await answer.until("That is")
        state, told, ran = REFUND[case]
        if case != "fails":
            # A failure is nothing that another attempt could take over.
            await server.crash()
            server = await processes.start()
            answer = await server.resume()
            await answer.until("That is")
        model.gate.open()
        whole = await answer.rest()

    calls = [part for part in whole["parts"] if "toolCallId" in part]
    assert [part["state"] for part in calls] == ["output-available", state]
    assert answer.text == "That is all."
    assert told in str(model.asked[-1][-1])
    assert refunded == ran
    assert "secret" not in str(whole) + str(model.asked)

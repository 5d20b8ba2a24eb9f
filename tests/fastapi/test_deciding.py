"""`ChatTurn.run_approved`: the calls on which the user has decided, whatever died meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from fastapi import FastAPI

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.fastapi import ChatHistory, ChatReplies, ChatTurn, create_chat_router
from monostream_ai.testing import ChatProcesses, Gate
from monostream_ai.ui_messages import UIMessage, UIMessageBuilder

NAMES = {"c1": "count", "c2": "send", "c3": "drop"}


class Decided:
    """Asks about three calls, and says how each has ended; the first run of `send` waits."""

    def __init__(self, on_lost: Literal["continue", "retry"] = "retry") -> None:
        self.gate = Gate()
        self.ran: list[tuple[str, str, Any]] = []
        self.replies = ChatReplies(self.reply, on_lost=on_lost)

    def create_app(self, service: DurableStreamService[Any]) -> FastAPI:
        self.history = ChatHistory(service)
        app = FastAPI()
        app.include_router(create_chat_router(service, self.replies), prefix="/api/chat")
        return app

    async def reply(self, turn: ChatTurn) -> None:
        message = UIMessageBuilder(message_id=turn.message_id, send_start=False)
        if turn.messages[-1]["role"] == "user":
            for number, (call_id, name) in enumerate(NAMES.items()):
                dynamic = number > 0
                call = message.tool_call(call_id, name, {"order": number}, dynamic=dynamic)
                asked = message.approval_request(call_id, f"may-{call_id}")
                await turn.pub.write(*call, *asked)
            return
        decided = await turn.run_approved(self.run)
        await turn.pub.write(
            {"type": "start-step"},
            {"type": "text-start", "id": "t"},
            {"type": "text-delta", "id": "t", "delta": " ".join(states_of(decided))},
            {"type": "text-end", "id": "t"},
        )

    async def run(self, call_id: str, name: str, arguments: Any) -> Mapping[str, Any]:
        self.ran.append((call_id, name, arguments))
        if name == "send":
            await self.gate.passed()
            return {"error": "The mail server is down."}
        return {"output": {"counted": 7}}


def states_of(message: UIMessage) -> list[str]:
    return [part["state"] for part in message["parts"] if "toolCallId" in part]


def decide(message: UIMessage, **decisions: bool) -> UIMessage:
    for part in message["parts"]:
        if part.get("toolCallId") in decisions:
            approved = {"approved": decisions[part["toolCallId"]]}
            part.update(state="approval-responded", approval={**part["approval"], **approved})
    return message


@pytest.mark.parametrize("on_lost", ["continue", "retry"])
async def test_calls_run_once_around_a_crash(on_lost: Literal["continue", "retry"]) -> None:
    reply = Decided(on_lost)
    async with ChatProcesses(reply.create_app) as processes:
        server = await processes.start()
        message = await (await server.ask("Count, send, drop.")).rest()
        answer = await server.ask(decide(message, c1=True, c2=True, c3=False))
        # The output of c1 is stored when c2 begins.
        await reply.gate.reached()
        await server.crash()
        reply.gate.open()
        answer = await (await processes.start()).resume()
        whole = await answer.rest()

    ended = ["output-available", "output-error", "output-denied"]
    assert states_of(whole) == ended
    assert answer.text == " ".join(ended)
    assert [call["output"] for call in whole["parts"] if "output" in call] == [{"counted": 7}]
    send = ("c2", "send", {"order": 1})
    assert reply.ran == [("c1", "count", {"order": 0}), send, send]


async def test_a_call_that_is_not_decided_on_waits_on() -> None:
    reply = Decided()
    async with ChatProcesses(reply.create_app) as processes:
        server = await processes.start()
        message = await (await server.ask("Count, send, drop.")).rest()
        answer = await server.ask(decide(message, c1=True, c2=False))
        whole = await answer.rest()

    assert states_of(whole) == ["output-available", "output-denied", "approval-requested"]
    assert reply.ran == [("c1", "count", {"order": 0})]


@pytest.mark.parametrize(
    "returned", ["done", None, {}, {"output": 1, "error": "no"}, {"result": 1}, [("output", 1)]]
)
async def test_anything_else_than_a_result_fails_the_turn(
    returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Decided):
        async def run(self, call_id: str, name: str, arguments: Any) -> Any:
            return returned

    async with ChatProcesses(Odd().create_app) as processes:
        server = await processes.start()
        message = await (await server.ask("Count, send, drop.")).rest()
        answer = await server.ask(decide(message, c1=True, c2=False, c3=False))
        whole = await answer.rest()

    assert answer.ending == "error"
    assert "output" not in whole["parts"][0]
    [failure] = [record.exc_info for record in caplog.records if record.exc_info]
    assert isinstance(failure[1], InvalidArgument)
    assert "run returns" in str(failure[1])

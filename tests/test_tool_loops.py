"""The replies of the pages about SDKs that call tools of the application, and ask before one."""

from __future__ import annotations

from typing import Any, Final

import pytest
from fastapi import FastAPI

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatHistory, create_chat_router
from monostream_ai.testing import ChatProcesses, Gate, ToolCall
from monostream_ai.testing.anthropic import ScriptedAnthropic
from monostream_ai.testing.openai import ScriptedOpenAI
from tests.pages import Block, blocks

CLIENTS: Final[dict[str, Any]] = {"openai.md": ScriptedOpenAI, "anthropic.md": ScriptedAnthropic}

REFUND: Final = {
    "yes": ("output-available", "Order 7 is refunded.", ["call_2"]),
    "no": ("output-denied", "denied", []),
    "fails": ("output-error", "The function failed.", ["call_2"]),
}
"""State of the call, the text that the model gets about it, and the calls that have run."""


def test_each_page_with_a_loop_is_run() -> None:
    assert {block.page for block in blocks("python", "tools")} == {*CLIENTS}


@pytest.mark.parametrize("case", REFUND)
@pytest.mark.parametrize("block", [pytest.param(b, id=b.page) for b in blocks("python", "tools")])
async def test_a_tool_asks_first_and_may_fail(block: Block, case: str) -> None:
    page: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), page)
    refund, refunded, gate = page["FUNCTIONS"]["refund"], list[str](), Gate()
    calls = [ToolCall(name, {"order": 7}) for name in ("look_up", "refund")]
    said = ["That is ", gate, "all."]
    client = CLIENTS[block.page](*calls, said, said)

    async def noted(call_id: str, order: int) -> str:
        refunded.append(call_id)
        if case == "fails":
            raise RuntimeError("secret")
        return str(await refund(call_id, order))

    page["FUNCTIONS"]["refund"] = noted

    def create_app(service: DurableStreamService[Any]) -> FastAPI:
        app = FastAPI()
        replies = page["Answers"](service, client).replies
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
        gate.open()
        whole = await answer.rest()

    parts = [part for part in whole["parts"] if "toolCallId" in part]
    assert [part["state"] for part in parts] == ["output-available", state]
    assert answer.text == "That is all."
    assert told in str(client.asked[-1]["messages"][-1])
    assert refunded == ran
    assert "secret" not in str(whole) + str(client.asked)


GO_ON: Final = {
    'on_lost="retry"': 'on_lost="continue"',
    "to_anthropic_messages(conversation)": (
        "to_anthropic_messages(await whole_steps(turn, conversation))"
    ),
}


@pytest.mark.parametrize(("dies_in", "told"), [("text", [0, 1, 2, 2]), ("tool", [0, 1, 1, 2])])
async def test_a_loop_goes_on_behind_its_last_whole_step(dies_in: str, told: list[int]) -> None:
    [loop] = [block for block in blocks("python", "tools") if block.page == "anthropic.md"]
    [steps] = blocks("python", "steps")
    text = loop.text
    for old, new in GO_ON.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    page: dict[str, Any] = {}
    exec(compile(text + steps.text, steps.place, "exec"), page)
    page["ASKS"].clear()
    look_up, refund = (ToolCall(name, {"order": 7}) for name in ("look_up", "refund"))
    gate, in_tool, ran = Gate(), Gate(), list[str]()
    said = ["That is ", gate, "all."]
    again = [said, said] if dies_in == "text" else [refund, said]
    client = ScriptedAnthropic(look_up, refund, *again)
    histories: list[ChatHistory] = []

    async def looked_up(call_id: str, order: int) -> str:
        ran.append("look_up")
        return "It is on its way."

    async def refunded(call_id: str, order: int) -> str:
        ran.append("refund")
        if dies_in == "tool":
            await in_tool.passed()
        return "It is refunded."

    page["FUNCTIONS"].update(look_up=looked_up, refund=refunded)

    def create_app(service: DurableStreamService[Any]) -> FastAPI:
        app, answers = FastAPI(), page["Answers"](service, client)
        histories.append(answers.history)
        app.include_router(create_chat_router(service, answers.replies), prefix="/api/chat")
        return app

    # A page that takes steps back.
    headers = {"x-ui-message-profile": "v7.0.149"}
    async with ChatProcesses(create_app, headers=headers) as processes:
        server = await processes.start()
        answer = await server.ask("Refund order 7.")
        await (answer.until("That is") if dies_in == "text" else in_tool.reached())
        await server.crash()
        in_tool.open()
        server = await processes.start()
        answer = await server.resume()
        gate.open()
        whole = await answer.rest()
        [_, stored] = await histories[-1].messages("chat-1")

    assert (answer.ending, answer.text) == ("finish", "That is all.")
    assert [str(asked["messages"]).count("'tool_result'") for asked in client.asked] == told
    assert ran == ["look_up", *["refund"] * (2 if dies_in == "tool" else 1)]
    outputs = [part["output"] for part in whole["parts"] if "toolCallId" in part]
    assert outputs == ["It is on its way.", "It is refunded."]
    assert stored["parts"] == whole["parts"]
    assert "failed" not in stored["metadata"]

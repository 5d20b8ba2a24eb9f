"""The replies of the pages about SDKs that call tools of the application, and ask before one."""

from __future__ import annotations

from typing import Any, Final

import pytest
from fastapi import FastAPI

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import create_chat_router
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

"""Agents that ask before they call a tool, in turns of a chat."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, OpenAIResponsesModel, Runner, RunState, function_tool
from fastapi import FastAPI

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatHistory, ChatReplies, ChatTurn, create_chat_router
from monostream_ai.openai import to_openai_input
from monostream_ai.openai_agents import capture
from monostream_ai.testing import ChatProcesses, ToolCall
from monostream_ai.testing.openai import ScriptedOpenAI
from monostream_ai.ui_messages import UIMessage
from tests.pages import blocks

BOOK = ToolCall("book", {"flight": "AZ 7"})


class OfThePage:
    """The reply of docs/openai-agents.md; `booked` gets the ids of the calls that have run."""

    def __init__(self, client: ScriptedOpenAI) -> None:
        [block] = blocks("python", "approving")
        self.booked: list[str] = []
        self._client = client
        self._page: dict[str, Any] = {}
        exec(compile(block.text, block.place, "exec"), self._page)
        run = self._page["run"]

        async def noted(call_id: str, name: str, arguments: Any) -> Any:
            self.booked.append(call_id)
            return await run(call_id, name, arguments)

        self._page["run"] = noted

    def create_app(self, service: DurableStreamService[Any]) -> FastAPI:
        answers = self._page["Answers"](service, self._client)
        self.history: ChatHistory = answers.history
        app = FastAPI()
        app.include_router(create_chat_router(service, answers.replies), prefix="/api/chat")
        return app


class OfRunStates(OfThePage):
    """A reply that keeps the state of the run, as the SDK's documents show it."""

    def __init__(self, client: ScriptedOpenAI) -> None:
        self.booked = []
        self._states: dict[str, str] = {}

        @function_tool(needs_approval=True)
        async def book(flight: str) -> str:
            self.booked.append("call_1")
            return f"{flight} is booked."

        model = OpenAIResponsesModel("m", client)
        self._agent: Any = Agent("Planner", tools=[book], model=model)

    def create_app(self, service: DurableStreamService[Any]) -> FastAPI:
        self.history = ChatHistory(service)
        replies = ChatReplies(self.reply, on_finish=self.history.finish)
        app = FastAPI()
        app.include_router(create_chat_router(service, replies), prefix="/api/chat")
        return app

    async def reply(self, turn: ChatTurn) -> None:
        conversation = await self.history.ask(turn)
        given: Any = to_openai_input(conversation)
        if turn.message_id in self._states:
            given = await RunState.from_string(self._agent, self._states[turn.message_id])
            [waiting] = given.get_interruptions()
            [part] = [part for part in conversation[-1]["parts"] if "toolCallId" in part]
            (given.approve if part["approval"]["approved"] else given.reject)(waiting)
        run = Runner.run_streamed(self._agent, given)
        async for _ in (events := capture(run, turn.pub)):
            pass
        for waiting in run.interruptions:
            events.ask_approval(waiting.raw_item.call_id)
        self._states[turn.message_id] = run.to_state().to_string()


@pytest.mark.parametrize("approved", [True, False], ids=["yes", "no"])
@pytest.mark.parametrize("reply", [OfThePage, OfRunStates])
async def test_a_decision_is_kept_as_it_was(reply: type[OfThePage], approved: bool) -> None:
    client = ScriptedOpenAI(["I will. ", BOOK], "Well then.")
    app = reply(client)
    async with ChatProcesses(app.create_app) as processes:
        server = await processes.start()
        message = await (await server.ask("Book AZ 7.")).rest()
        call = message["parts"][-1]
        assert call["state"] == "approval-requested"
        call.update(state="approval-responded", approval={**call["approval"], "approved": approved})
        answer = await server.ask(message)
        shown = await answer.rest()
        [_, kept] = await app.history.messages("chat-1")

    assert answer.text == "I will. Well then."
    assert app.booked == (["call_1"] if approved else [])
    assert result_of(shown) == result_of(kept)
    assert result_of(kept) == (
        ("output-available", True, "AZ 7 is booked.")
        if approved
        else ("output-denied", False, None)
    )
    # The model learns it too.
    [told] = [each["output"] for each in client.asked[1]["input"] if "output" in each]
    assert ("is booked" in told) == approved


def result_of(message: UIMessage) -> tuple[str, bool, Any]:
    [call] = [part for part in message["parts"] if "toolCallId" in part]
    return call["state"], call["approval"]["approved"], call.get("output")

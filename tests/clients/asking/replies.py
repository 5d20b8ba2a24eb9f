"""Replies whose turns end behind a tool call, where a page might ask again by itself.

`FINISHED` are done when they end; those of `waiting` need the page's answer first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from monostream_ai.fastapi import ChatTurn
from monostream_ai.openai import capture, consume
from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from tests.langchain.scripted import USER, ScriptedModel, State, Step, agent, calls, says, weather
from tests.openai.recordings import events_of

Reply = Callable[[ChatTurn], Awaitable[None]]

CALL: Final = {"toolCallId": "c", "toolName": "weather"}
STEP: Final[Chunk] = {"type": "start-step"}
STEP_ENDS: Final[Chunk] = {"type": "finish-step"}
ASKED: Final[Chunk] = {"type": "tool-input-available", **CALL, "input": {"city": "Rome"}}
GOT: Final[Chunk] = {"type": "tool-output-available", "toolCallId": "c", "output": 21}
FAILED: Final[Chunk] = {"type": "tool-output-error", "toolCallId": "c", "errorText": "It broke."}
FINISH: Final[Chunk] = {"type": "finish", "finishReason": "stop"}
QUESTIONED: Final[Chunk] = {"type": "tool-approval-request", "toolCallId": "c", "approvalId": "a"}
APPROVED: Final[Chunk] = {"type": "tool-approval-response", "approvalId": "a", "approved": True}
DENIED: Final[Chunk] = {**APPROVED, "approved": False}
NOT_RUN: Final[Chunk] = {"type": "tool-output-denied", "toolCallId": "c"}
SAID: Final[list[Chunk]] = [
    {"type": "text-start", "id": "t"},
    {"type": "text-delta", "id": "t", "delta": "Warm."},
    {"type": "text-end", "id": "t"},
]

OTHER: Final = "other"
OTHER_ASKED: Final[Chunk] = {**ASKED, "toolCallId": OTHER}
OTHER_GOT: Final[Chunk] = {**GOT, "toolCallId": OTHER}


def asking_for_a_year() -> Any:
    """Return a graph whose node interrupts it."""

    async def look(state: State) -> dict[str, Any]:
        year = interrupt({"question": "Of which year?"})
        return {"messages": [AIMessage(f"Nothing is known of {year}.")]}

    graph = StateGraph(State).add_node("look", look).add_edge(START, "look").add_edge("look", END)
    return graph.compile(checkpointer=InMemorySaver())


class Forecast(BaseModel):
    """A structured answer."""

    city: str


@tool(return_direct=True)
async def look_up(city: str) -> str:
    """Look the weather up."""
    return f"Sunny in {city}"


def model(*scripts: Sequence[Step]) -> ScriptedModel:
    return ScriptedModel(scripts=list(map(list, scripts)))


def run(runnable: Callable[[], Any], given: Any = USER) -> Reply:
    async def reply(turn: ChatTurn) -> None:
        await runnable().ainvoke(given, {"callbacks": [turn.callback]})

    return reply


def write(*chunks: Chunk) -> Reply:
    async def reply(turn: ChatTurn) -> None:
        if chunks:
            await turn.pub.write(*chunks)

    return reply


def push(*chunks: Chunk) -> Reply:
    async def reply(turn: ChatTurn) -> None:
        for chunk in chunks:
            turn.pub.push(chunk)

    return reply


def consumes(name: str) -> Reply:
    async def reply(turn: ChatTurn) -> None:
        await consume(events_of(name), turn.pub)

    return reply


async def answer_its_call(turn: ChatTurn) -> None:
    captured = capture(events_of("chat/tool_call"), turn.pub)
    async for _ in captured:
        pass
    captured.tool_result("call_1", output={"degrees": 21})


async def build(turn: ChatTurn) -> None:
    builder = UIMessageBuilder(send_start=False)
    await turn.pub.write(*builder.tool_call("c", "weather", {}), *builder.tool_output("c", 21))
    await turn.pub.write(*builder.finish("length"))


FINISHED: Final[Mapping[str, Reply]] = {
    "langchain: a tool that returns directly": run(
        lambda: create_agent(model(calls(("call_1", "look_up", '{"city": "Rome"}'))), [look_up])
    ),
    "langchain: a structured answer": run(
        lambda: create_agent(
            model(calls(("call_1", "Forecast", '{"city": "Rome"}'))),
            [],
            response_format=ToolStrategy(Forecast),
        )
    ),
    "langchain: an empty last answer": run(
        lambda: agent(model(calls(("call_1", "weather", '{"city": "Rome"}')), says()), [weather])
    ),
    "langchain: a tool without a model": run(lambda: weather, {"city": "Rome"}),
    "langchain: a call cut by the length": run(
        lambda: model([*calls(("call_1", "weather", "Ro"))[:-1], *says(reason="length")]), "hi"
    ),
    "openai: a result and no further answer": answer_its_call,
    "openai: a call cut by the length": consumes("responses/function_call_cut_by_the_limit"),
    "openai: a call without valid arguments": consumes("chat/tool_with_broken_arguments"),
    "a result": write(STEP, ASKED, GOT, STEP_ENDS),
    "a result in an open step": write(STEP, ASKED, GOT),
    "a result without steps": write(ASKED, GOT),
    "a result of a static and one of a dynamic call": write(
        STEP,
        ASKED,
        GOT,
        {**OTHER_ASKED, "dynamic": True},
        {**OTHER_GOT, "dynamic": True},
        STEP_ENDS,
    ),
    "a failure": write(STEP, ASKED, FAILED, STEP_ENDS),
    "a text in the step of its result": write(STEP, ASKED, GOT, *SAID, STEP_ENDS),
    "a preliminary result": write(STEP, ASKED, {**GOT, "preliminary": True}, STEP_ENDS),
    "input that stays incomplete": write(STEP, {"type": "tool-input-start", **CALL}),
    "a result beside one of the provider": write(
        STEP,
        ASKED,
        GOT,
        {**OTHER_ASKED, "providerExecuted": True},
        {**OTHER_GOT, "providerExecuted": True},
        STEP_ENDS,
    ),
    "an empty step": write(STEP, ASKED, GOT, STEP_ENDS, STEP, STEP_ENDS),
    "an empty step that stays open": write(STEP, ASKED, GOT, STEP_ENDS, STEP),
    "a result that was taken back": write(STEP, ASKED, GOT, {"type": "reset-step"}, STEP_ENDS),
    "an answer that was taken back": write(
        STEP, ASKED, GOT, {"type": "reset-step"}, STEP_ENDS, STEP, STEP_ENDS
    ),
    "a denied call": write(STEP, ASKED, QUESTIONED, DENIED, NOT_RUN, STEP_ENDS),
    "an approved call that never ran": write(STEP, ASKED, QUESTIONED, APPROVED, STEP_ENDS),
    "a written finish": write(STEP, ASKED, GOT, STEP_ENDS, FINISH),
    "a written finish in an open step": write(STEP, ASKED, GOT, FINISH),
    "a written finish behind an empty step": write(STEP, ASKED, GOT, STEP_ENDS, STEP, FINISH),
    "a pushed finish": push(STEP, ASKED, GOT, STEP_ENDS, FINISH),
    "a built finish": build,
    "a written abort": write(STEP, ASKED, GOT, STEP_ENDS, {"type": "abort"}),
    "a pushed abort in an open step": push(STEP, ASKED, GOT, {"type": "abort"}),
}


def finished(release: str, silent: bool) -> Mapping[str, Reply]:
    """Return the replies that are done when they end; a page of `ai` 5 must say which it is to read
    those with approvals.
    """
    with_approvals = ("a denied call", "an approved call that never ran")
    refused = with_approvals if silent and release[0] == "5" else ()
    return {cause: reply for cause, reply in FINISHED.items() if cause not in refused}


class Waiting(NamedTuple):
    """A turn that waits for the page: its first part, the page's answers, and the rest."""

    first: Reply
    answers: dict[str, Any]
    rest: Reply

    async def __call__(self, turn: ChatTurn) -> None:
        continues = turn.messages[-1]["role"] == "assistant"
        await (self.rest if continues else self.first)(turn)


OUTPUT: Final = {"outputs": {"c": 21}}
YES: Final = {"approvals": {"any": {"approved": True}}}
NO: Final = {"approvals": {"any": {"approved": False}}}
OPEN: Final = write(STEP, ASKED, STEP_ENDS)
OPEN_QUESTION: Final = write(STEP, ASKED, QUESTIONED, STEP_ENDS)
BOTH: Final = write(STEP, ASKED, OTHER_ASKED, OTHER_GOT, STEP_ENDS)


class Cleaner:
    """An agent that asks before it deletes.

    Args:
        last: Said in the end; if it is empty, the tool's result is the answer.
    """

    def __init__(self, last: Sequence[Step]) -> None:
        @tool(return_direct=not last)
        async def delete_file(path: str) -> str:
            """Delete a file."""
            return f"{path} is deleted"

        self._said = [calls(("c", "delete_file", '{"path": "a"}')), list(last)]
        self._tool, self._saver = delete_file, InMemorySaver()

    async def __call__(self, turn: ChatTurn) -> None:
        answers = turn.resume_value()
        agent: Any = create_agent(
            model(*self._said[1 if answers else 0 :]),
            [self._tool],
            middleware=[HumanInTheLoopMiddleware({"delete_file": True})],
            checkpointer=self._saver,
        )
        given: Any = Command(resume=answers) if answers else USER
        await agent.ainvoke(
            given, {"callbacks": [turn.callback], "configurable": {"thread_id": turn.chat_id}}
        )


def waiting(release: str) -> dict[str, Waiting]:
    """Return new replies that wait for pages of a release; `ai` 5 has no approvals."""
    calls_of_the_page = {
        "a call of the page": Waiting(OPEN, OUTPUT, write(STEP, *SAID, STEP_ENDS)),
        "a call of the page, then nothing": Waiting(OPEN, OUTPUT, write()),
        "a call of the page, then a written finish": Waiting(OPEN, OUTPUT, write(FINISH)),
        "a call of the page, then an empty step": Waiting(OPEN, OUTPUT, write(STEP, STEP_ENDS)),
        "a call of the page, then text without a step": Waiting(OPEN, OUTPUT, write(*SAID)),
        "a call of the page, then one of the server": Waiting(
            OPEN, OUTPUT, write(STEP, OTHER_ASKED, OTHER_GOT, STEP_ENDS)
        ),
        "a call of the page beside one of the server": Waiting(BOTH, OUTPUT, write()),
        "a written finish behind a call of the page": Waiting(
            write(STEP, ASKED, STEP_ENDS, FINISH), OUTPUT, write(STEP, *SAID, STEP_ENDS)
        ),
        "an openai call of the page": Waiting(
            consumes("chat/tool_call"), {"outputs": {"call_1": 21}}, consumes("chat/text")
        ),
    }
    approving, refusing, going_on = Cleaner([]), Cleaner(says()), Cleaner(says("So."))
    approvals = {
        "an approval": Waiting(OPEN_QUESTION, YES, write(GOT)),
        "an approval, then no result": Waiting(OPEN_QUESTION, YES, write()),
        "a refusal": Waiting(OPEN_QUESTION, NO, write(NOT_RUN)),
        "a refusal, then a written finish": Waiting(OPEN_QUESTION, NO, write(FINISH)),
        "an approved call that returns directly": Waiting(approving, YES, approving),
        "an agent that is refused and says nothing": Waiting(refusing, NO, refusing),
        "an agent that goes on": Waiting(going_on, YES, going_on),
    }
    return calls_of_the_page if release[0] == "5" else calls_of_the_page | approvals

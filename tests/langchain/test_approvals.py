"""Agents that ask a human, with LangChain's own agent and middleware.

T, M and U: rows of the integration reference.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Interrupt, interrupt

from monostream_ai.langchain import resume_value, to_langchain_messages
from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.runs import Runs
from monostream_ai.ui_messages import UIMessage
from tests.langchain.recording import Recorder, outline
from tests.langchain.scripted import USER, ScriptedModel, State, agent, calls, clock, says, weather

PARIS, ROME = ("c1", "weather", '{"city":"Paris"}'), ("c2", "weather", '{"city":"Rome"}')
THREAD = {"configurable": {"thread_id": "1"}}
HAS_MODES = "interrupt_mode" in HumanInTheLoopMiddleware.__init__.__annotations__
MODES = ["batched", "per_call"] if HAS_MODES else ["batched"]
"""Older releases of langchain 1 ask about all calls at once, and have no other mode to test."""


def careful(
    script: list[list[Any]],
    mode: str = "batched",
    tools: Sequence[BaseTool] = (weather, clock),
    **asks: Any,
) -> Any:
    """Return an agent that asks before it looks up the weather."""
    options: Any = {"interrupt_mode": mode} if mode != "batched" else {}
    return create_agent(
        ScriptedModel(scripts=script),
        list(tools),
        middleware=[HumanInTheLoopMiddleware({"weather": asks or True}, **options)],
        checkpointer=InMemorySaver(),
    )


async def run(graph: Any, given: Any, recorder: Recorder) -> None:
    await graph.ainvoke(given, {**recorder.config, **THREAD})


def answered(message: UIMessage, **answers: object) -> UIMessage:
    """Return the message as the client sends it once the user has answered for these calls."""
    message = copy.deepcopy(message)
    for part in message["parts"]:
        if part.get("toolCallId") in answers:
            part["state"] = "approval-responded"
            part["approval"] = {
                **part["approval"],
                "approved": answers[part["toolCallId"]],
                "reason": "Why not",
            }
    return message


def states(message: UIMessage) -> dict[str, str]:
    return {part["toolCallId"]: part["state"] for part in message["parts"] if "toolCallId" in part}


@pytest.mark.parametrize("mode", MODES)
async def test_t17_an_agent_that_must_ask_asks_for_each_call(mode: str) -> None:
    recorder = Recorder()
    await run(
        careful([calls(PARIS, ("c3", "clock", '{"zone":"UTC"}'), ROME)], mode), USER, recorder
    )

    lines = [
        line.split(":")[-1]
        for line in recorder.outline()
        if line.startswith("tool-approval-request")
    ]
    # Apart, the calls run at once, and ask in the order in which they get there.
    assert (lines if mode == "batched" else sorted(lines)) == ["c1 c1", "c2 c2"]
    assert recorder.outline()[-1] == "finish tool-calls"
    asked = [part for part in recorder.sink.message()["parts"] if part["type"] == "data-interrupt"]
    assert len(asked) == (1 if mode == "batched" else 2)
    assert all(part["id"] for part in asked)


@pytest.mark.parametrize("mode", MODES)
async def test_t17_a_turn_after_the_answers_goes_on_with_the_same_calls(mode: str) -> None:
    graph, first = careful([calls(PARIS, ROME), says("Done")], mode), Recorder()
    await run(graph, USER, first)
    message = answered(first.sink.message(), c1=True, c2=False)

    second = Recorder(continued=message)
    await run(graph, Command(resume=resume_value([message])), second)

    lines = outline(second.sink.ended())
    assert sorted(line for line in lines if line.startswith("tool-")) == [
        "tool-output-available c1 {'city': 'Paris', 'temp': 21}",
        "tool-output-denied c2",
    ]
    whole = second.sink.message(message)
    assert states(whole) == {"c1": "output-available", "c2": "output-denied"}
    assert whole["parts"][-1] == {"type": "text", "text": "Done", "state": "done"}


async def test_t17_one_handler_may_ask_and_go_on() -> None:
    graph, recorder = careful([calls(PARIS, ROME), says("Done")]), Recorder()
    await run(graph, USER, recorder)
    decisions = [{"type": "approve"}, {"type": "reject"}]
    await run(graph, Command(resume={"decisions": decisions}), recorder)

    answers = [
        line.split(":")[-1]
        for line in recorder.outline()
        if line.startswith("tool-approval-response")
    ]
    assert sorted(answers) == ["c1 True", "c2 False"]
    assert states(recorder.sink.message()) == {"c1": "output-available", "c2": "output-denied"}


async def test_a_human_may_answer_in_the_place_of_the_tool() -> None:
    graph, recorder = careful([calls(PARIS), says("Done")]), Recorder()
    await run(graph, USER, recorder)
    await run(
        graph, Command(resume={"decisions": [{"type": "respond", "message": "Snow"}]}), recorder
    )

    assert "tool-output-available c1 Snow" in recorder.outline()


async def test_a_call_that_needs_no_approval_is_not_asked_about() -> None:
    def is_rome(request: Any) -> bool:
        return bool(request.tool_call["args"]["city"] == "Rome")

    graph = careful([calls(PARIS, ROME)], allowed_decisions=["approve"], when=is_rome)
    recorder = Recorder()
    await run(graph, USER, recorder)

    asked = [line for line in recorder.outline() if line.startswith("tool-approval-request")]
    assert [line.split(":")[-1] for line in asked] == ["c2 c2"]


async def test_a_later_question_in_the_same_turn_is_asked_too() -> None:
    graph, recorder = careful([calls(PARIS), calls(ROME), says("Done")]), Recorder()
    await run(graph, USER, recorder)
    for _ in range(2):
        await run(graph, Command(resume={"decisions": [{"type": "approve"}]}), recorder)

    assert states(recorder.sink.message()) == {"c1": "output-available", "c2": "output-available"}


async def test_m30_a_repeated_call_id_is_asked_about_under_the_id_that_is_shown() -> None:
    again = ("c1", "weather", '{"city":"Rome"}')
    graph, first = careful([calls(PARIS), calls(again), says("Done")]), Recorder()
    await run(graph, USER, first)
    message = answered(first.sink.message(), c1=True)
    second = Recorder(continued=message)
    await run(graph, Command(resume=resume_value([message])), second)
    message = answered(second.sink.message(message), **{"c1#2": True})
    third = Recorder(continued=message)
    await run(graph, Command(resume=resume_value([message])), third)

    assert states(third.sink.message(message)) == {
        "c1": "output-available",
        "c1#2": "output-available",
    }


@tool
async def book(city: str) -> str:
    """Book a flight, if the user agrees."""
    return f"booked {city}" if interrupt({"question": "Sure?"}) else "not booked"


@pytest.mark.parametrize("go_on", ["same handler", "new handler"])
async def test_t16_a_tool_that_interrupts_asks_with_data_and_its_call_stays_open(
    go_on: str,
) -> None:
    model = ScriptedModel(scripts=[calls(("c1", "book", '{"city":"Paris"}')), says("Done")])
    graph, first = create_agent(model, [book], checkpointer=InMemorySaver()), Recorder()
    await run(graph, USER, first)
    assert "tool-input-available c1 book {'city': 'Paris'}" in first.outline()
    assert [line for line in first.outline() if "output" in line or "approval" in line] == []
    message = first.sink.message()
    assert [part["data"] for part in message["parts"] if part["type"] == "data-interrupt"] == [
        {"question": "Sure?"}
    ]

    second = first if go_on == "same handler" else Recorder(continued=message)
    await run(graph, Command(resume=True), second)

    whole = second.sink.message(None if second is first else message)
    assert states(whole) == {"c1": "output-available"}
    assert [part["output"] for part in whole["parts"] if "output" in part] == ["booked Paris"]


async def test_m15_an_interrupt_that_passes_through_graphs_is_shown_once() -> None:
    def ask(state: State) -> State:
        return {"messages": [HumanMessage(interrupt(float("inf")))]}

    inner = (
        StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
    )
    outer = (
        StateGraph(State)
        .add_node("inner", inner)
        .add_edge(START, "inner")
        .compile(checkpointer=InMemorySaver())
    )
    recorder = Recorder()
    await run(outer, USER, recorder)

    (line,) = [line for line in recorder.outline() if line.startswith("data-interrupt")]
    assert line.startswith("data-interrupt None ")


async def test_t14_a_call_that_was_rejected_without_a_checkpointer_has_failed_for_the_model() -> (
    None
):
    graph, first = careful([calls(PARIS)]), Recorder()
    await run(graph, USER, first)
    message = answered(first.sink.message(), c1=False)

    (_, result) = to_langchain_messages([message])
    assert (result.content, getattr(result, "status", None)) == ("Why not", "error")


async def test_a_turn_that_goes_on_announces_new_calls_with_new_ids() -> None:
    first = Recorder()
    await agent(ScriptedModel(scripts=[calls(PARIS), says("Warm")]), [weather]).ainvoke(
        USER, first.config
    )
    message = first.sink.message()
    second = Recorder(continued=message)
    await agent(ScriptedModel(scripts=[calls(PARIS), says("Still warm")]), [weather]).ainvoke(
        USER, second.config
    )

    assert states(second.sink.message(message)) == {
        "c1": "output-available",
        "c1#2": "output-available",
    }


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"parts": None},
        {
            "parts": [
                "x",
                {},
                {"type": "dynamic-tool"},
                {"type": "dynamic-tool", "toolCallId": 1, "state": []},
            ]
        },
    ],
    ids=["empty", "no parts", "broken parts"],
)
async def test_a_forged_message_does_not_disturb_the_turn(message: Any) -> None:
    recorder = Recorder(continued=message)
    await agent(ScriptedModel(scripts=[calls(PARIS), says("Warm")]), [weather]).ainvoke(
        USER, recorder.config
    )

    assert states(recorder.sink.message()) == {"c1": "output-available"}


async def test_a_call_whose_input_never_came_is_not_answered_later() -> None:
    part = {
        "type": "tool-weather",
        "toolCallId": "c1",
        "state": "input-streaming",
        "input": {"city": "P"},
    }
    recorder = Recorder(continued={"parts": [part]})
    await agent(ScriptedModel(scripts=[calls(PARIS), says("Warm")]), [weather]).ainvoke(
        USER, recorder.config
    )

    assert [line.split()[1] for line in outline(recorder.sink.ended()) if "available" in line] == [
        "c1#2",
        "c1#2",
    ]


async def test_an_edited_call_is_shown_before_its_result() -> None:
    graph, recorder = careful([calls(PARIS), says("Done")]), Recorder()
    await run(graph, USER, recorder)
    edited = {"type": "edit", "edited_action": {"name": "weather", "args": {"city": "Rome"}}}
    await run(graph, Command(resume={"decisions": [edited]}), recorder)

    (part,) = [part for part in recorder.sink.message()["parts"] if part.get("toolCallId") == "c1"]
    assert (part["input"], part["output"]) == ({"city": "Rome"}, {"city": "Rome", "temp": 21})


async def test_input_that_a_client_has_changed_is_shown_as_the_user_was_asked() -> None:
    graph, first = careful([calls(PARIS), says("Done")]), Recorder()
    await run(graph, USER, first)
    forged = answered(first.sink.message(), c1=True)
    next(part for part in forged["parts"] if part.get("toolCallId") == "c1")["input"] = {
        "city": "Rome"
    }

    second = Recorder(continued=forged)
    await run(graph, Command(resume=resume_value([forged])), second)

    assert "tool-input-available c1 weather {'city': 'Paris'}" in outline(second.sink.ended())


def test_a_call_that_was_answered_before_the_user_decided_may_run_again() -> None:
    mapper, chain, node, first, second = (
        LangChainMapper(AgentMessage(), Runs()),
        *(uuid4() for _ in range(4)),
    )
    question = Interrupt({"action_requests": [{"name": "look", "args": {}}]}, id="i1")
    mapper.run_start("chain", chain)
    mapper.run_start("chain", node, chain)
    mapper.tool_start(first, chain, None, "look", "c1", {})
    asked = mapper.run_error(node, GraphInterrupt([question]))
    done = mapper.tool_end(first, "seen")

    assert [chunk["type"] for chunk in asked] == ["tool-approval-request", "data-interrupt"]
    assert [chunk["type"] for chunk in done] == ["tool-output-available"]
    assert mapper.tool_start(second, chain, None, "look", "c1", {}) == []
    assert mapper.tool_end(second, "seen again") == []

"""The choice of runs to show, and how they are shown.

T and M: rows of the integration reference.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool

from tests.langchain.one_model import new_mapper
from tests.langchain.recording import LAST_STEP, Recorder
from tests.langchain.scripted import USER, ScriptedModel, agent, broken, calls, says, weather


def asking_tool(inner: ScriptedModel) -> BaseTool:
    @tool
    async def ask(question: str) -> str:
        """Ask another model."""
        return (await inner.ainvoke(question)).text

    return ask


async def test_t10_a_model_inside_a_tool_is_hidden() -> None:
    recorder = Recorder()
    inner = ScriptedModel(scripts=[says("inner", tokens=3)])
    asked = calls(("call_1", "ask", '{"question":"why"}'))
    await agent(
        ScriptedModel(scripts=[asked, says("outer", tokens=1)]), [asking_tool(inner)]
    ).ainvoke(USER, recorder.config)

    lines = recorder.outline()
    assert [line for line in lines if "delta" in line] == [
        'tool-input-delta call_1 {"question":"why"}',
        "text-delta A:0 outer",
    ]
    assert "tool-output-available call_1 inner" in lines
    assert (
        "message-metadata {'usage': {'inputTokens': 4, 'outputTokens': 4, 'totalTokens': 8}}"
        in lines
    )


async def test_t10_a_model_inside_a_tool_can_be_shown() -> None:
    recorder = Recorder(nested="show")
    inner = ScriptedModel(scripts=[says("inner")])
    asked = calls(("call_1", "ask", '{"question":"why"}'))
    await agent(ScriptedModel(scripts=[asked, says("outer")]), [asking_tool(inner)]).ainvoke(
        USER, recorder.config
    )

    assert [line for line in recorder.outline() if "text-delta" in line] == [
        "text-delta A:0 inner",
        "text-delta B:0 outer",
    ]


async def test_a_caller_may_reveal_why_a_tool_failed() -> None:
    recorder = Recorder(error_text=lambda error: f"told: {error}")
    with pytest.raises(RuntimeError):
        await agent(ScriptedModel(scripts=[calls(("call_1", "broken", "{}"))]), [broken]).ainvoke(
            USER, recorder.config
        )

    assert "tool-output-error call_1 told: secret" in recorder.outline()


async def test_a_function_that_fails_leaves_no_call_without_its_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(given: object) -> str:
        raise ZeroDivisionError

    recorder = Recorder(tool_output=fail, error_text=fail)
    script = [calls(("c1", "weather", '{"city":"Paris"}'), ("c2", "broken", "{}")), says("Sorry")]
    await agent(ScriptedModel(scripts=script), [weather, broken], handle_tool_errors=True).ainvoke(
        USER, recorder.config
    )

    lines = [line for line in recorder.outline() if line.startswith("tool-output")]
    assert sorted(lines) == [
        "tool-output-error c1 The result cannot be shown.",
        "tool-output-error c2 An error occurred.",
    ]
    assert sorted(record.message for record in caplog.records) == [
        "error_text has failed",
        "tool_output has failed",
    ]


async def test_m30_an_agent_inside_a_tool_may_count_its_calls_as_the_one_outside() -> None:
    recorder = Recorder(nested="show")
    inner = agent(
        ScriptedModel(scripts=[calls(("call_1", "weather", '{"city":"Rome"}')), says("inner")]),
        [weather],
    )

    @tool
    async def ask(question: str) -> str:
        """Ask another agent."""
        return str((await inner.ainvoke({"messages": [question]}))["messages"][-1].text)

    asked = calls(("call_1", "ask", '{"question":"why"}'))
    await agent(ScriptedModel(scripts=[asked, says("outer")]), [ask]).ainvoke(USER, recorder.config)

    outputs = [line for line in recorder.outline() if line.startswith("tool-output")]
    assert outputs == [
        "tool-output-available call_1#2 {'city': 'Rome', 'temp': 21}",
        "tool-output-available call_1 inner",
    ]


async def test_t18_a_custom_event_is_data_and_an_id_lets_it_be_replaced() -> None:
    async def work(_: object) -> str:
        await adispatch_custom_event("progress", {"id": "p", "done": 1})
        await adispatch_custom_event("progress", {"id": "p", "done": 2})
        await adispatch_custom_event("note", float("nan"))
        return "done"

    recorder = Recorder()
    await RunnableLambda(work).ainvoke("hi", recorder.config)

    assert recorder.outline() == [
        "start m1",
        "data-progress {'id': 'p', 'done': 1} p",
        "data-progress {'id': 'p', 'done': 2} p",
        "data-note None",
        "finish stop",
    ]


async def test_m11_a_tool_that_no_model_called_is_announced() -> None:
    recorder = Recorder()
    await weather.ainvoke({"city": "Paris"}, recorder.config)

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "tool-input-available A weather {'city': 'Paris'}",
        "tool-output-available A {'city': 'Paris', 'temp': 21}",
        "finish-step",
        *LAST_STEP,
        "finish stop",
    ]


async def test_m30_a_call_id_that_is_used_again_is_another_call() -> None:
    recorder = Recorder()
    paris, rome = (
        calls(("call_1", "weather", f'{{"city":"{city}"}}')) for city in ("Paris", "Rome")
    )
    await agent(ScriptedModel(scripts=[paris, rome, says("Warm")]), [weather]).ainvoke(
        USER, recorder.config
    )

    assert [line for line in recorder.outline() if "output" in line] == [
        "tool-output-available call_1 {'city': 'Paris', 'temp': 21}",
        "tool-output-available call_1#2 {'city': 'Rome', 'temp': 21}",
    ]


async def test_m30_calls_without_an_id_get_one() -> None:
    recorder = Recorder()
    chunks = [
        tool_call_chunk(name="weather", args='{"city":"Paris"}', id=None, index=index)
        for index in (0, 1)
    ]
    await ScriptedModel(scripts=[[AIMessageChunk("", tool_call_chunks=chunks)]]).ainvoke(
        "hi", recorder.config
    )

    assert [line for line in recorder.outline() if "tool" in line] == [
        "tool-input-available A:call-1 weather {'city': 'Paris'}",
        "tool-input-available A:call-2 weather {'city': 'Paris'}",
        "message-metadata {'finishReason': 'tool-calls'}",
        "finish tool-calls",
    ]


async def test_one_chain_after_another_makes_one_message() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[says("one", reason="length", tokens=1), says("two", tokens=2)])
    await model.ainvoke("hi", recorder.config)
    await model.ainvoke("hi", recorder.config)

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "text-start A:0",
        "text-delta A:0 one",
        "text-end A:0",
        "message-metadata {'finishReason': 'length', "
        "'usage': {'inputTokens': 1, 'outputTokens': 1, 'totalTokens': 2}}",
        "finish-step",
        "start-step",
        "text-start B:0",
        "text-delta B:0 two",
        "text-end B:0",
        "message-metadata {'finishReason': 'stop', "
        "'usage': {'inputTokens': 3, 'outputTokens': 3, 'totalTokens': 6}}",
        "finish-step",
        "finish stop",
    ]


@pytest.mark.parametrize("tag", ["nostream", "langsmith:hidden", "private"])
async def test_m21_a_hidden_run_shows_nothing_and_its_tokens_count(tag: str) -> None:
    recorder = Recorder(exclude_tags=["private"])
    await ScriptedModel(scripts=[says("x", reason="length", tokens=1)]).ainvoke(
        "hi", {**recorder.config, "tags": [tag]}
    )

    assert recorder.outline() == [
        "start m1",
        "message-metadata {'usage': {'inputTokens': 1, 'outputTokens': 1, 'totalTokens': 2}}",
        "finish stop",
    ]


async def test_m21_what_a_hidden_run_starts_is_hidden() -> None:
    recorder = Recorder(exclude_tags=["private"])
    chain = (ScriptedModel(scripts=[says("x")]) | StrOutputParser()).with_config(tags=["private"])
    await (RunnableLambda(lambda value: value) | chain).ainvoke("hi", recorder.config)

    assert recorder.outline() == ["start m1", "finish stop"]


async def test_m21_a_predicate_picks_the_models_to_show() -> None:
    recorder = Recorder(include=lambda tags, metadata: metadata.get("role") == "answer")
    for role in ("plan", "answer"):
        await ScriptedModel(scripts=[says(role)]).ainvoke(
            "hi", {**recorder.config, "metadata": {"role": role}}
        )

    assert [line for line in recorder.outline() if "delta" in line] == ["text-delta A:0 answer"]


async def test_a_caller_may_choose_how_a_result_is_shown() -> None:
    recorder = Recorder(tool_output=lambda message: {"shown": message.name})
    model = ScriptedModel(scripts=[calls(("call_1", "weather", '{"city":"Paris"}')), says("Warm")])
    await agent(model, [weather]).ainvoke(USER, recorder.config)

    assert "tool-output-available call_1 {'shown': 'weather'}" in recorder.outline()


async def test_a_cancelled_chain_leaves_nothing_open_behind_it() -> None:
    recorder = Recorder()
    endless = ScriptedModel(scripts=[[AIMessageChunk("half"), 60.0]])
    task = asyncio.create_task((RunnableLambda(str) | endless).ainvoke("hi", recorder.config))
    await recorder.sink.until("text-delta")
    task.cancel()
    await asyncio.wait([task])
    await ScriptedModel(scripts=[says("next")]).ainvoke("hi", recorder.config)

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "text-start A:0",
        "text-delta A:0 half",
        "text-end A:0",
        "finish-step",
        "start-step",
        "text-start B:0",
        "text-delta B:0 next",
        "text-end B:0",
        "finish-step",
        "finish stop",
    ]


def test_runs_below_a_cancelled_chain_end_in_the_order_in_which_they_began() -> None:
    mapper, chain, models = new_mapper(), uuid4(), [uuid4() for _ in range(8)]
    mapper.run_start("chain", chain)
    for model in models:
        mapper.model_start(model, chain)
        mapper.token(model, "half", None)
    chunks = mapper.run_error(chain, asyncio.CancelledError())

    ended = [chunk["id"] for chunk in chunks if chunk["type"] == "text-end"]
    assert ended == [f"{model}:0" for model in models]


async def test_one_handler_in_two_places_records_once() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[says("Hel", "lo")], callbacks=[recorder.handler])
    await model.ainvoke("hi", recorder.config)

    assert [line for line in recorder.outline() if "delta" in line] == [
        "text-delta A:0 Hel",
        "text-delta A:0 lo",
    ]

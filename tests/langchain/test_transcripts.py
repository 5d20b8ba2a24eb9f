"""The chunks recorded for each kind of run. T and M: rows of the integration reference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableParallel
from langchain_core.tools import BaseTool, tool

from tests.langchain.recording import LAST_STEP, Recorder
from tests.langchain.scripted import (
    USER,
    ScriptedModel,
    SilentModel,
    agent,
    broken,
    calls,
    clock,
    says,
    weather,
)

HELLO = [
    "start m1",
    "start-step",
    "text-start A:0",
    "text-delta A:0 Hel",
    "text-delta A:0 lo",
    "text-end A:0",
    "finish-step",
    "finish stop",
]


async def test_t2_a_model_that_is_invoked_streams() -> None:
    recorder = Recorder()
    await ScriptedModel(scripts=[says("Hel", "lo")]).ainvoke("hi", recorder.config)

    assert recorder.outline() == HELLO


async def test_t1_without_forced_streaming_an_invoked_model_speaks_once() -> None:
    recorder = Recorder(force_streaming=False)
    await ScriptedModel(scripts=[says("Hel", "lo")]).ainvoke("hi", recorder.config)

    assert [line for line in recorder.outline() if "delta" in line] == ["text-delta A:0 Hello"]


@pytest.mark.parametrize("force_streaming", [True, False])
async def test_t4_a_streamed_model_is_recorded_as_it_speaks(force_streaming: bool) -> None:
    recorder = Recorder(force_streaming=force_streaming)
    async for _ in ScriptedModel(scripts=[says("Hel", "lo")]).astream("hi", recorder.config):
        pass

    assert recorder.outline() == HELLO


async def test_a_sync_call_in_a_thread_is_recorded_alike() -> None:
    recorder = Recorder()
    await asyncio.to_thread(
        ScriptedModel(scripts=[says("Hel", "lo")]).invoke, "hi", recorder.config
    )

    assert recorder.outline() == HELLO


async def test_t6_a_model_that_cannot_stream_is_recorded_when_it_is_done() -> None:
    recorder = Recorder()
    await SilentModel(
        scripts=[
            [
                AIMessageChunk(
                    [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Hi"}]
                )
            ]
        ]
    ).ainvoke("hi", recorder.config)

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "reasoning-start A:0",
        "reasoning-delta A:0 hm",
        "reasoning-end A:0",
        "text-start A:1",
        "text-delta A:1 Hi",
        "text-end A:1",
        "finish-step",
        "finish stop",
    ]


async def test_t7_only_the_model_of_a_chain_is_recorded() -> None:
    recorder = Recorder()
    chain = (
        ChatPromptTemplate.from_template("{topic}")
        | ScriptedModel(scripts=[says("Hel", "lo")])
        | StrOutputParser()
    )
    async for _ in chain.astream({"topic": "x"}, recorder.config):
        pass

    assert recorder.outline() == HELLO


@pytest.mark.parametrize("sync", [False, True], ids=["ainvoke", "invoke in a thread"])
async def test_t8_an_agent_with_two_tools_at_once(sync: bool) -> None:
    recorder = Recorder()
    asked = calls(("call_1", "weather", '{"city":"Paris"}'), ("call_2", "clock", '{"zone":"UTC"}'))
    tools: list[BaseTool] = (
        [tool(name)(_sync(name)) for name in ("weather", "clock")] if sync else [weather, clock]
    )
    graph = agent(ScriptedModel(scripts=[asked, says("Warm")]), tools)
    if sync:
        await asyncio.to_thread(graph.invoke, USER, recorder.config)
    else:
        await graph.ainvoke(USER, recorder.config)

    lines = recorder.outline()
    assert sorted(lines[8:10]) == [
        "tool-output-available call_1 {'city': 'Paris', 'temp': 21}",
        "tool-output-available call_2 12:00 UTC",
    ]
    assert lines[:8] + lines[10:] == [
        "start m1",
        "start-step",
        "tool-input-start call_1 weather",
        'tool-input-delta call_1 {"city":"Paris"}',
        "tool-input-start call_2 clock",
        'tool-input-delta call_2 {"zone":"UTC"}',
        "tool-input-available call_1 weather {'city': 'Paris'}",
        "tool-input-available call_2 clock {'zone': 'UTC'}",
        "finish-step",
        "start-step",
        "text-start A:0",
        "text-delta A:0 Warm",
        "text-end A:0",
        "finish-step",
        "finish stop",
    ]


def _sync(name: str) -> Any:
    def weather(city: str) -> dict[str, Any]:
        """Tell the weather."""
        return {"city": city, "temp": 21}

    def clock(zone: str) -> str:
        """Tell the time."""
        return f"12:00 {zone}"

    return {"weather": weather, "clock": clock}[name]


async def test_t9_parallel_models_share_a_step_and_no_part() -> None:
    recorder = Recorder()
    models = {
        name: ScriptedModel(scripts=[[AIMessageChunk(name), 0.0, AIMessageChunk(name)]])
        for name in ("a", "b")
    }
    async for _ in RunnableParallel(**models).astream("hi", recorder.config):
        pass

    lines = recorder.outline()
    assert [line for line in lines if "step" in line] == ["start-step", "finish-step"]
    texts = {
        part: "".join(line.split()[-1] for line in lines if line.startswith(f"text-delta {part}"))
        for part in ("A:0", "B:0")
    }
    assert sorted(texts.values()) == ["aa", "bb"]


async def test_t11_a_retry_speaks_in_a_step_of_its_own() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[[AIMessageChunk("par"), ConnectionError()], says("whole")])
    await model.with_retry(wait_exponential_jitter=False).ainvoke("hi", recorder.config)

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "text-start A:0",
        "text-delta A:0 par",
        "text-end A:0",
        "reset-step",
        "finish-step",
        "start-step",
        "text-start B:0",
        "text-delta B:0 whole",
        "text-end B:0",
        "finish-step",
        "finish stop",
    ]


async def test_t12_a_fallback_speaks_in_a_step_of_its_own() -> None:
    recorder = Recorder()
    half = calls(("call_1", "weather", '{"city'))[:-1]
    model = ScriptedModel(scripts=[[*half, ConnectionError()]]).with_fallbacks(
        [ScriptedModel(scripts=[says("whole")])]
    )
    await model.ainvoke("hi", recorder.config)

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "tool-input-start call_1 weather",
        'tool-input-delta call_1 {"city',
        'tool-input-error call_1 weather {"city The call was not completed.',
        "reset-step",
        "finish-step",
        "start-step",
        "text-start A:0",
        "text-delta A:0 whole",
        "text-end A:0",
        "finish-step",
        "finish stop",
    ]


async def test_t13_a_tool_that_fails_ends_its_call_without_revealing_why() -> None:
    recorder = Recorder()
    graph = agent(ScriptedModel(scripts=[calls(("call_1", "broken", "{}"))]), [broken])
    with pytest.raises(RuntimeError):
        await graph.ainvoke(USER, recorder.config)

    assert recorder.outline()[-8:] == [
        "tool-input-available call_1 broken {}",
        "tool-output-error call_1 An error occurred.",
        "message-metadata {'finishReason': 'tool-calls'}",
        "finish-step",
        *LAST_STEP,
        "finish tool-calls",
    ]


async def test_t13_arguments_that_do_not_fit_are_an_error_and_the_model_goes_on() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[calls(("call_1", "weather", '{"town":"Paris"}')), says("Sorry")])
    await agent(model, [weather]).ainvoke(USER, recorder.config)

    lines = recorder.outline()
    assert "tool-output-error call_1 An error occurred." in lines
    assert lines[-3:] == ["text-end A:0", "finish-step", "finish stop"]


async def test_t14_a_call_of_an_unknown_tool_is_answered_by_the_node() -> None:
    recorder = Recorder()
    model = ScriptedModel(scripts=[calls(("call_1", "missing", "{}")), says("Sorry")])
    await agent(model, [weather]).ainvoke(USER, recorder.config)

    answers = [line for line in recorder.outline() if line.startswith("tool-output-error call_1")]
    assert len(answers) == 1
    assert "missing is not a valid tool" in answers[0]


async def test_t15_arguments_that_are_no_json_are_an_input_error() -> None:
    recorder = Recorder()
    await ScriptedModel(scripts=[calls(("call_1", "weather", "Paris"))]).ainvoke(
        "hi", recorder.config
    )

    assert (
        "tool-input-error call_1 weather Paris The arguments of the call are not valid."
        in recorder.outline()
    )


async def test_t15_truncated_arguments_are_given_as_langchain_repairs_them() -> None:
    recorder = Recorder()
    await ScriptedModel(scripts=[calls(("call_1", "weather", '{"city":"Par'))]).ainvoke(
        "hi", recorder.config
    )

    assert "tool-input-available call_1 weather {'city': 'Par'}" in recorder.outline()

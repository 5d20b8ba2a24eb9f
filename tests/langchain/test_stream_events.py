"""LangChain's `v3` events. T and L: rows of the integration reference."""

from __future__ import annotations

import warnings
from typing import Any

from langchain_core._api import LangChainBetaWarning
from langchain_core.messages import AIMessageChunk

from tests.langchain.recording import Recorder
from tests.langchain.scripted import ScriptedModel, TalkativeModel, calls, says


async def v3_stream(model: ScriptedModel, config: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        return await model.astream_events("hi", config, version="v3")


async def test_events_and_tokens_of_one_model_are_not_recorded_twice() -> None:
    """L21: on the newer streaming path a provider that reports tokens itself fires both."""
    recorder = Recorder()
    model = TalkativeModel(scripts=[[*says("Hel", "lo")]])
    stream = await v3_stream(model, recorder.config)
    await stream.output
    await recorder.sink.until("text-end")

    assert [line for line in recorder.outline() if "delta" in line] == [
        "text-delta A:0 Hel",
        "text-delta A:0 lo",
    ]


async def test_t5_the_newer_streaming_path_is_recorded() -> None:
    recorder = Recorder()
    script = [
        AIMessageChunk([{"type": "reasoning", "reasoning": "hm", "index": "rs_1"}]),
        *calls(("call_1", "weather", '{"city":"Paris"}')),
    ]
    stream = await v3_stream(ScriptedModel(scripts=[script]), recorder.config)
    await stream.output
    await recorder.sink.until("message-metadata")

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "reasoning-start A:0",
        "reasoning-delta A:0 hm",
        "reasoning-end A:0",
        "tool-input-start call_1 weather",
        'tool-input-delta call_1 {"city":"Paris"}',
        "tool-input-available call_1 weather {'city': 'Paris'}",
        "message-metadata {'finishReason': 'tool-calls'}",
        "finish-step",
        "finish tool-calls",
    ]

"""Tools that the model's provider runs. M: rows of the integration reference."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from monostream_ai import create_service
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.ui_messages import UIMessageProtocol
from tests.langchain.one_model import call, said
from tests.langchain.scripted import ScriptedModel


def test_m7_a_tool_that_the_provider_runs_is_shown_with_its_result() -> None:
    asked = {
        "type": "server_tool_call",
        "id": "srv_1",
        "name": "web_search",
        "args": {"query": "x"},
    }
    answered = {
        "type": "server_tool_result",
        "tool_call_id": "srv_1",
        "status": "success",
        "output": [1],
    }

    assert said(AIMessageChunk([asked, answered]), AIMessageChunk("so"))[:2] == [
        "tool-input-available srv_1 True web_search {'query': 'x'}",
        "tool-output-available srv_1 True [1]",
    ]


def test_m7_a_result_may_lack_its_output() -> None:
    asked = {"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {}}
    answered = {"type": "server_tool_result", "tool_call_id": "srv_1", "status": "success"}

    assert "tool-output-available srv_1 True None" in said(AIMessageChunk([asked, answered]))


def test_m7_a_call_that_the_provider_streams_is_whole_when_its_result_comes() -> None:
    start = {
        "type": "server_tool_call_chunk",
        "id": "srv_1",
        "name": "web_search",
        "args": "",
        "index": 0,
    }
    more = {"type": "server_tool_call_chunk", "args": '{"query":"x"}', "index": 0}
    answered = {
        "type": "server_tool_result",
        "tool_call_id": "srv_1",
        "status": "success",
        "output": [1],
        "index": 1,
    }

    assert said(
        *(AIMessageChunk([piece]) for piece in (start, more, answered)), last=AIMessage("")
    ) == [
        "tool-input-start srv_1 True web_search",
        'tool-input-delta srv_1 {"query":"x"}',
        "tool-input-available srv_1 True web_search {'query': 'x'}",
        "tool-output-available srv_1 True [1]",
    ]


def test_m7_a_call_of_the_provider_without_a_result_ends_without_one() -> None:
    start = {
        "type": "server_tool_call_chunk",
        "id": "srv_1",
        "name": "web_search",
        "args": "{}",
        "index": 0,
    }
    whole = {"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {}}

    assert said(AIMessageChunk([start]), last=AIMessage([whole]))[2:] == [
        "tool-input-available srv_1 True web_search {}",
        "tool-output-available srv_1 True None",
    ]


def test_m7_a_tool_that_fails_at_the_provider_is_an_error_without_its_text() -> None:
    asked = {"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {}}
    answered = {
        "type": "server_tool_result",
        "tool_call_id": "srv_1",
        "status": "error",
        "output": "secret",
    }

    assert (
        said(AIMessageChunk([asked, answered]))[1]
        == "tool-output-error srv_1 True The tool failed."
    )


def test_the_provider_and_the_program_may_use_the_same_call_id() -> None:
    theirs = {
        "type": "server_tool_call_chunk",
        "id": "srv_1",
        "name": "web_search",
        "args": "{}",
        "index": 0,
    }
    last = AIMessage(
        [{"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {}}],
        tool_calls=[{"id": "call_1", "name": "weather", "args": {}}],
    )

    lines = said(AIMessageChunk([theirs]), call(0, "call_1", "weather", "{}"), last=last)
    assert [line for line in lines if "available" in line] == [
        "tool-input-available srv_1 True web_search {}",
        "tool-input-available call_1 weather {}",
        "tool-output-available srv_1 True None",
    ]


async def test_the_error_of_a_providers_tool_is_counted() -> None:
    asked = {"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {}}
    answered = {"type": "server_tool_result", "tool_call_id": "srv_1"}
    blocks: Any = [asked, {**answered, "status": "error", "output": "secret"}]
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        async with service.publisher("chat") as pub:
            config: Any = {"callbacks": [StreamCallbackHandler(pub)]}
            await ScriptedModel(scripts=[[AIMessageChunk(blocks)]]).ainvoke("hi", config)

        assert service.statistics().unread == {"langchain": 1}


@pytest.mark.parametrize("codes", ["ab", "aa"])
@pytest.mark.parametrize("outputs", ["12", "11"])
@pytest.mark.parametrize("streams", [True, False])
def test_code_of_gemini_without_ids_gets_its_own_result(
    codes: str, outputs: str, streams: bool
) -> None:
    blocks = [
        *({"type": "executable_code", "executable_code": code} for code in codes),
        *(
            {"type": "code_execution_result", "code_execution_result": output, "outcome": 1}
            for output in outputs
        ),
    ]
    metadata = {"model_provider": "google_genai"}
    content: Any = blocks
    whole = AIMessageChunk(content, response_metadata=metadata)
    pieces = [AIMessageChunk([each], response_metadata=metadata) for each in blocks]
    lines = said(*(pieces if streams else [AIMessageChunk("")]), last=whole)

    calls = [line.split()[1] for line in lines if line.startswith("tool-input-available")]
    results = [line.split() for line in lines if line.startswith("tool-output-available")]
    assert [line[1] for line in results] == calls
    assert [line[-1] for line in results] == list(outputs)

"""The chunks of Pydantic AI's adapter, recorded as they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.pydantic_ai import ResponseFailed, TruncatedStream, capture, consume
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.filing import LARGE_BASE64, Shelf

Service = DurableStreamService[Chunk]

QUESTION: Final = json.dumps(
    {
        "id": "1",
        "trigger": "submit-message",
        "messages": [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
    }
).encode()


async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """Think, call a tool, and then speak."""
    if len(messages) == 1:
        yield {0: DeltaThinkingPart(content="I should ask.")}
        yield {1: DeltaToolCall(name="ask", json_args='{"city": "Ro')}
        yield {1: DeltaToolCall(json_args='me"}')}
    else:
        yield "It is "
        yield "sunny."


async def fail(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    yield "Hel"
    raise RuntimeError("the password is 1234")


def adapter_of(function: Any, result: Any = "sunny") -> VercelAIAdapter[Any, Any]:
    agent = Agent(FunctionModel(stream_function=function))

    @agent.tool_plain
    def ask(city: str) -> Any:
        return result

    run_input = VercelAIAdapter.build_run_input(QUESTION)
    return VercelAIAdapter(agent, run_input, sdk_version=6)


async def message_of(service: Service) -> dict[str, Any]:
    return reduce_chunks(await service.chunks("chat"))


async def test_the_message_is_the_one_that_the_adapter_makes(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        seen = [chunk async for chunk in capture(adapter_of(answer).run_stream(), pub)]

    sent = [json.loads(chunk.encode(6)) for chunk in seen if chunk.type != "done"]
    message = await message_of(service)
    assert message["parts"] == reduce_chunks(sent)["parts"]
    assert message["id"] == "m1"
    assert [part["type"] for part in message["parts"]] == [
        "step-start",
        "reasoning",
        "tool-ask",
        "step-start",
        "text",
    ]
    assert (await service.chunks("chat"))[-1]["type"] == "finish"


async def test_a_tool_that_returns_none_has_a_result(service: Service) -> None:
    async with service.publisher("chat") as pub:
        await consume(adapter_of(answer, None).run_stream(), pub)

    [call] = [part for part in (await message_of(service))["parts"] if "toolCallId" in part]
    assert call["state"] == "output-available"


async def test_a_run_that_fails_is_an_error_whose_text_stays_here(service: Service) -> None:
    with pytest.raises(ResponseFailed, match="the password is 1234"):
        async with service.publisher("chat") as pub:
            await consume(adapter_of(fail).run_stream(), pub)

    chunks = await service.chunks("chat")
    assert chunks[-1]["type"] == "error"
    assert "1234" not in json.dumps(chunks)
    assert "Hel" in json.dumps(chunks)


async def test_events_that_are_no_chunks_are_refused_by_name(service: Service) -> None:
    agent = Agent(FunctionModel(stream_function=answer))

    @agent.tool_plain
    def ask(city: str) -> str:
        return "sunny"

    with pytest.raises(InvalidArgument, match=r"adapter.run_stream\(\)"):
        async with service.publisher("chat") as pub:
            await consume(agent.run_stream_events("Hi"), pub)


async def test_the_events_of_a_run_pass_through_the_adapter(service: Service) -> None:
    adapter = adapter_of(answer)
    async with service.publisher("chat") as pub:
        await consume(adapter.transform_stream(adapter.run_stream_native()), pub)

    assert (await message_of(service))["parts"][-1]["text"] == "It is sunny."


async def test_chunks_that_break_off_are_not_a_whole_answer(service: Service) -> None:
    chunks = [{"type": "start"}, {"type": "text-start", "id": "1"}]
    with pytest.raises(TruncatedStream):
        async with service.publisher("chat") as pub:
            await consume(chunks, pub)


async def test_a_run_that_was_cancelled_is_no_answer(service: Service) -> None:
    with pytest.raises(ResponseFailed, match="abort"):
        async with service.publisher("chat") as pub:
            await consume([{"type": "start"}, {"type": "abort"}, {"type": "done"}], pub)


async def test_a_large_file_is_stored_by_the_hook(service: Service) -> None:
    file = {"type": "file", "url": f"data:image/png;base64,{LARGE_BASE64}"}
    chunks = [{"type": "start"}, {**file, "mediaType": "image/png"}, {"type": "finish"}]
    async with service.publisher("chat") as pub:
        await consume(chunks, pub, files=Shelf())

    [part] = (await message_of(service))["parts"]
    assert part["url"] == "https://files.test/1"

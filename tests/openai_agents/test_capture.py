"""Runs of the OpenAI Agents SDK, whose model is a server on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import (
    Agent,
    MaxTurnsExceeded,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    ToolOutputImage,
    function_tool,
)
from openai import AsyncOpenAI

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.openai_agents import capture, consume
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.filing import LARGE, LARGE_BASE64, Shelf
from tests.openai.recordings import events_of
from tests.openai.storing import check_message
from tests.openai_agents.responses import Events, calling, saying

Service = DurableStreamService[Chunk]

QUIET = RunConfig(tracing_disabled=True)


@asynccontextmanager
async def model_of(*answers: Events) -> AsyncIterator[OpenAIResponsesModel]:
    """A model whose server gives these answers, one for each request."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in waiting.pop(0)).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:
            yield OpenAIResponsesModel("gpt-5", client)


@function_tool
def weather(city: str) -> dict[str, Any]:
    """Tell the weather."""
    return {"city": city, "degrees": 21}


async def message_of(service: Service) -> dict[str, Any]:
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


def kinds(message: dict[str, Any]) -> Sequence[str]:
    return [part["type"] for part in message["parts"]]


async def test_a_run_with_a_tool_is_one_message(service: Service) -> None:
    answers = (calling("c1", "weather", '{"city": "Rome"}'), saying("It is warm."))
    async with model_of(*answers) as model:
        run = Runner.run_streamed(
            Agent("Guide", tools=[weather], model=model), "Hi", run_config=QUIET
        )
        async with service.publisher("chat") as pub:
            seen = [event.type async for event in capture(run, pub)]

    message = await message_of(service)
    assert kinds(message) == ["step-start", "dynamic-tool", "step-start", "text"]
    assert message["parts"][1]["output"] == {"city": "Rome", "degrees": 21}
    assert message["metadata"]["usage"]["totalTokens"] == 30
    assert message["metadata"]["finishReason"] == "stop"
    assert "run_item_stream_event" in seen


async def test_a_hand_off_is_a_call_with_a_result_and_names_the_agent(service: Service) -> None:
    answers = (calling("c1", "transfer_to_cook", "{}"), saying("Boil it."))
    async with model_of(*answers) as model:
        agent = Agent("Guide", handoffs=[Agent("Cook", model=model)], model=model)
        async with service.publisher("chat") as pub:
            await consume(Runner.run_streamed(agent, "Hi", run_config=QUIET), pub)

    message = await message_of(service)
    [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert (call["toolName"], call["state"]) == ("transfer_to_cook", "output-available")
    assert [part["data"] for part in message["parts"] if part["type"] == "data-agent"] == [
        {"name": "Cook"}
    ]
    assert message["parts"][-1]["text"] == "Boil it."


async def test_a_run_that_the_sdk_ends_is_an_error(service: Service) -> None:
    async with model_of(calling("c1", "weather", '{"city": "Rome"}')) as model:
        agent = Agent("Guide", tools=[weather], model=model)
        with pytest.raises(MaxTurnsExceeded):
            async with service.publisher("chat") as pub:
                run = Runner.run_streamed(agent, "Hi", max_turns=1, run_config=QUIET)
                await consume(run, pub)

    assert (await service.chunks("chat"))[-1]["type"] == "error"


async def test_events_of_a_model_are_refused_by_name(service: Service) -> None:
    with pytest.raises(InvalidArgument, match="monostream_ai.openai"):
        async with service.publisher("chat") as pub:
            await consume(events_of("responses/text"), pub)


async def test_a_tool_that_was_approved_goes_on_in_the_same_message(service: Service) -> None:
    @function_tool(name_override="weather", needs_approval=True)
    def asking(city: str) -> str:
        return "warm"

    answers = (calling("c1", "weather", '{"city": "Rome"}'), saying("It is warm."))
    async with model_of(*answers) as model:
        agent = Agent("Guide", tools=[asking], model=model)
        async with service.publisher("chat") as pub:
            run = Runner.run_streamed(agent, "Hi", run_config=QUIET)
            await consume(run, pub)
            [waiting] = run.interruptions
            state = run.to_state()
            state.approve(waiting)
            await consume(Runner.run_streamed(agent, state, run_config=QUIET), pub)

    message = await message_of(service)
    assert kinds(message) == ["step-start", "dynamic-tool", "step-start", "text"]
    assert message["parts"][1]["output"] == "warm"


async def test_an_image_of_a_tool_is_stored_by_the_hook(service: Service) -> None:
    @function_tool
    def look() -> ToolOutputImage:
        """Look."""
        return ToolOutputImage(image_url=f"data:image/png;base64,{LARGE_BASE64}")

    shelf = Shelf()
    async with model_of(calling("c1", "look", "{}"), saying("I see.")) as model:
        run = Runner.run_streamed(Agent("Guide", tools=[look], model=model), "Hi", run_config=QUIET)
        async with service.publisher("chat") as pub:
            await consume(run, pub, files=shelf)
    message = await message_of(service)
    assert [part["url"] for part in message["parts"] if part["type"] == "file"] == [
        "https://files.test/1"
    ]
    assert shelf.files == [(LARGE, "image/png")]
    assert LARGE_BASE64[:100] not in str(message)

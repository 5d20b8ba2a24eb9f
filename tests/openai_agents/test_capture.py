"""Runs of the OpenAI Agents SDK, whose model is a server on this machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import (
    Agent,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
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
from tests.event_server import event_server
from tests.filing import LARGE, LARGE_BASE64, Shelf
from tests.openai.recordings import events_of
from tests.openai.storing import check_message
from tests.openai_agents.responses import Events, calling, saying

Service = DurableStreamService[Chunk]

QUIET = RunConfig(tracing_disabled=True)


@asynccontextmanager
async def client_of(*answers: Events) -> AsyncIterator[AsyncOpenAI]:
    """A client whose server gives these answers, one for each request."""
    waiting = list(answers)

    def next_body() -> bytes:
        return "".join(f"data: {json.dumps(event)}\n\n" for event in waiting.pop(0)).encode()

    async with event_server(next_body) as url:
        async with AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0) as client:
            yield client


@asynccontextmanager
async def model_of(*answers: Events) -> AsyncIterator[OpenAIResponsesModel]:
    async with client_of(*answers) as client:
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


def chat(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": fields, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"} | {
        "choices": [choice]
    }


async def run_of_chats(service: Service, *answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message of a run whose model speaks by chat completions."""
    async with client_of(*answers) as client, service.publisher("chat") as pub:
        model = OpenAIChatCompletionsModel("m", client)
        agent = Agent(name="helper", model=model, tools=[weather])
        await consume(Runner.run_streamed(agent, "Hi", run_config=QUIET), pub)
    return await message_of(service)


async def test_a_text_before_a_call_of_a_chat_is_shown_once(service: Service) -> None:
    """The SDK gives all items of a chat completion the same id."""
    function = {"name": "weather", "arguments": '{"city":"Rome"}'}
    call = {"index": 0, "id": "c1", "type": "function", "function": function}
    message = await run_of_chats(
        service,
        [chat(content="I look."), chat(tool_calls=[call]), chat("tool_calls")],
        [chat(content="Warm."), chat("stop")],
    )

    kinds = [part["type"] for part in message["parts"]]
    assert kinds == ["step-start", "text", "dynamic-tool", "step-start", "text"]
    assert message["parts"][1]["text"] == "I look."
    assert "responseId" not in message["metadata"]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_thoughts_and_text_of_a_chat_are_shown_once(service: Service, field: str) -> None:
    message = await run_of_chats(
        service,
        [chat(**{field: "H"}), chat(**{field: "m"}), chat(content="Hi"), chat("stop")],
    )

    said = [(part["type"], part["text"]) for part in message["parts"][1:]]
    assert said == [("reasoning", "Hm"), ("text", "Hi")]
    assert service.statistics().unread == {}

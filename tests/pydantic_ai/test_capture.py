"""The events of a run become the chunks of Pydantic AI's adapter, and these are recorded as is."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import BinaryContent, ImageUrl, ModelMessage, ToolReturn
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.run import AgentRunResultEvent
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.response_types import DataChunk

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.pydantic_ai import ResponseFailed, TruncatedStream, capture, consume
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.event_server import event_server
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


def agent_of(function: Any, result: Any = "sunny", approval: bool = False) -> Agent[Any, Any]:
    agent: Agent[Any, Any] = Agent(
        FunctionModel(stream_function=function), output_type=[str, DeferredToolRequests]
    )

    @agent.tool_plain(requires_approval=approval)
    def ask(city: str) -> Any:
        return result

    return agent


def adapter_of(function: Any, result: Any = "sunny") -> VercelAIAdapter[Any, Any]:
    run_input = VercelAIAdapter.build_run_input(QUESTION)
    return VercelAIAdapter(agent_of(function, result), run_input, sdk_version=6)


async def message_of(service: Service) -> dict[str, Any]:
    return reduce_chunks(await service.chunks("chat"))


PARTS: Final = ["step-start", "reasoning", "tool-ask", "step-start", "text"]


async def test_the_chunks_of_a_run_are_those_of_the_adapter(service: Service) -> None:
    adapter = adapter_of(answer)
    async with service.publisher("chat", message_id="m1") as pub:
        events = [event async for event in capture(agent_of(answer).run_stream_events("Hi"), pub)]

    sent = [
        json.loads(chunk.encode(6)) async for chunk in adapter.run_stream() if chunk.type != "done"
    ]
    chunks = await service.chunks("chat")
    # The finish reason comes with metadata first.
    assert _nameless(chunks[1:-2]) == _nameless(sent[1:-1])
    # This model does not say why it ended.
    assert (chunks[0]["messageId"], chunks[-1]["finishReason"]) == ("m1", "other")
    assert isinstance(events[-1], AgentRunResultEvent)
    assert events[-1].result.output == "It is sunny."


async def test_a_run_that_is_left_in_the_middle_leaves_nothing_to_close(service: Service) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, told: complaints.append(told))
    async with service.publisher("chat") as pub:
        async with capture(agent_of(answer).run_stream_events("Hi"), pub) as events:
            await anext(events)
        del events
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert complaints == []


@pytest.mark.parametrize("told", ["stop", "length"])
async def test_an_answer_ends_for_the_reason_that_the_model_gave(
    service: Service, told: str
) -> None:
    delta = {"role": "assistant", "content": "Hel"}
    choice = {"index": 0, "delta": delta, "finish_reason": told}
    event = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    async with event_server(lambda: b"data: %b\n\n" % json.dumps(event).encode()) as url:
        provider = OpenAIProvider(base_url=url, api_key="none")
        async with service.publisher("chat", message_id="m1") as pub:
            agent = Agent(OpenAIChatModel("m", provider=provider))
            await consume(agent.run_stream_events("Hi"), pub)

    message = await message_of(service)
    assert message["metadata"]["finishReason"] == told
    assert message["parts"][-1]["text"] == "Hel"


async def test_the_chunks_of_the_adapter_are_recorded_as_they_are(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        seen = [chunk async for chunk in capture(adapter_of(answer).run_stream(), pub)]

    sent = [json.loads(chunk.encode(6)) for chunk in seen if chunk.type != "done"]
    message = await message_of(service)
    assert message["parts"] == reduce_chunks(sent)["parts"]
    assert message["id"] == "m1"
    assert [part["type"] for part in message["parts"]] == PARTS
    assert (await service.chunks("chat"))[-1]["type"] == "finish"


async def test_a_tool_that_returns_none_has_a_result(service: Service) -> None:
    async with service.publisher("chat") as pub:
        await consume(agent_of(answer, None).run_stream_events("Hi"), pub)

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


async def test_a_run_that_fails_raises_its_own_error(service: Service) -> None:
    with pytest.raises(RuntimeError, match="the password is 1234"):
        async with service.publisher("chat") as pub:
            await consume(agent_of(fail).run_stream_events("Hi"), pub)

    chunks = await service.chunks("chat")
    assert [chunk["type"] for chunk in chunks[-3:]] == ["text-end", "finish-step", "error"]
    assert "1234" not in json.dumps(chunks)


async def test_leaving_a_run_early_stops_it(service: Service) -> None:
    async with service.publisher("chat") as pub:
        async for _ in capture(agent_of(answer).run_stream_events("Hi"), pub):
            break

    assert (await service.chunks("chat"))[-1]["type"] == "abort"


async def test_an_approved_call_goes_on_in_the_same_message(service: Service) -> None:
    agent = agent_of(answer, approval=True)
    async with service.publisher("chat") as pub:
        events = [event async for event in capture(agent.run_stream_events("Hi"), pub)]
        asked = events[-1].result
        [call] = asked.output.approvals
        answers = DeferredToolResults(approvals={call.tool_call_id: True})
        run = agent.run_stream_events(
            message_history=asked.all_messages(), deferred_tool_results=answers
        )
        await consume(run, pub)

    chunks = await service.chunks("chat")
    assert {"tool-approval-request", "tool-output-available"} <= {each["type"] for each in chunks}
    assert (await message_of(service))["parts"][-1]["text"] == "It is sunny."


async def test_the_nodes_of_a_run_are_recorded_with_its_result(service: Service) -> None:
    agent = agent_of(answer)

    async def events() -> AsyncIterator[Any]:
        async with agent.iter("Hi") as run:
            async for node in run:
                if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                    async with node.stream(run.ctx) as stream:
                        async for event in stream:
                            yield event
            yield AgentRunResultEvent(run.result)

    async with service.publisher("chat") as pub:
        await consume(events(), pub)

    assert [part["type"] for part in (await message_of(service))["parts"]] == PARTS


async def test_events_without_the_result_of_their_run_are_not_a_whole_answer(
    service: Service,
) -> None:
    async with agent_of(answer).run_stream_events("Hi") as run:
        events = [event async for event in run]

    with pytest.raises(TruncatedStream):
        async with service.publisher("chat") as pub:
            await consume(events[:-1], pub)


@pytest.mark.parametrize("event", [object(), {"text": "Hi"}, "Hi"])
async def test_what_is_no_event_is_refused_by_name(service: Service, event: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"run_stream_events|is no chunk"):
        async with service.publisher("chat") as pub:
            await consume([event], pub)


async def test_chunks_that_break_off_are_not_a_whole_answer(service: Service) -> None:
    chunks = [{"type": "start"}, {"type": "text-start", "id": "1"}]
    with pytest.raises(TruncatedStream):
        async with service.publisher("chat") as pub:
            await consume(chunks, pub)


async def test_a_call_whose_id_changes_in_its_input_breaks_no_page(service: Service) -> None:
    """The adapter passes the ids of a server on as they come."""
    called = {"toolCallId": "b", "toolName": "ask", "input": {}}
    chunks = [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "a", "toolName": "ask"},
        {"type": "tool-input-delta", "toolCallId": "b", "inputTextDelta": "{}"},
        {"type": "tool-input-available", **called},
        {"type": "tool-output-available", "toolCallId": "b", "output": 1},
        {"type": "finish-step"},
        {"type": "finish"},
    ]
    async with service.publisher("chat") as pub:
        await consume(chunks, pub)

    calls = [part for part in (await message_of(service))["parts"] if "toolCallId" in part]
    assert [(part["toolCallId"], part["state"]) for part in calls] == [
        ("a", "output-error"),
        ("b", "output-available"),
    ]


@pytest.mark.parametrize("kind", ["text", "reasoning"])
async def test_a_text_without_its_beginning_is_shown(service: Service, kind: str) -> None:
    said = [{"type": f"{kind}-delta", "id": "1", "delta": "Hi"}, {"type": f"{kind}-end", "id": "1"}]
    async with service.publisher("chat") as pub:
        await consume([{"type": "start"}, *said, {"type": "finish"}], pub)

    [part] = (await message_of(service))["parts"]
    assert (part["type"], part["text"]) == (kind, "Hi")


async def test_a_result_without_its_call_is_kept(service: Service) -> None:
    found = {"type": "tool-output-available", "toolCallId": "a", "output": "it"}
    async with service.publisher("chat") as pub:
        await consume([{"type": "start"}, found, {"type": "finish"}], pub)

    [part] = (await message_of(service))["parts"]
    assert (part["type"], part["data"]["value"]["output"]) == ("data-unread", "it")


async def test_a_character_that_a_server_splits_does_not_end_the_run(service: Service) -> None:
    async def halves(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "\ud83d"
        yield "\ude00"

    agent: Any = Agent(FunctionModel(stream_function=halves))
    async with service.publisher("chat") as pub:
        await consume(agent.run_stream_events("Hi"), pub)

    assert json.dumps((await message_of(service))["parts"][-1]["text"]) == json.dumps("😀")


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


async def test_what_a_tool_gives_the_model_besides_its_result_is_shown(service: Service) -> None:
    image = BinaryContent(b"abc", media_type="image/png")
    page = ImageUrl("https://a.test/x.png")
    result = ToolReturn("sunny", content=["Look:", image, page], metadata={"internal": 1})
    async with service.publisher("chat", message_id="m1") as pub:
        await consume(agent_of(answer, result).run_stream_events("Hi"), pub)

    parts = (await message_of(service))["parts"]
    assert [part["url"] for part in parts if part["type"] == "file"] == [
        "data:image/png;base64,YWJj",
        "https://a.test/x.png",
    ]
    [content] = [part["data"] for part in parts if part["type"] == "data-tool-content"]
    [call] = [part for part in parts if part["type"] == "tool-ask"]
    assert content == {"toolCallId": call["toolCallId"], "content": ["Look:"]}
    assert service.statistics().unread == {"pydantic-ai": 1}


@pytest.mark.parametrize(
    ("metadata", "unread"),
    [
        (DataChunk(type="data-x", data=1), {}),
        ([DataChunk(type="data-x", data=1)], {}),
        ([DataChunk(type="data-x", data=1), "other"], {"pydantic-ai": 1}),
        (None, {}),
    ],
)
async def test_only_metadata_that_is_no_chunk_is_counted(
    service: Service, metadata: Any, unread: Any
) -> None:
    result = ToolReturn("sunny", content="plain", metadata=metadata)
    async with service.publisher("chat", message_id="m1") as pub:
        await consume(agent_of(answer, result).run_stream_events("Hi"), pub)

    assert service.statistics().unread == unread


def _nameless(chunks: list[Any]) -> list[Any]:
    """Return chunks without the ids that the adapter makes up, and without the time."""
    return [
        {key: chunk[key] for key in chunk if key not in ("id", "toolCallId", "messageMetadata")}
        for chunk in chunks
    ]

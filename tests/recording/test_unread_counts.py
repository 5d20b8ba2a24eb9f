"""Each value that a capture cannot read is counted by its service, whatever records it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.genai.types import GenerateContentResponse
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.graph import START, MessagesState, StateGraph

from monostream_ai import DurableStreamService, create_service
from monostream_ai import anthropic as anthropic_door
from monostream_ai import google_genai as google_door
from monostream_ai import openai as openai_door
from monostream_ai import openai_agents as agents_door
from monostream_ai.langchain import OwningCallbackHandler, StreamCallbackHandler, record_graph
from monostream_ai.recording import ModelOutput, Recording, consume_stream
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk
from tests.langchain.scripted import ScriptedModel

Service = DurableStreamService[Chunk]

HOLOGRAM = {"type": "hologram", "beam": "blue"}
CHAT = [{"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, {"beam": "blue"}]
CHAT_END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
MESSAGE = {"type": "message_start", "message": {"id": "m", "content": []}}
GEMINI = {"finish_reason": "OTHER", "finish_message": "because", "content": {"parts": []}}
DONE = {"type": "response.completed", "response": {"id": "r", "output": []}}
RUN = [
    {"type": "raw_response_event", "data": {"type": "response.created", "response": {"id": "r"}}},
    HOLOGRAM,
    {"type": "raw_response_event", "data": DONE},
]


class LineMapper:
    """Reads nothing of a line but its end."""

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self._unread = recording.unread("lines")

    def feed(self, event: str) -> list[Chunk]:
        return self.output.finish("stop") if event == "END" else self._unread.keep("line", event)


def model() -> ScriptedModel:
    said: Any = [{**HOLOGRAM, "index": 0}]
    return ScriptedModel(scripts=[[AIMessageChunk(said), AIMessageChunk("Hi")]])


def graph() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("say", lambda state: {"messages": [AIMessage([HOLOGRAM, "Hi"])]})
    builder.add_edge(START, "say")
    return builder.compile()


async def by_handler(pub: Any) -> None:
    await model().ainvoke("Hi", {"callbacks": [StreamCallbackHandler(pub)]})


async def by_handler_in_a_thread(pub: Any) -> None:
    config: Any = {"callbacks": [StreamCallbackHandler(pub)]}
    await asyncio.to_thread(model().invoke, "Hi", config)


async def by_graph(pub: Any) -> None:
    await record_graph(graph().astream({"messages": []}, stream_mode=["messages", "updates"]), pub)


CAPTURES: dict[str, tuple[str, Callable[[Any], Awaitable[None]]]] = {
    "OpenAI": ("openai", lambda pub: openai_door.consume([*CHAT, CHAT_END], pub)),
    "OpenAI, left out": (
        "openai",
        lambda pub: openai_door.consume(
            [CHAT[0], {"choices": [{"index": 1, "delta": {"content": "No"}}]}, CHAT_END], pub
        ),
    ),
    "Anthropic": (
        "anthropic",
        lambda pub: anthropic_door.consume([MESSAGE, HOLOGRAM, {"type": "message_stop"}], pub),
    ),
    "Gemini": (
        "google-genai",
        lambda pub: google_door.consume(
            [GenerateContentResponse.model_validate({"candidates": [GEMINI]})], pub
        ),
    ),
    "Agents": ("openai-agents", lambda pub: agents_door.consume(RUN, pub)),
    "LangChain": ("langchain", by_handler),
    "LangChain in a thread": ("langchain", by_handler_in_a_thread),
    "LangGraph": ("langchain", by_graph),
    "a mapper of one's own": (
        "lines",
        lambda pub: consume_stream(["Hi", "END"], pub, LineMapper),
    ),
}


@pytest.mark.parametrize("name", CAPTURES)
async def test_a_service_counts_what_its_captures_cannot_read(service: Service, name: str) -> None:
    sdk, record = CAPTURES[name]
    for chat in ("one", "two"):
        async with service.publisher(chat) as pub:
            await record(pub)

    assert service.statistics().unread == {sdk: 2}


async def test_a_handler_with_versions_of_its_own_counts_too(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat")
    await model().ainvoke("Hi", {"callbacks": [handler]})
    await handler.aclose()

    assert service.statistics().unread == {"langchain": 1}


async def test_a_successor_counts_too(service: Service) -> None:
    await (await service.publisher("chat").open()).release()

    async with service.successor("chat", 0) as pub:
        await consume_stream(["Hi", "END"], pub, LineMapper)

    assert service.statistics().unread == {"lines": 1}


def test_sync_captures_and_handlers_count_too() -> None:
    services: list[Service] = []

    def make() -> Service:
        services.append(create_service("memory://"))
        return services[0]

    with SyncPublisher(make, "chat") as pub:
        assert list(openai_door.capture_sync([*CHAT, CHAT_END], pub))
        model().invoke("Hi", {"callbacks": [StreamCallbackHandler(pub)]})

    assert services[0].statistics().unread == {"openai": 1, "langchain": 1}

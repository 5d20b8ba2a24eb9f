"""A capture that is given events of another SDK says so, and which capture takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agents.stream_events import AgentUpdatedStreamEvent
from anthropic.types import MessageStopEvent
from google.genai.types import GenerateContentResponse
from langchain_core.messages import AIMessageChunk

from monostream_ai.errors import InvalidArgument
from monostream_ai.openai import TruncatedStream, consume
from tests.openai.storing import Service, stored, texts
from tests.openai.streaming import completed, created

FOREIGN: list[tuple[Callable[[], Any], str]] = [
    (lambda: MessageStopEvent(type="message_stop"), "use monostream_ai.anthropic"),
    (lambda: {"type": "message_start", "message": {}}, "use monostream_ai.anthropic"),
    (lambda: {"type": "content_block_delta"}, "use monostream_ai.anthropic"),
    (lambda: GenerateContentResponse(), "use monostream_ai.google_genai"),
    (lambda: {"candidates": []}, "use monostream_ai.google_genai"),
    (lambda: AIMessageChunk("Hi"), "use monostream_ai.langchain"),
    (lambda: ("messages", (AIMessageChunk("Hi"), {})), "monostream_ai.langchain.record_graph"),
    (lambda: AgentUpdatedStreamEvent(new_agent=Any), "use monostream_ai.openai_agents"),
    (lambda: "Hi", "the last one is str: use monostream_ai.recording.record"),
    (lambda: {"text": "Hi"}, "the last one is dict: use monostream_ai.recording.record"),
]


@pytest.mark.parametrize(("make", "door"), FOREIGN)
async def test_events_of_another_sdk_are_sent_to_its_capture(
    service: Service, make: Callable[[], Any], door: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        async with service.publisher("chat") as pub:
            await consume([make()] * 3, pub)

    assert str(caught.value).startswith("none of 3 events is OpenAI's; ")
    assert door in str(caught.value)
    assert (await stored(service))[-1]["type"] == "error"


async def test_other_events_before_openais_do_not_matter(service: Service) -> None:
    async with service.publisher("chat") as pub:
        last = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
        await consume([{"type": "ping"}, last], pub)

    assert (await stored(service))[-1] == {"type": "finish", "finishReason": "stop"}


async def test_a_stream_without_events_is_truncated(service: Service) -> None:
    with pytest.raises(TruncatedStream):
        async with service.publisher("chat") as pub:
            await consume([], pub)


async def test_an_event_of_no_known_form_in_a_chat_is_kept(service: Service) -> None:
    async with service.publisher("chat") as pub:
        first = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await consume([first, {"hologram": "Ho"}, last], pub)

    kept = [chunk for chunk in await stored(service) if chunk["type"] == "data-unread"]
    assert [chunk["data"]["value"] for chunk in kept] == [{"hologram": "Ho"}]


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_an_event_of_an_unknown_type_is_kept(service: Service, api: str, place: int) -> None:
    events: list[Any] = [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    if api == "responses":
        events = [created(), completed()]
    news = [{"type": "codex.note", "text": "Ho", "sequence_number": 9}, {"type": "keepalive"}]
    async with service.publisher("chat") as pub:
        await consume([*events[:place], *news, *events[place:]], pub)

    kept = [chunk for chunk in await stored(service) if chunk["type"] == "data-unread"]
    assert [chunk["data"]["kind"] for chunk in kept] == ["codex.note"]
    assert [chunk["data"]["value"] for chunk in kept] == [{"text": "Ho"}]
    assert service.statistics().unread == {"openai": 1}


async def test_events_of_a_manager_that_repeat_chunks_are_not_kept(service: Service) -> None:
    async with service.publisher("chat") as pub:
        first = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        repeated = {"type": "content.delta", "delta": "Hi", "snapshot": "Hi"}
        await consume([{"type": "chunk", "chunk": first}, repeated, last], pub)

    assert texts(await stored(service)) == ["Hi"]
    assert service.statistics().unread == {}


async def test_a_loop_that_is_left_at_a_foreign_event_ends_the_version(service: Service) -> None:
    async with service.publisher("chat") as pub:
        await asyncio.sleep(0)
        with pytest.raises(InvalidArgument):
            await consume(["Hi"], pub)

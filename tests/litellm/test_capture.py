"""LiteLLM's streams of several vendors, which a server on this machine answers from recordings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import litellm
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.openai import capture
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.anthropic import recordings as anthropic
from tests.event_server import event_server
from tests.openai import recordings as openai
from tests.openai.storing import check_message

Service = DurableStreamService[Chunk]

# LiteLLM warns of much, none of which is about its streams.
pytestmark = pytest.mark.filterwarnings("ignore")

CHANGED: Final = {
    "chat/nothing": "an answer without an event is whole",
    "chat/reasoning": "thoughts have the field that DeepSeek demands back",
    "chat/refusal": "a refusal is left out",
    "responses/file_search": "the ids of containers are its own",
}
"""Recordings of OpenAI that LiteLLM passes on otherwise."""


@asynccontextmanager
async def vendor(body: bytes) -> AsyncIterator[dict[str, Any]]:
    """A server that gives this answer; yields the arguments for a call of LiteLLM."""
    async with event_server(lambda: body) as url:
        yield {"api_base": url, "api_key": "none", "max_retries": 0, "stream": True}


async def message_of_chat(service: Service, model: str, body: bytes) -> dict[str, Any]:
    question = [{"role": "user", "content": "Hi"}]
    async with vendor(body) as options:
        stream = await litellm.acompletion(model, messages=question, **options)
        return await message_of(service, stream)


async def message_of_responses(service: Service, model: str, body: bytes) -> dict[str, Any]:
    async with vendor(body) as options:
        stream = await litellm.aresponses(model=model, input="Hi", **options)
        return await message_of(service, stream)


async def message_of(service: Service, stream: Any) -> dict[str, Any]:
    # Errors of a stream are LiteLLM's own.
    with suppress(Exception):
        async with service.publisher("chat", message_id="m1") as pub:
            async for _ in capture(stream, pub):
                pass
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


@pytest.mark.parametrize("name", openai.NAMES)
async def test_an_answer_of_openai_has_the_parts_that_its_own_sdk_gives_it(
    service: Service, name: str
) -> None:
    made = message_of_chat if name.startswith("chat/") else message_of_responses
    message = await made(service, "openai/gpt-5", openai.body_of(name))

    expected = reduce_chunks(openai.chunks_of(name))
    assert (message["parts"] != expected["parts"]) == (name in CHANGED)


async def test_text_and_thinking_of_anthropic(service: Service) -> None:
    body = anthropic.body_of("thinking")
    message = await message_of_chat(service, "anthropic/claude-opus-5-5", body)

    _, thought, text = message["parts"]
    assert (thought["type"], thought["text"]) == ("reasoning", "Let me see.")
    assert (text["type"], text["text"]) == ("text", "27 * 453 = 12231")


async def test_calls_of_anthropic(service: Service) -> None:
    body = anthropic.body_of("tool_use")
    message = await message_of_chat(service, "anthropic/claude-opus-5-5", body)

    _, text, *calls = message["parts"]
    assert text["text"] == "I will look."
    assert [(each["toolName"], each["input"]) for each in calls] == [
        ("weather", {"city": "Paris"}),
        ("weather", {}),
    ]
    assert message["metadata"]["finishReason"] == "tool-calls"


async def test_responses_of_anthropic(service: Service) -> None:
    body = anthropic.body_of("thinking")
    message = await message_of_responses(service, "anthropic/claude-opus-5-5", body)

    texts = [(part["type"], part["text"]) for part in message["parts"] if part.get("text")]
    assert texts == [("reasoning", "Let me see."), ("text", "27 * 453 = 12231")]
    assert message["metadata"]["finishReason"] == "stop"

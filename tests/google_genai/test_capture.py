"""Gemini's streams, by the real SDK from a server on this machine, as messages of a page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google import genai

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.google_genai import TruncatedStream, capture, consume
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.filing import LARGE, LARGE_BASE64, Shelf
from tests.openai.storing import check_message

Service = DurableStreamService[Chunk]


def answer(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, **more}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 2}
    return {
        "candidates": [candidate],
        "usageMetadata": {**usage, "totalTokenCount": 12},
        "responseId": "r1",
    }


@asynccontextmanager
async def client_of(*answers: list[dict[str, Any]]) -> AsyncIterator[genai.Client]:
    """The SDK, whose server gives these answers, one for each request."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        body = "".join(f"data: {json.dumps(each)}\r\n\r\n" for each in waiting.pop(0)).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = genai.Client(api_key="none", http_options={"base_url": url})
        try:
            yield client
        finally:
            await client.aio.aclose()
            client.close()


async def record(service: Service, *chunks: dict[str, Any], **options: Any) -> dict[str, Any]:
    async with client_of(list(chunks)) as client, service.publisher("chat") as pub:
        stream = await client.aio.models.generate_content_stream(
            model="gemini-2.5-flash", contents="Hi", **options
        )
        await consume(stream, pub)
    return await message_of(service)


async def message_of(service: Service) -> dict[str, Any]:
    stored = await service.chunks("chat")
    check_message(stored)
    return reduce_chunks(stored)


def shown(message: dict[str, Any]) -> list[tuple[str, Any]]:
    keys = ("text", "url", "output", "input")
    parts = [part for part in message["parts"] if part["type"] != "step-start"]
    return [(p["type"], next((p[key] for key in keys if key in p), None)) for p in parts]


async def test_thoughts_and_text_with_their_signature(service: Service) -> None:
    message = await record(
        service,
        answer({"text": "Let me ", "thought": True}),
        answer({"text": "see.", "thought": True}),
        answer({"text": "Hel"}),
        answer({"text": "lo"}),
        answer({"text": "", "thoughtSignature": "AQID"}, finish="STOP"),
    )
    assert shown(message) == [("reasoning", "Let me see."), ("text", "Hello")]
    assert message["parts"][-1]["providerMetadata"] == {"google": {"thoughtSignature": "AQID"}}
    assert message["metadata"] == {
        "finishReason": "stop",
        "responseId": "r1",
        "usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12, "reasoningTokens": 2},
    }


async def test_calls_without_ids_are_told_apart(service: Service) -> None:
    calls = [{"functionCall": {"name": "weather", "args": {"city": city}}} for city in "ab"]
    chunks = [answer({**calls[0], "thoughtSignature": "AQID"}), answer(calls[1], finish="STOP")]
    async with client_of(chunks) as client, service.publisher("chat") as pub:
        stream = await client.aio.models.generate_content_stream(model="m", contents="Hi")
        asked = capture(stream, pub)
        async for _ in asked:
            pass
        asked.tool_result("call-1", output=1)
        asked.tool_result("call-2", output=2)

    message = await message_of(service)
    first, second = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert (first["input"], first["output"]) == ({"city": "a"}, 1)
    assert (second["input"], second["output"]) == ({"city": "b"}, 2)
    assert first["callProviderMetadata"] == {"google": {"thoughtSignature": "AQID"}}
    assert message["metadata"]["finishReason"] == "tool-calls"


async def test_functions_that_the_sdk_calls_itself(service: Service) -> None:
    async def weather(city: str) -> str:
        """Tell the weather."""
        return f"{city} is warm"

    call = answer({"functionCall": {"name": "weather", "args": {"city": "Rome"}}}, finish="STOP")
    async with (
        client_of([call], [answer({"text": "Warm."}, finish="STOP")]) as client,
        service.publisher("chat") as pub,
    ):
        stream = await client.aio.models.generate_content_stream(
            model="m", contents="Hi", config={"tools": [weather]}
        )
        await consume(stream, pub)

    message = await message_of(service)
    assert shown(message) == [("dynamic-tool", {"result": "Rome is warm"}), ("text", "Warm.")]
    assert message["metadata"]["finishReason"] == "stop"


async def test_code_files_and_sources(service: Service) -> None:
    web = {"web": {"uri": "https://example.com/a", "title": "A"}}
    message = await record(
        service,
        answer({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
        answer({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}),
        answer({"inlineData": {"mimeType": "image/png", "data": "AQID"}}),
        answer({"text": "One"}, finish="STOP", groundingMetadata={"groundingChunks": [web, web]}),
    )
    assert shown(message) == [
        ("dynamic-tool", {"outcome": "OUTCOME_OK", "output": "1\n"}),
        ("file", "data:image/png;base64,AQID"),
        ("text", "One"),
        ("source-url", "https://example.com/a"),
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [("MAX_TOKENS", "length"), ("SAFETY", "content-filter"), ("MALFORMED_FUNCTION_CALL", "error")],
)
async def test_a_cut_answer_never_says_stop(service: Service, word: str, reason: str) -> None:
    message = await record(service, answer({"text": "Hel"}, finish=word))
    assert message["metadata"]["finishReason"] == reason


async def test_a_blocked_prompt_is_shown(service: Service) -> None:
    message = await record(service, {"promptFeedback": {"blockReason": "SAFETY"}})
    assert shown(message) == [("text", "The model refused to answer. (SAFETY)")]
    assert message["metadata"]["finishReason"] == "content-filter"


async def test_a_stream_that_breaks_off_is_not_complete(service: Service) -> None:
    with pytest.raises(TruncatedStream):
        await record(service, answer({"text": "Hel"}))


async def test_an_unknown_part_is_kept(service: Service) -> None:
    part = {"fileData": {"fileUri": "gs://bucket/a", "mimeType": "image/png"}}
    message = await record(service, answer(part, finish="STOP"))
    assert message["parts"][-1]["data"]["kind"] == "file_data"


async def test_what_is_no_chunk_is_refused_by_name(service: Service) -> None:
    with pytest.raises(InvalidArgument, match="generate_content_stream"):
        async with service.publisher("chat") as pub:
            await consume([{"choices": []}], pub)


async def test_a_large_image_is_stored_by_the_hook(service: Service) -> None:
    shelf = Shelf()
    image = {"inlineData": {"mimeType": "image/png", "data": LARGE_BASE64}}
    answers = [answer({"text": "Look"}), answer(image), answer({"text": "nice"}, finish="STOP")]
    async with client_of(answers) as client, service.publisher("chat") as pub:
        stream = await client.aio.models.generate_content_stream(
            model="gemini-2.5-flash", contents="Hi"
        )
        await consume(stream, pub, files=shelf)
    assert shown(await message_of(service)) == [
        ("text", "Look"),
        ("file", "https://files.test/1"),
        ("text", "nice"),
    ]
    assert shelf.files == [(LARGE, "image/png")]


async def test_a_large_image_without_a_hook_leaves_a_text(service: Service) -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": LARGE_BASE64}}
    message = await record(service, answer(image), answer({"text": "nice"}, finish="STOP"))
    assert shown(message) == [
        ("text", "A file (image/png, 2.0 MB) is too large to show."),
        ("text", "nice"),
    ]


async def test_a_file_without_a_media_type_has_that_of_any_bytes(service: Service) -> None:
    message = await record(service, answer({"inlineData": {"data": "AAAA"}}, finish="STOP"))
    [file] = [part for part in message["parts"] if part["type"] == "file"]
    assert file["mediaType"] == "application/octet-stream"
    assert file["url"] == "data:application/octet-stream;base64,AAAA"

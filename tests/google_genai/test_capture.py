"""Gemini's streams, by the real SDK from a server on this machine, as messages of a page."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google import genai
from google.genai.types import GenerateContentResponse

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.google_genai import TruncatedStream, capture, consume, to_google_contents
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.event_server import event_server
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

    def next_body() -> bytes:
        return "".join(f"data: {json.dumps(each)}\r\n\r\n" for each in waiting.pop(0)).encode()

    async with event_server(next_body) as url:
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
    [
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content-filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("TOO_MANY_TOOL_CALLS", "error"),
    ],
)
async def test_a_cut_answer_never_says_stop(service: Service, word: str, reason: str) -> None:
    message = await record(service, answer({"text": "Hel"}, finish=word))
    assert message["metadata"]["finishReason"] == reason


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (answer(finish="MAX_TOKENS"), "length"),
        (answer(finish="SAFETY"), "content-filter"),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "content-filter"),
    ],
    ids=["cut", "refused", "blocked"],
)
async def test_a_stop_with_every_chunk_hides_no_cut(
    service: Service, last: dict[str, Any], reason: str
) -> None:
    message = await record(service, answer({"text": "Hel"}, finish="STOP"), last)
    assert message["metadata"]["finishReason"] == reason


@pytest.mark.parametrize("finish", ["STOP", None])
async def test_a_signature_behind_the_reason_goes_back(
    service: Service, finish: str | None
) -> None:
    signature = answer({"text": "", "thoughtSignature": "QUJD"}, finish=finish)
    message = await record(service, answer({"text": "Hello"}, finish="STOP"), signature)

    [content] = to_google_contents([{**message, "role": "assistant"}])
    assert [part.get("thought_signature") for part in content["parts"]] == [None, b"ABC"]
    assert message["metadata"]["finishReason"] == "stop"


async def test_files_of_a_function_are_shown(service: Service) -> None:
    call = answer({"functionCall": {"name": "draw", "args": {}}}, finish="STOP")
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}},
    ]
    result = {"functionResponse": {"name": "draw", "response": {"ok": 1}, "parts": parts}}
    history = [{"role": "user", "parts": [result]}]
    after = {**answer({"text": "Done."}, finish="STOP"), "automaticFunctionCallingHistory": history}
    answers = [GenerateContentResponse.model_validate(each) for each in (call, after)]
    async with service.publisher("chat") as pub:
        await consume(answers, pub)

    message = await message_of(service)
    kinds = ["dynamic-tool", "file", "data-unread", "text"]
    assert [kind for kind, _ in shown(message)] == kinds
    assert "gs://bucket/a.png" in json.dumps(message)


@pytest.mark.parametrize("response_id", ["r1", None])
async def test_a_reason_with_every_chunk_ends_no_answer(
    service: Service, response_id: str | None
) -> None:
    """Proxies that translate other APIs stamp STOP on chunks in the middle of an answer."""
    chunks = [answer(finish="STOP"), answer({"text": "Hel"}), answer({"text": "lo"}, finish="STOP")]
    message = await record(service, *[{**each, "responseId": response_id} for each in chunks])

    assert [part["type"] for part in message["parts"]] == ["step-start", "text"]
    assert shown(message) == [("text", "Hello")]
    assert message["metadata"]["usage"]["outputTokens"] == 5


async def test_an_answer_that_is_cut_behind_a_reason_is_not_complete(service: Service) -> None:
    with pytest.raises(TruncatedStream):
        await record(service, answer(finish="STOP"), answer({"text": "Hel"}))


def piece(path: str, more: bool = False, **value: Any) -> dict[str, Any]:
    given = {"jsonPath": path, **value, **({"willContinue": True} if more else {})}
    return {"functionCall": {"partialArgs": [given], "willContinue": True}}


BEGUN = {"functionCall": {"name": "f", "id": "c1", "willContinue": True}}
ENDED: dict[str, Any] = {"functionCall": {}}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            [piece("$.city", True, stringValue="Bos"), piece("$.city", stringValue="ton")],
            {"city": "Boston"},
        ),
        (
            [piece("$.city", True, stringValue="Bos"), piece("$.city")],
            {"city": "Bos"},
        ),
        (
            [piece("$.n", numberValue=2), piece("$.x", numberValue=0.5)]
            + [piece("$.b", boolValue=True), piece("$.z", nullValue="NULL_VALUE")],
            {"n": 2, "x": 0.5, "b": True, "z": None},
        ),
        (
            [piece("$.a[0].b", stringValue="x"), piece("$.a[1].b", stringValue="y")]
            + [piece("$['odd key']", stringValue="z")],
            {"a": [{"b": "x"}, {"b": "y"}], "odd key": "z"},
        ),
        ([], {}),
    ],
)
async def test_arguments_in_pieces_are_joined(
    service: Service, pieces: list[dict[str, Any]], expected: Any
) -> None:
    stream = [answer(each) for each in (BEGUN, *pieces, ENDED)]
    message = await record(service, *stream, answer(finish="STOP"))

    [call] = message["parts"][1:]
    assert (call["toolCallId"], call["toolName"], call["input"]) == ("c1", "f", expected)
    assert call["state"] == "input-available"
    assert message["metadata"]["finishReason"] == "tool-calls"


async def test_a_call_that_never_comes_whole_is_an_error_with_its_pieces(service: Service) -> None:
    stream = [answer(BEGUN), answer(piece("$.city", stringValue="Bos"))]
    message = await record(service, *stream, answer(finish="MAX_TOKENS"))

    call, kept = [part for part in message["parts"] if part["type"] != "step-start"]
    assert (call["state"], kept["data"]["value"]) == ("output-error", {"city": "Bos"})


async def test_a_piece_without_a_place_is_kept(service: Service) -> None:
    wrong = [piece("city", stringValue="a"), piece("$.x.y", stringValue="b")]
    stream = [answer(BEGUN), answer(piece("$.x", stringValue="c")), *map(answer, wrong)]
    message = await record(service, *stream, answer(ENDED, finish="STOP"))

    kept = [part["data"]["value"] for part in message["parts"] if part["type"] == "data-unread"]
    assert [each["string_value"] for each in kept] == ["a", "b"]


async def test_a_piece_without_a_call_calls_nothing(service: Service) -> None:
    message = await record(service, answer(piece("$.x", stringValue="c"), finish="STOP"))

    [kept] = message["parts"][1:]
    assert kept["data"]["kind"] == "function_call"


async def test_a_page_that_was_read_is_a_source(service: Service) -> None:
    pages = [
        {"retrievedUrl": f"https://a.test/{word}", "urlRetrievalStatus": f"URL_RETRIEVAL_{word}"}
        for word in ("STATUS_SUCCESS", "STATUS_ERROR")
    ]
    context = {"urlMetadata": pages}
    message = await record(
        service, answer({"text": "x"}, finish="STOP", urlContextMetadata=context)
    )

    assert shown(message)[1:] == [("source-url", "https://a.test/STATUS_SUCCESS")]


async def test_a_passage_without_a_name_is_kept(service: Service) -> None:
    found = {"groundingChunks": [{"retrievedContext": {"text": "a passage"}}]}
    message = await record(service, answer({"text": "x"}, finish="STOP", groundingMetadata=found))

    assert message["parts"][-1]["data"]["value"] == {"text": "a passage"}


async def test_a_part_that_the_sdk_does_not_know_is_counted(service: Service) -> None:
    await record(service, answer({"hologram": {"body": "x"}}, finish="STOP"))

    assert service.statistics().unread == {"google-genai": 1}


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


async def test_a_tool_of_the_server_is_a_call_with_a_result(service: Service) -> None:
    named = {"id": "s1", "toolType": "URL_CONTEXT"}
    message = await record(
        service,
        answer({"toolCall": {**named, "args": {"url": "a"}}, "thoughtSignature": "AQID"}),
        answer({"toolResponse": {**named, "response": {"page": "A"}}, "thoughtSignature": "BAUG"}),
        answer({"text": "Read."}, finish="STOP"),
    )
    [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert (call["toolName"], call["toolCallId"]) == ("server:URL_CONTEXT", "s1")
    assert (call["input"], call["output"]) == ({"url": "a"}, {"page": "A"})
    state = {"serverToolType": "URL_CONTEXT", "serverToolCallId": "s1"}
    assert call["callProviderMetadata"] == {"google": {**state, "thoughtSignature": "AQID"}}
    assert call["resultProviderMetadata"] == {"google": {"thoughtSignature": "BAUG"}}
    assert call["providerExecuted"] is True


async def test_results_of_code_belong_to_the_calls_that_they_name(service: Service) -> None:
    message = await record(
        service,
        answer({"executableCode": {"id": "a", "language": "PYTHON", "code": "1"}}),
        answer({"executableCode": {"id": "b", "language": "PYTHON", "code": "2"}}),
        answer({"codeExecutionResult": {"id": "a", "outcome": "OUTCOME_OK", "output": "one"}}),
        answer(
            {"codeExecutionResult": {"id": "b", "outcome": "OUTCOME_OK", "output": "two"}},
            finish="STOP",
        ),
    )
    calls = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert [(c["input"]["code"], c["output"]["output"]) for c in calls] == [
        ("1", "one"),
        ("2", "two"),
    ]


async def test_results_of_code_without_ids_come_in_the_order_of_the_calls(service: Service) -> None:
    parts = [
        *({"executableCode": {"language": "PYTHON", "code": code}} for code in ("a", "b")),
        *({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": out}} for out in "12"),
    ]
    message = await record(service, answer(*parts, finish="STOP"))

    calls = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert [(call["input"]["code"], call["output"]["output"]) for call in calls] == [
        ("a", "1"),
        ("b", "2"),
    ]


async def test_a_result_without_its_code_is_kept(service: Service) -> None:
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    message = await record(service, answer(result, finish="STOP"))

    [kept] = [part for part in message["parts"] if part["type"] == "data-unread"]
    assert kept["data"]["value"]["code_execution_result"]["output"] == "1"


async def test_a_second_field_of_a_part_is_kept(service: Service) -> None:
    part = {"text": "Hi", "audioTranscription": {"text": "spoken"}}
    message = await record(service, answer(part, finish="STOP"))
    [kept] = [part for part in message["parts"] if part["type"] == "data-unread"]
    assert kept["data"]["value"] == {"audio_transcription": {"text": "spoken"}}


@pytest.mark.parametrize("indexes", [[0, 1], [None, None]])
async def test_a_second_candidate_is_logged(
    service: Service, caplog: pytest.LogCaptureFixture, indexes: list[int | None]
) -> None:
    chunk = answer({"text": "Hel"}, finish="STOP")
    texts = zip(indexes, ("one", "two"), strict=True)
    chunk["candidates"] = [
        {"index": index, "content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
        for index, text in texts
    ]
    with caplog.at_level(logging.WARNING, logger="monostream_ai"):
        message = await record(service, chunk)
    assert shown(message) == [("text", "one")]
    [record_of_loss] = caplog.records
    assert "a candidate besides the first" in record_of_loss.getMessage()


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

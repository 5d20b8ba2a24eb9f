"""Anthropic's streams, by the real SDK, as messages of a page."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.anthropic import (
    ResponseFailed,
    TruncatedStream,
    capture,
    capture_sync,
    consume,
)
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.anthropic.recordings import NAMES, events_of
from tests.anthropic.vendor import vendor_of
from tests.filing import LARGE_BASE64, Shelf
from tests.openai import recordings as openai_recordings
from tests.openai.storing import check_message

Service = DurableStreamService[Chunk]

CUT = {"overloaded", "truncated"}
WHOLE = [name for name in NAMES if name not in CUT]


async def message_of(service: Service) -> dict[str, Any]:
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


async def record(service: Service, *names: str) -> dict[str, Any]:
    async with service.publisher("chat", message_id="m1") as pub:
        for name in names:
            await consume(events_of(name), pub)
    return await message_of(service)


def parts_of(message: dict[str, Any], *kinds: str) -> list[dict[str, Any]]:
    return [part for part in message["parts"] if part["type"] in kinds]


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in parts_of(message, "text"))


@pytest.mark.sweep(16)
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("how", ["create", "manager", "create_sync", "manager_sync"])
async def test_every_way_to_stream_makes_the_same_message(
    service: Service, name: str, how: str
) -> None:
    expected = await record(service, name)
    async with vendor_of(name) as vendor, service.publisher("real", message_id="m1") as pub:
        if how.endswith("sync"):
            stream = await asyncio.to_thread(getattr(vendor, how))
        else:
            stream = vendor.manager() if how == "manager" else await vendor.create()
        await consume(stream, pub)

    assert reduce_chunks(await service.chunks("real")) == expected


def test_a_sync_program_records_the_same(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    with SyncPublisher(url, "chat", message_id="m1") as pub:
        kinds = [event["type"] for event in capture_sync(events_of("text"), pub)]
        chunk = pub.wait_for(pub.publisher.flush())

    assert (kinds[0], kinds[-1], chunk) == ("message_start", "message_stop", None)


async def test_thinking_keeps_its_signature(service: Service) -> None:
    [thought] = parts_of(await record(service, "thinking"), "reasoning")
    assert thought["text"] == "Let me see."
    assert thought["providerMetadata"] == {"anthropic": {"signature": "EqQBCg=="}}


async def test_thinking_that_is_hidden_keeps_what_goes_back(service: Service) -> None:
    hidden, open_thought = parts_of(await record(service, "redacted_thinking"), "reasoning")
    assert hidden["providerMetadata"] == {"anthropic": {"redactedData": "EmwKAhgB"}}
    assert open_thought["providerMetadata"] == {"anthropic": {"signature": "Sig2"}}


async def test_calls_have_their_whole_input(service: Service) -> None:
    message = await record(service, "tool_use")
    assert [part["input"] for part in parts_of(message, "dynamic-tool")] == [{"city": "Paris"}, {}]
    assert message["metadata"]["finishReason"] == "tool-calls"


async def test_a_tool_loop_makes_one_message(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("tool_use"), pub)
        async for _ in asked:
            pass
        asked.tool_result("toolu_1", output={"degrees": 21})
        asked.tool_result("toolu_2", error="no city")
        await consume(events_of("text"), pub)

    message = await message_of(service)
    first, second = parts_of(message, "dynamic-tool")
    assert (first["output"], second["errorText"]) == ({"degrees": 21}, "no city")
    assert text_of(message) == "I will look.Hello there"
    assert message["metadata"]["usage"]["outputTokens"] == 52


async def test_a_search_shows_its_result_and_its_sources_once(service: Service) -> None:
    message = await record(service, "web_search")
    [call] = parts_of(message, "dynamic-tool")
    assert (call["toolName"], call["providerExecuted"]) == ("web_search", True)
    assert [page["url"] for page in call["output"]] == [
        "https://example.com/a",
        "https://example.com/b",
    ]
    assert [part["url"] for part in parts_of(message, "source-url")] == [
        "https://example.com/a",
        "https://example.com/b",
    ]


async def test_documents_are_sources_with_a_name(service: Service) -> None:
    message = await record(service, "citations_of_documents")
    [document] = parts_of(message, "source-document")
    assert (document["mediaType"], document["title"]) == ("application/pdf", "Document 1")
    [page] = parts_of(message, "source-url")
    assert page["url"] == "https://example.com/grass"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool-calls"),
        ("max_tokens", "length"),
        ("context_window", "length"),
        ("refusal", "content-filter"),
        ("pause_turn", "other"),
    ],
)
async def test_a_stop_reason_is_told(service: Service, name: str, reason: str) -> None:
    assert (await record(service, name))["metadata"]["finishReason"] == reason


async def test_a_refusal_is_shown(service: Service) -> None:
    message = await record(service, "refusal")
    assert text_of(message) == "I canThe model refused to answer. (This could harm.)"


async def test_a_call_that_the_limit_cut_is_an_error(service: Service) -> None:
    [call] = parts_of(await record(service, "max_tokens"), "dynamic-tool")
    assert call["state"] == "output-error"


async def test_a_paused_turn_goes_on_in_the_same_message(service: Service) -> None:
    message = await record(service, "pause_turn", "after_the_pause")
    [call] = parts_of(message, "dynamic-tool")
    assert (call["state"], len(call["output"])) == ("output-available", 2)
    assert message["metadata"]["finishReason"] == "stop"


async def test_usage_counts_the_cache_as_input(service: Service) -> None:
    assert (await record(service, "text"))["metadata"]["usage"] == {
        "inputTokens": 128,
        "outputTokens": 12,
        "totalTokens": 140,
        "cachedInputTokens": 100,
    }


async def test_an_error_of_the_model_ends_the_version(service: Service) -> None:
    with pytest.raises(ResponseFailed, match="overloaded_error"):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume(events_of("overloaded"), pub)

    assert text_of(await message_of(service)) == "Hel"


async def test_the_sdk_raises_an_error_of_the_model(service: Service) -> None:
    import anthropic

    with pytest.raises(anthropic.APIStatusError):
        async with vendor_of("overloaded") as vendor, service.publisher("chat") as pub:
            await consume(await vendor.create(), pub)

    assert (await service.chunks("chat"))[-1]["type"] == "error"


@pytest.mark.parametrize("how", ["create", "manager"])
async def test_a_stream_that_breaks_off_is_not_complete(service: Service, how: str) -> None:
    with pytest.raises(TruncatedStream):
        async with vendor_of("truncated") as vendor, service.publisher("chat") as pub:
            await consume(vendor.manager() if how == "manager" else await vendor.create(), pub)

    assert (await service.chunks("chat"))[-1]["type"] == "error"
    assert text_of(await message_of(service)) == "Hel"


async def test_new_kinds_are_kept_and_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    events = events_of("new_kinds")
    events.insert(1, {"type": "mood", "mood": "happy"})
    with caplog.at_level(logging.WARNING, logger="monostream_ai"):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume(events, pub)
        message = await message_of(service)

    kept = [part["data"] for part in parts_of(message, "data-unread")]
    assert [each["kind"] for each in kept] == ["mood", "poem"]
    assert kept[1]["value"] == [
        {"type": "poem", "verse": "Roses"},
        {"type": "verse_delta", "verse": "are red"},
    ]
    assert len(caplog.records) == 2


async def test_a_result_without_a_call_is_shown(service: Service) -> None:
    message = await record(service, "after_the_pause")
    [call] = parts_of(message, "dynamic-tool")
    assert (call["toolName"], len(call["output"])) == ("web_search", 2)


async def test_a_second_message_in_the_middle_of_the_first_is_an_error(service: Service) -> None:
    with pytest.raises(ResponseFailed, match="'msg_2' began before 'msg_1' had ended"):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume([*events_of("text")[:4], *events_of("after_the_pause")], pub)


async def test_a_beginning_that_is_repeated_changes_nothing(service: Service) -> None:
    first, *rest = events_of("text")
    async with service.publisher("chat", message_id="m1") as pub:
        await consume([first, first, *rest], pub)

    assert text_of(await message_of(service)) == "Hello there"


async def test_a_stream_of_another_sdk_is_named(service: Service) -> None:
    with pytest.raises(InvalidArgument, match="use monostream_ai.openai.capture"):
        async with service.publisher("chat") as pub:
            await consume(openai_recordings.events_of("chat/text"), pub)


@pytest.mark.parametrize("name", NAMES)
async def test_no_cut_loses_a_text(service: Service, name: str) -> None:
    events = events_of(name)
    for cut in range(1, len(events)):
        async with service.publisher(f"cut-{cut}", message_id="m1") as pub:
            try:
                await consume(events[:cut], pub)
            except ResponseFailed:
                pass
        chunks = await service.chunks(f"cut-{cut}")
        check_message(chunks)
        message = reduce_chunks(chunks)
        given = [event["delta"].get("text", "") for event in events[:cut] if "delta" in event]
        assert text_of(message).startswith("".join(given))


async def test_an_image_that_a_tool_returns_is_stored_by_the_hook(service: Service) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": LARGE_BASE64}
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("tool_use"), pub, files=Shelf())
        async for _ in asked:
            pass
        asked.tool_result("toolu_1", output=[{"type": "image", "source": image}])
        asked.tool_result("toolu_2", error="no city")
    message = reduce_chunks(await service.chunks("chat"))
    files = [part["url"] for part in message["parts"] if part["type"] == "file"]
    assert files == ["https://files.test/1"]
    assert LARGE_BASE64[:100] not in str(message)

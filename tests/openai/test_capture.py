"""The jobs of a capture besides mapping: one message from several streams, tool results, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService, InvalidChunk, PublisherClosed, create_service
from monostream_ai.openai import TruncatedStream, capture, consume
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol, reduce_chunks
from tests.hooked_store import HookedStore
from tests.openai.recordings import events_of
from tests.openai.storing import Service, chunk_of, record, stored, texts
from tests.openai.vendor import Vendor

MANY = 2000


async def fast_stream(count: int = MANY, text: str = "x" * 10_000) -> AsyncIterator[dict[str, Any]]:
    """Yield, without ever waiting, what is by default more than a publisher keeps in memory."""
    for _ in range(count):
        yield {"choices": [{"index": 0, "delta": {"content": text}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


async def test_a_tool_loop_makes_one_message(service: Service, vendor: Vendor) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(await vendor.create("chat/tool_call"), pub)
        async for _ in asked:
            pass
        asked.tool_result("call_1", output={"degrees": 21})
        await consume(await vendor.create("chat/text"), pub)

    chunks = await stored(service)
    assert [part["type"] for part in reduce_chunks(chunks)["parts"]] == [
        "step-start",
        "dynamic-tool",
        "step-start",
        "text",
    ]
    assert chunk_of(chunks, "tool-output-available")["output"] == {"degrees": 21}
    assert chunks[-1] == {"type": "finish", "finishReason": "stop"}


async def test_usage_adds_up_over_all_responses(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        await consume(events_of("chat/tool_call"), pub)
        await consume(events_of("responses/text"), pub)

    usage = reduce_chunks(await stored(service))["metadata"]["usage"]
    assert usage == {
        "inputTokens": 60,
        "outputTokens": 17,
        "totalTokens": 77,
        "cachedInputTokens": 8,
    }


async def test_a_call_id_that_a_model_uses_again_makes_a_second_call(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        for degrees in (21, 22):
            asked = capture(events_of("chat/tool_call"), pub)
            async for _ in asked:
                pass
            asked.tool_result("call_1", output=degrees)

    outputs = [
        part["output"]
        for part in reduce_chunks(await stored(service))["parts"]
        if part["type"] == "dynamic-tool"
    ]
    assert outputs == [21, 22]


async def test_a_tool_may_fail(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("responses/function_call"), pub)
        async for _ in asked:
            pass
        asked.tool_result("call_1", error="no such city")

    assert chunk_of(await stored(service), "tool-output-error")["errorText"] == "no such city"


async def test_a_tool_result_is_shown_as_json(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("chat/tool_call"), pub)
        async for _ in asked:
            pass
        asked.tool_result("call_1", output={1: float("nan"), "when": {2}})

    assert chunk_of(await stored(service), "tool-output-available")["output"] == {
        "1": None,
        "when": [2],
    }


async def test_a_result_for_no_call_is_refused(service: Service) -> None:
    async with service.publisher("chat") as pub:
        asked = capture(events_of("chat/tool_call"), pub)
        with pytest.raises(InvalidChunk):
            asked.tool_result("call_1")
        async for _ in asked:
            pass
        with pytest.raises(InvalidChunk):
            asked.tool_result("call_2")
        asked.tool_result("call_1")
        with pytest.raises(InvalidChunk):
            asked.tool_result("call_1")


async def test_a_call_with_broken_arguments_keeps_its_error(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("chat/tool_with_broken_arguments"), pub)
        async for _ in asked:
            pass
        asked.tool_result("call_1", error="invalid JSON")

    assert "tool-output-error" not in [chunk["type"] for chunk in await stored(service)]


async def test_start_is_not_sent_again(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        pub.push({"type": "start", "messageId": "m1"})
        await consume(events_of("chat/text"), pub)

    assert [chunk["type"] for chunk in await stored(service)].count("start") == 1


async def test_when_the_loop_ends_everything_is_durable(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'streams.db'}"
    async with create_service(url, protocol=UIMessageProtocol()) as service:
        async with service.publisher("chat") as pub:
            await consume(fast_stream(count=1), pub)
            durable = pub.next_id
        chunks = await service.chunks("chat")

    assert [chunk["type"] for chunk in chunks[durable:]] == ["finish-step", "finish"]


async def test_a_stream_that_is_faster_than_the_store_waits_for_it(service: Service) -> None:
    assert await record(service, fast_stream()) is None
    assert len(await service.chunks("chat")) > MANY


async def test_an_image_that_is_too_large_is_left_out(service: Service) -> None:
    events = events_of("responses/image_generation")
    item = next(event["item"] for event in events if event["type"] == "response.output_item.done")
    item["result"] = "A" * 2_000_000

    assert await record(service, events) is None
    assert "file" not in [chunk["type"] for chunk in await stored(service)]


async def test_a_result_that_is_too_large_is_an_error_of_its_tool(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("chat/tool_call"), pub)
        async for _ in asked:
            pass
        asked.tool_result("call_1", output="A" * 2_000_000)

    assert (
        chunk_of(await stored(service), "tool-output-error")["errorText"]
        == "The result is too large to show."
    )


async def test_text_that_is_too_large_comes_in_pieces(service: Service) -> None:
    events = [
        {"choices": [{"index": 0, "delta": {"content": "x" * 2_000_000}, "finish_reason": "stop"}]}
    ]

    assert await record(service, events) is None
    assert sum(map(len, texts(await stored(service)))) == 2_000_000


async def test_a_stream_does_not_wait_for_a_store_that_does_not_answer(
    no_task_is_left: None,
) -> None:
    store, answers = HookedStore(MemoryStore()), asyncio.Event()

    async def wait() -> None:
        await answers.wait()

    store.before["append"] = wait
    async with DurableStreamService(store, None, UIMessageProtocol()) as service:
        async with service.publisher("chat") as pub, asyncio.timeout(5.0):
            events = capture(fast_stream(MANY, "token "), pub)
            heard = [await anext(events) for _ in range(MANY)]
            answers.set()
            assert heard + [event async for event in events] == [
                event async for event in fast_stream(MANY, "token ")
            ]
        assert "".join(texts(await stored(service))) == "token " * MANY


async def test_encrypted_reasoning_is_kept_unless_refused(service: Service) -> None:
    await record(service, events_of("responses/reasoning_summary"), encrypted_reasoning=False)
    assert "gAAAA1" not in str(await stored(service))

    await record(service, events_of("responses/reasoning_summary"))

    parts = [
        part
        for part in reduce_chunks(await stored(service))["parts"]
        if part["type"] == "reasoning"
    ]
    assert [part["text"] for part in parts] == ["**Plan** First.", "Then."]
    assert [part.get("providerMetadata") for part in parts] == [
        None,
        {"openai": {"itemId": "rs_1", "reasoningEncryptedContent": "gAAAA1"}},
    ]


async def test_encrypted_reasoning_without_a_summary_is_an_empty_part(service: Service) -> None:
    await record(
        service, events_of("responses/reasoning_that_is_encrypted"), encrypted_reasoning=True
    )

    part = reduce_chunks(await stored(service))["parts"][1]
    assert (part["type"], part["text"]) == ("reasoning", "")
    assert part["providerMetadata"]["openai"]["reasoningEncryptedContent"] == "gAAAA2"


async def test_other_items_are_sent_as_data_if_asked(service: Service, vendor: Vendor) -> None:
    await record(service, await vendor.create("responses/mcp_approval_request"), other_items=True)

    item = {
        "id": "mcpr_1",
        "type": "mcp_approval_request",
        "server_label": "docs",
        "name": "find",
        "arguments": "{}",
    }
    assert chunk_of(await stored(service), "data-openai-item") == {
        "type": "data-openai-item",
        "data": item,
    }


async def test_anything_but_a_stream_is_refused(service: Service) -> None:
    class Completion:
        def model_dump(self) -> dict[str, Any]:
            return {}

        def __iter__(self) -> Any:
            return iter(())

    pub = service.publisher("chat")
    for wrong in (Completion(), {"choices": []}, "text", 1):
        with pytest.raises(TypeError, match="is no stream of events"):
            capture(wrong, pub)  # type: ignore[arg-type, unused-ignore]  # the point of this test
    with pytest.raises(TypeError, match="await the call first"):
        capture(pending := service.chunks("chat"), pub)  # type: ignore[arg-type, unused-ignore]  # the point of this test
    pending.close()


async def test_the_repr_of_a_capture_shows_its_publisher_and_its_state(service: Service) -> None:
    async with service.publisher("chat") as pub:
        whole, failed = capture(events_of("chat/text"), pub), capture([{"error": {}}], pub)
        assert repr(whole) == f"<Capture of {pub!r} open>"
        async for _ in whole:
            pass
        assert repr(whole) == f"<Capture of {pub!r} complete>"
        with pytest.raises(TruncatedStream):
            async for _ in failed:
                pass
        assert repr(failed) == f"<Capture of {pub!r} failed>"
        unused = capture([], pub)
        await unused.aclose()
        assert repr(unused) == f"<Capture of {pub!r} closed>"


async def test_the_publisher_must_be_open(service: Service) -> None:
    with pytest.raises(PublisherClosed):
        await consume(events_of("chat/text"), service.publisher("chat"))


async def test_a_cited_page_that_is_no_link_is_left_out(service: Service) -> None:
    cited = [
        {"url_citation": {"url": url, "title": "T"}}
        for url in ("javascript:alert(1)", "HTTPS://a.test", "data:text/html,x")
    ]
    async with service.publisher("chat") as pub:
        await consume(
            [{"choices": [{"index": 0, "delta": {"annotations": cited}, "finish_reason": "stop"}]}],
            pub,
        )

    assert [chunk["url"] for chunk in await stored(service) if chunk["type"] == "source-url"] == [
        "HTTPS://a.test"
    ]

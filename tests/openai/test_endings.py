"""Each way to leave a capture ends the version rightly and closes the HTTP stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from monostream_ai import ChunkTooLarge, StreamClosed, StreamStopped
from monostream_ai.openai import Capture, TruncatedStream, capture, consume
from tests.openai.bodies import RESET, OpenBody
from tests.openai.recordings import events_of
from tests.openai.storing import Service, stored, texts
from tests.openai.vendor import OPTIONS, Vendor

HALF = "chat/text", 2
"""The role and `Hel`."""


async def open_stream(
    vendor: Vendor, body: OpenBody
) -> openai.AsyncStream[openai.types.chat.ChatCompletionChunk]:
    vendor.answer_with(body)
    client = openai.AsyncOpenAI(**OPTIONS)
    return await client.chat.completions.create(model="gpt-5", messages=[], stream=True)


async def ending(service: Service) -> list[str]:
    return [chunk["type"] for chunk in await stored(service)][-4:]


ABORTED = ["finish-step", "start-step", "message-metadata", "abort"]


async def test_breaking_out_of_the_loop_aborts_and_closes_the_http_stream(
    service: Service, vendor: Vendor
) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    async with service.publisher("chat") as pub:
        async for event in capture(stream, pub):
            if event.choices[0].delta.content:
                break
    await body.wait_closed()

    assert await ending(service) == ABORTED
    assert texts(await stored(service)) == ["Hel"]


async def test_an_error_in_the_loop_closes_the_http_stream(
    service: Service, vendor: Vendor
) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    with pytest.raises(ZeroDivisionError):
        async with service.publisher("chat") as pub:
            async for _ in capture(stream, pub):
                raise ZeroDivisionError
    await body.wait_closed()

    assert await ending(service) == ABORTED


async def test_an_error_inside_async_with_is_recorded_as_one(
    service: Service, vendor: Vendor
) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    with pytest.raises(ZeroDivisionError):
        async with service.publisher("chat") as pub, capture(stream, pub) as events:
            async for _ in events:
                raise ZeroDivisionError

    assert body.closed.is_set()
    assert (await ending(service))[-1] == "error"


async def test_leaving_async_with_early_aborts(service: Service, vendor: Vendor) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    async with service.publisher("chat") as pub:
        async with capture(stream, pub) as events:
            await anext(events)
        closed = pub.closed, body.closed.is_set()

    assert closed == (True, True)
    assert await ending(service) == ABORTED


async def test_a_loop_left_after_the_finish_reason_finishes(service: Service) -> None:
    async with service.publisher("chat") as pub:
        async for event in capture(events_of("chat/text"), pub):
            if event["choices"][0]["finish_reason"]:
                break

    assert (await ending(service))[-1] == "finish"


async def test_a_loop_left_at_a_reported_failure_is_an_error(service: Service) -> None:
    async with service.publisher("chat") as pub:
        async for event in capture(events_of("responses/failed"), pub):
            if event["type"] == "response.failed":
                break

    assert (await ending(service))[-1] == "error"


async def test_a_cancelled_wait_for_the_model_aborts_and_closes_the_http_stream(
    service: Service, vendor: Vendor
) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    async def reply() -> None:
        async with service.publisher("chat") as pub:
            await consume(stream, pub)

    task = asyncio.create_task(reply())
    await until_it_speaks(service)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert body.closed.is_set()
    assert await ending(service) == ABORTED


@pytest.mark.parametrize("where", ["in the stream", "in the loop"])
async def test_a_supervisor_may_release_a_version_instead_of_aborting_it(
    service: Service, vendor: Vendor, where: str
) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    async def reply() -> None:
        async with service.publisher("chat", on_cancel="release") as pub:
            async for event in capture(stream, pub):
                if where == "in the loop" and event.choices[0].delta.content:
                    await asyncio.Event().wait()

    task = asyncio.create_task(reply())
    await until_it_speaks(service)
    task.cancel()
    await asyncio.wait([task])
    await body.wait_closed()

    assert (await service.status("chat")).lost
    assert [chunk["type"] for chunk in await service.chunks("chat")][:4] == [
        "start",
        "start-step",
        "text-start",
        "text-delta",
    ]


async def test_a_stop_from_elsewhere_closes_the_http_stream(
    service: Service, vendor: Vendor
) -> None:
    body = OpenBody(*HALF)
    stream = await open_stream(vendor, body)

    async def reply() -> None:
        async with service.publisher("chat") as pub:
            await consume(stream, pub)

    task = asyncio.create_task(reply())
    await until_it_speaks(service)
    await service.stop("chat")
    with pytest.raises(StreamStopped):
        await task

    assert body.closed.is_set()
    assert await ending(service) == ABORTED


async def test_a_broken_connection_is_recorded_as_an_error(
    service: Service, vendor: Vendor
) -> None:
    stream = await open_stream(vendor, OpenBody(*HALF, error=RESET))

    # Versions of the SDK below 3 let the error of httpx through.
    with pytest.raises((openai.APIConnectionError, httpx.ReadError)):
        async with service.publisher("chat") as pub:
            await consume(stream, pub)

    assert texts(await stored(service)) == ["Hel"]
    assert (await ending(service))[-1] == "error"


async def test_after_a_truncated_stream_another_may_finish_the_message(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        with pytest.raises(TruncatedStream):
            await consume(events_of("chat/truncated_text"), pub)
        await consume(events_of("chat/text"), pub)

    chunks = await stored(service)
    assert texts(chunks) == ["Hel", "Hel", "lo"]
    assert [chunk["type"] for chunk in chunks].count("start-step") == 2
    assert chunks[-1] == {"type": "finish", "finishReason": "stop"}


async def test_nothing_is_recorded_after_the_version_has_ended(service: Service) -> None:
    async with service.publisher("chat") as pub:
        await pub.close()
        with pytest.raises(StreamClosed):
            await consume(events_of("chat/text"), pub)


async def test_a_chunk_that_cannot_be_stored_closes_the_stream(service: Service) -> None:
    closed = asyncio.Event()

    async def events() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {
                "type": "response.output_item.done",
                "item": {"type": "mcp_list_tools", "tools": ["x" * 2_000_000]},
            }
        finally:
            closed.set()

    with pytest.raises(ChunkTooLarge):
        async with service.publisher("chat") as pub:
            held = capture(events(), pub, other_items=True)
            try:
                await anext(held)
            finally:
                assert closed.is_set()

    assert (await ending(service))[-1] == "error"


async def test_the_loop_ends_when_somebody_closes_the_version(service: Service) -> None:
    async with service.publisher("chat") as pub:
        events = capture(events_of("chat/text"), pub)
        await anext(events)
        await pub.close()
        with pytest.raises(StreamClosed):
            await anext(events)


async def test_a_capture_that_is_never_iterated_leaves_nothing(service: Service) -> None:
    async with service.publisher("chat") as pub:
        unused: Capture[object] = capture(events_of("chat/text"), pub)
        await unused.aclose()

    assert [chunk["type"] for chunk in await service.chunks("chat")] == ["start", "finish"]


async def test_an_iterator_that_is_over_stays_over(service: Service) -> None:
    async with service.publisher("chat") as pub:
        events = capture(events_of("chat/text"), pub)
        assert len([event async for event in events]) == len(events_of("chat/text"))
        assert [event async for event in events] == []


async def until_it_speaks(service: Service) -> None:
    async for chunk in service.subscribe("chat", timeout=5.0):
        if chunk["type"] == "text-delta":
            return

"""Each recorded stream is stored as expected, however it reaches the capture.

The recordings are in the vendors' formats.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from monostream_ai.openai import ResponseFailed, TruncatedStream, capture
from tests.openai.recordings import NAMES, chunks_of, events_of
from tests.openai.storing import Service, record, stored
from tests.openai.vendor import Vendor

RAISES = {
    "chat/done_without_a_reason": "TruncatedStream",
    "chat/error_in_the_stream": "APIError",
    "chat/malformed_json": "JSONDecodeError",
    "chat/nothing": "TruncatedStream",
    "chat/truncated_in_a_tool": "TruncatedStream",
    "chat/truncated_text": "TruncatedStream",
    "responses/error_event": "ResponseFailed",
    "responses/error_event_that_is_nested": "APIError",
    "responses/failed": "ResponseFailed",
    "responses/truncated_in_a_tool": "TruncatedStream",
    "responses/truncated_text": "TruncatedStream",
}

MANAGED = [
    "chat/reasoning_content",
    "chat/text",
    "chat/text_then_two_tools",
    "chat/truncated_text",
    "responses/failed",
    "responses/function_call",
    "responses/reasoning_summary",
    "responses/refusal",
    "responses/text",
    "responses/truncated_text",
    "responses/web_search",
]


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", NAMES)
async def test_an_async_stream_is_stored(service: Service, vendor: Vendor, name: str) -> None:
    error = await record(service, await vendor.create(name))

    assert await stored(service) == chunks_of(name)
    assert (type(error).__name__ if error else None) == RAISES.get(name)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", NAMES)
async def test_a_sync_stream_is_stored(service: Service, vendor: Vendor, name: str) -> None:
    await record(service, await vendor.create_sync(name))

    assert await stored(service) == chunks_of(name)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", NAMES)
async def test_dicts_are_stored(service: Service, name: str) -> None:
    await record(service, events_of(name))

    assert await stored(service) == chunks_of(name)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", MANAGED)
async def test_an_async_stream_manager_is_stored(
    service: Service, vendor: Vendor, name: str
) -> None:
    await record(service, vendor.manager(name))

    assert await stored(service) == chunks_of(name)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", MANAGED)
async def test_a_sync_stream_manager_is_stored(service: Service, vendor: Vendor, name: str) -> None:
    await record(service, vendor.manager_sync(name))

    assert await stored(service) == chunks_of(name)


@pytest.mark.parametrize("name", ["chat/text", "responses/text"])
async def test_a_stream_that_a_manager_has_opened_is_stored(
    service: Service, vendor: Vendor, name: str
) -> None:
    async with vendor.manager(name) as stream:
        await record(service, stream)

    assert await stored(service) == chunks_of(name)


@pytest.mark.parametrize("name", ["chat/text_then_two_tools", "responses/web_search"])
async def test_an_async_generator_is_stored(service: Service, name: str) -> None:
    async def events() -> AsyncIterator[dict[str, Any]]:
        for event in events_of(name):
            yield event

    await record(service, events())

    assert await stored(service) == chunks_of(name)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", [name for name in NAMES if RAISES.get(name) is None])
async def test_events_pass_through_unchanged(service: Service, vendor: Vendor, name: str) -> None:
    expected = [event async for event in await vendor.create(name)]

    async with service.publisher("chat") as pub:
        passed = [event async for event in capture(await vendor.create(name), pub)]

    assert passed == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("responses/failed", "the model's response failed (server_error): secret reason"),
        (
            "responses/error_event",
            "the model's response failed (rate_limit_exceeded): secret limit",
        ),
    ],
)
async def test_the_program_learns_why_a_response_failed_and_readers_do_not(
    service: Service, vendor: Vendor, name: str, message: str
) -> None:
    error = await record(service, await vendor.create(name))

    assert isinstance(error, ResponseFailed)
    assert str(error) == message
    assert "secret" not in str(await stored(service))


async def test_an_error_in_plain_dicts_raises_too(service: Service) -> None:
    error = await record(service, events_of("responses/error_event_that_is_nested"))

    assert isinstance(error, ResponseFailed)
    assert (error.code, error.reason) == ("overloaded", "secret load")


async def test_a_truncated_stream_is_a_failed_response(service: Service, vendor: Vendor) -> None:
    error = await record(service, await vendor.create("chat/truncated_text"))

    assert isinstance(error, TruncatedStream)
    assert isinstance(error, ResponseFailed)

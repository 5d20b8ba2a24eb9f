"""A turn that continues a message answers its calls, and adds its usage."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import create_service
from monostream_ai.openai import capture, capture_sync, to_openai_input
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, MessageReducer, reduce_chunks
from tests.openai.recordings import events_of
from tests.openai.storing import Service
from tests.openai.streaming import Event, completed, created, event, message_of, parts, stream_of
from tests.openai.vendor import Vendor

REQUEST = {
    "id": "mcpr_1",
    "type": "mcp_approval_request",
    "name": "roll",
    "arguments": '{"dice":"2d4"}',
    "server_label": "dnd",
}
CALL = {
    "id": "mcp_1",
    "type": "mcp_call",
    "name": "roll",
    "arguments": '{"dice":"2d4"}',
    "server_label": "dnd",
    "approval_request_id": "mcpr_1",
    "status": "completed",
    "output": "7",
}
USAGE = {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}


async def asked(service: Service, vendor: Vendor, *events: Event) -> Any:
    return await message_of(service, vendor, created(), *events, completed(REQUEST, usage=USAGE))


def answered(message: Any, approved: bool) -> Any:
    """Return the message as the page sends it after the user's answer."""
    [call] = parts(message, "dynamic-tool")
    call |= {"state": "approval-responded"}
    call["approval"] |= {"approved": approved}
    return message


async def continued(service: Service, vendor: Vendor, message: Any, *events: Event) -> Any:
    stream = await stream_of(vendor, *events)
    async with service.publisher("chat", message_id="m1") as pub:
        async for _ in capture(stream, pub, continued=message):
            pass
    reducer = MessageReducer(message)
    for chunk in await service.chunks("chat"):
        reducer.feed(chunk)
    return reducer.message


async def test_the_user_is_asked_before_a_call_to_an_mcp_server(
    service: Service, vendor: Vendor
) -> None:
    done = event("output_item.done", output_index=0, item=REQUEST)
    message = await asked(service, vendor, done)

    [call] = parts(message, "dynamic-tool")
    assert (call["toolName"], call["state"], call["input"]) == (
        "mcp.roll",
        "approval-requested",
        {"dice": "2d4"},
    )
    assert call["approval"] == {"id": "mcpr_1"}
    assert message["metadata"]["finishReason"] == "stop"


@pytest.mark.parametrize("approved", [True, False])
async def test_the_answer_of_the_user_goes_back(
    service: Service, vendor: Vendor, approved: bool
) -> None:
    message = answered(await asked(service, vendor), approved)

    assert to_openai_input([message]) == [
        REQUEST,
        {
            "type": "mcp_approval_response",
            "approval_request_id": "mcpr_1",
            "approve": approved,
        },
    ]


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_approved_call_gets_its_result(
    service: Service, vendor: Vendor, streamed: bool
) -> None:
    message = answered(await asked(service, vendor), True)
    begun = {**CALL, "output": None, "status": "in_progress", "approval_request_id": None}
    events = [
        event("output_item.added", output_index=0, item=begun),
        event("output_item.done", output_index=0, item=CALL),
    ]

    message = await continued(
        service, vendor, message, created(), *(events if streamed else []), completed(CALL)
    )

    [call] = parts(message, "dynamic-tool")
    assert (call["state"], call["output"]) == ("output-available", "7")


async def test_the_usage_of_both_turns_is_added(service: Service, vendor: Vendor) -> None:
    message = answered(await asked(service, vendor), True)

    message = await continued(
        service, vendor, message, created(), completed(CALL, usage={"input_tokens": 10})
    )

    assert message["metadata"]["usage"] == {
        "inputTokens": 12,
        "outputTokens": 3,
        "totalTokens": 5,
    }


async def test_a_program_answers_a_call_of_the_turn_before(
    service: Service, vendor: Vendor
) -> None:
    function = {"id": "fc_1", "call_id": "c1", "type": "function_call", "name": "f"}
    message = await message_of(
        service, vendor, created(), completed({**function, "arguments": "{}"})
    )
    async with service.publisher("chat", message_id="m1") as pub:
        events = capture(events_of("responses/text"), pub, continued=message)
        async for _ in events:
            pass
        events.tool_result("c1", output=7)

    reducer = MessageReducer(message)
    for chunk in await service.chunks("chat"):
        reducer.feed(chunk)
    [call] = parts(reducer.message, "dynamic-tool")
    assert call["output"] == 7


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"parts": None, "metadata": 7},
        {"parts": [7, {"type": "source-url", "sourceId": 7}], "metadata": {"usage": {"x": "y"}}},
    ],
)
async def test_a_malformed_message_is_continued_without_its_faults(
    service: Service, message: Any
) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        async for _ in capture(events_of("responses/text"), pub, continued=message):
            pass

    assert len(parts(reduce_chunks(await service.chunks("chat")), "text")) == 1


def test_a_sync_capture_continues_a_message_too(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    message = {"role": "assistant", "parts": [], "metadata": {"usage": {"inputTokens": 100}}}
    with SyncPublisher(url, "chat") as pub:
        for _ in capture_sync(events_of("responses/text"), pub, continued=message):
            pass

    async def stored() -> list[Chunk]:
        async with create_service(url) as service:
            return await service.chunks("chat")

    usage = reduce_chunks(asyncio.run(stored()))["metadata"]["usage"]
    assert usage["inputTokens"] > 100

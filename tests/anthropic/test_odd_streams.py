"""Servers that speak Anthropic's protocol send calls and results in shapes of their own."""

from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.anthropic import ResponseFailed, consume, to_anthropic_messages
from tests.anthropic.test_capture import Service, message_of, parts_of

Event = dict[str, Any]
START: Event = {"type": "message_start", "message": {"id": "msg_1", "content": []}}
STOP: Event = {"type": "message_stop"}


def begun(index: int, call_id: str, name: str, given: Any = None) -> Event:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": given or {}}
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, text: str) -> Event:
    delta = {"type": "input_json_delta", "partial_json": text}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def ended(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def told(reason: str, **more: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {}}


async def recorded(service: Service, *events: Event) -> dict[str, Any]:
    async with service.publisher("chat", message_id="m1") as pub:
        await consume([START, *events, STOP], pub)
    return await message_of(service)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [begun(0, "a", "f"), begun(1, "b", "g"), piece(0, '{"x"'), piece(1, '{"y":')]
            + [piece(0, ":1}"), ended(0), piece(1, "2}"), ended(1)],
            [("a", {"x": 1}), ("b", {"y": 2})],
            id="inputs that come at once",
        ),
        pytest.param(
            [begun(0, "a", "f"), piece(0, '{"x":1}'), begun(1, "b", "g"), piece(1, '{"y":2}')],
            [("a", {"x": 1}), ("b", {"y": 2})],
            id="blocks that do not stop",
        ),
        pytest.param(
            [begun(0, "a", "f"), begun(0, "b", "g"), piece(0, '{"y":2}'), ended(0)],
            [("a", {}), ("b", {"y": 2})],
            id="one index for both",
        ),
        pytest.param(
            [begun(0, "a", "f", {"x": 1}), piece(0, '{"x"'), piece(0, ":1}"), ended(0)],
            [("a", {"x": 1})],
            id="an input that is repeated in pieces",
        ),
        pytest.param(
            [begun(0, "a", "f", '{"x":1}'), ended(0)],
            [("a", {"x": 1})],
            id="an input as text",
        ),
    ],
)
async def test_every_call_gets_its_own_input(
    service: Service, events: list[Event], expected: Any
) -> None:
    message = await recorded(service, *events, told("tool_use"))

    calls = parts_of(message, "dynamic-tool")
    assert [(call["toolCallId"], call["input"]) for call in calls] == expected
    assert {call["state"] for call in calls} == {"input-available"}
    assert service.statistics().unread == {}


@pytest.mark.parametrize("at_the_end", [True, False])
async def test_the_container_of_code_is_told(service: Service, at_the_end: bool) -> None:
    container = {"id": "container_1", "expires_at": "2026-12-01T00:00:00Z"}
    start = {"type": "message_start", "message": {"id": "msg_1", "container": container}}
    events = [told("end_turn", container=container)] if at_the_end else [start, told("end_turn")]
    async with service.publisher("chat", message_id="m1") as pub:
        await consume([START, *events, STOP] if at_the_end else [*events, STOP], pub)

    assert (await message_of(service))["metadata"]["container"] == {
        "id": "container_1",
        "expiresAt": "2026-12-01T00:00:00Z",
    }


async def test_a_plain_text_that_a_tool_fetched_is_no_file(service: Service) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "body"}
    page = {"type": "web_fetch_result", "url": "https://a.test", "content": {"source": source}}
    found = {"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": page}
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_fetch", "input": {}}
    message = await recorded(
        service,
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "content_block_start", "index": 1, "content_block": found},
        told("end_turn"),
    )

    [part] = parts_of(message, "dynamic-tool")
    assert part["output"]["content"]["source"]["data"] == "body"
    assert parts_of(message, "file") == []


async def test_the_message_of_a_failed_tool_search_is_kept_and_goes_back(service: Service) -> None:
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "tool_search_tool_regex"}
    error = {
        "type": "tool_search_tool_result_error",
        "error_code": "invalid_tool_input",
        "error_message": "missing )",
    }
    found = {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": error}
    message = await recorded(
        service,
        {"type": "content_block_start", "index": 0, "content_block": {**call, "input": {}}},
        {"type": "content_block_start", "index": 1, "content_block": found},
        told("end_turn"),
    )

    [part] = parts_of(message, "dynamic-tool")
    assert "missing )" in part["errorText"]
    [answer] = to_anthropic_messages([{**message, "role": "assistant"}])
    assert answer["content"][1]["content"] == error


async def test_a_reason_that_tells_of_a_cut_replaces_an_earlier_stop(service: Service) -> None:
    message = await recorded(service, told("end_turn"), told("max_tokens"))
    assert message["metadata"]["finishReason"] == "length"


async def test_details_of_a_stop_that_is_no_refusal_are_kept(service: Service) -> None:
    details = {"type": "hologram", "explanation": "because"}
    message = await recorded(service, told("end_turn", stop_details=details))

    [part] = parts_of(message, "data-unread")
    assert part["data"] == {"sdk": "anthropic", "kind": "stop_details", "value": details}


CUT = [
    begun(0, "a", "f"),
    piece(0, '{"x": "hal'),
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "hologram", "beam": "blue"},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "beam_delta", "beam": "red"}},
]
OVERLOADED: Event = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}


@pytest.mark.parametrize("ending", [[], [OVERLOADED]], ids=["cut", "failed"])
async def test_blocks_that_never_end_are_kept_as_far_as_they_came(
    service: Service, ending: list[Event]
) -> None:
    with pytest.raises(ResponseFailed):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume([START, *CUT, *ending], pub)

    message = await message_of(service)
    [call] = parts_of(message, "dynamic-tool")
    assert (call["state"], call["input"]) == ("output-error", '{"x": "hal')
    [kept] = parts_of(message, "data-unread")
    assert [piece["beam"] for piece in kept["data"]["value"]] == ["blue", "red"]


async def test_a_call_without_its_input_is_not_offered_after_an_error(service: Service) -> None:
    with pytest.raises(ResponseFailed):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume([START, begun(0, "a", "f"), OVERLOADED], pub)

    [call] = parts_of(await message_of(service), "dynamic-tool")
    assert call["state"] == "output-error"

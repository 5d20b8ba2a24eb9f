"""Messages of a page as Anthropic's API takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.anthropic import capture, consume, to_anthropic_messages
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.anthropic.recordings import events_of
from tests.anthropic.vendor import vendor_of

Service = DurableStreamService[Chunk]


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "u1", "role": "user", "parts": list(parts)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def file(url: str, media_type: str, **more: str) -> dict[str, Any]:
    return {"type": "file", "url": url, "mediaType": media_type, **more}


async def recorded(service: Service, name: str, then: str | None = None) -> dict[str, Any]:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of(name), pub)
        async for _ in asked:
            pass
        if name in ("tool_use", "tool_called_by_code"):
            asked.tool_result("toolu_1", output={"degrees": 21})
        if name == "tool_use":
            asked.tool_result("toolu_2", error="no city")
            await consume(events_of("text"), pub)
        if then is not None:
            await consume(events_of(then), pub)
    message = reduce_chunks(await service.chunks("chat"))
    # As the page sends it.
    return json.loads(json.dumps(message))


async def test_a_tool_loop_comes_back_as_calls_and_results(service: Service) -> None:
    message = await recorded(service, "tool_use")
    assert to_anthropic_messages([user(text("Hi")), message]) == [
        {"role": "user", "content": [text("Hi")]},
        {
            "role": "assistant",
            "content": [
                text("I will look."),
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "weather",
                    "input": {"city": "Paris"},
                },
                {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": '{"degrees":21}'},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": "no city",
                    "is_error": True,
                },
            ],
        },
        {"role": "assistant", "content": [text("Hello there")]},
    ]


async def test_thinking_comes_back_signed_or_redacted(service: Service) -> None:
    message = await recorded(service, "redacted_thinking")
    [said] = to_anthropic_messages([message])
    assert said["content"] == [
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        {"type": "thinking", "thinking": "Then this.", "signature": "Sig2"},
        text("Yes"),
    ]


def test_thinking_without_a_signature_stays_away() -> None:
    parts = [{"type": "reasoning", "text": "Hm"}, text("Yes")]
    [said] = to_anthropic_messages([{"id": "m1", "role": "assistant", "parts": parts}])
    assert said["content"] == [text("Yes")]


def test_messages_of_one_role_become_one() -> None:
    [said] = to_anthropic_messages([user(text("One")), user(text("Two"))])
    assert said["content"] == [text("One"), text("Two")]


@pytest.mark.parametrize(
    ("given", "block"),
    [
        (
            file("data:image/png;base64,AAAA", "image/png"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            },
        ),
        (
            file("https://example.com/a.png", "image/png"),
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        ),
        (
            file("https://example.com/a.pdf", "application/pdf", filename="a.pdf"),
            {
                "type": "document",
                "source": {"type": "url", "url": "https://example.com/a.pdf"},
                "title": "a.pdf",
            },
        ),
        (
            file("data:text/markdown,%23%20Hi", "text/markdown"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "# Hi"},
            },
        ),
    ],
)
def test_files_become_blocks(given: dict[str, Any], block: dict[str, Any]) -> None:
    [said] = to_anthropic_messages([user(given)])
    assert said["content"] == [block]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (file("data:audio/mpeg;base64,AAAA", "audio/mpeg"), "audio/mpeg"),
        (file("data:image/tiff;base64,AAAA", "image/tiff"), "image/tiff"),
        (file("data:text/plain;base64,/w==", "text/plain"), "not UTF-8"),
    ],
)
def test_a_file_that_the_api_refuses_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        to_anthropic_messages([user(given)])

    # Asked before, it got this error, and the chat goes on.
    [said] = to_anthropic_messages([user(given), user(text("And now?"))])
    assert [each["text"] for each in said["content"]] == [
        f"A file ({given['mediaType']}) that you cannot read.",
        "And now?",
    ]


def test_a_system_message_has_no_place() -> None:
    with pytest.raises(InvalidArgument, match="system="):
        to_anthropic_messages([user(text("Hi"))], allow_system=True)


@pytest.mark.parametrize(
    ("media_type", "kind"), [("image/png", "image"), ("application/pdf", "document")]
)
def test_a_file_of_a_tool_is_given_as_such_and_not_as_text(media_type: str, kind: str) -> None:
    output = [text("see"), {"type": "file", "data": "AA==", "mediaType": media_type}]
    part = {"type": "tool-look", "toolCallId": "c1", "state": "output-available", "input": {}}
    answer = {"id": "a1", "role": "assistant", "parts": [{**part, "output": output}]}

    [_, said] = to_anthropic_messages([answer])
    [result] = said["content"]
    note = text(f"A file ({media_type}) that the user sees.")
    assert result["content"] == [
        {"type": "text", "text": json.dumps([text("see"), note], separators=(",", ":"))},
        {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": "AA=="}},
    ]


def test_a_file_that_the_api_does_not_take_is_named_only() -> None:
    part = {"type": "tool-look", "toolCallId": "c1", "state": "output-available", "input": {}}
    output = {"type": "audio", "data": "AA==", "mimeType": "audio/wav"}
    answer = {"id": "a1", "role": "assistant", "parts": [{**part, "output": output}]}

    [_, said] = to_anthropic_messages([answer])
    note = '{"type":"text","text":"A file (audio/wav) that the user sees."}'
    assert said["content"][0]["content"] == note


@pytest.mark.parametrize(
    "name",
    ["web_search", "web_search_failed", "web_fetch", "code_execution", "mcp", "pause_turn"],
)
async def test_server_tools_come_back_as_the_sdk_sends_them_back(
    service: Service, name: str
) -> None:
    async with vendor_of(name) as vendor, vendor.manager() as stream:
        answer = await stream.get_final_message()
    [said] = to_anthropic_messages([await recorded(service, name)])

    assert said["content"] == [
        _without_nulls(block) for block in answer.to_dict(mode="json", warnings=False)["content"]
    ]


SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "x"},
}


async def test_a_call_that_waits_stays_away_once_the_user_has_gone_on(service: Service) -> None:
    message = await recorded(service, "pause_turn")
    message["parts"].append(text("I search."))
    said = to_anthropic_messages([message, user(text("Never mind"))])

    assert [each["content"] for each in said] == [[text("I search.")], [text("Never mind")]]


async def test_a_call_that_waits_in_the_middle_of_an_answer_stays_away(service: Service) -> None:
    message = await recorded(service, "pause_turn")
    message["parts"].append(text("I stopped."))
    [said] = to_anthropic_messages([message])

    assert said["content"] == [text("I stopped.")]


async def test_a_paused_turn_that_went_on_is_one_turn(service: Service) -> None:
    [said] = to_anthropic_messages([await recorded(service, "pause_turn", "after_the_pause")])
    call, result, spoken = said["content"]

    assert (call, spoken) == (SEARCH, text("Found it."))
    assert (result["type"], result["tool_use_id"]) == ("web_search_tool_result", "srvtoolu_1")


async def test_code_that_waits_for_a_tool_goes_back_with_its_result(service: Service) -> None:
    said, results = to_anthropic_messages([await recorded(service, "tool_called_by_code")])
    code, call = said["content"]

    assert (code["type"], code["id"], code["name"]) == (
        "server_tool_use",
        "srvtoolu_1",
        "code_execution",
    )
    assert call["caller"] == {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    assert [each["tool_use_id"] for each in results["content"]] == ["toolu_1"]


@pytest.mark.parametrize("state", ["input-available", "output-available"])
def test_a_call_that_another_provider_ran_stays_away(state: str) -> None:
    part = {
        "type": "tool-web_search",
        "toolCallId": "ws_1",
        "state": state,
        "providerExecuted": True,
        "input": {"query": "x"},
        "output": {"status": "completed"},
    }
    [said] = to_anthropic_messages(
        [{"id": "m1", "role": "assistant", "parts": [text("Found"), part]}]
    )
    assert said["content"] == [text("Found")]


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "/api/chat/c1/files/1"])
def test_a_file_in_an_answer_is_named(url: str) -> None:
    parts = [text("See"), file(url, "image/png")]
    [said] = to_anthropic_messages([{"id": "m1", "role": "assistant", "parts": parts}])
    assert said["content"] == [text("See"), text("A file (image/png) that the user sees.")]


def _without_nulls(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block without fields that say nothing; those of contents are as they were sent."""
    return {key: block[key] for key in block if block[key] is not None and block[key] != []}


def test_an_id_that_the_api_refuses_is_changed_with_its_result() -> None:
    call = {"type": "dynamic-tool", "toolCallId": "functions.f:0#2", "toolName": "f", "input": {}}
    answered = {**call, "state": "output-available", "output": 1}

    asked, result = to_anthropic_messages([{"id": "1", "role": "assistant", "parts": [answered]}])

    assert asked["content"][0]["id"] == "functions_f_0_2"
    assert result["content"][0]["tool_use_id"] == "functions_f_0_2"

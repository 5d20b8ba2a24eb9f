"""Requests whose messages have a wrong shape are refused before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.errors import UnknownStream
from tests.fastapi.chat_client import question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import greet

pytestmark = pytest.mark.every_framework

CALL = {"type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": {}}
MALFORMED: dict[str, Any] = {
    "messages[0].parts[0].type: field required": {},
    "messages[0].parts[0].type: input should be a valid string": {"type": 7},
    "messages[0].parts[0].type: string should have at least 1 character": {"type": ""},
    "messages[0].parts[0]: input should be an object": "text",
    "messages[0].parts[0].text: input should be a valid string": {"type": "text", "text": 7},
    "messages[0].parts[0].text: field required": {"type": "reasoning"},
    "messages[0].parts[0].url: field required": {"type": "file", "mediaType": "text/plain"},
    "messages[0].parts[0].sourceId: field required": {"type": "source-url", "url": "https://a"},
    "messages[0].parts[0].title: field required": {
        "type": "source-document",
        "sourceId": "s",
        "mediaType": "text/plain",
    },
    "messages[0].parts[0].id: input should be a valid string": {"type": "data-x", "id": 7},
    "messages[0].parts[0].toolCallId: field required": {
        "type": "tool-ask",
        "state": "input-available",
    },
    "messages[0].parts[0].toolName: field required": CALL | {"type": "dynamic-tool"},
    "messages[0].parts[0].errorText: field required": CALL | {"state": "output-error"},
    "messages[0].parts[0].approval: field required": CALL | {"state": "approval-responded"},
    "messages[0].parts[0].approval.approved: input should be a valid boolean": CALL
    | {"state": "approval-responded", "approval": {"id": "p", "approved": "yes"}},
    "messages[0].parts[0].providerMetadata: input should be a valid dictionary": {
        "type": "text",
        "text": "hi",
        "providerMetadata": [],
    },
    "messages[0].parts[0].parts[0]: input should be a text or a file": {
        "type": "steering-message",
        "id": "s",
        "parts": [{"type": "<script>"}],
    },
}


@pytest.mark.sweep(10)
@pytest.mark.parametrize(("fault", "part"), MALFORMED.items(), ids=list(MALFORMED))
@pytest.mark.parametrize("shape", ["messages", "message"])
async def test_a_malformed_part_is_named_in_plain_text_and_nothing_is_stored(
    new_service: NewService, serve: Serve, fault: str, part: Any, shape: str
) -> None:
    service = new_service()
    client = await serve(service, greet)
    message = {"id": "u1", "role": "user", "parts": [part]}

    refused = await client.post({"id": "c1", shape: [message] if shape == "messages" else message})

    assert (refused.status_code, refused.headers["content-type"]) == (
        400,
        "text/plain; charset=utf-8",
    )
    assert refused.text == f"The request has no valid messages. See {fault}."
    with pytest.raises(UnknownStream):
        await service.status("chat:c1")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"messages": [{"role": "tool", "parts": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "parts": {}}]}, "messages[0].parts"),
        ({"messages": [{"role": "user", "id": 7, "parts": []}]}, "messages[0].id"),
        ({"messages": [user_message(), {"role": "user"}]}, "messages[1].parts"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"trigger": "regenerate"}, "trigger"),
        ({"trigger": ["submit-message"]}, "trigger"),
        ({"messageId": 7}, "messageId"),
    ],
)
async def test_a_malformed_message_or_option_is_named(
    new_service: NewService, serve: Serve, changed: dict[str, Any], named: str
) -> None:
    refused = await (await serve(new_service(), greet)).post(question() | changed)

    assert refused.status_code == 400
    assert refused.text.startswith(f"The request has no valid messages. See {named}: ")


FILE = {"type": "file", "mediaType": "text/plain"}
NO_QUESTIONS: dict[str, Any] = {
    "messages[0].role: input should be 'user' or 'assistant'": [
        {"role": "system", "parts": [{"type": "text", "text": "Obey."}]}
    ],
    "messages[1].parts: list should have at least 1 item": [
        {"role": "assistant", "parts": []},
        {"role": "user", "parts": []},
    ],
    "messages[0].parts[0].url: a server cannot read a blob: URL": [
        {"role": "user", "parts": [FILE | {"url": "blob:https://a/1"}]}
    ],
    "messages[0].parts[1].url: a server cannot read a vbscript: URL": [
        {"role": "user", "parts": [*user_message()["parts"], FILE | {"url": "VBScript:x"}]}
    ],
    "messages[0].parts[0].url: a server cannot read a javascript: URL": [
        {"role": "user", "parts": [FILE | {"url": "javascript:alert(1)"}]}
    ],
}


async def test_a_page_may_show_its_own_copy_of_a_file_that_the_provider_has(
    new_service: NewService, serve: Serve
) -> None:
    uploaded = FILE | {"url": "blob:https://a/1", "providerReference": {"openai": "file-1"}}
    asked = {"id": "u1", "role": "user", "parts": [uploaded]}
    client = await serve(new_service(), greet)

    answer = await client.post({"id": "c1", "messages": [asked]})

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("fault", "messages"), NO_QUESTIONS.items(), ids=list(NO_QUESTIONS))
async def test_a_request_without_a_question_is_refused(
    new_service: NewService, serve: Serve, fault: str, messages: list[Any]
) -> None:
    service = new_service()
    client = await serve(service, greet)

    refused = await client.post({"id": "c1", "messages": messages})
    # The same as an earlier message harms nothing.
    passed = await client.post({"id": "c2", "messages": [*messages, user_message()]})

    assert (refused.status_code, refused.text) == (
        400,
        f"The request has no question. See {fault}.",
    )
    assert types_in(passed.text)[-1] == "finish"
    with pytest.raises(UnknownStream):
        await service.status("chat:c1")


@pytest.mark.parametrize("chat_id", ["x" * 5000, "a\0b"], ids=["long", "NUL"])
async def test_a_chat_id_that_no_row_can_hold_is_named(
    new_service: NewService, serve: Serve, chat_id: str
) -> None:
    refused = await (await serve(new_service(), greet)).post(question(chat_id))

    assert (refused.status_code, refused.text) == (400, "The request has no valid chat id.")


async def test_a_request_without_messages_is_told_so(new_service: NewService, serve: Serve) -> None:
    refused = await (await serve(new_service(), greet)).post({"id": "c1"})

    assert refused.status_code == 400
    assert refused.text == "The request has no valid messages. See messages: field required."


async def test_what_a_later_release_adds_passes(new_service: NewService, serve: Serve) -> None:
    service = new_service()
    client = await serve(service, greet)
    parts = [
        {"type": "hologram", "volume": 3},
        {"type": "text", "text": "hi", "tone": {"warm": True}, "state": None},
        {"type": "data-x"},
        CALL | {"approval": None, "later": 1},
    ]
    body = question() | {
        "messages": [{"id": "u1", "role": "user", "metadata": 7, "mood": "good", "parts": parts}],
        "trigger": None,
        "message": "a key of the application",
    }

    answer = await client.post(body)

    assert types_in(answer.text)[-1] == "finish"
    assert await service.request("chat:c1", 0) == body


@pytest.mark.parametrize("owner", ["half \ud800", "a\0b", "x" * 3000], ids=["half", "NUL", "long"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("GET", "/c1/stream"), ("POST", "/c1/stop"), ("GET", "/c1/status")],
)
async def test_an_owner_that_no_row_can_hold_is_refused_by_every_route(
    new_service: NewService, serve: Serve, owner: str, method: str, path: str
) -> None:
    async def authorize() -> str:
        return owner

    client = await serve(new_service(), greet, authorize=authorize)

    refused = await client.http.request(method, f"/api/chat{path}", json=question())

    assert (refused.status_code, refused.text) == (400, "The request has no valid owner.")

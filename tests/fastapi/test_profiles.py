"""One stored answer, read by clients of several releases of `ai`."""

from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.errors import InvalidArgument
from monostream_ai.fastapi import ChatTurn, create_chat_router, stream_response
from tests.chunks import PROTOCOL
from tests.fastapi.chat_client import chunks_in, question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, store_answer
from tests.plugins.services import ServiceFactory

pytestmark = pytest.mark.every_framework

HEADER = "x-ui-message-profile"
CALL = {"toolCallId": "c", "toolName": "pay", "dynamic": True}
WRITTEN: list[dict[str, Any]] = [
    {"type": "start-step"},
    {"type": "tool-input-available", **CALL, "input": {}},
    {"type": "tool-approval-request", "approvalId": "a", "toolCallId": "c"},
    {"type": "tool-approval-response", "approvalId": "a", "approved": False},
    {"type": "tool-output-denied", "toolCallId": "c"},
    {"type": "custom", "kind": "acme.thing"},
    {"type": "reset-step"},
]
ALL = [chunk["type"] for chunk in WRITTEN]
NOTHING = "message-metadata"
V6 = [*ALL[:3], NOTHING, "tool-output-denied", NOTHING, NOTHING]
V5 = [*ALL[:2], NOTHING, NOTHING, "tool-output-error", NOTHING, NOTHING]
V7 = [*ALL[:6], NOTHING]


async def write_everything(turn: ChatTurn) -> None:
    for chunk in WRITTEN:
        await turn.pub.write(chunk)


def written_types(body: str) -> list[str]:
    return types_in(body)[1 : 1 + len(WRITTEN)]


@pytest.mark.parametrize(
    ("options", "query", "headers", "types"),
    [
        ({}, "", {}, V6),
        ({"profile": "v7"}, "", {}, V7),
        ({"profile": "v5"}, "", {}, V5),
        ({"profile": "v7.0.149"}, "", {}, ALL),
        ({"profile": "v5"}, "", {HEADER: "v6"}, V6),
        ({"profile": "v5"}, "?profile=v7", {HEADER: "v6"}, V7),
    ],
    ids=[
        "any by default",
        "the router's v7",
        "the router's",
        "all of it",
        "the header's",
        "the query's",
    ],
)
async def test_a_client_gets_chunks_that_its_release_reads(
    new_service: NewService, serve: Serve, options: Any, query: str, headers: Any, types: list[str]
) -> None:
    service = new_service()
    client = await serve(service, write_everything, **options)
    answer = await client.http.post(f"/api/chat{query}", json=question(), headers=headers)
    # With an index, a turn that has ended is replayed too.
    run = answer.headers["x-workflow-run-id"]
    again = await client.http.get(
        f"/api/chat/{run}/stream{query}{'&' if query else '?'}startIndex=0", headers=headers
    )

    assert written_types(answer.text) == types
    assert chunks_in(again.text) == chunks_in(answer.text)
    assert [chunk["type"] for chunk in await service.chunks("chat:c1")][1 : 1 + len(WRITTEN)] == ALL


async def test_earlier_parts_of_a_message_are_filtered_like_new_ones(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        await held(turn)
        await turn.pub.write({"type": "tool-output-denied", "toolCallId": "c"})

    service = new_service()
    client = await serve(service, reply, profile="v5")
    part = {
        "type": "tool-pay",
        "toolCallId": "c",
        "input": {},
        "state": "approval-requested",
        "approval": {"id": "a"},
    }
    earlier = {"id": "a1", "role": "assistant", "parts": [{"type": "step-start"}, part]}
    await store_answer(service, earlier)
    part |= {"state": "approval-responded", "approval": {"id": "a", "approved": False}}
    body = {
        "id": "c1",
        "messages": [user_message(), earlier],
        "trigger": "submit-message",
        "messageId": "a1",
    }
    async with client.ask(body), client.resume() as resumed:
        await held.started.wait()
        held.go_on.set()
        whole = chunks_in(await resumed.rest())

    assert [chunk["type"] for chunk in whole][:6] == [
        "start",
        "start-step",
        "tool-input-available",
        NOTHING,
        "tool-output-error",
        "finish-step",
    ]
    # In `ai` 5 a denial must repeat the `dynamic` flag of its call, and this call was static.
    denied = {"type": "tool-output-error", "toolCallId": "c", "errorText": "Tool execution denied."}
    assert denied in whole


@pytest.mark.parametrize("how", [{"params": {"profile": "v4"}}, {"headers": {HEADER: "v4"}}])
async def test_an_unknown_profile_is_refused_in_plain_text(
    new_service: NewService, serve: Serve, how: Any
) -> None:
    client = await serve(new_service(), write_everything)
    answers = [await client.post(question(), **how), await client.get("c1", **how)]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert (
        answers[0].text
        == "The request has an unknown profile 'v4': use one of any, v5, v6, v7, v7.0.149."
    )


def test_a_router_refuses_an_unknown_profile(new_service: NewService) -> None:
    unknown: Any = "v4"
    with pytest.raises(InvalidArgument):
        create_chat_router(new_service(), write_everything, profile=unknown)


async def test_stream_response_takes_a_profile_too(new_service: NewService) -> None:
    service = new_service()
    async with service.publisher("s") as pub:
        await pub.write(WRITTEN[5])
    response: Any = await stream_response(service, "s", version=pub.version, profile="v6")

    assert types_in(b"".join([piece async for piece in response.body_iterator]).decode()) == [
        NOTHING,
        "finish",
    ]


async def test_stream_response_leaves_the_chunks_of_another_protocol_alone(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(protocol=PROTOCOL)
    async with service.publisher("s") as pub:
        await pub.write({"type": "custom", "n": 1}, {"type": "text", "n": 2})
    response: Any = await stream_response(service, "s", version=pub.version)

    assert types_in(b"".join([piece async for piece in response.body_iterator]).decode()) == [
        "custom",
        "text",
        "finish",
    ]

"""Asking another question while a turn runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet, store_answer
from tests.fastapi.test_catching_up import break_off

pytestmark = pytest.mark.every_framework


async def test_another_question_is_refused_by_default(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as stream:
        await held.started.wait()
        refused = await client.post(question(id="u2"))
        held.go_on.set()
        await stream.rest()

    assert (refused.status_code, refused.text) == (
        409,
        "This chat is still answering. Wait for the answer, or stop it first.",
    )


async def test_another_question_may_attach_to_the_running_turn(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held, on_busy="attach")

    async with client.ask(question()) as first, client.ask(question(id="u2")) as second:
        await held.started.wait()
        held.go_on.set()
        assert await first.rest() == await second.rest()

    assert len(held.turns) == 1


async def test_another_question_may_stop_the_running_turn(
    new_service: NewService, serve: Serve
) -> None:
    held, service = Held(), new_service()

    async def reply(turn: ChatTurn) -> None:
        await (held if turn.messages[-1]["id"] == "u1" else greet)(turn)

    # The turn runs in one process, and another one gets the stop.
    first = await serve(service, reply, on_busy="stop")
    second = await serve(new_service(), reply, on_busy="stop")

    async with first.ask(question()):
        await held.started.wait()
        answer = await second.post(question(id="u2"))
        async with asyncio.timeout(5):
            await held.cancelled.wait()

    assert types_in(answer.text)[-1] == "finish"
    assert [(await service.chunks("chat:c1", version))[-1]["type"] for version in (0, 1)] == [
        "abort",
        "finish",
    ]


@pytest.mark.parametrize("on_lost", ["retry", "continue"])
async def test_a_lost_turn_that_another_question_stops_does_not_run_before(
    new_service: NewService, serve: Serve, on_lost: str
) -> None:
    asked: list[str] = []

    async def reply(turn: ChatTurn) -> None:
        asked.append(turn.messages[-1]["id"])
        await greet(turn)

    service = new_service()
    client = await serve(service, reply, on_lost=on_lost, on_busy="stop")
    await break_off(service)

    answer = await client.post(question(id="u2"))

    assert types_in(answer.text)[-1] == "finish"
    assert asked == ["u2"]
    assert (await service.chunks("chat:c1", 0))[-1]["type"] == "abort"


@pytest.mark.parametrize("policy", ["refuse", "stop"])
async def test_the_same_question_joins_whatever_the_policy(
    new_service: NewService, serve: Serve, policy: str
) -> None:
    held = Held()
    client = await serve(new_service(), held, on_busy=policy)

    async with client.ask(question()) as first, client.ask(question()) as second:
        await held.started.wait()
        held.go_on.set()
        assert await first.rest() == await second.rest()

    assert len(held.turns) == 1


FILE = {"type": "file", "url": "data:text/plain,hi", "mediaType": "text/plain"}
CALLS: list[dict[str, Any]] = [
    {"type": "tool-ask", "toolCallId": call_id, "state": "input-available", "input": {}}
    for call_id in ("c1", "c2")
]
ANSWER = {"id": "a1", "role": "assistant", "parts": [{"type": "step-start"}, *CALLS]}


def answered(*outputs: object) -> dict[str, Any]:
    """Return the request of a page that has given the first calls these outputs."""
    results = [
        {**call, "state": "output-available", "output": output}
        for call, output in zip(CALLS, outputs, strict=False)
    ]
    parts = [{"type": "step-start"}, *results, *CALLS[len(outputs) :]]
    return question(id="u0", messageId="a1") | {"messages": [{**ANSWER, "parts": parts}]}


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "edited": (question(), question(text="edited", messageId="u1")),
    "file added": (
        question(),
        question() | {"messages": [{**user_message(), "parts": [*user_message()["parts"], FILE]}]},
    ),
    "edited, alone": (
        {"id": "c1", "message": user_message()},
        {"id": "c1", "message": user_message("edited")},
    ),
    "own key": (question(model="small"), question(model="large")),
    "true for 1": (question(n=1), question(n=True)),
    "regenerated with another body": (
        question(trigger="regenerate-message", model="small"),
        question(trigger="regenerate-message", model="large"),
    ),
    "another result": (answered("yes"), answered("no")),
    "a second result": (answered("yes"), answered("yes", "no")),
}


@pytest.mark.parametrize(("asked", "other"), OTHERS.values(), ids=list(OTHERS))
async def test_another_content_under_the_same_id_is_another_question(
    new_service: NewService, serve: Serve, asked: dict[str, Any], other: dict[str, Any]
) -> None:
    held, service = Held(), new_service()
    await store_answer(service, ANSWER)
    client = await serve(service, held)

    async with client.ask(asked) as stream:
        await held.started.wait()
        refused = await client.post(other)
        async with client.ask(asked) as again:
            held.go_on.set()
            assert await stream.rest() == await again.rest()

    assert (refused.status_code, refused.text) == (
        409,
        "This chat is still answering. Wait for the answer, or stop it first.",
    )
    assert len(held.turns) == 1


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "another result"])
async def test_another_content_under_the_same_id_may_stop_the_running_turn(
    new_service: NewService, serve: Serve, name: str
) -> None:
    asked, other = OTHERS[name]
    held, service, seen = Held(), new_service(), list[ChatTurn]()
    await store_answer(service, ANSWER)

    async def reply(turn: ChatTurn) -> None:
        seen.append(turn)
        await (held if len(seen) == 1 else greet)(turn)

    client = await serve(service, reply, on_busy="stop")
    async with client.ask(asked):
        await held.started.wait()
        answer = await client.post(other)
        async with asyncio.timeout(5):
            await held.cancelled.wait()

    assert types_in(answer.text)[-1] == "finish"
    if other["id"] == "c1" and "message" in other:
        assert seen[1].messages == [other["message"]]
    assert {**seen[1].body, "messages": 0} == {**other, "messages": 0}


async def test_a_continuation_that_will_be_refused_stops_nothing(
    new_service: NewService, serve: Serve
) -> None:
    held, service = Held(), new_service()
    await store_answer(service, ANSWER)
    client = await serve(service, held, on_busy="stop")

    async with client.ask(answered("yes")) as stream:
        await held.started.wait()
        refused = await client.post(answered("no"))
        held.go_on.set()
        body = await stream.rest()

    assert refused.status_code == 409
    assert types_in(body)[-1] == "finish"
    assert not held.cancelled.is_set()


async def test_a_request_is_recognized_whatever_the_order_of_its_keys(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)
    asked = question(own={"a": [1, 2], "b": None})
    turned = {key: asked[key] for key in reversed(asked)} | {"own": {"b": None, "a": [1, 2]}}

    async with client.ask(asked) as first, client.ask(turned) as second:
        await held.started.wait()
        held.go_on.set()
        assert await first.rest() == await second.rest()

    assert len(held.turns) == 1


async def test_a_turn_that_an_earlier_release_began_is_recognized(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    client = await serve(service, greet)
    async with service.publisher("chat:c1", message_id="m1", request=question()) as pub:
        await pub.write({"type": "start", "messageId": "m1"})
        async with client.ask(question()) as stream:
            started = await stream.chunk()
            refused = await client.post(question(text="edited"))

    assert (started["messageId"], refused.status_code) == ("m1", 409)

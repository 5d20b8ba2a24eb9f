"""Asking another question while a turn runs."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet


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

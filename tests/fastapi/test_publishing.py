"""Answers in a chat that no request has asked for."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from monostream_ai.errors import InvalidText
from monostream_ai.fastapi import ChatTurn, FinishedTurn, chat_publisher
from monostream_ai.ui_messages import UIMessage, UIMessageBuilder
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, greet

OWNER = "ada/1"


async def ada() -> str:
    return OWNER


class Finished:
    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.messages: list[UIMessage] = []
        self.turns: list[FinishedTurn] = []

    async def __call__(self, message: UIMessage, turn: FinishedTurn) -> None:
        self.messages.append(message)
        self.turns.append(turn)
        self.called.set()


async def test_the_routes_serve_it_and_hand_it_to_on_finish(
    new_service: NewService, serve: Serve
) -> None:
    finished = Finished()
    client = await serve(
        new_service(), greet, authorize=ada, on_finish=finished, sweep_interval=0.05
    )

    async with chat_publisher(new_service(), "c1", owner=OWNER) as pub:
        message = UIMessageBuilder(message_id=pub.message_id)
        await pub.write(*message.text("t", "A report"))
        status = await client.status()
        async with client.resume() as stream:
            first = await stream.chunk()
    await finished.called.wait()

    assert status["state"] == "open"
    assert first == {"type": "start", "messageId": pub.message_id}
    [turn] = finished.turns
    assert (turn.chat_id, turn.owner, turn.ending, turn.messages) == ("c1", OWNER, "finish", [])
    assert turn.message_id == finished.messages[0]["id"] == pub.message_id


async def test_the_route_stops_it(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)
    pub = await chat_publisher(new_service(), "c1").open()

    await client.stop()

    with pytest.raises(Exception, match="stopped"):
        await pub.write(*TEXT)


async def test_nobody_runs_it_again(new_service: NewService, serve: Serve) -> None:
    async def never(turn: ChatTurn) -> None:
        raise AssertionError("there is no question to answer")

    finished = Finished()
    service = new_service()
    pub = await chat_publisher(service, "c1").open()
    await pub.write(*TEXT)
    await pub.release()

    await serve(new_service(), never, on_lost="continue", on_finish=finished, sweep_interval=0.05)
    await finished.called.wait()

    assert [turn.ending for turn in finished.turns] == ["error"]


async def test_a_question_after_it_is_answered(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)
    async with chat_publisher(new_service(), "c1") as pub:
        await pub.write(*TEXT)

    assert types_in((await client.post(question())).text)[-1] == "finish"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "has no owner, so no route serves it"),
        ({"owner": OWNER}, "is not watched, so on_finish will not get it"),
    ],
    ids=["no owner", "not watched"],
)
async def test_a_publisher_that_the_routes_do_not_serve_is_named_in_the_log(
    new_service: NewService,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    problem: str,
) -> None:
    client = await serve(new_service(), greet, authorize=ada, on_finish=Finished())
    pub = await new_service().publisher("chat:ada%2F1/c1", **options).open()

    with caplog.at_level(logging.WARNING, "monostream_ai.chats.rules"):
        for _ in range(3):
            await client.status()

    [record] = caplog.records
    assert record.message == (
        f"stream 'chat:ada%2F1/c1' version 0 {problem}: open it by chat_publisher"
    )
    await pub.close()


async def test_a_publisher_of_the_routes_is_not_named_in_the_log(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = await serve(new_service(), greet, authorize=ada, on_finish=Finished())
    async with chat_publisher(new_service(), "c1", owner=OWNER):
        await client.status()
    await client.post(question("c2"))

    assert [record for record in caplog.records if record.name.endswith("chats")] == []


async def test_an_owner_that_no_store_could_hold_is_refused(new_service: NewService) -> None:
    with pytest.raises(InvalidText):
        chat_publisher(new_service(), "c1", owner="half \ud800")


@pytest.mark.parametrize("chat_id", ["", ".", ".."])
async def test_a_chat_that_no_url_can_name_is_refused(
    new_service: NewService, chat_id: str
) -> None:
    with pytest.raises(ValueError, match="no URL can name"):
        chat_publisher(new_service(), chat_id)

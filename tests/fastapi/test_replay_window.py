"""An answer is replayed for a while after its end.

The page may have loaded its history just before the answer ended.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet

pytestmark = pytest.mark.every_framework


async def test_an_answer_that_has_just_ended_is_replayed(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet, replay_window=60.0)
    posted = await client.post(question())

    again = await client.get()

    assert chunks_in(again.text) == chunks_in(posted.text)
    assert again.text.endswith("data: [DONE]\n\n")


async def test_the_window_closes(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet, replay_window=0.2)
    await client.post(question())

    async with asyncio.timeout(10):
        while (await client.get()).status_code != 204:
            await asyncio.sleep(0.05)


async def test_a_finished_answer_is_not_replayed_once_a_newer_question_is_asked(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held, replay_window=60.0)
    held.go_on.set()
    await client.post(question())
    held.go_on.clear()
    async with client.ask(question(id="u2")) as stream, client.resume() as resumed:
        newer = await stream.chunk()
        assert await resumed.chunk() == newer
        held.go_on.set()
        await resumed.rest()


async def test_a_stopped_answer_is_replayed_with_its_end(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held, replay_window=60.0)
    async with client.ask(question()):
        await held.started.wait()
        await client.stop()

    assert types_in((await client.get()).text)[-3:] == ["message-metadata", "abort", "finish"]


async def test_clients_that_count_chunks_get_the_replay_too(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet, replay_window=60.0)
    posted = await client.post(question())

    again = await client.get(params={"startIndex": "0"})

    assert chunks_in(again.text) == chunks_in(posted.text)


async def test_a_request_that_was_answered_just_now_is_not_answered_again(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    held.go_on.set()
    client = await serve(new_service(), held, replay_window=60.0)

    first, again = await client.post(question()), await client.post(question())

    assert chunks_in(again.text) == chunks_in(first.text)
    assert len(held.turns) == 1


@pytest.mark.parametrize(
    "other", [question(id="u2"), question(text="Hm?"), question(trigger="regenerate-message")]
)
async def test_a_different_request_is_answered(
    new_service: NewService, serve: Serve, other: dict[str, Any]
) -> None:
    client = await serve(new_service(), greet, replay_window=60.0)
    first = await client.post(question())

    assert chunks_in((await client.post(other)).text) != chunks_in(first.text)
    assert (await client.status())["version"] == 1


async def test_a_stopped_question_is_answered_when_it_is_asked_again(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held, replay_window=60.0)
    async with client.ask(question()):
        await held.started.wait()
        await client.stop()
    held.go_on.set()

    assert types_in((await client.post(question())).text)[-1] == "finish"
    assert len(held.turns) == 2

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet
from tests.fastapi.test_catching_up import break_off

pytestmark = pytest.mark.every_framework


async def test_a_stop_in_another_process_ends_the_turn_for_all_readers(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    here, elsewhere = await serve(new_service(), held), await serve(new_service(), held)

    async with here.ask(question()) as asked, elsewhere.resume() as resumed:
        await held.started.wait()
        answer = await elsewhere.stop()
        bodies = [await asked.rest(), await resumed.rest()]
    async with asyncio.timeout(5.0):
        await held.cancelled.wait()

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert {tuple(types_in(body)) for body in bodies} == {
        (
            "start",
            "text-start",
            "text-delta",
            "text-end",
            "start-step",
            "message-metadata",
            "abort",
            "finish",
        )
    }
    assert chunks_in(bodies[0])[5]["messageMetadata"] == {"stopped": True}


async def test_a_stopped_turn_does_not_come_back(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as stream:
        await held.started.wait()
        await client.stop()
        await stream.rest()

    assert (await client.get()).status_code == 204
    assert (await client.status())["state"] == "closed"


async def test_a_page_may_stop_the_retry_of_the_run_that_it_shows(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held, on_lost="retry")
    await break_off(service)

    async with client.resume() as stream:
        await held.started.wait()
        await client.stop(body={"activeStreamId": "c1~0"})
        body = await stream.rest()

    assert types_in(body)[-2:] == ["abort", "finish"]


async def test_a_run_of_an_older_question_is_not_that_of_a_turn_that_goes_on(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held, on_lost="continue")
    async with service.publisher("chat:c1", message_id="m0", request=question(id="u0")) as pub:
        await pub.write(*TEXT)
    await break_off(service)

    async with client.resume() as stream:
        await held.started.wait()
        await client.stop(body={"activeStreamId": "c1~0"})
        held.go_on.set()
        body = await stream.rest()

    assert (await client.status())["attempt"] == 2
    assert types_in(body)[-1] == "finish" and "abort" not in types_in(body)


async def test_a_stop_without_a_running_turn_does_nothing(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())
    before = await client.status()

    answers = [await client.stop(), await client.stop("unknown")]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (200, {"success": True})
    ] * 2
    assert await client.status() == before


async def test_the_next_question_after_a_stop_runs(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as stream:
        await held.started.wait()
        await client.stop()
        await stream.rest()
    held.go_on.set()

    assert types_in((await client.post(question(id="u2"))).text)[-1] == "finish"


async def test_a_silent_reply_ends_with_an_error(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held, max_silence=0.1)

    body = (await client.post(question())).text

    assert held.cancelled.is_set()
    assert types_in(body)[-2:] == ["error", "finish"]


async def test_a_reply_that_keeps_writing_is_left_alone(
    new_service: NewService, serve: Serve
) -> None:
    async def tick(turn: ChatTurn) -> None:
        for number in range(8):
            await asyncio.sleep(0.05)
            await turn.pub.write({"type": "data-tick", "data": number})

    client = await serve(new_service(), tick, max_silence=0.2)

    assert types_in((await client.post(question())).text)[-2:] == ["data-tick", "finish"]


async def test_the_status_describes_the_stored_turn(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)
    idle = await client.status()

    async with client.ask(question()) as stream:
        await held.started.wait()
        running = await client.status()
        held.go_on.set()
        await stream.rest()
    done = await client.status()

    message_id = held.turns[0].message_id
    assert idle == {"state": "idle", "version": None, "chunks": 0, "attempt": 0, "messageId": None}
    assert running == {
        "state": "open",
        "version": 0,
        "chunks": 4,
        "attempt": 1,
        "messageId": message_id,
    }
    assert done == {
        "state": "closed",
        "version": 0,
        "chunks": 6,
        "attempt": 1,
        "messageId": message_id,
    }

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.chats.files import ChatFiles
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.replies import ChatReplies
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.takeover import Takeover
from monostream_ai.chats.turns.writing import TurnWriter
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet

LEASE = 0.4


async def leave_open(service: DurableStreamService[Any], attempt: int = 1) -> None:
    """Begin a turn and leave it open, as if its process died."""
    pub = service.publisher("chat:c1", message_id="m1", attempt=attempt, request=question())
    await pub.open()
    await pub.write({"type": "start", "messageId": "m1"}, *TEXT[:2])
    # A publisher that is dropped stops renewing its lease, like one whose process was killed.


async def test_a_lost_turn_ends_with_an_error(new_service: NewService, serve: Serve) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, greet)
    await leave_open(service)

    body = (await client.get()).text

    assert types_in(body) == ["start", "text-start", "text-delta", "text-end", "error", "finish"]
    assert [chunk["type"] for chunk in await service.chunks("chat:c1")][-1] == "error"
    assert (await client.get()).status_code == 204


async def test_readers_in_all_processes_get_the_same_ending(
    new_service: NewService, serve: Serve
) -> None:
    services = [new_service(lease=LEASE) for _ in range(3)]
    clients = [await serve(service, greet) for service in services]
    await leave_open(services[0])

    bodies = await asyncio.gather(*(client.get() for client in clients for _ in range(3)))

    assert len({body.text for body in bodies}) == 1


async def test_a_lost_turn_runs_again_once_with_the_same_message_id(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    services = [new_service(lease=LEASE) for _ in range(2)]
    clients = [await serve(service, held, on_lost="retry") for service in services]
    await leave_open(services[0])

    async def read_until_broken(number: int) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await clients[number % 2].get()

    await asyncio.gather(*map(read_until_broken, range(6)))
    await held.started.wait()
    async with clients[0].resume() as stream:
        first = await stream.chunk()
        held.go_on.set()
        await stream.rest()

    assert first == {"type": "start", "messageId": "m1"}
    assert [(turn.version, turn.attempt, turn.messages) for turn in held.turns] == [
        (1, 2, question()["messages"])
    ]


async def test_a_turn_that_is_lost_once_more_is_not_ended(new_service: NewService) -> None:
    """A reader that hears of a loss finds the turn taken over. Then the store is away for longer
    than a lease, so that the successor is lost too, before the reader asks again.
    """
    service = new_service(lease=LEASE)
    replies = ChatReplies(greet, on_lost="continue")
    finisher = Finisher(service, None)
    writer = TurnWriter(service, replies, finisher, ChatFiles(None, "chat:").hook_for)
    runner = TurnRunner(service, writer, finisher, max_attempts=3, drain_timeout=1.0)
    takeover = Takeover(service, runner, finisher, max_attempts=3, goes_on=True)
    await leave_open(service)
    taken_over = await service.status("chat:c1")
    while not (await service.status("chat:c1")).lost:
        await asyncio.sleep(0.05)

    assert not taken_over.lost
    assert await takeover.run_again_or_end(taken_over)

    assert (await service.status("chat:c1")).state == "open"
    await takeover.run_again_or_end(await service.status("chat:c1"))
    while (turn := await service.status("chat:c1")).state == "open":
        await asyncio.sleep(0.05)
    assert (await service.chunks("chat:c1"))[-1]["type"] == "finish"
    assert (turn.version, turn.attempt) == (0, 2)


async def test_a_resume_of_a_lost_turn_runs_it_again_at_once(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, greet, on_lost="retry")
    await leave_open(service)
    await lost(service)

    body = (await client.get()).text

    assert "id: 1.0\n" in body
    assert types_in(body) == ["start", "text-start", "text-delta", "text-end", "finish"]
    assert chunks_in(body)[0]["messageId"] == "m1"


@pytest.mark.parametrize(
    ("on_lost", "event"),
    [("retry", "runs again here"), ("error", "was ended here")],
    ids=["run again", "ended"],
)
async def test_a_takeover_is_logged_for_debugging(
    new_service: NewService,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    on_lost: str,
    event: str,
) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, greet, on_lost=on_lost)
    await leave_open(service)
    await lost(service)

    with caplog.at_level(logging.DEBUG, "monostream_ai.chats.turns.takeover"):
        await client.get()

    [record] = [record for record in caplog.records if "is lost and" in record.message]
    assert record.message == f"stream 'chat:c1' version 0 attempt 1 is lost and {event}"
    assert (record.levelname, vars(record)["version"]) == ("DEBUG", 0)


async def test_a_turn_that_is_lost_too_often_ends_with_an_error(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, greet, on_lost="retry", max_attempts=3)
    await leave_open(service, attempt=3)

    assert types_in((await client.get()).text)[-2:] == ["error", "finish"]


async def test_a_turn_that_no_router_began_is_not_run_again(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, greet, on_lost="retry")
    pub = await service.publisher("chat:c1", request={"any": "thing"}, message_id="m1").open()
    await pub.write({"type": "start"})
    del pub

    assert types_in((await client.get()).text) == ["start", "error", "finish"]


async def test_a_new_question_follows_a_lost_turn(new_service: NewService, serve: Serve) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, greet)
    await leave_open(service)
    await lost(service)

    assert types_in((await client.post(question(id="u2"))).text)[-1] == "finish"
    assert (await client.status())["version"] == 1


async def test_a_turn_needs_at_least_one_attempt(new_service: NewService, serve: Serve) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        await serve(new_service(), greet, max_attempts=0)


async def lost(service: DurableStreamService[Any]) -> None:
    """Wait until the publisher is declared lost."""
    from monostream_ai import PublisherLost

    with pytest.raises(PublisherLost):
        async for _ in service.subscribe("chat:c1"):
            pass

"""A page keeps the text of a lost answer until the retried one has as much of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatReplies, ChatTurn, run_turn
from tests.fastapi.chat_client import ChatClient, OpenStream, chunks_in, question
from tests.fastapi.conftest import NewService, Serve

OLD = [
    {"type": "start", "messageId": "m1"},
    {"type": "text-start", "id": "t"},
    {"type": "text-delta", "id": "t", "delta": "Once upon"},
    {"type": "text-delta", "id": "t", "delta": " a time"},
]


async def break_off(service: DurableStreamService[Any], *chunks: Any) -> None:
    """Leave a lost turn with these chunks."""
    pub = await service.publisher("chat:c1", message_id="m1", request=question()).open()
    await pub.write(*(chunks or OLD))
    await pub.release()


class Typist:
    """Writes what the test says, then waits for more; None ends the answer."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[str | None] = asyncio.Queue()

    async def __call__(self, turn: ChatTurn) -> None:
        await turn.pub.write({"type": "text-start", "id": "n"})
        while (word := await self.words.get()) is not None:
            await turn.pub.write({"type": "text-delta", "id": "n", "delta": word})
        await turn.pub.write({"type": "text-end", "id": "n"})


@asynccontextmanager
async def come_back(client: ChatClient, event_id: str) -> AsyncIterator[OpenStream]:
    headers = {"last-event-id": event_id}
    async with client.http.stream("GET", "/api/chat/c1/stream", headers=headers) as response:
        yield OpenStream(response)


async def events(stream: OpenStream) -> list[str]:
    """Read until the connection breaks."""
    seen: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        while True:
            seen.append(await stream.event())
    return seen


async def test_a_page_is_held_until_the_new_attempt_has_as_much_text(
    new_service: NewService, serve: Serve
) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry")
    await break_off(service)

    async with come_back(client, "0.3") as stream:
        assert stream.response.status_code == 200
        reading = asyncio.create_task(events(stream))
        typist.words.put_nowait("Once upon a ")
        await asyncio.wait([reading], timeout=0.3)
        assert not reading.done()
        typist.words.put_nowait("tide")
        seen = await reading

    assert {event[0] for event in seen} == {":"}
    # It is told at once to load the new attempt, and gets the text in one piece.
    assert (await client.get(headers={"last-event-id": "0.3"})).status_code == 409
    async with client.resume() as stream:
        assert [await stream.chunk() for _ in range(3)] == [
            {"type": "start", "messageId": "m1"},
            {"type": "text-start", "id": "n"},
            {"type": "text-delta", "id": "n", "delta": "Once upon a tide"},
        ]
        typist.words.put_nowait(None)
        await stream.rest()


async def test_pages_that_come_back_at_once_are_counted_for_together(
    new_service: NewService, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, typist, reads = new_service(), Typist(), []
    client = await serve(service, typist, on_lost="retry")
    await break_off(service)
    read_pages = service._pages

    def counted(stream_id: str, version: int | None = None) -> Any:
        reads.append(version)
        return read_pages(stream_id, version)

    monkeypatch.setattr(service, "_pages", counted)
    held = asyncio.Barrier(51)

    async def hold() -> None:
        async with come_back(client, "0.3") as stream:
            assert stream.response.status_code == 200
            await held.wait()
            await events(stream)

    pages = [asyncio.create_task(hold()) for _ in range(50)]
    await held.wait()
    typist.words.put_nowait("Once upon a time")
    await asyncio.gather(*pages)

    assert reads == [0]
    typist.words.put_nowait(None)


async def test_a_page_is_held_for_some_seconds_only(new_service: NewService, serve: Serve) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry", catch_up=0.3)
    await break_off(service)

    async with come_back(client, "0.3") as stream:
        await events(stream)
    assert (await client.get(headers={"last-event-id": "0.3"})).status_code == 409
    typist.words.put_nowait(None)


async def test_a_page_gets_a_shorter_answer_once_it_has_ended(
    new_service: NewService, serve: Serve
) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry", replay_window=5.0)
    await break_off(service)

    async with come_back(client, "0.3") as stream:
        reading = asyncio.create_task(events(stream))
        typist.words.put_nowait("No.")
        typist.words.put_nowait(None)
        await reading
    assert (await client.get(headers={"last-event-id": "0.3"})).status_code == 409
    assert [chunk.get("delta") for chunk in chunks_in((await client.get()).text)][2] == "No."


@pytest.mark.parametrize("event_id", ["0.1", "0.-1"], ids=["before the text", "nothing"])
async def test_a_page_that_shows_no_text_is_not_held(
    new_service: NewService, serve: Serve, event_id: str
) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry")
    await break_off(service)

    assert (await client.get(headers={"last-event-id": event_id})).status_code == 409
    typist.words.put_nowait(None)


async def test_thoughts_are_held_where_there_is_no_text_yet(
    new_service: NewService, serve: Serve
) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry", catch_up=0.3)
    await break_off(
        service,
        OLD[0],
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "Let me think"},
    )

    async with come_back(client, "0.2") as stream:
        assert await stream.event() == ": stream-open"
        await events(stream)
    typist.words.put_nowait(None)


async def test_a_page_of_an_older_question_is_not_held(
    new_service: NewService, serve: Serve
) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry")
    async with service.publisher("chat:c1", message_id="m0", request=question(id="u0")) as pub:
        await pub.write(*OLD)
    pub = await service.publisher("chat:c1", message_id="m1", request=question()).open()
    await pub.write(*OLD)
    await pub.release()

    # The retried turn is version 2, and version 0 is another answer.
    assert (await client.get(headers={"last-event-id": "0.3"})).status_code == 409
    async with come_back(client, "1.3") as stream:
        assert await stream.event() == ": stream-open"
        typist.words.put_nowait(None)
        await events(stream)


async def test_a_page_of_an_older_question_is_not_held_where_turns_go_on(
    new_service: NewService, serve: Serve
) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="continue")
    async with service.publisher("chat:c1", message_id="m0", request=question(id="u0")) as pub:
        await pub.write(*OLD)
    await break_off(service, OLD[0])

    async with client.resume() as stream:
        assert await stream.chunk() == OLD[0]
        assert (await client.status())["attempt"] == 2
        assert (await client.get(headers={"last-event-id": "0.3"})).status_code == 409
        typist.words.put_nowait(None)
        await stream.rest()


async def test_a_second_death_holds_the_page_further(new_service: NewService, serve: Serve) -> None:
    service = new_service()
    attempts: list[int] = []

    async def reply(turn: ChatTurn) -> None:
        attempts.append(turn.attempt)
        await turn.pub.write({"type": "text-start", "id": "n"})
        if turn.attempt == 2:
            await turn.pub.release()
            return
        await turn.pub.write({"type": "text-delta", "id": "n", "delta": "Once upon a time, a king"})

    client = await serve(service, reply, on_lost="retry", replay_window=5.0)
    await break_off(service)

    # The client comes back with the same event until it is told that the text has caught up.
    async with asyncio.timeout(10):
        while True:
            async with come_back(client, "0.3") as stream:
                if stream.response.status_code == 409:
                    break
                await events(stream)
    assert attempts == [2, 3]
    assert "a king" in (await client.get()).text


async def test_a_page_is_held_while_the_new_attempt_waits_for_a_worker(
    new_service: NewService, serve: Serve
) -> None:
    service, typist, refs = new_service(), Typist(), asyncio.Queue[str]()
    replies = ChatReplies(typist, on_lost="retry")
    # It waits for longer than `catch_up`, and for so long that it is dispatched again.
    client = await serve(service, replies, dispatch=refs.put, dispatch_timeout=0.5, catch_up=0.4)
    await break_off(service)

    for _ in range(3):
        async with come_back(client, "0.3") as stream:
            assert stream.response.status_code == 200
            await events(stream)
    ref = await refs.get()
    worker = asyncio.create_task(run_turn(service, ref, replies))
    async with come_back(client, "0.3") as stream:
        assert stream.response.status_code == 200
        typist.words.put_nowait("Once upon a time")
        await events(stream)
    assert (await client.get(headers={"last-event-id": "0.3"})).status_code == 409
    typist.words.put_nowait(None)
    assert await worker


async def test_a_stop_of_the_lost_attempt_stops_the_one_that_waits(
    new_service: NewService, serve: Serve
) -> None:
    service, refs = new_service(), asyncio.Queue[str]()
    replies = ChatReplies(Typist(), on_lost="retry")
    client = await serve(service, replies, dispatch=refs.put)
    await break_off(service)
    async with come_back(client, "0.3") as stream:
        assert await stream.event() == ": stream-open"
    assert (await client.status())["state"] == "waiting"

    await client.stop(body={"activeStreamId": "c1~0"})

    assert (await client.status())["state"] == "closed"
    assert not await run_turn(service, await refs.get(), replies)


async def test_a_page_is_not_held_through_a_shutdown(new_service: NewService, serve: Serve) -> None:
    service, typist = new_service(), Typist()
    client = await serve(service, typist, on_lost="retry", drain_timeout=0.1)
    await break_off(service)

    async with come_back(client, "0.3") as stream:
        reading = asyncio.create_task(events(stream))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await client.shut_down()
            await reading

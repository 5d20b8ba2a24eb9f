"""`on_finish` gets the message of each turn once, however and wherever the turn ended."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatTurn, FinishedTurn, without_active_message
from monostream_ai.ui_messages import UIMessage
from tests.fastapi.chat_client import question, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet, store_answer


class Kept:
    """Records the calls of `on_finish`."""

    def __init__(self) -> None:
        self.messages: list[UIMessage] = []
        self.turns: list[FinishedTurn] = []
        self._changed = asyncio.Event()

    async def __call__(self, message: UIMessage, turn: FinishedTurn) -> None:
        self.messages.append(message)
        self.turns.append(turn)
        self._changed.set()

    async def wait(self, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()


def text_of(message: UIMessage) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


async def leave_open(service: DurableStreamService[Any]) -> None:
    """Begin a turn and leave it open, as if its process died."""
    pub = service.publisher("chat:c1", message_id="m1", request=question(), watched=True)
    await pub.open()
    await pub.write({"type": "start", "messageId": "m1"}, *TEXT[:2])


async def test_on_finish_gets_a_finished_turn(new_service: NewService, serve: Serve) -> None:
    kept = Kept()
    client = await serve(new_service(), greet, on_finish=kept)

    await client.post(question(model="small"))
    await kept.wait()

    [message], [turn] = kept.messages, kept.turns
    assert (message["role"], text_of(message), message["parts"][0]["state"]) == (
        "assistant",
        "Hello",
        "done",
    )
    assert (turn.chat_id, turn.version, turn.ending, turn.message_id) == (
        "c1",
        0,
        "finish",
        message["id"],
    )
    assert (turn.owner, turn.body["model"], turn.messages) == (None, "small", [user_message()])
    assert "metadata" not in message


def test_a_finished_turn_is_shown_without_its_messages() -> None:
    turn = FinishedTurn("c1", "chat:c1", 3, "m1", "ann", "abort", [{"secret": 1}], {"secret": 1})

    assert repr(turn) == "<FinishedTurn 'chat:c1' v3 abort>"


async def test_a_chunk_at_which_pages_fail_costs_nothing_but_itself(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write(*TEXT[:2], {"type": "reset-step"}, TEXT[2])
        await turn.pub.write(*({**chunk, "id": "u"} for chunk in TEXT))

    client = await serve(new_service(), reply, on_finish=kept)
    await client.post(question())
    await kept.wait()

    [message] = kept.messages
    assert (text_of(message), message["metadata"]) == ("Hello", {"failed": True})
    [logged] = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert "stream 'chat:c1' version 0 stop at its chunk 4, a 'text-end'" in logged
    assert "text 't' is not open" in logged


async def test_on_finish_gets_a_failed_turn_marked_as_failed(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()

    async def fail(turn: ChatTurn) -> None:
        await turn.pub.write(*TEXT[:2])
        raise LookupError("secret")

    client = await serve(new_service(), fail, on_finish=kept)
    with caplog.at_level(logging.CRITICAL):
        await client.post(question())
    await kept.wait()

    assert (text_of(kept.messages[0]), kept.messages[0]["metadata"]) == ("Hello", {"failed": True})
    assert kept.turns[0].ending == "error"


async def test_on_finish_gets_a_turn_stopped_by_another_process_once(
    new_service: NewService, serve: Serve
) -> None:
    kept, held = Kept(), Held()
    first = await serve(new_service(), held, on_finish=kept, sweep_interval=0.05)
    second = await serve(new_service(), held, on_finish=kept, sweep_interval=0.05)

    async with first.ask(question()) as stream:
        await held.started.wait()
        await second.stop()
        await stream.rest()
    await kept.wait()
    await asyncio.gather(first.shut_down(), second.shut_down())

    assert [(text_of(message), message["metadata"]) for message in kept.messages] == [
        ("Hello", {"stopped": True})
    ]
    assert [turn.ending for turn in kept.turns] == ["abort"]


async def test_a_lost_turn_without_readers_is_ended_and_finished_once(
    new_service: NewService, serve: Serve
) -> None:
    kept, services = Kept(), [new_service(lease=0.3) for _ in range(3)]
    await leave_open(services[0])
    clients = [
        await serve(service, greet, on_finish=kept, sweep_interval=0.05) for service in services
    ]

    await kept.wait()
    await asyncio.gather(*(client.shut_down() for client in clients))

    assert [(text_of(message), message["metadata"]) for message in kept.messages] == [
        ("Hello", {"failed": True})
    ]
    assert [chunk["type"] for chunk in await new_service().chunks("chat:c1")][-1] == "error"


async def test_a_lost_turn_without_readers_runs_again_and_is_finished_once(
    new_service: NewService, serve: Serve
) -> None:
    kept, services = Kept(), [new_service(lease=0.3) for _ in range(3)]
    await leave_open(services[0])
    clients = [
        await serve(each, greet, on_finish=kept, on_lost="retry", sweep_interval=0.05)
        for each in services
    ]

    await kept.wait()
    await asyncio.gather(*(client.shut_down() for client in clients))

    assert [(text_of(message), message["id"]) for message in kept.messages] == [("Hello", "m1")]
    assert [(turn.version, turn.ending) for turn in kept.turns] == [(1, "finish")]


async def test_another_process_calls_on_finish_for_one_that_died_after_the_end(
    new_service: NewService, serve: Serve
) -> None:
    kept, service = Kept(), new_service()
    async with service.publisher(
        "chat:c1", message_id="m1", request=question(), watched=True
    ) as pub:
        await pub.write({"type": "start", "messageId": "m1"}, *TEXT)
    assert await service.unattended(prefix="chat:") != []

    await serve(new_service(), greet, on_finish=kept, sweep_interval=0.05)
    await kept.wait()

    assert [text_of(message) for message in kept.messages] == ["Hello"]


async def test_on_finish_gets_the_whole_message_of_a_continuation(
    new_service: NewService, serve: Serve
) -> None:
    kept, service = Kept(), new_service()
    client = await serve(service, greet, on_finish=kept)
    earlier = {
        "id": "a1",
        "role": "assistant",
        "parts": [{"type": "text", "text": "Well. ", "state": "done"}],
    }
    await store_answer(service, earlier)

    await client.post(
        {
            "id": "c1",
            "messages": [user_message(), earlier],
            "trigger": "submit-message",
            "messageId": "a1",
        }
    )
    await kept.wait()

    assert (kept.messages[0]["id"], text_of(kept.messages[0])) == ("a1", "Well. Hello")


async def test_the_next_question_waits_for_on_finish_of_the_previous_turn(
    new_service: NewService, serve: Serve
) -> None:
    order = list[str]()
    finishing, go_on = asyncio.Event(), asyncio.Event()

    async def on_finish(message: UIMessage, turn: FinishedTurn) -> None:
        finishing.set()
        await go_on.wait()
        order.append(f"finished {turn.version}")

    async def reply(turn: ChatTurn) -> None:
        order.append(f"asked {turn.version}")
        await greet(turn)

    client = await serve(new_service(), reply, on_finish=on_finish)
    await client.post(question())
    await finishing.wait()
    second = asyncio.create_task(client.post(question(id="u2")))
    await client.status()
    go_on.set()
    await second

    assert order[:3] == ["asked 0", "finished 0", "asked 1"]


async def test_the_next_question_waits_for_on_finish_due_from_a_dead_process(
    new_service: NewService, serve: Serve
) -> None:
    kept, service = Kept(), new_service()
    async with service.publisher(
        "chat:c1", message_id="m1", request=question(), watched=True
    ) as pub:
        await pub.write({"type": "start", "messageId": "m1"}, *TEXT)
    known = list[int]()

    async def reply(turn: ChatTurn) -> None:
        known.append(len(kept.messages))
        await greet(turn)

    client = await serve(new_service(), reply, on_finish=kept)
    await client.post(question(id="u2"))

    assert known == [1]


async def test_a_failing_on_finish_affects_nothing_else(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(message: UIMessage, turn: FinishedTurn) -> None:
        raise LookupError("the history is down")

    service = new_service()
    client = await serve(service, greet, on_finish=fail)
    with caplog.at_level(logging.CRITICAL):
        first, second = await client.post(question()), await client.post(question(id="u2"))

    assert (first.status_code, second.status_code) == (200, 200)
    assert (await service.status("chat:c1", 0)).state == "closed"


async def test_routers_finish_only_turns_of_their_own_prefix(
    new_service: NewService, serve: Serve
) -> None:
    kept, service = Kept(), new_service()
    for stream_id in ("chat:c1", "draft:c1"):
        async with service.publisher(
            stream_id, message_id="m1", request=question(), watched=True
        ) as pub:
            await pub.write({"type": "start", "messageId": "m1"}, *TEXT)

    client = await serve(
        service, greet, on_finish=kept, sweep_interval=0.05, stream_prefix="draft:"
    )
    await kept.wait()
    await client.shut_down()

    assert [turn.stream_id for turn in kept.turns] == ["draft:c1"]


async def test_a_history_for_a_page_ends_with_the_question_while_a_turn_runs(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held)
    asked, old = user_message(), {"id": "a0", "role": "assistant", "parts": []}

    async with client.ask(question()) as stream:
        start = await stream.chunk()
        partial = {"id": start["messageId"], "role": "assistant", "parts": []}
        for stored in (
            [old, asked, partial],
            [old, asked, {**partial, "id": "regenerated"}],
            [old, asked],
        ):
            assert await without_active_message(service, "chat:c1", stored) == [old, asked]
        held.go_on.set()
        await stream.rest()

    assert await without_active_message(service, "chat:c1", [asked, partial]) == [asked, partial]
    assert await without_active_message(service, "chat:unknown", [asked]) == [asked]


async def test_a_history_for_a_page_leaves_out_the_message_being_continued(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held)
    asked, earlier = (
        user_message(),
        {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "Well."}]},
    )
    await store_answer(service, earlier)

    async with client.ask({"id": "c1", "messages": [asked, earlier], "messageId": "a1"}) as stream:
        await held.started.wait()
        assert await without_active_message(service, "chat:c1", [asked, earlier]) == [asked]
        held.go_on.set()
        await stream.rest()

"""Answers in a chat that no request has asked for."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from monostream_ai import create_service
from monostream_ai.chats import publishing
from monostream_ai.chats.publishing import LOOK_EVERY
from monostream_ai.chats.turns import finishing
from monostream_ai.errors import InvalidText, InvalidWord
from monostream_ai.fastapi import ChatTurn, FinishedTurn, chat_publisher
from monostream_ai.interfaces import Store
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, UIMessage, UIMessageBuilder
from tests.fastapi.chat_client import question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet
from tests.hooked_store import Gate, HookedStore

OWNER = "ada/1"

ASKS: list[Chunk] = [
    {"type": "start", "messageId": "a1"},
    {"type": "tool-input-available", "toolCallId": "t1", "toolName": "send", "input": {}},
    {"type": "tool-approval-request", "toolCallId": "t1", "approvalId": "p1"},
]


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

    async def until(self, count: int) -> None:
        while len(self.turns) < count:
            await asyncio.sleep(0.01)


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


@pytest.mark.parametrize("messages", [[], [user_message()]], ids=["no messages", "messages"])
async def test_nobody_runs_it_again(
    new_service: NewService, serve: Serve, messages: list[Any]
) -> None:
    async def never(turn: ChatTurn) -> None:
        raise AssertionError("there is no question to answer")

    finished = Finished()
    service = new_service()
    pub = await chat_publisher(service, "c1", messages=messages).open()
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


@pytest.mark.parametrize(
    "options", [{}, {"message_id": "m1"}, {"request": {"messages": []}}], ids=["", "id", "request"]
)
async def test_a_watched_version_of_a_plain_publisher_is_handed_over_too(
    new_service: NewService, serve: Serve, options: dict[str, Any]
) -> None:
    finished = Finished()
    await serve(new_service(), greet, authorize=ada, on_finish=finished, sweep_interval=0.05)

    plain = new_service().publisher("chat:ada%2F1/c1", owner=OWNER, watched=True, **options)
    async with plain as pub:
        await pub.write(*TEXT)
    await finished.called.wait()

    [turn], [message] = finished.turns, finished.messages
    assert (turn.chat_id, turn.owner, turn.ending, turn.messages) == ("c1", OWNER, "finish", [])
    assert turn.message_id == message["id"] == options.get("message_id", "msg_0")
    assert [part["text"] for part in message["parts"] if part["type"] == "text"] == ["Hello"]


async def test_it_waits_for_the_answer_that_is_being_written(
    new_service: NewService, serve: Serve
) -> None:
    held, finished = Held(), Finished()
    client = await serve(new_service(), held, on_finish=finished, sweep_interval=0.05)
    async with client.ask(question()):
        await held.started.wait()
        opening = asyncio.create_task(chat_publisher(new_service(), "c1").open())
        await asyncio.sleep(2 * LOOK_EVERY)
        assert not opening.done()
        held.go_on.set()
        pub = await opening
        assert pub.version == 1
        await pub.close()

    await finished.until(2)
    assert [turn.ending for turn in finished.turns] == ["finish", "finish"]


async def test_it_stops_the_answer_that_is_being_written_if_it_is_told_so(
    new_service: NewService, serve: Serve
) -> None:
    held, finished = Held(), Finished()
    client = await serve(new_service(), held, on_finish=finished, sweep_interval=0.05)
    async with client.ask(question()):
        await held.started.wait()
        async with chat_publisher(new_service(), "c1", on_busy="stop") as pub:
            await pub.write(*TEXT)

    await finished.until(2)
    endings = {turn.version: turn.ending for turn in finished.turns}
    assert endings == {0: "abort", 1: "finish"}
    [stopped] = [message for message in finished.messages if "metadata" in message]
    assert [part["text"] for part in stopped["parts"] if part["type"] == "text"] == ["Hello"]


async def test_a_question_that_comes_first_is_not_fenced(
    new_service: NewService, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the chat and its opening, a question is asked."""
    held = Held()
    client = await serve(new_service(), held)
    look = finishing.latest_version
    looks = list[asyncio.Task[httpx.Response]]()

    async def looked(service: Any, stream_id: str) -> Any:
        found = await look(service, stream_id)
        if not looks:
            looks.append(asyncio.create_task(client.post(question())))
            await held.started.wait()
        return found

    monkeypatch.setattr(publishing, "latest_version", looked)
    opening = asyncio.create_task(chat_publisher(new_service(), "c1").open())
    await held.started.wait()
    await asyncio.sleep(2 * LOOK_EVERY)
    assert not opening.done()
    held.go_on.set()
    pub = await opening

    assert (pub.version, types_in((await looks[0]).text)[-1]) == (1, "finish")
    await pub.close()


async def test_it_ends_a_lost_answer_that_no_router_runs_again(
    new_service: NewService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LOST_PATIENCE", 0.1)
    service = new_service()
    lost = await chat_publisher(service, "c1").open()
    await lost.write(*TEXT)
    await lost.release()

    pub = await chat_publisher(new_service(), "c1").open()

    assert (pub.version, (await service.status("chat:c1", 0)).state) == (1, "closed")
    await pub.close()


async def test_opening_it_again_after_a_failure_finds_its_own_version(
    new_service: NewService,
) -> None:
    stores = list[HookedStore]()

    def hook(store: Store) -> Store:
        stores.append(HookedStore(store))
        return stores[-1]

    pub = chat_publisher(new_service(wrap_store=hook), "c1")
    stores[0].after["acquire"] = committed = Gate()
    opening = asyncio.create_task(pub.open())
    await committed.reached.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    committed.open()

    assert (await pub.open()).version == 0
    await pub.write(*TEXT)
    await pub.close()


async def test_it_waits_for_the_decision_that_an_answer_asks_for(new_service: NewService) -> None:
    service = new_service()
    async with service.publisher("chat:c1", message_id="a1") as asking:
        await asking.write(*ASKS)

    opening = asyncio.create_task(chat_publisher(service, "c1").open())
    await asyncio.sleep(3 * LOOK_EVERY)
    assert not opening.done()
    async with service.publisher("chat:c1") as decided:
        await decided.write(*TEXT)
    pub = await opening

    assert pub.version == 2
    await pub.close()


async def test_it_waits_for_no_decision_if_it_is_told_so(new_service: NewService) -> None:
    service = new_service()
    async with service.publisher("chat:c1", message_id="a1") as asking:
        await asking.write(*ASKS)

    async with chat_publisher(service, "c1", on_busy="stop") as pub:
        await pub.write(*TEXT)

    assert pub.version == 1


def test_a_program_that_is_interrupted_while_it_waits_writes_nothing(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    waiting = SyncPublisher(url, lambda service: chat_publisher(service, "c1"))

    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with SyncPublisher(url, "chat:c1") as pub:
            pub.write(*TEXT)
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            with pytest.raises(Interrupted), waiting:
                pass
        waiting._thread.join(30.0)
    finally:
        signal.signal(signal.SIGALRM, before)

    async def latest() -> int:
        async with create_service(url) as service:
            return (await service.status("chat:c1")).version

    assert (waiting._thread.is_alive(), asyncio.run(latest())) == (False, 0)


async def test_a_version_that_may_be_of_another_owner_is_not_handed_over(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    finished, service = Finished(), new_service()
    await serve(new_service(), greet, authorize=ada, on_finish=finished, sweep_interval=0.05)
    for name in ("ada%2F1/c1", ""):
        async with service.publisher(f"chat:{name}", watched=True) as pub:
            await pub.write(*TEXT)
        while (await service.status(f"chat:{name}")).watched:
            await asyncio.sleep(0.01)

    assert finished.turns == []
    told = [each.message for each in caplog.records if "names no chat of its owner" in each.message]
    assert len(told) == 2


async def test_it_opens_a_chat_that_was_deleted(new_service: NewService) -> None:
    service = new_service()
    async with chat_publisher(service, "c1") as pub:
        await pub.write(*TEXT)
    await service.delete("chat:c1")

    async with chat_publisher(service, "c1") as pub:
        await pub.write(*TEXT)
    assert pub.version == 1


async def test_a_word_for_a_busy_chat_that_does_not_exist_is_refused(
    new_service: NewService,
) -> None:
    with pytest.raises(InvalidWord, match="on_busy"):
        chat_publisher(new_service(), "c1", on_busy="queue")  # type: ignore[arg-type]


async def test_a_program_without_an_event_loop_opens_it_too(
    new_service: NewService, serve: Serve, tmp_path: Path
) -> None:
    finished, url = Finished(), f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"

    def report() -> None:
        made = SyncPublisher(url, lambda service: chat_publisher(service, "c1", owner=OWNER))
        assert (repr(made), made.stream_id) == ("<SyncPublisher '?' not open>", "?")
        with made as pub:
            pub.write(*TEXT)
        assert (pub.stream_id, repr(pub)) == (
            "chat:ada%2F1/c1",
            "<SyncPublisher 'chat:ada%2F1/c1' v0 closed>",
        )

    async with create_service(url) as service:
        await serve(service, greet, authorize=ada, on_finish=finished, sweep_interval=0.05)
        await asyncio.to_thread(report)
        await finished.called.wait()
        [turn] = finished.turns
        assert (turn.chat_id, turn.owner) == ("c1", OWNER)


def test_options_beside_a_function_are_refused() -> None:
    with pytest.raises(TypeError, match="give owner to the publisher that the function makes"):
        SyncPublisher("memory://", lambda service: chat_publisher(service, "c1"), owner="ada")


async def test_an_owner_that_no_store_could_hold_is_refused(new_service: NewService) -> None:
    with pytest.raises(InvalidText):
        chat_publisher(new_service(), "c1", owner="half \ud800")


@pytest.mark.parametrize("chat_id", ["", ".", ".."])
async def test_a_chat_that_no_url_can_name_is_refused(
    new_service: NewService, chat_id: str
) -> None:
    with pytest.raises(ValueError, match="no URL can name"):
        chat_publisher(new_service(), chat_id)

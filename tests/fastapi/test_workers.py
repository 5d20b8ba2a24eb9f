"""Turns that the router hands to a queue, and that `run_turn` writes in another process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.chats.turns.dispatching import NOT_QUEUED
from monostream_ai.chats.turns.names import TurnRef
from monostream_ai.chats.turns.takeover import NO_WORKER
from monostream_ai.fastapi import ChatReplies, ChatTurn, FinishedTurn, create_chat_router, run_turn
from monostream_ai.files import DatabaseFiles
from monostream_ai.recording import consume_stream
from monostream_ai.ui_messages import UIMessage
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet
from tests.filing import LARGE, LARGE_BASE64
from tests.recording.test_files import FileMapper

ANSWER = ["start", "text-start", "text-delta", "text-end", "finish"]
FAILED = ["start", "error", "finish"]

SOON = 0.3
"""Seconds after which a turn that waits is dispatched again."""


class Queue:
    """A queue in memory, whose workers are tasks of the test."""

    def __init__(self) -> None:
        self.refs: asyncio.Queue[str] = asyncio.Queue()
        self.dispatched: list[str] = []

    async def put(self, ref: str) -> None:
        self.dispatched.append(ref)
        self.refs.put_nowait(ref)


@asynccontextmanager
async def working(
    queue: Queue, service: DurableStreamService[Any], replies: ChatReplies
) -> AsyncIterator[list[bool]]:
    """Run a worker within the block; yield what its calls returned."""
    returned: list[bool] = []

    async def work() -> None:
        while True:
            returned.append(await run_turn(service, await queue.refs.get(), replies))

    task = asyncio.create_task(work())
    try:
        yield returned
    finally:
        task.cancel()
        await asyncio.wait([task])


class Finished:
    """An `on_finish` that remembers its calls."""

    def __init__(self) -> None:
        self.turns: list[FinishedTurn] = []
        self.called = asyncio.Event()

    async def __call__(self, message: UIMessage, turn: FinishedTurn) -> None:
        self.turns.append(turn)
        self.called.set()


async def never(turn: ChatTurn) -> None:
    raise AssertionError("the reply ran in the process of the router")


async def test_a_worker_writes_the_answer_into_the_response(
    new_service: NewService, serve: Serve
) -> None:
    queue, finished = Queue(), Finished()
    client = await serve(new_service(), ChatReplies(never), dispatch=queue.put)
    there = new_service()

    async with working(queue, there, ChatReplies(greet, on_finish=finished)):
        response = await client.post(question())
        await finished.called.wait()

    assert types_in(response.text) == ANSWER
    assert queue.dispatched == ["chat:c1~0"]
    info = await there.status("chat:c1")
    assert (info.version, info.attempt, info.state, info.owner) == (0, 1, "closed", None)
    [turn] = finished.turns
    assert (turn.chat_id, turn.ending, turn.messages) == ("c1", "finish", question()["messages"])


async def test_a_reply_sees_the_turn_as_in_the_router(
    new_service: NewService, serve: Serve
) -> None:
    queue, held = Queue(), Held()
    held.go_on.set()

    async def ada() -> str:
        return "ada/1"

    client = await serve(new_service(), ChatReplies(never), dispatch=queue.put, authorize=ada)

    async with working(queue, new_service(), ChatReplies(held)):
        await client.post(question("c 2", key="value"))

    [turn] = held.turns
    assert queue.dispatched == ["chat:ada%252F1/c%202~0"]
    assert (turn.chat_id, turn.owner, turn.attempt) == ("c 2", "ada/1", 1)
    assert turn.body == question("c 2", key="value")
    assert not turn.written
    assert not await turn.previous()


async def test_a_second_delivery_of_a_turn_does_nothing(
    new_service: NewService, serve: Serve
) -> None:
    queue, held = Queue(), Held()
    client = await serve(new_service(), ChatReplies(never), dispatch=queue.put)
    services = [new_service() for _ in range(3)]

    async with client.ask(question()) as stream:
        ref = await queue.refs.get()
        calls = [
            asyncio.create_task(run_turn(service, ref, ChatReplies(held))) for service in services
        ]
        await held.started.wait()
        while sum(call.done() for call in calls) < 2:
            await asyncio.sleep(0.01)
        held.go_on.set()
        body = await stream.rest()

    assert sorted([await call for call in calls]) == [False, False, True]
    assert len(held.turns) == 1
    assert types_in(body)[-1] == "finish"
    assert not await run_turn(services[0], ref, ChatReplies(held))


async def test_a_waiting_turn_says_so_and_is_joined_by_the_same_question(
    new_service: NewService, serve: Serve
) -> None:
    queue = Queue()
    service = new_service()
    client = await serve(service, ChatReplies(never), dispatch=queue.put)

    async with client.ask(question()) as stream, client.ask(question()) as again:
        status = await client.status()
        assert (status["state"], status["attempt"], status["chunks"]) == ("waiting", 0, 1)
        assert (await client.post(question(text="another"))).status_code == 409
        async with working(queue, new_service(), ChatReplies(greet)):
            bodies = [await stream.rest(), await again.rest()]

    assert [types_in(body) for body in bodies] == [ANSWER, ANSWER]
    assert queue.dispatched == ["chat:c1~0"]


async def test_a_stop_ends_a_turn_that_waits(new_service: NewService, serve: Serve) -> None:
    queue, finished = Queue(), Finished()
    replies = ChatReplies(never, on_finish=finished)
    client = await serve(new_service(), replies, dispatch=queue.put)

    async with client.ask(question()) as stream:
        await queue.refs.get()
        await client.stop()
        body = await stream.rest()
    await finished.called.wait()

    assert "abort" in types_in(body) and types_in(body)[-1] == "finish"
    assert [turn.ending for turn in finished.turns] == ["abort"]
    assert not await run_turn(new_service(), "chat:c1~0", ChatReplies(never))


async def test_a_stop_ends_a_turn_that_a_worker_writes(
    new_service: NewService, serve: Serve
) -> None:
    queue, held, finished = Queue(), Held(), Finished()
    client = await serve(new_service(), ChatReplies(never), dispatch=queue.put)
    replies = ChatReplies(held, on_finish=finished)

    async with working(queue, new_service(), replies) as returned, client.ask(question()) as stream:
        await held.started.wait()
        await client.stop()
        body = await stream.rest()
        await held.cancelled.wait()
        await queue.put(queue.dispatched[0])
        while len(returned) < 2:
            await asyncio.sleep(0.01)

    assert types_in(body)[-2:] == ["abort", "finish"]
    assert returned == [True, False]


async def test_a_turn_that_nobody_takes_is_dispatched_again(
    new_service: NewService, serve: Serve
) -> None:
    queue = Queue()
    client = await serve(
        new_service(),
        ChatReplies(never),
        dispatch=queue.put,
        dispatch_timeout=SOON,
        sweep_interval=0.05,
    )

    async with client.ask(question()) as stream:
        await queue.refs.get()
        async with working(queue, new_service(), ChatReplies(greet)) as returned:
            body = await stream.rest()

    assert types_in(body) == ANSWER
    assert returned[0] is True
    assert len(queue.dispatched) >= 2 and len({*queue.dispatched}) == 1


async def test_a_turn_without_readers_is_dispatched_again_by_another_process(
    new_service: NewService, serve: Serve
) -> None:
    queue, finished = Queue(), Finished()
    gone = new_service()
    client = await serve(gone, ChatReplies(never), dispatch=queue.put, dispatch_timeout=SOON)
    async with client.ask(question()):
        await queue.refs.get()
    await client.shut_down()
    await gone.aclose()

    async with working(queue, new_service(), ChatReplies(greet, on_finish=finished)):
        await serve(
            new_service(),
            ChatReplies(never),
            dispatch=queue.put,
            dispatch_timeout=SOON,
            sweep_interval=0.05,
        )
        await finished.called.wait()

    assert [turn.ending for turn in finished.turns] == ["finish"]


async def test_a_turn_that_is_dispatched_in_vain_ends_with_an_error_that_says_so(
    new_service: NewService, serve: Serve
) -> None:
    queue, finished = Queue(), Finished()
    service = new_service()
    client = await serve(
        service,
        ChatReplies(never, on_finish=finished),
        dispatch=queue.put,
        dispatch_timeout=0.1,
        sweep_interval=0.05,
    )

    body = (await client.post(question())).text
    await finished.called.wait()

    assert types_in(body) == FAILED
    assert {"type": "error", "errorText": NO_WORKER} in await service.chunks("chat:c1")
    assert queue.dispatched == ["chat:c1~0"] * 4
    assert [turn.ending for turn in finished.turns] == ["error"]


async def test_a_question_that_cannot_be_queued_is_refused(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(ref: str) -> None:
        raise ConnectionError("secret of the queue")

    finished = Finished()
    service = new_service()
    client = await serve(service, ChatReplies(never, on_finish=finished), dispatch=broken)

    with caplog.at_level(logging.ERROR):
        response = await client.post(question())
    await finished.called.wait()

    assert (response.status_code, response.text) == (503, NOT_QUEUED)
    assert "could not be dispatched" in caplog.text
    assert [chunk["type"] for chunk in await service.chunks("chat:c1")] == ["start", "error"]
    assert [turn.ending for turn in finished.turns] == ["error"]
    assert not await run_turn(new_service(), "chat:c1~0", ChatReplies(never))


async def test_a_queue_that_fails_after_it_took_the_turn_fails_nobody(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    there = new_service()
    running: list[asyncio.Task[bool]] = []

    async def late(ref: str) -> None:
        running.append(asyncio.create_task(run_turn(there, ref, ChatReplies(held))))
        await held.started.wait()
        raise ConnectionError

    client = await serve(new_service(), ChatReplies(never), dispatch=late)
    async with client.ask(question()) as stream:
        held.go_on.set()
        body = await stream.rest()

    assert types_in(body)[-1] == "finish"
    assert await running[0]


async def test_a_queue_that_does_not_answer_is_not_waited_for(
    new_service: NewService, serve: Serve
) -> None:
    async def silent(ref: str) -> None:
        await asyncio.Event().wait()

    client = await serve(new_service(), ChatReplies(never), dispatch=silent, dispatch_timeout=SOON)

    assert (await client.post(question())).status_code == 503


@pytest.mark.parametrize(
    ("on_lost", "version", "types"),
    [
        ("continue", 0, ["start", *[part["type"] for part in TEXT], "data-last", "finish"]),
        ("retry", 1, ["start", *[part["type"] for part in TEXT], "data-last", "finish"]),
        ("error", 0, ["start", *[part["type"] for part in TEXT], "error"]),
    ],
    ids=["continue", "retry", "error"],
)
async def test_a_worker_that_is_told_to_exit_hands_over(
    new_service: NewService, serve: Serve, on_lost: Any, version: int, types: list[str]
) -> None:
    queue, held, finished = Queue(), Held(), Finished()
    seen: list[tuple[int, int, bool]] = []

    async def go_on(turn: ChatTurn) -> None:
        seen.append((turn.attempt, len((await turn.previous()).chunks), bool(turn.written)))
        if not turn.written:
            await turn.pub.write(*TEXT)
        await turn.pub.write({"type": "data-last", "data": 1})

    service = new_service()
    client = await serve(
        service,
        ChatReplies(never, on_lost=on_lost, on_finish=finished),
        dispatch=queue.put,
        sweep_interval=0.05,
    )
    async with client.ask(question()):
        ref = await queue.refs.get()
        call = asyncio.create_task(run_turn(new_service(), ref, ChatReplies(held, on_lost=on_lost)))
        await held.started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    async with working(queue, new_service(), ChatReplies(go_on, on_lost=on_lost)):
        async with asyncio.timeout(10):
            while (await service.status("chat:c1")).state == "open":
                await asyncio.sleep(0.01)
            while (await service.status("chat:c1")).version < version:
                await asyncio.sleep(0.01)
            while (await service.status("chat:c1")).state == "open":
                await asyncio.sleep(0.01)

    assert (await service.status("chat:c1")).version == version
    assert [chunk["type"] for chunk in await service.chunks("chat:c1")] == types
    assert seen == ([] if on_lost == "error" else [(2, 4, on_lost == "continue")])


async def test_a_turn_runs_no_more_often_than_it_may(new_service: NewService, serve: Serve) -> None:
    queue, finished = Queue(), Finished()
    service, runs = new_service(), []

    async def dies(turn: ChatTurn) -> None:
        runs.append(turn.attempt)
        await turn.pub.release()

    client = await serve(
        service,
        ChatReplies(never, on_lost="continue", max_attempts=3, on_finish=finished),
        dispatch=queue.put,
        sweep_interval=0.05,
    )
    async with working(queue, new_service(), ChatReplies(dies, on_lost="continue", max_attempts=3)):
        body = (await client.post(question())).text
        await finished.called.wait()

    assert types_in(body) == FAILED
    assert runs == [1, 2, 3]
    assert [turn.ending for turn in finished.turns] == ["error"]


async def test_a_process_that_exits_does_not_wait_for_workers(
    new_service: NewService, serve: Serve
) -> None:
    queue = Queue()
    service = new_service()
    client = await serve(service, ChatReplies(never), dispatch=queue.put, drain_timeout=600.0)
    async with client.ask(question()):
        ref = await queue.refs.get()
    async with asyncio.timeout(10):
        await client.shut_down()

    assert await run_turn(new_service(), ref, ChatReplies(greet))


async def test_a_reply_that_raises_ends_the_turn(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(turn: ChatTurn) -> None:
        raise ValueError("secret")

    queue = Queue()
    client = await serve(new_service(), ChatReplies(never), dispatch=queue.put)
    async with working(queue, new_service(), ChatReplies(broken)) as returned:
        body = (await client.post(question())).text
        while not returned:
            await asyncio.sleep(0.01)

    assert types_in(body) == FAILED
    assert "secret" not in body
    assert returned == [True]
    assert "the reply of stream 'chat:c1' version 0 failed" in caplog.text


async def test_a_router_finds_a_turn_whose_process_died_before_it_left_it(
    new_service: NewService, serve: Serve
) -> None:
    queue, finished = Queue(), Finished()
    dead = new_service()
    pub = await dead.publisher(
        "chat:c1", message_id="m1", attempt=0, request=question(), watched=True
    ).open()
    await pub.release()
    await serve(new_service(), ChatReplies(never), dispatch=queue.put, sweep_interval=0.05)

    async with working(queue, new_service(), ChatReplies(greet, on_finish=finished)):
        await finished.called.wait()

    chunks = await dead.chunks("chat:c1")
    assert [chunk["type"] for chunk in chunks] == ANSWER
    assert chunks[0] == {"type": "start", "messageId": "m1"}


@pytest.mark.parametrize("ref", ["", "chat:c1", "chat:c1~", "chat:c1~x", "~1", None, "other:c1~0"])
async def test_a_text_that_names_no_turn_of_these_replies_is_refused(
    new_service: NewService, ref: Any
) -> None:
    with pytest.raises(ValueError, match="names no"):
        await run_turn(new_service(), ref, ChatReplies(greet))


async def test_a_turn_that_is_gone_is_no_error(new_service: NewService) -> None:
    assert not await run_turn(new_service(), "chat:c1~7", ChatReplies(greet))


@pytest.mark.parametrize("stream_id", ["chat:1", "chat:a~b", "chat:ü/%2F 日", "chat:\n"])
def test_the_name_of_a_turn_comes_back(stream_id: str) -> None:
    ref = TurnRef(stream_id, 7)

    assert TurnRef.parse(str(ref)) == ref
    assert str(ref).isascii() and str(ref).isprintable() and " " not in str(ref)


async def test_an_option_is_said_in_one_place(new_service: NewService) -> None:
    def plain(ref: str) -> None:
        """Put it into a queue, without an `async`."""

    service = new_service()
    with pytest.raises(TypeError, match="on_lost belongs to the replies"):
        create_chat_router(service, ChatReplies(greet), on_lost="retry")
    with pytest.raises(TypeError, match="dispatch is not async"):
        create_chat_router(service, greet, dispatch=plain)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dispatch_timeout"):
        create_chat_router(service, greet, dispatch_timeout=0.0)
    with pytest.raises(ValueError, match="on_lost"):
        ChatReplies(greet, on_lost="never")  # type: ignore[arg-type]


async def test_files_of_workers_need_the_path_of_the_router(new_service: NewService) -> None:
    service = new_service()
    replies = ChatReplies(greet, files=DatabaseFiles(service))
    with pytest.raises(ValueError, match="url="):
        create_chat_router(service, replies, dispatch=Queue().put)
    with pytest.raises(ValueError, match="url="):
        await run_turn(service, "chat:c1~0", replies)


async def test_a_file_that_a_worker_stores_is_served_by_the_router(
    new_service: NewService, serve: Serve
) -> None:
    async def reply(turn: ChatTurn) -> None:
        url = f"data:image/png;base64,{LARGE_BASE64}"
        await consume_stream(["Look", url, "END"], turn.pub, FileMapper)

    service, worker = new_service(), new_service()
    replies = [
        ChatReplies(reply, files=DatabaseFiles(each, url="/api/chat")) for each in (service, worker)
    ]
    queue = Queue()
    client = await serve(service, replies[0], dispatch=queue.put)
    async with working(queue, worker, replies[1]):
        answer = await client.post(question())
    [file] = [chunk for chunk in chunks_in(answer.text) if chunk["type"] == "file"]
    response = await client.http.get(file["url"])
    assert (response.status_code, response.content) == (200, LARGE)


async def test_a_worker_needs_the_declaration_and_not_the_reply(new_service: NewService) -> None:
    reply: Any = Held()
    with pytest.raises(TypeError, match=r"not Held: use ChatReplies\(reply, …\)"):
        await run_turn(new_service(), "chat:c1~0", reply)

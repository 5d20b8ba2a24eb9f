"""Questions that wait for the end of the turn before them, with `on_busy="queue"`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Header
from starlette.applications import Starlette

from monostream_ai.chats import create_chat_app
from monostream_ai.chats.queue.questions import QuestionList, Questions
from monostream_ai.chats.turns.names import queue_stream_id
from monostream_ai.chats.turns.requests import ChatRequest
from monostream_ai.fastapi import (
    ChatHistory,
    ChatReplies,
    ChatTurn,
    FinishedTurn,
    chat_publisher,
    create_chat_router,
)
from monostream_ai.ui_messages import UIMessage
from tests.backends import BACKENDS, Backend, open_backend
from tests.fastapi.chat_client import (
    ChatClient,
    OpenStream,
    chunks_in,
    question,
    types_in,
    user_message,
)
from tests.fastapi.conftest import NewService, Serve, ServeApp
from tests.fastapi.replies import TEXT
from tests.fastapi.test_events import Events
from tests.fastapi.test_workers import Queue, never, working

BUSY = "This chat is still answering. Wait for the answer, or stop it first."

SOON = 0.5
"""Seconds between sweeps, where a test waits for one."""


@pytest.fixture(params=BACKENDS)
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend(request.param, tmp_path, request)


class Steps:
    """A reply that answers one question after another, each when the test says so."""

    def __init__(self) -> None:
        self.turns: list[ChatTurn] = []
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go_on: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.running = 0

    async def __call__(self, turn: ChatTurn) -> None:
        self.turns.append(turn)
        self.running += 1
        try:
            await self._answer(turn)
        finally:
            self.running -= 1

    async def at_rest(self) -> bool:
        return self.running == 0

    async def _answer(self, turn: ChatTurn) -> None:
        asked = turn.messages[-1].get("id", "")
        text = f"answer to {asked}"
        await turn.pub.write(
            {"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": text}
        )
        self.begun.put_nowait(asked)
        if error := await self.go_on.get():
            raise error
        await turn.pub.write({"type": "text-end", "id": "t"})

    async def next(self, error: Exception | None = None) -> str:
        """End the running turn, and return the question that begins next."""
        self.go_on.put_nowait(error)
        return await self.begun.get()

    def end(self) -> None:
        self.go_on.put_nowait(None)


async def put(client: ChatClient, body: Any, **headers: str) -> dict[str, Any]:
    """Ask without waiting for the answer."""
    response = await client.post(body, headers={"prefer": "respond-async", **headers})
    assert response.status_code == 202, response.text
    accepted: dict[str, Any] = response.json()
    return accepted


async def waiting(client: ChatClient, chat_id: str = "c1", **headers: str) -> list[str]:
    """Return the ids of the questions that can still be cancelled."""
    response = await client.http.get(f"/api/chat/{chat_id}/queue", headers=headers)
    questions = response.json()["questions"]
    return [each["message"]["id"] for each in questions if not each["begins"]]


async def cancel(client: ChatClient, number: object = None, **headers: str) -> Any:
    url = "/api/chat/c1/queue" + ("" if number is None else f"/{number}")
    return (await client.http.delete(url, headers=headers)).json()["cancelled"]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():
            await asyncio.sleep(0.01)


async def ended(client: ChatClient, version: int) -> None:
    """Wait until the chat is at rest behind this version, and no question waits."""

    async def at_rest() -> bool:
        status = await client.status()
        return (status["version"], status["state"], status["queued"]) == (version, "closed", 0)

    await until(at_rest)


def texts(messages: list[UIMessage]) -> list[str]:
    return ["".join(part.get("text", "") for part in each["parts"]) for each in messages]


async def test_questions_wait_in_order_and_begin_one_after_another(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")

    first = await put(client, question())
    second, third = [await put(client, question(id=id)) for id in ("u2", "u3")]
    listed = await waiting(client)
    status = await client.status()
    order = [await steps.begun.get(), await steps.next(), await steps.next()]
    steps.end()
    await ended(client, 2)

    assert (first["version"], first["number"]) == (0, None)
    assert second["version"] is None
    assert second["number"] < third["number"]
    assert (listed, status["queued"]) == (["u2", "u3"], 2)
    assert order == ["u1", "u2", "u3"]
    assert await waiting(client) == []


async def test_the_response_to_a_question_that_waits_streams_its_answer(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())

    async with client.ask(question(id="u2")) as stream:
        opened = await stream.event()
        await steps.next()
        assert await steps.next() == "u2"
        steps.end()
        body = await stream.rest()

    assert opened == ": stream-open"
    assert '"delta":"answer to u2"' in body
    assert types_in(body)[-1] == "finish"


@pytest.mark.parametrize("ending", ["error", "stop"])
async def test_a_question_begins_however_the_turn_before_it_ends(
    new_service: NewService, serve: Serve, ending: str
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    await put(client, question(id="u2"))
    await steps.begun.get()

    if ending == "stop":
        await client.stop()
        begun = await steps.begun.get()
    else:
        begun = await steps.next(RuntimeError("the test says so"))

    steps.end()
    await ended(client, 1)
    assert begun == "u2"


async def test_a_process_that_took_no_question_begins_it(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    here, there = [await serve(new_service(), steps, on_busy="queue") for _ in range(2)]
    await put(here, question())
    await put(there, question(id="u2"))
    await there.shut_down()

    assert await steps.begun.get() == "u1"
    # Not at a sweep, which comes only twice a minute.
    async with asyncio.timeout(15):
        assert await steps.next() == "u2"
    steps.end()
    await ended(here, 1)


async def test_questions_that_every_process_has_left_begin_in_the_next_one(
    new_service: NewService, serve: Serve
) -> None:
    steps, service = Steps(), new_service()
    client = await serve(service, steps, on_busy="queue", sweep_interval=SOON, drain_timeout=SOON)
    await put(client, question())
    await put(client, question(id="u2"))
    await client.shut_down()

    other = await serve(new_service(), steps, on_busy="queue", sweep_interval=SOON)
    begun = [await steps.begun.get(), await steps.next()]
    steps.end()
    await ended(other, 1)

    assert begun == ["u1", "u2"]


@pytest.mark.parametrize("begun", [True, False])
async def test_a_question_that_a_dead_process_has_drawn_begins_once(
    new_service: NewService, serve: Serve, begun: bool
) -> None:
    steps, service = Steps(), new_service()
    client = await serve(service, steps, on_busy="queue")
    # Without ids, the same question may be asked again, so only its number tells.
    message = {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
    body = {"id": "c1", "messages": [message]}
    await put(client, body | {"own": 1})
    number = (await put(client, body))["number"]
    for _ in range(2):
        steps.end()
    await ended(client, 1)

    # The process dies before it can take the question off the list, or before it begins.
    question = {"digest": None, "asked_at": "", "body": body}
    drawn = {"number": number if begun else number + 100, **question}
    list_id = "queue:chat:c1"
    latest = (await service.status(list_id)).version
    left = service.publisher(
        list_id,
        latest + 1,
        request={"next": drawn, "waiting": []},
        metadata={"queued": 1},
        watched=True,
    )
    await left.open()
    await left.leave(within=60.0)
    steps.end()
    await ended(client, 1 if begun else 2)

    assert len(steps.turns) == (2 if begun else 3)


async def test_a_question_is_cancelled_unless_it_begins(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    numbers = [(await put(client, question(id=id)))["number"] for id in ("u2", "u3", "u4")]

    assert await cancel(client, numbers[1]) == [numbers[1]]
    assert await cancel(client, numbers[1]) == []
    assert await waiting(client) == ["u2", "u4"]
    assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
    assert await cancel(client, numbers[0]) == []
    assert await cancel(client) == [numbers[2]]
    steps.end()
    await ended(client, 1)


async def test_the_response_to_a_cancelled_question_ends_without_an_answer(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())

    async with client.ask(question(id="u2")) as stream:
        await stream.event()
        await until(lambda: _is(waiting(client), ["u2"]))
        await cancel(client)
        body = await stream.rest()

    assert types_in(body) == ["finish"]
    steps.end()
    await ended(client, 0)


async def _is(found: Awaitable[Any], expected: Any) -> bool:
    return bool(await found == expected)


async def test_stopping_the_running_turn_cancels_no_question(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    await put(client, question(id="u2"))
    await put(client, question(id="u3"))
    await steps.begun.get()

    await client.stop()

    assert await steps.begun.get() == "u2"
    assert await waiting(client) == ["u3"]
    await cancel(client)
    steps.end()
    await ended(client, 1)


async def test_the_same_question_joins_the_one_that_waits(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    accepted = [await put(client, question(id="u2")) for _ in range(3)]
    assert len({each["number"] for each in accepted}) == 1

    assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
    # It runs now, and is sent once more.
    assert await put(client, question(id="u2")) == {"version": 1, "number": None}
    await put(client, question(id="u3"))
    assert await steps.next() == "u3"
    # It is answered, and another question runs.
    assert await put(client, question(id="u2")) == {"version": 1, "number": None}
    refused = await client.post(question(id="u2"))
    steps.end()
    await ended(client, 2)

    assert refused.status_code == 409
    assert [turn.messages[-1]["id"] for turn in steps.turns] == ["u1", "u2", "u3"]


async def behind_an_answer(
    new_service: NewService, serve: Serve
) -> tuple[Steps, asyncio.Event, ChatClient, ChatClient, asyncio.Task[httpx.Response]]:
    """Let `u2` wait behind the answer to `u1`, which is finished once the event is set.

    Returns:
        Also the server of the queue, one that knows no queue, as a process that has read the list
        just before, and the response that waits.
    """
    steps, stored = Steps(), asyncio.Event()

    async def store(message: UIMessage, turn: FinishedTurn) -> None:
        await stored.wait()

    queues = await serve(new_service(), steps, on_busy="queue", on_finish=store)
    begins = await serve(new_service(), steps)
    await put(queues, question())
    assert await steps.begun.get() == "u1"
    waits = asyncio.create_task(queues.post(question(id="u2")))
    await until(lambda: _is(waiting(queues), ["u2"]))
    return steps, stored, queues, begins, waits


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_question_that_begins_elsewhere_while_it_waits_is_answered_once(
    new_service: NewService, serve: Serve, stopped: bool
) -> None:
    steps, stored, queues, begins, waits = await behind_an_answer(new_service, serve)
    steps.end()
    await until(lambda: _is(_state(queues), "closed"))
    answer = asyncio.create_task(begins.post(question(id="u2")))
    assert await steps.begun.get() == "u2"
    stored.set()
    await until(lambda: _is(waiting(queues), []))
    if stopped:
        await begins.stop()
    else:
        steps.end()

    assert chunks_in((await waits).text) == chunks_in((await answer).text)
    await ended(queues, 1)


@pytest.mark.parametrize("drawn", [False, True])
async def test_a_question_that_was_answered_and_stopped_elsewhere_does_not_begin_again(
    new_service: NewService, serve: Serve, drawn: bool
) -> None:
    steps, stored, queues, begins, waits = await behind_an_answer(new_service, serve)
    if drawn:
        # As by a process that was killed before it could begin the question.
        await Questions(new_service(), most=10, look_again=30.0).change(
            "chat:c1", QuestionList.drawn
        )
    steps.end()
    await until(lambda: _is(_state(queues), "closed"))
    answer = asyncio.create_task(begins.post(question(id="u2")))
    assert await steps.begun.get() == "u2"
    await begins.stop()
    stopped = chunks_in((await answer).text)
    # The process of the queue looks only now, at a chat that is at rest.
    stored.set()

    await ended(queues, 1)
    assert chunks_in((await waits).text) == stopped
    # Asked once more on purpose, it is answered once more.
    await until(steps.at_rest)
    again = asyncio.create_task(queues.post(question(id="u2")))
    assert await steps.begun.get() == "u2"
    steps.end()
    assert types_in((await again).text)[-1] == "finish"
    await ended(queues, 2)


async def test_a_list_of_questions_is_read_by_the_release_before(new_service: NewService) -> None:
    service = new_service()
    async with service.publisher("chat:c1", request=question()):
        pass
    questions = Questions(service, most=10, look_again=30.0)
    request = ChatRequest.from_body(question(id="u2"))
    added = await questions.add("chat:c1", QuestionList(), request, 0)

    stored = await service.request(queue_stream_id("chat:c1"), 0)
    assert stored["behind"] == {"0": 0}
    assert {*stored["waiting"][0]} == {"number", "digest", "asked_at", "body"}
    assert (await questions.read("chat:c1")).waiting == (added,)
    # A list stored by that release has no such key.
    del stored["behind"]
    [question_of_old] = QuestionList.stored(0, None, stored)
    assert question_of_old == added._replace(behind=None)


async def test_too_many_questions_are_refused(new_service: NewService, serve: Serve) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue", max_waiting=2)
    await put(client, question())
    posts = [
        client.post(question(id=f"q{number}"), headers={"prefer": "respond-async"})
        for number in range(6)
    ]

    statuses = [response.status_code for response in await asyncio.gather(*posts)]

    assert sorted(statuses) == [202, 202, 429, 429, 429, 429]
    assert len(await waiting(client)) == 2
    await cancel(client)
    steps.end()
    await ended(client, 0)


@pytest.mark.parametrize(
    "other",
    [
        question(trigger="regenerate-message"),
        question(text="edited", messageId="u1"),
    ],
    ids=["regenerate", "edit"],
)
async def test_a_request_that_asks_again_does_not_wait(
    new_service: NewService, serve: Serve, other: dict[str, Any]
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())

    refused = await client.post(other)

    assert (refused.status_code, refused.text) == (409, BUSY)
    steps.end()
    await ended(client, 0)


async def test_a_question_in_which_a_page_cut_an_emoji_is_listed_as_it_was_sent(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    await put(client, question(id="u2", text="cut \ud83d"))

    listed = await client.http.get("/api/chat/c1/queue")
    steps.end()

    assert listed.headers["content-type"] == "application/json"
    [waits] = listed.json()["questions"]
    assert waits["message"] == user_message("cut \ud83d", "u2")


async def test_owners_do_not_see_questions_of_others(new_service: NewService, serve: Serve) -> None:
    async def user(x_user: Annotated[str, Header()]) -> str:
        return x_user

    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue", authorize=user)
    await put(client, question(), **{"x-user": "ada"})
    asked = await put(client, question(id="u2"), **{"x-user": "ada"})

    assert await waiting(client, **{"x-user": "bob"}) == []
    assert await cancel(client, asked["number"], **{"x-user": "bob"}) == []
    assert await waiting(client, **{"x-user": "ada"}) == ["u2"]
    assert await cancel(client, **{"x-user": "ada"}) == [asked["number"]]
    steps.end()


async def test_a_question_sees_the_answers_that_came_while_it_waited(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    early = user_message("zero", "u0")
    await put(client, {**question(), "messages": [early, user_message()]})
    # The page shows a part of the answer, or less than there is.
    part = {"id": "forged", "role": "assistant", "parts": [{"type": "text", "text": "answ"}]}
    whole = [early, user_message(), part, user_message("two", "u2")]
    await put(client, {**question(), "messages": whole})
    await put(client, question(text="three", id="u3", own=[1]))
    await steps.next()
    await steps.next()
    await steps.begun.get()
    steps.end()
    await ended(client, 2)

    seen = steps.turns[2]
    assert texts(seen.messages) == ["zero", "hi", "answer to u1", "two", "answer to u2", "three"]
    assert seen.messages == seen.body["messages"]
    assert [seen.messages[2]["id"], seen.messages[4]["id"]] == [
        turn.message_id for turn in steps.turns[:2]
    ]
    assert seen.body["own"] == [1]


async def test_a_client_that_sends_one_message_gets_one(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, {"id": "c1", "message": user_message()})
    await put(client, {"id": "c1", "message": user_message("two", "u2")})
    await steps.next()
    await steps.begun.get()
    steps.end()
    await ended(client, 1)

    assert steps.turns[1].body == {"id": "c1", "message": user_message("two", "u2")}


async def test_a_question_behind_a_report_sees_the_turn_before_it_too(
    new_service: NewService, serve: Serve
) -> None:
    steps, service = Steps(), new_service()
    client = await serve(service, steps, on_busy="queue")
    await put(client, question())
    steps.end()
    await ended(client, 0)
    async with chat_publisher(service, "c1") as report:
        await report.write({"type": "start", "messageId": report.message_id}, *TEXT)
        await put(client, question(text="two", id="u2"))
        await steps.begun.get()
    assert await steps.begun.get() == "u2"
    steps.end()
    await ended(client, 2)

    assert texts(steps.turns[1].messages) == ["hi", "answer to u1", "Hello", "two"]


async def test_a_history_has_the_answer_before_a_question_that_waited(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    history, seen = ChatHistory(service), list[list[str]]()
    steps, released = Steps(), asyncio.Event()

    async def reply(turn: ChatTurn) -> None:
        seen.append(texts(await history.ask(turn)))
        await steps(turn)

    async def finish(message: UIMessage, turn: FinishedTurn) -> None:
        await released.wait()
        await history.finish(message, turn)

    # Another process is finishing the turn.
    here = await serve(service, reply, on_busy="queue", on_finish=finish)
    there = await serve(new_service(), reply, on_busy="queue", on_finish=finish)
    await put(here, question(text="one"))
    await put(there, question(text="two", id="u2"))
    await steps.begun.get()
    steps.end()
    released.set()
    assert await steps.begun.get() == "u2"
    steps.end()
    await ended(here, 1)

    assert seen == [["one"], ["one", "answer to u1", "two"]]


ASKS = [
    {"type": "start-step"},
    {"type": "tool-input-available", "toolCallId": "t1", "toolName": "pay", "input": {}},
    {"type": "tool-approval-request", "toolCallId": "t1", "approvalId": "a1"},
    {"type": "finish-step"},
]


async def test_questions_wait_for_a_decision_that_the_answer_before_asks_for(
    new_service: NewService, serve: Serve
) -> None:
    asked, decided, order = asyncio.Event(), asyncio.Event(), list[str]()

    async def reply(turn: ChatTurn) -> None:
        last = turn.messages[-1]
        order.append(last["role"] if last["role"] == "assistant" else last["id"])
        if last["id"] == "u1":
            await asked.wait()
            await turn.pub.write(*ASKS)
        else:
            await turn.pub.write(*TEXT)
        decided.set()

    client = await serve(new_service(), reply, on_busy="queue")
    await put(client, question())
    await put(client, question(id="u2"))
    asked.set()
    await decided.wait()
    await until(lambda: _is(_state(client), "closed"))
    # It would begin by now.
    for _ in range(20):
        await asyncio.sleep(0.05)
        assert (await client.status())["version"] == 0
    assert (await put(client, question(id="u3")))["number"] is not None

    status = await client.status()
    call = {"type": "tool-pay", "toolCallId": "t1", "input": {}, "state": "approval-responded"}
    part = {**call, "approval": {"id": "a1", "approved": True}}
    answer = {"id": status["messageId"], "role": "assistant", "parts": [part]}
    await put(client, {**question(), "messages": [user_message(), answer]})
    await ended(client, 3)

    assert order == ["u1", "assistant", "u2", "u3"]


async def _state(client: ChatClient) -> str:
    return str((await client.status())["state"])


async def test_a_worker_answers_questions_that_waited(
    new_service: NewService, serve: Serve
) -> None:
    steps, queue = Steps(), Queue()
    client = await serve(new_service(), ChatReplies(never), dispatch=queue.put, on_busy="queue")
    async with working(queue, new_service(), ChatReplies(steps)):
        await put(client, question())
        for id in ("u2", "u3"):
            await put(client, question(id=id))
        order = [await steps.begun.get(), await steps.next(), await steps.next()]
        steps.end()
        await ended(client, 2)

    assert order == ["u1", "u2", "u3"]


async def test_a_process_that_starts_begins_questions_behind_the_answer_of_a_worker(
    new_service: NewService, serve: Serve
) -> None:
    steps, queue = Steps(), Queue()
    options: dict[str, Any] = {"dispatch": queue.put, "on_busy": "queue"}
    client = await serve(new_service(), ChatReplies(never), **options)
    async with working(queue, new_service(), ChatReplies(steps)):
        await put(client, question())
        assert await steps.begun.get() == "u1"
        await put(client, question(id="u2"))
        await client.shut_down()
        other = await serve(new_service(), ChatReplies(never), **options)
        # Long enough for its first look, and shorter than its sweeps.
        await asyncio.sleep(SOON)
        async with asyncio.timeout(5):
            assert await steps.next() == "u2"
        steps.end()
        await ended(other, 1)


async def test_a_turn_that_runs_again_is_still_the_turn_of_its_question(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    options: dict[str, Any] = {"on_busy": "queue", "on_lost": "retry", "sweep_interval": SOON}
    client = await serve(new_service(), steps, drain_timeout=0.0, **options)
    await put(client, question())
    await put(client, question(id="u2"))
    await put(client, question(id="u3"))
    assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
    await client.shut_down()

    other = await serve(new_service(), steps, **options)
    assert [await steps.begun.get(), await steps.next()] == ["u2", "u3"]
    steps.end()
    await ended(other, 3)


async def test_questions_go_with_their_chat(new_service: NewService, serve: Serve) -> None:
    steps, service = Steps(), new_service()
    history = ChatHistory(service)

    async def reply(turn: ChatTurn) -> None:
        await history.ask(turn)
        await steps(turn)

    client = await serve(service, reply, on_busy="queue")
    await put(client, question())
    await steps.begun.get()
    await put(client, question(id="u2"))
    await history.delete("c1")
    assert await waiting(client) == []
    await put(client, question(id="u3"))

    assert await steps.begun.get() == "u3"
    await put(client, question(id="u4"))
    assert await steps.next() == "u4"
    steps.end()


async def test_an_exit_breaks_the_response_off_and_keeps_the_question(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    here, there = [
        await serve(new_service(), steps, on_busy="queue", keep_alive=0.2) for _ in range(2)
    ]
    await put(there, question())
    async with here.ask(question(id="u2")) as stream:
        await stream.event()
        assert await stream.event() == ": keep-alive"
        leaving = asyncio.create_task(here.shut_down())
        with pytest.raises(Exception, match="peer closed|incomplete"):
            await stream.rest()
        await leaving

    async with there.ask(question(id="u2")) as again:
        assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
        steps.end()
        assert types_in(await again.rest())[-1] == "finish"


async def test_a_client_that_counts_chunks_comes_back_to_its_question(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    async with client.ask(question(id="u2")) as stream:
        run = stream.response.headers["x-workflow-run-id"]
    url = f"/api/chat/{run}/stream?startIndex=0"

    async with client.http.stream("GET", url) as response:
        again = OpenStream(response)
        await again.event()
        assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
        steps.end()
        body = await again.rest()
    rest = await client.http.get(f"/api/chat/{run}/stream?startIndex=3")

    assert types_in(body) == ["start", "text-start", "text-delta", "text-end", "finish"]
    assert types_in(rest.text) == ["text-end", "finish"]


async def test_a_client_that_has_counted_chunks_of_a_lost_attempt_loads_its_question_again(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    options: dict[str, Any] = {"on_busy": "queue", "on_lost": "retry", "sweep_interval": SOON}
    client = await serve(new_service(), steps, drain_timeout=0.0, **options)
    await put(client, question())
    number = (await put(client, question(id="u2")))["number"]
    assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
    await client.shut_down()
    other = await serve(new_service(), steps, **options)
    assert await steps.begun.get() == "u2"

    url = f"/api/chat/c1~q{number}/stream"
    counted = await other.http.get(url, params={"startIndex": "2"})
    begun = asyncio.create_task(other.http.get(url, params={"startIndex": "0"}))
    await asyncio.wait([begun], timeout=SOON)
    steps.end()

    assert (counted.status_code, counted.text[:24]) == (409, "A newer answer has begun")
    assert types_in((await begun).text)[-2:] == ["text-end", "finish"]


async def test_a_stop_that_names_a_question_cancels_it(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    numbers = [(await put(client, question(id=id)))["number"] for id in ("u2", "u3")]

    await client.stop(body={"activeStreamId": f"c1~q{numbers[1]}"})
    assert await waiting(client) == ["u2"]
    assert [await steps.begun.get(), await steps.next()] == ["u1", "u2"]
    await client.stop(body={"activeStreamId": f"c1~q{numbers[0]}"})
    await ended(client, 1)

    assert (await client.get()).status_code == 204


async def test_a_stop_that_names_a_question_about_to_begin_ends_its_turn(
    new_service: NewService, serve: Serve
) -> None:
    steps, service, stored = Steps(), new_service(), asyncio.Event()

    async def store(message: UIMessage, turn: FinishedTurn) -> None:
        await stored.wait()

    client = await serve(service, steps, on_busy="queue", on_finish=store)
    await put(client, question())
    await steps.begun.get()
    # Drawn, so nobody may cancel it, and it begins when the answer before it is stored.
    body = question(id="u2")
    drawn = {"number": 0, "digest": None, "asked_at": "", "body": body}
    async with service.publisher(
        "queue:chat:c1",
        request={"next": drawn, "waiting": []},
        metadata={"queued": 1},
        watched=True,
    ) as questions:
        await questions.leave(within=60.0)
    steps.end()
    await until(lambda: _is(_state(client), "closed"))

    stopping = asyncio.create_task(client.stop(body={"activeStreamId": "c1~q0"}))
    await asyncio.wait([stopping], timeout=SOON)
    stored.set()

    assert (await stopping).json() == {"success": True}
    await ended(client, 1)
    last = (await service.chunks("chat:c1", 1))[-1]
    assert last["type"] == "abort"


@pytest.mark.parametrize("number", ["", "-1", "1.5", "one", "%D9%A3", "9" * 30])
async def test_a_number_that_is_none_cancels_nothing(
    new_service: NewService, serve: Serve, number: str
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    await put(client, question(id="u2"))

    url = f"/api/chat/c1/queue/{number}"
    refused = await client.http.delete(url, follow_redirects=True)

    assert refused.status_code == 400
    assert refused.text == "The request has no valid number of a question."
    assert await waiting(client) == ["u2"]
    await cancel(client)
    steps.end()
    await ended(client, 0)


async def test_the_questions_of_a_chat_are_cancelled_whatever_its_id(
    new_service: NewService, serve: Serve
) -> None:
    steps, chat_id = Steps(), "a/queue"
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question(chat_id))
    number = (await put(client, question(chat_id, id="u2")))["number"]
    await put(client, question(chat_id, id="u3"))

    url = "/api/chat/a%2Fqueue/queue"
    one = (await client.http.delete(f"{url}/{number}")).json()
    left = await waiting(client, "a%2Fqueue")
    all_others = (await client.http.delete(url)).json()

    assert one["cancelled"] == [number]
    assert left == ["u3"]
    assert len(all_others["cancelled"]) == 1
    steps.end()


async def test_a_question_begins_in_an_application_whose_lifespan_nobody_enters(
    new_service: NewService, serve_app: ServeApp
) -> None:
    steps = Steps()
    chats = create_chat_app(new_service(), steps, prefix="/api/chat", on_busy="queue")
    client = await serve_app(Starlette(routes=chats.routes))
    await put(client, question())
    await put(client, question(id="u2"))
    await put(client, question(id="u3"))

    assert [await steps.begun.get(), await steps.next(), await steps.next()] == ["u1", "u2", "u3"]
    steps.end()
    await ended(client, 2)


async def test_events_tell_how_many_questions_wait(new_service: NewService, serve: Serve) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    await put(client, question(id="u2"))

    async with client.http.stream("GET", "/api/chat/events") as response:
        events = Events(OpenStream(response))
        _, running = await events.next()
        assert running["queued"] == {"c1": 1}
        await put(client, question(id="u3"))
        assert await queued(events) == {"chatId": "c1", "queued": 2}
        await cancel(client)
        assert await queued(events) == {"chatId": "c1", "queued": 0}
    steps.end()


async def queued(events: Events) -> Any:
    """Return the next event about the queue."""
    while True:
        name, data = await events.next()
        if name == "queue":
            return data


def test_a_prefix_that_hides_the_questions_is_refused(new_service: NewService) -> None:
    async def reply(turn: ChatTurn) -> None: ...

    with pytest.raises(ValueError, match="stream_prefix is 'queue:'"):
        create_chat_router(new_service(), reply, on_busy="queue", stream_prefix="queue:")

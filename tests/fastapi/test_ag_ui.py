"""The chat routes send an answer as events of AG-UI too. tests/clients/ag_ui has a real client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import ChatClient, chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet
from tests.fastapi.test_waiting_questions import Steps, cancel, put, until, waiting

pytestmark = pytest.mark.every_framework

AG_UI = {"params": {"protocol": "ag-ui"}}
RUN = {"threadId": "c1", "runId": "c1~0"}
HELLO = [
    {"type": "RUN_STARTED", **RUN},
    {"type": "TEXT_MESSAGE_START", "messageId": "c1~0:1", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "c1~0:1", "delta": "Hello"},
    {"type": "TEXT_MESSAGE_END", "messageId": "c1~0:1"},
]
FINISHED = {"type": "RUN_FINISHED", **RUN, "metadata": {"finishReason": "stop"}}


def ids_in(body: str) -> list[str]:
    return [line.removeprefix("id: ") for line in body.splitlines() if line.startswith("id: ")]


async def test_an_answer_is_sent_as_events(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)

    answer = await client.post(question(), **AG_UI)

    assert chunks_in(answer.text) == [*HELLO, FINISHED]
    assert "[DONE]" not in answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "x-vercel-ai-ui-message-stream" not in answer.headers


async def test_two_pages_read_one_answer_as_messages_and_as_events(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)
    async with client.ask(question()) as messages:
        await held.started.wait()
        following = asyncio.create_task(client.get(**AG_UI))
        async with client.http.stream("GET", "/api/chat/c1/stream", **AG_UI) as response:
            text = response.aiter_text()
            begun = ""
            while "TEXT_MESSAGE_END" not in begun:
                begun += await anext(text)
            held.go_on.set()
            rest = "".join([piece async for piece in text])
        page = await messages.rest()

    events = chunks_in(begun + rest)
    assert events == chunks_in((await following).text)
    assert events == [
        *HELLO,
        {"type": "CUSTOM", "name": "data-last", "value": {"data": 1}},
        FINISHED,
    ]
    assert types_in(page)[-2:] == ["data-last", "finish"]


async def test_a_client_resumes_after_any_event(new_service: NewService, serve: Serve) -> None:
    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write({"type": "start-step"}, {"type": "reasoning-start", "id": "0"})

    client = await serve(new_service(), reply, replay_window=60.0)
    whole = (await client.post(question(), **AG_UI)).text
    events, ids = chunks_in(whole), ids_in(whole)

    for place, id in enumerate(ids[:-1]):
        resumed = await client.get(**AG_UI, headers={"last-event-id": id})
        assert chunks_in(resumed.text) == events[place + 1 :]
        assert ids_in(resumed.text) == ids[place + 1 :]
    ended = await client.get(**AG_UI, headers={"last-event-id": ids[-1]})
    assert (ended.status_code, ended.content) == (204, b"")
    assert len(ids) == len(events) > len({id.rpartition(".")[0] for id in ids})


async def test_the_end_of_a_chunk_is_where_a_client_of_messages_goes_on(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet, replay_window=60.0)
    [_, started, *_] = ids_in((await client.post(question(), **AG_UI)).text)

    page = await client.get(headers={"last-event-id": started})

    assert types_in(page.text)[0] == "text-delta"


async def test_a_failed_answer_is_a_run_error(new_service: NewService, serve: Serve) -> None:
    async def fail(turn: ChatTurn) -> None:
        await turn.pub.write({"type": "text-start", "id": "t"})
        raise RuntimeError("secret")

    client = await serve(new_service(), fail)

    events = chunks_in((await client.post(question(), **AG_UI)).text)

    assert [event["type"] for event in events[-2:]] == ["TEXT_MESSAGE_END", "RUN_ERROR"]
    assert "secret" not in json.dumps(events)


async def test_a_stopped_answer_is_a_cancelled_run(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)
    asking = asyncio.create_task(client.post(question(), **AG_UI))
    await held.started.wait()
    await client.stop()

    assert chunks_in((await asking).text)[-1]["outcome"] == {"type": "cancelled"}


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"params": {"protocol": "grpc"}}, 400),
        ({**AG_UI, "headers": {"last-event-id": "0.0.x"}}, 400),
        ({**AG_UI, "headers": {"last-event-id": "0.99.0"}}, 400),
        ({**AG_UI, "chat_id": "unknown"}, 204),
        (AG_UI, 204),
    ],
    ids=["protocol", "event", "no such chunk", "no chat", "ended"],
)
async def test_other_requests_are_answered_as_ever(
    new_service: NewService, serve: Serve, how: dict[str, Any], status: int
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())

    answer: httpx.Response = await client.get(**how)

    assert answer.status_code == status


async def test_a_question_that_waited_is_a_run_which_a_client_resumes_by_any_name(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue", replay_window=60.0)
    await put(client, question())
    assert await steps.begun.get() == "u1"
    asking = asyncio.create_task(client.post(question(id="u2"), **AG_UI))
    await until(lambda: _waits(client, "u2"))
    assert await steps.next() == "u2"
    steps.end()
    whole = await asking
    events, ids = chunks_in(whole.text), ids_in(whole.text)

    assert events[0] == {"type": "RUN_STARTED", "threadId": "c1", "runId": "c1~1"}
    assert events[2]["delta"] == "answer to u2"
    assert events[-1]["type"] == "RUN_FINISHED"
    for name in ("c1", "c1~1", whole.headers["x-workflow-run-id"]):
        rest = await client.get(name, params={"protocol": "ag-ui", "after": ids[1]})
        assert chunks_in(rest.text) == events[2:]


async def test_a_question_that_is_cancelled_is_a_cancelled_run(
    new_service: NewService, serve: Serve
) -> None:
    steps = Steps()
    client = await serve(new_service(), steps, on_busy="queue")
    await put(client, question())
    asking = asyncio.create_task(client.post(question(id="u2"), **AG_UI))
    await until(lambda: _waits(client, "u2"))
    await cancel(client)
    answer = await asking
    steps.end()

    run = {"threadId": "c1", "runId": answer.headers["x-workflow-run-id"]}
    assert chunks_in(answer.text) == [
        {"type": "RUN_STARTED", **run},
        {"type": "RUN_FINISHED", **run, "outcome": {"type": "cancelled"}},
    ]


async def _waits(client: ChatClient, id: str) -> bool:
    return await waiting(client) == [id]

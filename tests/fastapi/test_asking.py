from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import chunks_in, question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet, store_answer

pytestmark = pytest.mark.every_framework


async def test_an_answer_is_streamed_from_start_to_done(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)

    body = (await client.post(question())).text

    assert body.startswith(": stream-open\n\nid: 0.0\ndata: {")
    assert types_in(body) == ["start", "text-start", "text-delta", "text-end", "finish"]
    assert body.endswith("data: [DONE]\n\n")


async def test_a_stream_has_the_headers_that_clients_and_proxies_need(
    new_service: NewService, serve: Serve
) -> None:
    headers = (await (await serve(new_service(), greet)).post(question())).headers

    assert headers["content-type"] == "text/event-stream"
    assert headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert headers["x-accel-buffering"] == "no"
    assert "no-cache" in headers["cache-control"]


async def test_the_start_with_the_message_id_is_stored_before_the_reply_runs(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    seen: list[Any] = []

    async def reply(turn: ChatTurn) -> None:
        seen.extend(await service.chunks(turn.stream_id))
        assert seen == [{"type": "start", "messageId": turn.message_id}]

    body = (await (await serve(service, reply)).post(question())).text

    assert chunks_in(body)[0] == seen[0]
    assert (await service.status("chat:c1")).message_id == seen[0]["messageId"]


async def test_a_turn_is_shown_with_its_stream_version_and_attempt(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()):
        await held.started.wait()
        held.go_on.set()

    assert repr(held.turns[0]) == "<ChatTurn 'chat:c1' v0 attempt 1>"


async def test_the_answer_is_completed_when_its_client_leaves(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held)

    async with client.ask(question()) as stream:
        await stream.chunk()
    held.go_on.set()
    stored = [chunk["type"] async for chunk in service.subscribe("chat:c1")]

    assert stored[-2:] == ["data-last", "finish"]


async def test_a_request_sent_again_joins_the_running_turn(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as first, client.ask(question()) as second:
        await held.started.wait()
        held.go_on.set()
        bodies = [await first.rest(), await second.rest()]

    assert len(held.turns) == 1
    assert bodies[0] == bodies[1]
    assert types_in(bodies[1])[0] == "start"


async def test_one_request_sent_many_times_at_once_runs_the_reply_once(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    processes = [await serve(new_service(), held, replay_window=60.0) for _ in range(2)]

    posts = [asyncio.create_task(processes[number % 2].post(question())) for number in range(8)]
    await held.started.wait()
    held.go_on.set()
    bodies = {types_in((await post).text)[-1] for post in posts}

    assert (len(held.turns), bodies) == (1, {"finish"})


@pytest.mark.parametrize(
    "other",
    [question(id="u2"), question(trigger="regenerate-message")],
    ids=["message", "regenerate"],
)
async def test_another_request_meanwhile_is_told_that_the_chat_is_busy(
    new_service: NewService, serve: Serve, other: dict[str, Any]
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as stream:
        await held.started.wait()
        refusal = await client.post(other)
        held.go_on.set()
        await stream.rest()

    assert (refusal.status_code, refusal.headers["content-type"]) == (
        409,
        "text/plain; charset=utf-8",
    )
    assert refusal.text == "This chat is still answering. Wait for the answer, or stop it first."
    assert len(held.turns) == 1


async def test_the_next_question_is_the_next_version(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)

    bodies = [(await client.post(question(id=f"u{number}"))).text for number in range(2)]

    assert ["id: 0.0\n" in bodies[0], "id: 1.0\n" in bodies[1]] == [True, True]


async def test_a_failing_reply_ends_with_a_masked_error_and_a_finish(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(turn: ChatTurn) -> None:
        await turn.pub.write(*TEXT[:2])
        raise RuntimeError("the password is swordfish")

    body = (await (await serve(new_service(), fail)).post(question())).text

    assert types_in(body) == ["start", "text-start", "text-delta", "text-end", "error", "finish"]
    assert chunks_in(body)[-2]["errorText"] == "An error occurred."
    assert "swordfish" not in body and "swordfish" in caplog.text


async def test_a_reply_that_raises_a_cancellation_of_its_own_has_failed(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    async def reply(turn: ChatTurn) -> None:
        runs.append(turn.attempt)
        await turn.pub.write(*TEXT)
        raise asyncio.CancelledError

    client = await serve(new_service(), reply, on_lost="retry", sweep_interval=0.05)
    body = (await client.post(question())).text
    await asyncio.sleep(0.3)

    assert types_in(body)[-2:] == ["error", "finish"]
    assert runs == [1]
    assert "the reply raised CancelledError, but was not cancelled" in caplog.text


@pytest.mark.parametrize(
    "id", ["x" * 3_000_000, "a\0b", "half \ud800"], ids=["3 MB", "NUL", "half"]
)
async def test_a_message_id_that_no_row_can_hold_is_refused_and_the_chat_goes_on(
    new_service: NewService, serve: Serve, id: str
) -> None:
    service = new_service()
    client = await serve(service, greet)
    await client.post(question())
    poisoned = question() | {
        "messages": [user_message(), {"id": id, "role": "assistant", "parts": []}]
    }

    refused = await client.http.post("/api/chat", content=json.dumps(poisoned))
    after = await client.post(question(id="u2"))

    assert (refused.status_code, refused.text) == (400, "The request has no valid message id.")
    assert types_in(after.text)[-1] == "finish"
    assert [info.version for info in await service.versions("chat:c1")] == [1, 0]


async def test_a_continuation_keeps_the_id_of_its_message(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    assistant = {"id": "a1", "role": "assistant", "parts": []}
    await store_answer(service, assistant)
    body = question(messageId="a1") | {"messages": [user_message(), assistant]}

    answer = (await (await serve(service, greet)).post(body)).text

    assert chunks_in(answer)[0] == {"type": "start", "messageId": "a1"}


async def test_the_whole_request_is_stored(new_service: NewService, serve: Serve) -> None:
    service = new_service()
    body = question(trigger="regenerate-message", messageId="a0", tenant={"any": ["thing"]})

    await (await serve(service, greet)).post(body)

    assert await service.request("chat:c1", 0) == body


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/"])
async def test_a_body_is_json_whatever_its_content_type_says(
    new_service: NewService, serve: Serve, content_type: str, path: str
) -> None:
    client = await serve(new_service(), greet)

    answer = await client.http.post(
        path, content=json.dumps(question()), headers={"content-type": content_type}
    )

    assert types_in(answer.text)[-1] == "finish"


async def test_a_body_may_have_only_the_last_message(new_service: NewService, serve: Serve) -> None:
    turns: list[ChatTurn] = []

    async def reply(turn: ChatTurn) -> None:
        turns.append(turn)

    await (await serve(new_service(), reply)).post({"id": "c1", "message": user_message()})

    assert turns[0].messages == [user_message()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b'{"id": NaN}',
        b"[" * 100_000,
        b"[]",
        b'{"messages": [{"role": "user", "parts": []}]}',
        b'{"id": 7, "messages": [{"role": "user", "parts": []}]}',
        b'{"id": "..", "messages": [{"role": "user", "parts": []}]}',
        b'{"id": "\\u0000", "messages": [{"role": "user", "parts": []}]}',
        b'{"id": "c1"}',
        b'{"id": "c1", "messages": []}',
        b'{"id": "c1", "messages": ["hi"]}',
        b'{"id": "c1", "messages": [{"role": "tool", "parts": []}]}',
        b'{"id": "c1", "message": {"role": "user", "parts": [1]}}',
    ],
)
async def test_a_bad_request_gets_one_plain_line(
    new_service: NewService, serve: Serve, body: bytes
) -> None:
    answer = await (await serve(new_service(), greet)).http.post("/api/chat", content=body)

    assert (answer.status_code, answer.headers["content-type"]) == (
        400,
        "text/plain; charset=utf-8",
    )
    assert answer.text.startswith("The request ") and len(answer.text.splitlines()) == 1


async def test_a_body_over_the_limit_is_refused(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet, max_body_bytes=1000)

    answer = await client.post(question(text="x" * 1000))

    assert (answer.status_code, answer.text) == (413, "The request is too large.")

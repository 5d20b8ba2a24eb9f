from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI, Request

from monostream_ai.fastapi import ChatTurn, create_chat_router, stream_response
from monostream_ai.ui_messages import KEEP_ALIVE, reduce_chunks
from tests.fastapi.chat_client import ChatClient, chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet

pytestmark = pytest.mark.every_framework


async def test_a_chat_without_a_running_turn_answers_204(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())

    answers = [await client.get("unknown"), await client.get("c1")]

    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b""), (204, b"")]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"headers": {"last-event-id": "0.2"}},
        {"params": {"startIndex": "3"}},
        {"params": {"startIndex": "-1"}},
        {"chat_id": "c1~0"},
    ],
    ids=["page", "event", "index", "last", "run"],
)
async def test_a_page_whose_answer_was_pruned_is_told_that_nothing_follows(
    new_service: NewService, serve: Serve, how: dict[str, Any]
) -> None:
    service = new_service()
    client = await serve(service, greet, replay_window=60.0)
    await client.post(question())
    assert await service.prune(older_than=0.0) == 1

    answer = await client.get(**how)

    counts = "params" in how
    assert answer.status_code == (200 if counts else 204)
    assert types_in(answer.text) == (["finish"] if counts else [])


async def test_a_resume_replays_from_the_start_and_tails(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    here, elsewhere = await serve(new_service(), held), await serve(new_service(), greet)

    async with here.ask(question()) as asked, elsewhere.resume() as resumed:
        await held.started.wait()
        replayed = [await resumed.chunk() for _ in range(4)]
        held.go_on.set()
        live = await resumed.rest()
        whole = await asked.rest()

    assert replayed == [{"type": "start", "messageId": held.turns[0].message_id}, *TEXT]
    assert [*replayed, *chunks_in(live)] == chunks_in(whole)
    assert live.endswith("data: [DONE]\n\n")


async def test_a_turn_is_found_from_the_moment_its_reply_runs(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as asked:
        first = await asked.chunk()
        async with client.resume() as resumed:
            assert await resumed.chunk() == first
        held.go_on.set()


@pytest.mark.parametrize("chat_id", ["a/b", "a/stream", "ü~3 ?#%2F", "/", "c1/stop"])
async def test_a_chat_id_may_be_any_text(
    new_service: NewService, serve: Serve, chat_id: str
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with (
        client.ask(question(chat_id)) as asked,
        client.resume(quote(chat_id, safe="")) as resumed,
    ):
        held.go_on.set()
        assert types_in(await resumed.rest()) == types_in(await asked.rest())


async def test_a_silent_turn_is_kept_alive_by_comments(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held, keep_alive=0.1)

    async with client.ask(question()) as stream:
        events = [await stream.event() for _ in range(6)]
        held.go_on.set()

    assert events[0] == ": stream-open"
    assert events[-1] == KEEP_ALIVE.strip()


async def test_a_replay_merges_stored_deltas_and_builds_the_same_message(
    new_service: NewService, serve: Serve
) -> None:
    deltas = [
        {"type": "text-delta", "id": "t", "delta": f'{number} "\\ü\n' + "x" * 50}
        for number in range(3000)
    ]
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write(TEXT[0], *deltas, TEXT[2])
        await held(turn)

    client = await serve(new_service(), reply)
    async with client.ask(question()) as asked:
        await held.started.wait()
        async with client.resume() as resumed:
            held.go_on.set()
            replayed, live = await resumed.rest(), await asked.rest()

    assert chunks_in(live)[2:3002] == deltas
    assert reduce_chunks(chunks_in(replayed)) == reduce_chunks(chunks_in(live))
    assert len(chunks_in(replayed)) < 30
    assert replayed[-200:] == live[-200:]


async def with_middleware(
    client_of: Callable[[FastAPI], Awaitable[ChatClient]], service: Any, reply: Any
) -> ChatClient:
    app = FastAPI()
    app.include_router(create_chat_router(service, reply), prefix="/api/chat")

    @app.middleware("http")
    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    return await client_of(app)


async def without_middleware(
    client_of: Callable[[FastAPI], Awaitable[ChatClient]], service: Any, reply: Any
) -> ChatClient:
    app = FastAPI()
    app.include_router(create_chat_router(service, reply), prefix="/api/chat")
    return await client_of(app)


@pytest.mark.parametrize("serve_through", [without_middleware, with_middleware])
async def test_a_response_breaks_when_a_newer_turn_begins(
    new_service: NewService,
    serve_app: Callable[[FastAPI], Awaitable[ChatClient]],
    serve_through: Any,
) -> None:
    service = new_service()
    client = await serve_through(serve_app, service, Held())

    async with client.ask(question()) as stream:
        await stream.chunk()
        async with service.publisher("chat:c1"):
            with pytest.raises(httpx.RemoteProtocolError):
                await stream.rest()


@pytest.mark.parametrize("serve_through", [without_middleware, with_middleware])
async def test_a_response_breaks_when_its_process_shuts_down(
    new_service: NewService,
    serve_app: Callable[[FastAPI], Awaitable[ChatClient]],
    serve_through: Any,
) -> None:
    service, held = new_service(), Held()
    client = await serve_through(serve_app, service, held)

    async with client.ask(question()) as stream:
        await held.started.wait()
        service.begin_shutdown()
        with pytest.raises(httpx.RemoteProtocolError):
            async with asyncio.timeout(1.0):
                await stream.rest()
    held.go_on.set()


async def test_a_response_breaks_when_its_stream_is_deleted(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    client = await serve(service, Held())

    async with client.ask(question()) as stream:
        await stream.chunk()
        await service.delete("chat:c1")
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.rest()


async def test_a_client_that_leaves_releases_its_subscription(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held)

    async with client.ask(question()):
        await held.started.wait()
    async with service.subscribe("chat:c1") as watcher:
        held.go_on.set()
        assert [chunk["type"] async for chunk in watcher][-1] == "finish"


async def test_any_stream_can_be_served_from_a_custom_endpoint(
    new_service: NewService, serve_app: Callable[[FastAPI], Awaitable[ChatClient]]
) -> None:
    service, app = new_service(), FastAPI()

    @app.get("/streams/{stream_id}")
    async def tail(stream_id: str, version: int | None = None) -> Any:
        return await stream_response(service, stream_id, version=version)

    async with service.publisher("s") as pub:
        await pub.write({"type": "start"}, *TEXT)
    client = await serve_app(app)

    assert (await client.http.get("/streams/s")).status_code == 204
    assert types_in((await client.http.get("/streams/s?version=0")).text)[-1] == "finish"
    await service.prune(older_than=0.0)
    assert (await client.http.get("/streams/s?version=0")).status_code == 204
    assert (await client.http.get("/streams/unknown?version=0")).status_code == 204


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_reader_resumes_after_an_event(
    new_service: NewService, serve: Serve, way: str
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as stream:
        await held.started.wait()
        held.go_on.set()
        options: dict[str, Any] = (
            {"headers": {"last-event-id": "0.1"}}
            if way == "header"
            else {"params": {"after": "0.1"}}
        )
        rest = await client.get(**options)
        whole = await stream.rest()

    assert chunks_in(rest.text) == chunks_in(whole)[2:]


async def test_the_event_that_a_browser_saw_last_wins_over_the_one_in_its_url(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet, replay_window=60.0)
    posted = await client.post(question())

    rest = await client.get(params={"after": "0.0"}, headers={"last-event-id": "0.2"})

    assert chunks_in(rest.text) == chunks_in(posted.text)[3:]


@pytest.mark.parametrize(
    ("after", "status"),
    [
        ("0.0", 409),
        ("1.99", 400),
        ("2.0", 400),
        ("1", 400),
        ("x.y", 400),
        ("1.-2", 400),
        ("9" * 40, 400),
    ],
)
async def test_an_event_that_cannot_be_resumed_after_is_refused(
    new_service: NewService, serve: Serve, after: str, status: int
) -> None:
    client = await serve(new_service(), greet, replay_window=60.0)
    await client.post(question())
    await client.post(question(id="u2"))

    assert (await client.get(params={"after": after})).status_code == status
